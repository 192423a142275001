//! How to reach an S3 bucket: the user's settings, what a catalog vends, Iceberg's property names.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use frazil_model::{Error, ErrorKind, Result};
use iceberg::io::{
    CLIENT_REGION, S3_ACCESS_KEY_ID, S3_ALLOW_ANONYMOUS, S3_ENDPOINT, S3_PATH_STYLE_ACCESS, S3_REGION,
    S3_SECRET_ACCESS_KEY, S3_SESSION_TOKEN,
};
use object_store::aws::{AmazonS3, AmazonS3Builder, AwsCredential, AwsCredentialProvider};
use object_store::{
    BackoffConfig, ClientOptions, CredentialProvider, ObjectStore, RetryConfig, StaticCredentialProvider,
};

/// Keys of one S3 identity. Never shown.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct S3Keys {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    pub(crate) session_token: Option<String>,
}

impl fmt::Debug for S3Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("S3Keys(***)")
    }
}

impl S3Keys {
    /// The keys among Iceberg's properties (`s3.access-key-id`, …), if both are there.
    pub(crate) fn from_properties(properties: &HashMap<String, String>) -> Option<Self> {
        Some(S3Keys {
            access_key_id: properties.get(S3_ACCESS_KEY_ID)?.clone(),
            secret_access_key: properties.get(S3_SECRET_ACCESS_KEY)?.clone(),
            session_token: properties.get(S3_SESSION_TOKEN).cloned(),
        })
    }

    pub(crate) fn to_aws(&self) -> AwsCredential {
        AwsCredential {
            key_id: self.access_key_id.clone(),
            secret_key: self.secret_access_key.clone(),
            token: self.session_token.clone(),
        }
    }
}

/// What is known about an S3 storage. A field left open comes from the next source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct S3Settings {
    pub(crate) endpoint: Option<String>,
    pub(crate) region: Option<String>,
    pub(crate) keys: Option<S3Keys>,
    pub(crate) path_style: Option<bool>,
    pub(crate) anonymous: bool,
}

impl S3Settings {
    /// The user's settings, references to secrets looked up.
    pub(crate) fn from_model(storage: &frazil_model::Storage) -> Result<Self> {
        let keys = match (&storage.access_key_id, &storage.secret_access_key) {
            (Some(id), Some(secret)) => Some(S3Keys {
                access_key_id: id.resolve()?,
                secret_access_key: secret.resolve()?,
                session_token: storage.session_token.as_ref().map(|token| token.resolve()).transpose()?,
            }),
            (None, None) => None,
            _ => {
                return Err(Error::config(
                    "lake.storage",
                    "expected both access_key_id and secret_access_key, found only one: give both, or neither to use the environment",
                ));
            }
        };
        Ok(S3Settings {
            endpoint: storage.endpoint.clone(),
            region: storage.region.clone(),
            keys,
            path_style: storage.path_style,
            anonymous: false,
        })
    }

    /// Settings under Iceberg's property names, as catalogs send them.
    pub(crate) fn from_properties(properties: &HashMap<String, String>) -> Self {
        let truth = |key: &str| properties.get(key).map(|value| value.eq_ignore_ascii_case("true"));
        S3Settings {
            endpoint: properties.get(S3_ENDPOINT).cloned(),
            region: properties.get(S3_REGION).or_else(|| properties.get(CLIENT_REGION)).cloned(),
            keys: S3Keys::from_properties(properties),
            path_style: truth(S3_PATH_STYLE_ACCESS),
            anonymous: truth(S3_ALLOW_ANONYMOUS).unwrap_or(false),
        }
    }

    /// Fills what is open here from `other`.
    pub(crate) fn or(&self, other: &S3Settings) -> S3Settings {
        S3Settings {
            endpoint: self.endpoint.clone().or_else(|| other.endpoint.clone()),
            region: self.region.clone().or_else(|| other.region.clone()),
            keys: self.keys.clone().or_else(|| other.keys.clone()),
            path_style: self.path_style.or(other.path_style),
            anonymous: self.anonymous || other.anonymous,
        }
    }

    /// A client for one bucket. `vended` are renewing credentials of a catalog, used where the settings have no keys;
    /// with neither, the environment decides (variables, web identity, instance role).
    pub(crate) fn client(&self, bucket: &str, vended: Option<AwsCredentialProvider>) -> Result<Arc<dyn ObjectStore>> {
        let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retries());
        let environment = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let endpoint = self
            .endpoint
            .clone()
            .or_else(|| environment("AWS_ENDPOINT_URL_S3"))
            .or_else(|| environment("AWS_ENDPOINT_URL"))
            .or_else(|| environment("AWS_ENDPOINT"));
        let mut options =
            ClientOptions::new().with_timeout(Duration::from_secs(60)).with_connect_timeout(Duration::from_secs(5));
        // Bucket names with dots do not match the wildcard of the virtual hosts' certificate.
        let path_style = self.path_style.unwrap_or(endpoint.is_some() || bucket.contains('.'));
        match &endpoint {
            Some(endpoint) => {
                let url = url::Url::parse(endpoint)
                    .ok()
                    .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
                let url = url.ok_or_else(|| {
                    Error::config(
                        "lake.storage.endpoint",
                        format!("expected a URL such as 'http://localhost:9000', found {endpoint:?}"),
                    )
                })?;
                let plain = url.scheme() == "http";
                options = options.with_allow_http(plain);
                // TLS already guards the body: hashing it once more only costs processor time.
                builder = builder.with_unsigned_payload(!plain);
                let base = endpoint.trim_end_matches('/');
                builder = match (path_style, base.split_once("://")) {
                    (false, Some((scheme, host))) => builder.with_endpoint(format!("{scheme}://{bucket}.{host}")),
                    _ => builder.with_endpoint(base),
                };
            }
            None => builder = builder.with_unsigned_payload(true),
        }
        builder = builder.with_virtual_hosted_style_request(!path_style).with_client_options(options);
        match (&self.region, &endpoint) {
            (Some(region), _) => builder = builder.with_region(region),
            (None, Some(_)) if environment("AWS_REGION").is_none() && environment("AWS_DEFAULT_REGION").is_none() => {
                builder = builder.with_region("us-east-1");
            }
            _ => {}
        }
        builder = match (&self.keys, vended) {
            (Some(keys), _) => builder.with_credentials(Arc::new(StaticCredentialProvider::new(keys.to_aws()))),
            (None, Some(vended)) => builder.with_credentials(vended),
            (None, None) if self.anonymous => builder.with_skip_signature(true),
            (None, None) => {
                let environment = built(builder.clone(), bucket)?.credentials().clone();
                builder.with_credentials(Arc::new(FromEnvironment(environment)))
            }
        };
        Ok(Arc::new(built(builder, bucket)?))
    }
}

fn built(builder: AmazonS3Builder, bucket: &str) -> Result<AmazonS3> {
    builder.build().map_err(|error| {
        Error::new(ErrorKind::Config, format!("the storage of bucket '{bucket}' cannot be set up: {error}"))
    })
}

/// Says what is missing where the chain of the environment ends at an instance role that is not there.
#[derive(Debug)]
struct FromEnvironment(AwsCredentialProvider);

#[async_trait]
impl CredentialProvider for FromEnvironment {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.0.get_credential().await.map_err(|error| {
            let message = format!(
                "expected S3 credentials, found none: give storage.access_key_id and storage.secret_access_key, set \
                 AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or use a role; the last place asked said: {error}"
            );
            let own = Error::new(ErrorKind::Unauthorized, message);
            object_store::Error::Generic { store: "S3 credentials", source: Box::new(own) }
        })
    }
}

/// Exponential with jitter; ends before a commit interval turns into minutes of silence.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
            base: 2.0,
        },
        max_retries: 8,
        retry_timeout: Duration::from_secs(60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_wins_over_the_catalog() {
        let user = S3Settings { endpoint: Some("http://mine".into()), ..S3Settings::default() };
        let sent = HashMap::from([
            (S3_ENDPOINT.to_owned(), "http://theirs".to_owned()),
            (CLIENT_REGION.to_owned(), "eu-west-1".to_owned()),
            (S3_ACCESS_KEY_ID.to_owned(), "id".to_owned()),
            (S3_SECRET_ACCESS_KEY.to_owned(), "hunter2".to_owned()),
        ]);
        let both = user.or(&S3Settings::from_properties(&sent));
        assert_eq!(both.endpoint.as_deref(), Some("http://mine"));
        assert_eq!(both.region.as_deref(), Some("eu-west-1"));
        assert!(both.keys.is_some());
        assert!(!format!("{both:?}").contains("hunter2"));
    }

    #[test]
    fn half_a_key_is_a_config_error() {
        let storage =
            frazil_model::Storage { access_key_id: Some(frazil_model::Secret::new("id")), ..Default::default() };
        assert_eq!(S3Settings::from_model(&storage).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn an_endpoint_that_is_no_url_is_a_config_error() {
        let settings = S3Settings { endpoint: Some("localhost:9000".into()), ..S3Settings::default() };
        assert_eq!(settings.client("b", None).unwrap_err().kind(), ErrorKind::Config);
    }
}
