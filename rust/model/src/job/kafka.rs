//! The source of a job: Kafka topics.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, Secret};

/// Where records come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Kafka topics.
    Kafka(Kafka),
}

/// Kafka topics as a source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// The topics, at least one.
    pub topics: Vec<String>,
    /// `host:port` of one or more brokers, comma-separated.
    pub bootstrap: String,
    /// Where a job begins that the table has no ledger of. A job that has one goes on from it.
    #[serde(default)]
    pub start: Start,
    /// Consumer group. By default `frazil-` and the job's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Encryption and authentication.
    #[serde(default, skip_serializing_if = "KafkaSecurity::is_default")]
    pub security: KafkaSecurity,
    /// Further librdkafka settings, by their own names. What Frazil itself must decide is refused.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub properties: IndexMap<String, Secret>,
}

/// librdkafka settings that would break exactly-once delivery, with what to use instead.
const REFUSED_PROPERTIES: [(&str, &str); 8] = [
    ("bootstrap.servers", "use source.kafka.bootstrap"),
    ("group.id", "use source.kafka.group"),
    ("auto.offset.reset", "use source.kafka.start"),
    ("enable.auto.commit", "the table holds the offsets"),
    ("enable.auto.offset.store", "the table holds the offsets"),
    ("enable.partition.eof", "Frazil finds the end itself"),
    ("isolation.level", "always read_committed"),
    ("partition.assignment.strategy", "always cooperative-sticky"),
];

impl Kafka {
    pub(super) fn check(&self) -> Result<()> {
        if self.topics.is_empty() {
            return Err(Error::config("source.kafka.topics", "expected at least one topic"));
        }
        for (index, topic) in self.topics.iter().enumerate() {
            if topic.is_empty() {
                return Err(Error::config(format!("source.kafka.topics[{index}]"), "a topic's name is empty"));
            }
            if self.topics[..index].contains(topic) {
                return Err(Error::config(
                    format!("source.kafka.topics[{index}]"),
                    format!("'{topic}' is named twice"),
                ));
            }
        }
        if self.bootstrap.trim().is_empty() {
            return Err(Error::config("source.kafka.bootstrap", "expected 'host:port' of at least one broker"));
        }
        for (name, instead) in REFUSED_PROPERTIES {
            if self.properties.contains_key(name) {
                return Err(Error::config(
                    format!("source.kafka.properties.{name}"),
                    format!("cannot be set here: {instead}"),
                ));
            }
        }
        if let Start::Offsets(offsets) = &self.start {
            for topic in offsets.keys() {
                if !self.topics.contains(topic) {
                    return Err(Error::config(
                        format!("source.kafka.start.offsets.{topic}"),
                        "is not one of source.kafka.topics",
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Where a job begins that has no ledger yet.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// The oldest record that is there.
    #[default]
    Earliest,
    /// Behind the newest record that is there when the job first runs.
    Latest,
    /// The first record at or after this time, RFC 3339: `2026-11-01T00:00:00Z`.
    Timestamp(String),
    /// These offsets, by topic and partition; other partitions from the oldest record.
    Offsets(IndexMap<String, IndexMap<i32, i64>>),
}

/// Encryption and authentication of Kafka.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KafkaSecurity {
    /// By default `plaintext`, `sasl_plaintext` with a mechanism, `ssl` with a certificate, `sasl_ssl` with both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<SecurityProtocol>,
    /// `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mechanism: Option<String>,
    /// SASL user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<Secret>,
    /// SASL password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// File with the certificates of the authorities to trust (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
    /// File with the client's certificate (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// File with the client's key (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Password of the client's key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_password: Option<Secret>,
}

impl KafkaSecurity {
    fn is_default(&self) -> bool {
        *self == KafkaSecurity::default()
    }
}

/// Kafka's `security.protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecurityProtocol {
    /// Neither encrypted nor authenticated.
    Plaintext,
    /// Encrypted with TLS.
    Ssl,
    /// Authenticated with SASL, not encrypted.
    SaslPlaintext,
    /// Authenticated with SASL, encrypted with TLS.
    SaslSsl,
}
