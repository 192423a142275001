//! The lake of a job: its catalog and its storage.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Secret;

/// A lake: a catalog and the storage of its tables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected a path, a catalog URL, or a mapping with the key 'catalog'")]
pub enum Lake {
    /// A directory (local files with a SQLite catalog in `catalog.db`) or the URL of a REST catalog.
    Location(String),
    /// A catalog with its settings.
    Catalog(Box<CatalogSettings>),
}

impl Lake {
    /// The settings, defaults filled in: what `catalog` opens.
    pub fn settings(&self) -> CatalogSettings {
        match self {
            Lake::Catalog(settings) => (**settings).clone(),
            Lake::Location(location) => CatalogSettings { catalog: location.clone(), ..CatalogSettings::default() },
        }
    }
}

/// How to reach a catalog and its storage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CatalogSettings {
    /// `./dir` (SQLite catalog `catalog.db` and tables in it), `sqlite:///path/catalog.db`, or `http(s)://…` (REST).
    pub catalog: String,
    /// Where new tables go: a directory or `s3://bucket/prefix`; for a REST catalog its name for the warehouse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warehouse: Option<String>,
    /// The catalog's name in the SQL schema shared with PyIceberg and Java (`catalog_name`). All must use the same.
    #[serde(default = "CatalogSettings::default_name", skip_serializing_if = "CatalogSettings::is_default_name")]
    pub name: String,
    /// Bearer token of a REST catalog.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// OAuth2 client credentials of a REST catalog, `client_id:client_secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<Secret>,
    /// Where tokens are fetched, if not at the catalog's own `v1/oauth/tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth2_server_uri: Option<String>,
    /// OAuth2 scope. By default `catalog`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Prefix of the REST paths, if the catalog's own configuration does not give one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Further HTTP headers of each request to a REST catalog.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub headers: IndexMap<String, Secret>,
    /// Settings of the object storage. What is not given comes from the catalog (vended credentials), then from the
    /// environment (`AWS_…`, instance and web-identity roles).
    #[serde(default, skip_serializing_if = "Storage::is_default")]
    pub storage: Storage,
}

impl Default for CatalogSettings {
    fn default() -> Self {
        CatalogSettings {
            catalog: String::new(),
            warehouse: None,
            name: Self::default_name(),
            token: None,
            credential: None,
            oauth2_server_uri: None,
            scope: None,
            prefix: None,
            headers: IndexMap::new(),
            storage: Storage::default(),
        }
    }
}

impl CatalogSettings {
    /// The default of `name`.
    pub fn default_name() -> String {
        "lake".to_owned()
    }

    fn is_default_name(name: &str) -> bool {
        name == "lake"
    }
}

/// Settings of an S3-compatible object storage.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Storage {
    /// URL of the S3 endpoint, if not Amazon's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Access key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<Secret>,
    /// Secret key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_access_key: Option<Secret>,
    /// Session token of temporary credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<Secret>,
    /// `https://host/bucket/key` instead of `https://bucket.host/key`. By default on where an endpoint is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_style: Option<bool>,
}

impl Storage {
    fn is_default(&self) -> bool {
        *self == Storage::default()
    }
}
