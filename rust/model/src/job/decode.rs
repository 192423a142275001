//! How a job's records become columns.

use std::borrow::Cow;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result, Secret};

/// How a record's value becomes columns: a format, and which of Kafka's own fields become columns too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Decode {
    /// Avro. One of `avro`, `json` and `raw` must be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avro: Option<Avro>,
    /// JSON, one object a record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Json>,
    /// The bytes as they are, in one column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Raw>,
    /// Fields of the record that become columns: `{partition: kafka_partition, offset: kafka_offset}`, field to column.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub metadata: IndexMap<RecordField, String>,
}

impl Decode {
    /// The format that was given.
    pub fn format(&self) -> Format<'_> {
        match (&self.avro, &self.json, &self.raw) {
            (Some(avro), _, _) => Format::Avro(avro),
            (_, Some(json), _) => Format::Json(json),
            (_, _, raw) => Format::Raw(raw.as_ref().unwrap_or(&Raw::DEFAULT)),
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        let given =
            [self.avro.is_some(), self.json.is_some(), self.raw.is_some()].iter().filter(|given| **given).count();
        if given != 1 {
            return Err(Error::config(
                "decode",
                format!("expected exactly one of 'avro', 'json' and 'raw', found {given}"),
            ));
        }
        if let Some(avro) = &self.avro
            && avro.registry.is_none()
            && avro.schema.is_none()
        {
            return Err(Error::config(
                "decode.avro",
                "expected 'registry' (records in Confluent's wire format) or 'schema' (bare Avro)",
            ));
        }
        for (field, column) in &self.metadata {
            if column.is_empty() {
                return Err(Error::config(
                    format!("decode.metadata.{}", field.name()),
                    "expected the name of a column",
                ));
            }
        }
        Ok(())
    }
}

/// The format of a record's value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Format<'a> {
    /// Avro.
    Avro(&'a Avro),
    /// JSON.
    Json(&'a Json),
    /// Bytes.
    Raw(&'a Raw),
}

/// A field of a Kafka record that can become a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordField {
    /// The topic's name (string).
    Topic,
    /// The partition (int).
    Partition,
    /// The offset (long).
    Offset,
    /// The record's timestamp (timestamptz, from milliseconds).
    Timestamp,
    /// The key's bytes (binary).
    Key,
    /// The headers (list of struct<key: string, value: binary>).
    Headers,
}

impl RecordField {
    /// The name in the job document.
    pub fn name(self) -> &'static str {
        match self {
            RecordField::Topic => "topic",
            RecordField::Partition => "partition",
            RecordField::Offset => "offset",
            RecordField::Timestamp => "timestamp",
            RecordField::Key => "key",
            RecordField::Headers => "headers",
        }
    }
}

/// Avro values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Avro {
    /// The schema registry (Confluent's API); each record then begins with a zero byte and its schema's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry: Option<Registry>,
    /// The schema to read with, as JSON text or as a value. Needed without a registry; with one, the subject's newest
    /// version is the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// The registry's subject. By default the topic's name and `-value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
}

/// A schema registry: its URL, or a mapping with authentication.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "expected the registry's URL, or a mapping with the key 'url'")]
pub enum Registry {
    /// The URL.
    Url(String),
    /// The URL with authentication.
    Settings(RegistrySettings),
}

impl Registry {
    /// The settings, whichever way they were written.
    pub fn settings(&self) -> RegistrySettings {
        match self {
            Registry::Settings(settings) => settings.clone(),
            Registry::Url(url) => {
                RegistrySettings { url: url.clone(), username: None, password: None, token: None, ca: None }
            }
        }
    }
}

/// How to reach a schema registry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RegistrySettings {
    /// Base URL of the Confluent API.
    pub url: String,
    /// User for basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Secret>,
    /// Password for basic authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// Bearer token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// File with the certificates of the authorities to trust (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// JSON values, one object a record. A key that no column has is left out; a value that does not fit is a bad record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Json {
    /// Columns and their Iceberg types, in order: `{id: long, ts: timestamptz, tags: "list<string>"}`; `required` may
    /// stand behind a type. Without it the table's schema is used if the table exists, else it is inferred from the
    /// first records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<IndexMap<String, String>>,
    /// How many of the first records to infer from.
    #[serde(default = "Json::default_infer_records")]
    pub infer_records: usize,
}

impl Json {
    /// The default of `infer_records`.
    pub fn default_infer_records() -> usize {
        1000
    }
}

/// The value's bytes in one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Raw {
    /// The column's name.
    #[serde(default = "Raw::default_column")]
    pub column: Cow<'static, str>,
}

impl Raw {
    const DEFAULT: Raw = Raw { column: Cow::Borrowed("value") };

    fn default_column() -> Cow<'static, str> {
        Self::DEFAULT.column
    }
}
