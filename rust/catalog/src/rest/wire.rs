//! Requests and answers of Iceberg's REST protocol, as far as they are used here.

use std::collections::HashMap;

use iceberg::spec::{FormatVersion, Schema, SortOrder, TableMetadata, UnboundPartitionSpec};
use iceberg::{NamespaceIdent, TableCreation, TableIdent, TableRequirement, TableUpdate};
use serde::{Deserialize, Serialize};

use crate::storage::PrefixedProperties;

#[derive(Deserialize)]
pub(super) struct Config {
    #[serde(default)]
    pub(super) defaults: HashMap<String, String>,
    #[serde(default)]
    pub(super) overrides: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Namespaces {
    #[serde(default)]
    pub(super) namespaces: Vec<NamespaceIdent>,
    pub(super) next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Tables {
    #[serde(default)]
    pub(super) identifiers: Vec<TableIdent>,
    pub(super) next_page_token: Option<String>,
}

#[derive(Serialize)]
pub(super) struct CreateNamespace<'a> {
    pub(super) namespace: &'a NamespaceIdent,
    pub(super) properties: HashMap<String, String>,
}

/// The id of a table's first partition spec.
const FIRST_SPEC: i32 = 0;

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct CreateTable {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    schema: Schema,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition_spec: Option<UnboundPartitionSpec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    write_order: Option<SortOrder>,
    stage_create: bool,
    properties: HashMap<String, String>,
}

impl From<TableCreation> for CreateTable {
    fn from(creation: TableCreation) -> Self {
        let mut properties = creation.properties;
        // The protocol has no field for it: servers take it from this reserved property. Version 2 is everyone's default.
        match creation.format_version {
            FormatVersion::V2 => {}
            version => {
                properties.entry("format-version".to_owned()).or_insert_with(|| (version as u8).to_string());
            }
        }
        CreateTable {
            name: creation.name,
            location: creation.location,
            schema: creation.schema,
            // Optional in the protocol, but Apache's own server cannot do without it.
            partition_spec: creation.partition_spec.map(|spec| spec.with_spec_id(FIRST_SPEC)),
            write_order: creation.sort_order,
            stage_create: false,
            properties,
        }
    }
}

#[derive(Serialize)]
pub(super) struct Commit<'a> {
    pub(super) identifier: &'a TableIdent,
    pub(super) requirements: Vec<TableRequirement>,
    pub(super) updates: Vec<TableUpdate>,
}

/// The answer to loading, creating and committing.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct LoadedTable {
    pub(super) metadata_location: Option<String>,
    pub(super) metadata: TableMetadata,
    #[serde(flatten)]
    pub(super) access: Access,
}

/// The part of an answer that says how to reach the files.
#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Access {
    #[serde(default)]
    config: Option<HashMap<String, String>>,
    #[serde(default)]
    storage_credentials: Option<Vec<StorageCredential>>,
}

#[derive(Deserialize)]
struct StorageCredential {
    prefix: String,
    config: HashMap<String, String>,
}

impl Access {
    /// Whether the answer says anything: commit answers mostly do not.
    pub(super) fn is_given(&self) -> bool {
        self.config.is_some() || self.storage_credentials.is_some()
    }

    /// Properties by location prefix, those of the catalog's configuration underneath.
    pub(super) fn properties(self, catalog: &HashMap<String, String>) -> Vec<PrefixedProperties> {
        let mut common = catalog.clone();
        common.extend(self.config.unwrap_or_default());
        let mut all: Vec<PrefixedProperties> = Vec::new();
        for credential in self.storage_credentials.unwrap_or_default() {
            // Keys of different identities must not be mixed: a token left from the common ones would spoil these.
            let mut properties: HashMap<String, String> = common
                .iter()
                .filter(|(key, _)| !is_key(key))
                .map(|(key, value)| (key.clone(), value.clone()))
                .collect();
            properties.extend(credential.config);
            all.push((credential.prefix, properties));
        }
        all.push((String::new(), common));
        all
    }
}

fn is_key(key: &str) -> bool {
    matches!(key, "s3.access-key-id" | "s3.secret-access-key" | "s3.session-token" | "s3.session-token-expires-at-ms")
}

#[cfg(test)]
mod tests {
    use iceberg::spec::Transform;

    use super::*;

    #[test]
    fn a_partition_spec_is_sent_with_its_id() {
        let spec = UnboundPartitionSpec::builder().add_partition_field(1, "a", Transform::Identity).unwrap().build();
        let schema = Schema::builder().build().unwrap();
        let creation = TableCreation::builder().name("t".to_owned()).schema(schema).partition_spec(spec).build();
        let sent = serde_json::to_value(CreateTable::from(creation)).unwrap();
        assert_eq!(sent["partition-spec"]["spec-id"], 0);
    }

    #[test]
    fn storage_credentials_do_not_mix_with_the_common_keys() {
        let answer = r#"{"config": {"s3.endpoint": "http://e", "s3.session-token": "old", "s3.access-key-id": "a"},
            "storage-credentials": [{"prefix": "s3://b/t", "config": {"s3.access-key-id": "b", "s3.secret-access-key": "c"}}]}"#;
        let access: Access = serde_json::from_str(answer).unwrap();
        assert!(access.is_given());
        let all = access.properties(&HashMap::from([("s3.region".to_owned(), "r".to_owned())]));
        let (prefix, properties) = &all[0];
        assert_eq!(prefix, "s3://b/t");
        assert_eq!(properties.get("s3.access-key-id").map(String::as_str), Some("b"));
        assert_eq!(properties.get("s3.endpoint").map(String::as_str), Some("http://e"));
        assert_eq!(properties.get("s3.region").map(String::as_str), Some("r"));
        assert!(!properties.contains_key("s3.session-token"));
        assert_eq!(all[1].1.get("s3.session-token").map(String::as_str), Some("old"));
        assert!(!serde_json::from_str::<Access>("{}").unwrap().is_given());
    }
}
