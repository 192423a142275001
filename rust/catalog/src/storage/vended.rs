//! Credentials that a catalog vends for one table, renewed before they expire for as long as a writer lives.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use frazil_model::{Error, ErrorKind, Result};
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use parking_lot::RwLock;

use super::settings::{S3Keys, S3Settings};

const EXPIRES_AT: &str = "s3.session-token-expires-at-ms";
/// Renewed this long before the end, so that a request with retries still ends in time.
const MARGIN: Duration = Duration::from_secs(120);

/// Properties for the files below a location prefix.
pub(crate) type PrefixedProperties = (String, HashMap<String, String>);

/// Asks the catalog for a table's storage properties again.
#[async_trait]
pub(crate) trait Renew: Send + Sync {
    /// Fresh properties by location prefix; the empty prefix fits all.
    async fn renew(&self) -> Result<Vec<PrefixedProperties>>;
}

#[derive(Clone)]
struct Grant {
    prefix: String,
    settings: S3Settings,
    credential: Option<Arc<AwsCredential>>,
    expires: Option<SystemTime>,
}

/// The storage properties that a catalog gave for a table, shared by every handle on that table.
pub(crate) struct Vended {
    grants: RwLock<Vec<Grant>>,
    source: Box<dyn Renew>,
    renewing: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Vended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefixes: Vec<_> = self.grants.read().iter().map(|grant| grant.prefix.clone()).collect();
        f.debug_struct("Vended").field("prefixes", &prefixes).finish_non_exhaustive()
    }
}

impl Vended {
    pub(crate) fn new(source: Box<dyn Renew>) -> Self {
        Vended { grants: RwLock::default(), source, renewing: tokio::sync::Mutex::default() }
    }

    /// Takes over what a load or commit answer said.
    pub(crate) fn update(&self, answer: Vec<PrefixedProperties>) {
        let mut grants: Vec<Grant> =
            answer.into_iter().map(|(prefix, properties)| grant(prefix, &properties)).collect();
        // Longest prefix first: the specification's rule for several credentials.
        grants.sort_by_key(|grant| std::cmp::Reverse(grant.prefix.len()));
        *self.grants.write() = grants;
    }

    /// The grant for a location: its prefix, its settings without keys, and whether it has keys.
    pub(super) fn settings(&self, location: &str) -> Option<(String, S3Settings, bool)> {
        let grants = self.grants.read();
        let grant = grants.iter().find(|grant| location.starts_with(&grant.prefix))?;
        Some((grant.prefix.clone(), S3Settings { keys: None, ..grant.settings.clone() }, grant.credential.is_some()))
    }

    fn current(&self, prefix: &str) -> Option<(Arc<AwsCredential>, Option<SystemTime>)> {
        let grants = self.grants.read();
        let grant = grants.iter().find(|grant| grant.prefix == prefix)?;
        Some((grant.credential.clone()?, grant.expires))
    }

    async fn credential(&self, prefix: &str) -> Result<Arc<AwsCredential>> {
        if let Some(fresh) = self.fresh(prefix) {
            return Ok(fresh);
        }
        let _one_at_a_time = self.renewing.lock().await;
        if let Some(fresh) = self.fresh(prefix) {
            return Ok(fresh);
        }
        match self.source.renew().await {
            Ok(answer) => self.update(answer),
            // Still valid for a moment: the next request tries again.
            Err(error) => match self.current(prefix) {
                Some((credential, Some(expires))) if SystemTime::now() < expires => {
                    log::warn!("storage credentials could not be renewed yet: {error}");
                    return Ok(credential);
                }
                _ => return Err(error),
            },
        }
        self.current(prefix).map(|(credential, _)| credential).ok_or_else(|| {
            Error::new(
                ErrorKind::Unauthorized,
                format!("the catalog no longer gives storage credentials for '{prefix}'"),
            )
        })
    }

    fn fresh(&self, prefix: &str) -> Option<Arc<AwsCredential>> {
        let (credential, expires) = self.current(prefix)?;
        expires.is_none_or(|expires| SystemTime::now() + MARGIN < expires).then_some(credential)
    }
}

fn grant(prefix: String, properties: &HashMap<String, String>) -> Grant {
    let expires = properties.get(EXPIRES_AT).and_then(|text| text.parse().ok());
    Grant {
        prefix,
        settings: S3Settings::from_properties(properties),
        credential: S3Keys::from_properties(properties).map(|keys| Arc::new(keys.to_aws())),
        expires: expires.map(|ms| UNIX_EPOCH + Duration::from_millis(ms)),
    }
}

/// The credentials of one grant, as the S3 client asks for them before each request.
#[derive(Debug)]
pub(super) struct VendedProvider {
    pub(super) vended: Arc<Vended>,
    pub(super) prefix: String,
}

#[async_trait]
impl CredentialProvider for VendedProvider {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.vended
            .credential(&self.prefix)
            .await
            .map_err(|error| object_store::Error::Generic { store: "vended credentials", source: Box::new(error) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn answer(prefix: &str, key: &str, valid_for: Duration) -> PrefixedProperties {
        let until = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + valid_for;
        let properties = [
            ("s3.access-key-id", key.to_owned()),
            ("s3.secret-access-key", "hunter2".to_owned()),
            (EXPIRES_AT, until.as_millis().to_string()),
        ];
        (prefix.to_owned(), properties.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
    }

    struct Counting(AtomicU64);

    #[async_trait]
    impl Renew for Counting {
        async fn renew(&self) -> Result<Vec<PrefixedProperties>> {
            let count = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            Ok(vec![answer("s3://b/", &format!("renewed-{count}"), Duration::from_secs(3600))])
        }
    }

    #[tokio::test]
    async fn credentials_are_renewed_once_before_they_expire() {
        let vended = Vended::new(Box::new(Counting(AtomicU64::new(0))));
        vended.update(vec![answer("s3://b/", "first", Duration::from_secs(3600))]);
        assert_eq!(vended.credential("s3://b/").await.unwrap().key_id, "first");
        vended.update(vec![answer("s3://b/", "old", Duration::from_secs(30))]);
        let (a, b) = tokio::join!(vended.credential("s3://b/"), vended.credential("s3://b/"));
        assert_eq!((a.unwrap().key_id.as_str(), b.unwrap().key_id.as_str()), ("renewed-1", "renewed-1"));
    }

    #[test]
    fn the_longest_prefix_is_chosen() {
        let vended = Vended::new(Box::new(Counting(AtomicU64::new(0))));
        let hour = Duration::from_secs(3600);
        vended.update(vec![
            answer("", "all", hour),
            answer("s3://b/t", "table", hour),
            answer("s3://b", "bucket", hour),
        ]);
        assert_eq!(vended.settings("s3://b/t/data/f").unwrap().0, "s3://b/t");
        assert_eq!(vended.settings("s3://c/x").unwrap().0, "");
        assert!(!format!("{vended:?}").contains("hunter2"));
    }
}
