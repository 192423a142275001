//! From a location to an object store and a path in it; one client for each bucket and configuration.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use frazil_model::{Error, ErrorKind, Result};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use parking_lot::Mutex;

use super::flush::Flushes;
use super::settings::S3Settings;
use super::vended::{Vended, VendedProvider};

/// Which kind of storage a location is in: decides part sizes and what a directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    Local,
    Memory,
    S3,
}

/// A location, resolved.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) path: Path,
    pub(super) medium: Medium,
    /// For local files only.
    flushes: Option<Arc<Flushes>>,
}

impl Place {
    /// Says that the file is complete.
    pub(super) fn flush(&self, location: &str) {
        if let Some(flushes) = &self.flushes {
            flushes.prune();
            flushes.start(location);
        }
    }
}

/// A client's identity: the same key, the same client.
#[derive(PartialEq, Eq, Hash)]
struct ClientKey {
    bucket: String,
    settings: S3Settings,
    /// Address and prefix of the vended credentials; the clients keep them alive, so an address is not reused.
    vended: Option<(usize, String)>,
}

/// The clients of one lake.
pub(crate) struct Stores {
    user: S3Settings,
    local: Arc<LocalFileSystem>,
    memory: Arc<InMemory>,
    flushes: Arc<Flushes>,
    clients: Mutex<HashMap<ClientKey, Arc<dyn ObjectStore>>>,
}

impl Default for Stores {
    fn default() -> Self {
        Stores::new(S3Settings::default())
    }
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Stores {
    pub(crate) fn new(user: S3Settings) -> Self {
        Stores {
            user,
            local: Arc::new(LocalFileSystem::new()),
            memory: Arc::default(),
            flushes: Arc::default(),
            clients: Mutex::default(),
        }
    }

    /// Waits until every local file written so far is on disk: before a catalog names them.
    pub(crate) async fn flushed(&self) -> Result<()> {
        self.flushes.finish().await
    }

    /// The store and path of a location. `given` are properties from the table's own configuration.
    pub(super) fn place(&self, location: &str, given: &S3Settings, vended: Option<&Arc<Vended>>) -> Result<Place> {
        let bad_path = |error: object_store::path::Error| {
            Error::new(ErrorKind::Storage, format!("not a usable path: {location} ({error})"))
        };
        if let Some(path) = local_path(location) {
            let path = Path::parse(path).map_err(bad_path)?;
            return Ok(Place {
                store: self.local.clone(),
                path,
                medium: Medium::Local,
                flushes: Some(self.flushes.clone()),
            });
        }
        let Some((scheme, rest)) = location.split_once("://") else {
            return Err(Error::new(
                ErrorKind::Storage,
                format!("expected an absolute path or a URL with file://, s3:// or memory://, found {location:?}"),
            ));
        };
        match scheme {
            "memory" => {
                let path = Path::parse(rest).map_err(bad_path)?;
                Ok(Place { store: self.memory.clone(), path, medium: Medium::Memory, flushes: None })
            }
            "s3" | "s3a" | "s3n" => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() {
                    return Err(Error::new(
                        ErrorKind::Storage,
                        format!("expected s3://bucket/key, found {location:?}"),
                    ));
                }
                let store = self.client(bucket, location, given, vended)?;
                Ok(Place { store, path: Path::parse(key).map_err(bad_path)?, medium: Medium::S3, flushes: None })
            }
            other => Err(Error::new(
                ErrorKind::Unsupported,
                format!("storage '{other}://' is not supported, found {location:?}: use file://, s3:// or memory://"),
            )),
        }
    }

    fn client(
        &self,
        bucket: &str,
        location: &str,
        given: &S3Settings,
        vended: Option<&Arc<Vended>>,
    ) -> Result<Arc<dyn ObjectStore>> {
        let mut settings = self.user.clone();
        let mut credentials = None;
        if let Some(vended) = vended {
            // Catalogs name prefixes with s3://, whatever the table's own location says.
            let canonical =
                location.split_once("://").map_or_else(|| location.to_owned(), |(_, rest)| format!("s3://{rest}"));
            if let Some((prefix, granted, has_keys)) = vended.settings(location).or_else(|| vended.settings(&canonical))
            {
                settings = settings.or(&granted);
                if has_keys && settings.keys.is_none() {
                    credentials = Some((vended, prefix));
                }
            }
        }
        // Keys of the table's static properties must not shadow renewing ones.
        let given = if credentials.is_some() { S3Settings { keys: None, ..given.clone() } } else { given.clone() };
        let settings = settings.or(&given);
        let key = ClientKey {
            bucket: bucket.to_owned(),
            settings,
            vended: credentials.as_ref().map(|(vended, prefix)| (Arc::as_ptr(vended) as usize, prefix.clone())),
        };
        let mut clients = self.clients.lock();
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let provider =
            credentials.map(|(vended, prefix)| Arc::new(VendedProvider { vended: vended.clone(), prefix }) as _);
        let client = key.settings.client(bucket, provider)?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

/// The path of a `file:` URL in any of its spellings, or of a bare absolute path. Not percent-decoded: Iceberg's
/// locations are plain text, and writers put `%2F` into directory names.
pub(crate) fn local_path(location: &str) -> Option<&str> {
    let path = match location.strip_prefix("file:") {
        Some(rest) => rest.strip_prefix("//localhost/").map_or(rest, |_| &rest["//localhost".len()..]),
        None => location.starts_with('/').then_some(location)?,
    };
    // file:/p, file:///p and file:////p are the same; object_store refuses empty segments.
    let trimmed = path.trim_start_matches('/');
    Some(&path[path.len() - trimmed.len() - usize::from(trimmed.len() < path.len())..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_local_path_is_read() {
        for location in ["/a/b c", "file:/a/b c", "file:///a/b c", "file://localhost/a/b c", "file:////a/b c"] {
            assert_eq!(local_path(location), Some("/a/b c"), "{location}");
        }
        assert_eq!(local_path("s3://b/k"), None);
        assert_eq!(local_path("relative"), None);
    }

    #[test]
    fn a_bucket_has_one_client() {
        let stores = Stores::new(S3Settings { endpoint: Some("http://127.0.0.1:9".into()), ..S3Settings::default() });
        let given = S3Settings::default();
        let (a, b) =
            (stores.place("s3://b/x", &given, None).unwrap(), stores.place("s3a://b/y", &given, None).unwrap());
        assert!(Arc::ptr_eq(&a.store, &b.store));
        let other = stores.place("s3://c/x", &given, None).unwrap();
        assert!(!Arc::ptr_eq(&a.store, &other.store));
    }

    #[test]
    fn an_unknown_scheme_is_named() {
        let error = Stores::default().place("gs://b/x", &S3Settings::default(), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("gs://"), "{error}");
    }
}
