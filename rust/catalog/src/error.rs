//! Between `iceberg::Error`, which the storage trait and the crate speak, and Frazil's own error.
//!
//! An error of this room travels through the crate as the source of an `iceberg::Error` and comes out whole.

use std::error::Error as StdError;

use frazil_model::{Error, ErrorKind};

/// Turns an error of the `iceberg` crate into Frazil's, keeping its kind and whether trying again helps.
///
/// Errors that Frazil's storage raised underneath come out as they went in; the crate's own kinds are mapped:
/// tables and namespaces to `NotFound` and `AlreadyExists`, refused commits to `Conflict`, broken metadata to
/// `Catalog`, missing features to `Unsupported`.
pub fn from_iceberg(error: iceberg::Error) -> Error {
    if let Some(own) = find_own(&error) {
        return own;
    }
    let kind = match error.kind() {
        iceberg::ErrorKind::NamespaceNotFound | iceberg::ErrorKind::TableNotFound => ErrorKind::NotFound,
        iceberg::ErrorKind::NamespaceAlreadyExists | iceberg::ErrorKind::TableAlreadyExists => ErrorKind::AlreadyExists,
        iceberg::ErrorKind::CatalogCommitConflicts => ErrorKind::Conflict,
        iceberg::ErrorKind::FeatureUnsupported => ErrorKind::Unsupported,
        // DataInvalid, PreconditionFailed, Unexpected, and kinds that a later version adds.
        _ => ErrorKind::Catalog,
    };
    let retryable = error.retryable() || kind == ErrorKind::Conflict;
    let own = Error::new(kind, plain_text(&error));
    if retryable { own.retryable() } else { own }
}

/// Packs an error of this room so that it passes through the crate; [`from_iceberg`] unpacks it.
pub(crate) fn to_iceberg(error: Error) -> iceberg::Error {
    let kind = match error.kind() {
        ErrorKind::Conflict => iceberg::ErrorKind::CatalogCommitConflicts,
        ErrorKind::Unsupported => iceberg::ErrorKind::FeatureUnsupported,
        ErrorKind::Config => iceberg::ErrorKind::DataInvalid,
        _ => iceberg::ErrorKind::Unexpected,
    };
    iceberg::Error::new(kind, error.message()).with_retryable(error.is_retryable()).with_source(error)
}

/// Frazil's own error anywhere below, rebuilt: it sits behind a reference and cannot be taken out.
fn find_own(error: &iceberg::Error) -> Option<Error> {
    let mut cause = StdError::source(error);
    while let Some(found) = cause {
        if let Some(own) = found.downcast_ref::<Error>() {
            let mut message = own.message().to_owned();
            let mut below = own.source();
            while let Some(deeper) = below {
                message = format!("{message}: {deeper}");
                below = deeper.source();
            }
            let mut rebuilt = Error::new(own.kind(), message);
            if own.is_retryable() {
                rebuilt = rebuilt.retryable();
            }
            if let Some(wait) = own.wait_hint() {
                rebuilt = rebuilt.retry_after(wait);
            }
            return Some(own.context().iter().fold(rebuilt, |error, (key, value)| error.with(key, value)));
        }
        cause = found.source();
    }
    None
}

/// The crate's text without its `Kind, context: { … } => ` frame: message, context in brackets, cause.
fn plain_text(error: &iceberg::Error) -> String {
    let full = error.to_string();
    let context =
        full.split_once(", context: { ").and_then(|(_, rest)| rest.split_once(" } => ")).map(|(context, _)| context);
    let mut text = error.message().to_owned();
    if let Some(context) = context {
        text = format!("{text} ({context})");
    }
    if let Some(cause) = StdError::source(error) {
        text = format!("{text}: {cause}");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_own_error_comes_through_the_crate_whole() {
        let own = Error::new(ErrorKind::Unauthorized, "the key is refused")
            .with("path", "s3://b/k")
            .retry_after(Duration::from_secs(3));
        let outer = iceberg::Error::new(iceberg::ErrorKind::Unexpected, "writing failed").with_source(to_iceberg(own));
        let back = from_iceberg(outer);
        assert_eq!(back.kind(), ErrorKind::Unauthorized);
        assert_eq!(back.to_string(), "the key is refused (path=s3://b/k)");
        assert_eq!(back.wait_hint(), Some(Duration::from_secs(3)));
        assert!(back.is_retryable());
    }

    #[test]
    fn kinds_and_context_of_the_crate_are_kept() {
        let conflict = iceberg::Error::new(iceberg::ErrorKind::CatalogCommitConflicts, "the branch has moved")
            .with_context("expected", "1");
        let own = from_iceberg(conflict);
        assert_eq!((own.kind(), own.is_retryable()), (ErrorKind::Conflict, true));
        assert_eq!(own.message(), "the branch has moved (expected: 1)");
        let missing = from_iceberg(iceberg::Error::new(iceberg::ErrorKind::TableNotFound, "no such table"));
        assert_eq!((missing.kind(), missing.is_retryable()), (ErrorKind::NotFound, false));
    }
}
