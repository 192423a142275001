//! The job document: the one description of a job that Python, YAML, the command line and every runner share.
//!
//! [`Job::from_document`] and [`Job::from_yaml`] are the only ways in; they name the path of whatever is wrong.

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ByteSize, Error, Interval, JobName, Result};

mod decode;
mod document;
mod errors;
mod kafka;
mod lake;
mod parse;
mod sink;

pub use decode::{Avro, Decode, Format, Json, Raw, RecordField, Registry, RegistrySettings};
pub use document::Document;
pub use errors::{DeadLetters, Errors, OnLostOffsets, OnRollback};
pub use kafka::{Kafka, KafkaSecurity, SecurityProtocol, Source, Start};
pub use lake::{CatalogSettings, Lake, Storage};
pub use sink::{Sink, Transform};

pub(crate) use parse::did_you_mean;

/// A job: where records come from, how they are read and changed, and the table that they go to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The ledger's key in the table. By default made from the topics and the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<JobName>,
    /// The lake that holds the table.
    pub lake: Lake,
    /// Where records come from.
    pub source: Source,
    /// How a record's bytes become columns.
    pub decode: Decode,
    /// What happens to the columns before they are written.
    #[serde(default, skip_serializing_if = "Transform::is_empty")]
    pub transform: Transform,
    /// The table.
    pub sink: Sink,
    /// What happens to bad records, lost offsets and rollbacks.
    #[serde(default)]
    pub errors: Errors,
    /// When to commit and when to end.
    #[serde(default)]
    pub trigger: Trigger,
    /// All memory that the job may hold: open files, records on their way, Kafka's buffers.
    #[serde(default = "Job::default_memory")]
    pub memory: ByteSize,
    /// How long a stopping job may take to commit what it has read.
    #[serde(default = "Job::default_drain")]
    pub drain_timeout: Interval,
    /// What runs the job.
    #[serde(default)]
    pub engine: Engine,
}

impl Job {
    /// The default of `memory`.
    pub fn default_memory() -> ByteSize {
        ByteSize::mib(1024)
    }

    /// The default of `drain_timeout`.
    pub fn default_drain() -> Interval {
        Interval(std::time::Duration::from_secs(30))
    }

    /// Reads and checks a job document.
    ///
    /// # Errors
    /// `Config`, with the path of the first thing that is wrong.
    pub fn from_document(value: Document) -> Result<Self> {
        let job: Job = read("", value)?;
        job.check()?;
        Ok(job)
    }

    /// Reads and checks a job document written in YAML (or JSON, which is YAML).
    ///
    /// # Errors
    /// `Config`, with the line for a mistake in the YAML, the path for a mistake in the document.
    pub fn from_yaml(text: &str) -> Result<Self> {
        Self::from_document(yaml(text)?)
    }

    /// The document with secrets masked and references kept: safe to store, log and show.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("a job is plain data")
    }

    /// The JSON Schema of the document.
    pub fn json_schema() -> Value {
        schemars::schema_for!(Job).to_value()
    }

    /// The job's name, or the one made from topics and table.
    pub fn ledger_name(&self) -> JobName {
        match &self.name {
            Some(name) => name.clone(),
            None => {
                let Source::Kafka(kafka) = &self.source;
                let clean =
                    |text: String| text.replace(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)), "_");
                let mut text = clean(format!("{}-to-{}", kafka.topics.join("-"), self.sink.table));
                text.truncate(200);
                text.parse().expect("cleaned above")
            }
        }
    }

    fn check(&self) -> Result<()> {
        let Source::Kafka(kafka) = &self.source;
        kafka.check()?;
        self.decode.check()?;
        self.transform.check()?;
        self.sink.check()?;
        if self.memory < ByteSize::mib(64) {
            return Err(Error::config("memory", format!("expected at least 64MiB, found {}", self.memory)));
        }
        if let Some(letters) = &self.errors.dead_letters
            && kafka.topics.contains(&letters.topic)
        {
            return Err(Error::config(
                "errors.dead_letters.topic",
                format!("'{}' is also a source topic: bad records would come back for ever", letters.topic),
            ));
        }
        Ok(())
    }
}

/// Reads any part of a job document, naming the path under `root` of what is wrong.
///
/// # Errors
/// `Config`.
pub fn read<T: DeserializeOwned>(root: &str, value: Document) -> Result<T> {
    parse::read(root, value)
}

/// Reads YAML into plain values.
///
/// # Errors
/// `Config`, with line and column.
pub fn yaml(text: &str) -> Result<Document> {
    serde_yaml_ng::from_str(text).map_err(|error| Error::config("", format!("this is not YAML: {error}")))
}

/// Checks one part of a job document, named by its key, and returns it with defaults filled in and secrets masked.
///
/// # Errors
/// `Config`, with the path under `path`.
pub fn check_part(part: &str, path: &str, value: Document) -> Result<Document> {
    fn checked<T: DeserializeOwned + Serialize>(
        path: &str,
        value: Document,
        check: impl Fn(&T) -> Result<()>,
    ) -> Result<Document> {
        let part: T = read(path, value)?;
        check(&part)?;
        let text = serde_json::to_string(&part).expect("a part of a job is plain data");
        Ok(serde_json::from_str(&text).expect("written above"))
    }
    match part {
        "lake" => checked(path, value, |_: &Lake| Ok(())),
        "source" => checked(path, value, |Source::Kafka(kafka): &Source| kafka.check()),
        "decode" => checked(path, value, Decode::check),
        "transform" => checked(path, value, Transform::check),
        "sink" => checked(path, value, Sink::check),
        "errors" => checked(path, value, |_: &Errors| Ok(())),
        "trigger" => checked(path, value, |_: &Trigger| Ok(())),
        _ => Err(Error::config(path, format!("a job document has no part '{part}'"))),
    }
}

/// What reading without a table needs: a job document without a sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Where records come from.
    pub source: Source,
    /// How a record's bytes become columns.
    pub decode: Decode,
    /// What happens to the columns.
    #[serde(default)]
    pub transform: Transform,
    /// What happens to bad records.
    #[serde(default)]
    pub errors: Errors,
}

impl Reading {
    /// Reads and checks the document.
    ///
    /// # Errors
    /// `Config`, with the path of the first thing that is wrong.
    pub fn from_document(value: Document) -> Result<Self> {
        let reading: Reading = read("", value)?;
        let Source::Kafka(kafka) = &reading.source;
        kafka.check()?;
        reading.decode.check()?;
        reading.transform.check()?;
        Ok(reading)
    }
}

/// When to commit, and when to end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trigger {
    /// Go on for ever, a commit in each interval: `{every: 1s}`.
    Every(Interval),
    /// Read what is there now, in as many commits as memory and file size suggest, and end.
    #[default]
    AvailableNow,
    /// Read what is there now, in one commit, and end.
    Once,
}

/// What runs the job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Threads of this process.
    #[default]
    Local,
}
