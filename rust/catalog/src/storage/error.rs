//! What an error of the object storage means, and what to do about it.

use std::error::Error as StdError;
use std::io;

use frazil_model::{Error, ErrorKind};
use object_store::Error as StoreError;

use crate::error::to_iceberg;

/// Turns an object store's error into ours: `action` as in "could not {action} {location}".
pub(super) fn storage_error(action: &'static str, location: &str, error: StoreError) -> iceberg::Error {
    to_iceberg(own_error(action, location, error))
}

/// As [`storage_error`], not yet packed for the crate.
pub(super) fn own_error(action: &'static str, location: &str, error: StoreError) -> Error {
    if let Some(io) = find::<io::Error>(&error) {
        // Cloud stores wrap transport errors in io::Error too; only what the disk alone can say is taken from it.
        let hint = match io.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Some((ErrorKind::Storage, "the disk or quota is full: free space, then run the job again"))
            }
            io::ErrorKind::PermissionDenied => Some((
                ErrorKind::Unauthorized,
                "the operating system refused access: check owner and mode of the directory",
            )),
            io::ErrorKind::ReadOnlyFilesystem => Some((ErrorKind::Storage, "the file system is read-only")),
            _ => None,
        };
        if let Some((kind, hint)) = hint {
            return Error::new(kind, format!("could not {action} {location}: {hint}"));
        }
    }
    match error {
        // Found only for a missing key when reading; for a write it can only be the bucket.
        StoreError::NotFound { source, .. } if action == "write" || source.to_string().contains("NoSuchBucket") => {
            Error::new(
                ErrorKind::Storage,
                format!("could not {action} {location}: the bucket does not exist, create it or correct the warehouse"),
            )
        }
        StoreError::NotFound { .. } => {
            Error::new(ErrorKind::NotFound, format!("could not {action} {location}: there is no such file"))
        }
        StoreError::PermissionDenied { source, .. } => Error::new(
            ErrorKind::Unauthorized,
            format!(
                "could not {action} {location}: access was refused, check the access key and its rights ({})",
                short(&*source)
            ),
        ),
        StoreError::Unauthenticated { source, .. } => Error::new(
            ErrorKind::Unauthorized,
            format!("could not {action} {location}: the credentials were not accepted ({})", short(&*source)),
        ),
        StoreError::InvalidPath { source } => {
            Error::new(ErrorKind::Storage, format!("could not {action} {location}: not a usable path ({source})"))
        }
        StoreError::NotSupported { source } => Error::new(
            ErrorKind::Unsupported,
            format!("could not {action} {location}: the storage does not support it ({source})"),
        ),
        StoreError::UnknownConfigurationKey { store, key } => {
            Error::new(ErrorKind::Config, format!("the {store} storage knows no setting {key:?}"))
        }
        // What is left are timeouts, 5xx and lost connections after the client's own retries.
        other => match find::<Error>(&other) {
            Some(own) => {
                let rebuilt = Error::new(own.kind(), format!("could not {action} {location}: {own}"));
                if own.is_retryable() { rebuilt.retryable() } else { rebuilt }
            }
            None => {
                Error::new(ErrorKind::Storage, format!("could not {action} {location}: {}", short(&other))).retryable()
            }
        },
    }
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut cause = Some(error);
    while let Some(found) = cause {
        if let Some(wanted) = found.downcast_ref::<E>() {
            return Some(wanted);
        }
        cause = found.source();
    }
    None
}

/// S3's answers are pages of XML: its code and message are enough.
fn short(error: &(dyn StdError + 'static)) -> String {
    let text = error.to_string();
    let tag = |name: &str| {
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(inner, _)| inner)
    };
    match (tag("Code"), tag("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code.to_owned(),
        _ => text.lines().next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(source: impl Into<Box<dyn StdError + Send + Sync>>) -> StoreError {
        StoreError::Generic { store: "S3", source: source.into() }
    }

    #[test]
    fn a_full_disk_is_named_and_not_retried() {
        let error = own_error("write", "/d/f", generic(io::Error::from(io::ErrorKind::StorageFull)));
        assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Storage, false));
        assert!(error.message().contains("full"), "{error}");
    }

    #[test]
    fn refused_access_is_unauthorized_and_shortened() {
        let body = "Server returned non-2xx status code: 403 Forbidden: <Error><Code>AccessDenied</Code><Message>No.</Message><HostId>x</HostId></Error>";
        let error =
            own_error("read", "s3://b/k", StoreError::PermissionDenied { path: "k".into(), source: body.into() });
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.message().ends_with("(AccessDenied: No.)"), "{error}");
    }

    #[test]
    fn a_missing_bucket_is_not_a_missing_file() {
        let gone = |source: &str| StoreError::NotFound { path: "k".into(), source: source.to_owned().into() };
        assert_eq!(own_error("write", "s3://b/k", gone("404")).kind(), ErrorKind::Storage);
        assert_eq!(own_error("read", "s3://b/k", gone("<Code>NoSuchBucket</Code>")).kind(), ErrorKind::Storage);
        assert_eq!(own_error("read", "s3://b/k", gone("<Code>NoSuchKey</Code>")).kind(), ErrorKind::NotFound);
    }

    #[test]
    fn what_may_pass_is_retryable() {
        assert!(own_error("read", "s3://b/k", generic("503 Slow Down")).is_retryable());
    }
}
