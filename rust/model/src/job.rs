//! The job document: the one description of a job that Python, YAML, the command line and every runner share.
//!
//! [`Job::from_json`] and [`Job::from_yaml`] are the only ways in; they name the path of whatever is wrong.

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ByteSize, Error, Interval, JobName, MaxBad, PartitionBy, Result, Secret, SortBy};

mod parse;

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
    pub fn from_json(value: Value) -> Result<Self> {
        let job: Job = read("", value)?;
        job.check()?;
        Ok(job)
    }

    /// Reads and checks a job document written in YAML (or JSON, which is YAML).
    ///
    /// # Errors
    /// `Config`, with the line for a mistake in the YAML, the path for a mistake in the document.
    pub fn from_yaml(text: &str) -> Result<Self> {
        Self::from_json(yaml(text)?)
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
                let clean = |text: String| text.replace(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)), "_");
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
            return Err(Error::config("errors.dead_letters.topic", format!("'{}' is also a source topic: bad records would come back for ever", letters.topic)));
        }
        Ok(())
    }
}

/// Reads any part of a job document, naming the path under `root` of what is wrong.
///
/// # Errors
/// `Config`.
pub fn read<T: DeserializeOwned>(root: &str, value: Value) -> Result<T> {
    parse::read(root, value)
}

/// Reads YAML into plain values.
///
/// # Errors
/// `Config`, with line and column.
pub fn yaml(text: &str) -> Result<Value> {
    serde_yaml_ng::from_str(text).map_err(|error| Error::config("", format!("this is not YAML: {error}")))
}

/// Checks one part of a job document, named by its key, and returns it with defaults filled in and secrets masked.
///
/// # Errors
/// `Config`, with the path under `path`.
pub fn check_part(part: &str, path: &str, value: Value) -> Result<Value> {
    fn checked<T: DeserializeOwned + Serialize>(path: &str, value: Value, check: impl Fn(&T) -> Result<()>) -> Result<Value> {
        let part: T = read(path, value)?;
        check(&part)?;
        Ok(serde_json::to_value(&part).expect("a part of a job is plain data"))
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
    pub fn from_json(value: Value) -> Result<Self> {
        let reading: Reading = read("", value)?;
        let Source::Kafka(kafka) = &reading.source;
        kafka.check()?;
        reading.decode.check()?;
        reading.transform.check()?;
        Ok(reading)
    }
}

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
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    fn check(&self) -> Result<()> {
        if self.topics.is_empty() {
            return Err(Error::config("source.kafka.topics", "expected at least one topic"));
        }
        for (index, topic) in self.topics.iter().enumerate() {
            if topic.is_empty() {
                return Err(Error::config(format!("source.kafka.topics[{index}]"), "a topic's name is empty"));
            }
            if self.topics[..index].contains(topic) {
                return Err(Error::config(format!("source.kafka.topics[{index}]"), format!("'{topic}' is named twice")));
            }
        }
        if self.bootstrap.trim().is_empty() {
            return Err(Error::config("source.kafka.bootstrap", "expected 'host:port' of at least one broker"));
        }
        for (name, instead) in REFUSED_PROPERTIES {
            if self.properties.contains_key(name) {
                return Err(Error::config(format!("source.kafka.properties.{name}"), format!("cannot be set here: {instead}")));
            }
        }
        if let Start::Offsets(offsets) = &self.start {
            for topic in offsets.keys() {
                if !self.topics.contains(topic) {
                    return Err(Error::config(format!("source.kafka.start.offsets.{topic}"), "is not one of source.kafka.topics"));
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

    fn check(&self) -> Result<()> {
        let given = [self.avro.is_some(), self.json.is_some(), self.raw.is_some()].iter().filter(|given| **given).count();
        if given != 1 {
            return Err(Error::config("decode", format!("expected exactly one of 'avro', 'json' and 'raw', found {given}")));
        }
        if let Some(avro) = &self.avro
            && avro.registry.is_none()
            && avro.schema.is_none()
        {
            return Err(Error::config("decode.avro", "expected 'registry' (records in Confluent's wire format) or 'schema' (bare Avro)"));
        }
        for (field, column) in &self.metadata {
            if column.is_empty() {
                return Err(Error::config(format!("decode.metadata.{}", field.name()), "expected the name of a column"));
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
            Registry::Url(url) => RegistrySettings { url: url.clone(), username: None, password: None, token: None, ca: None },
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
    pub column: std::borrow::Cow<'static, str>,
}

impl Raw {
    const DEFAULT: Raw = Raw { column: std::borrow::Cow::Borrowed("value") };

    fn default_column() -> std::borrow::Cow<'static, str> {
        Self::DEFAULT.column
    }
}

/// What happens to the columns: `sql` alone, or any of the other three (`with_columns`, then `where`, then `select`).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Transform {
    /// `select … from input where …`; row by row, so no aggregates, joins, ordering or limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// New or replaced columns, name to SQL expression.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub with_columns: IndexMap<String, String>,
    /// Keep the rows for which this SQL expression is true.
    #[serde(default, rename = "where", skip_serializing_if = "Option::is_none")]
    pub filter: Option<String>,
    /// Keep these SQL expressions (`price * 2 as double_price`), in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub select: Vec<String>,
}

impl Transform {
    /// Whether columns and rows pass as they are.
    pub fn is_empty(&self) -> bool {
        *self == Transform::default()
    }

    fn check(&self) -> Result<()> {
        if self.sql.is_some() && !(self.with_columns.is_empty() && self.filter.is_none() && self.select.is_empty()) {
            return Err(Error::config("transform", "'sql' says everything: it cannot stand beside 'where', 'select' or 'with_columns'"));
        }
        Ok(())
    }
}

/// The table that a job writes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sink {
    /// `namespace.table`.
    pub table: String,
    /// Create the table (and its namespace) if it does not exist.
    #[serde(default = "Sink::default_create")]
    pub create: bool,
    /// Partition fields of a new table: `["day(ts)", "bucket(16, user_id)"]`. Must agree with a table that exists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partition_by: Vec<PartitionBy>,
    /// Sort order of a new table: `["user_id", "ts desc"]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sort_by: Vec<SortBy>,
    /// Iceberg format version of a new table: 2 or 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format_version: Option<u8>,
    /// Target size of a data file; the table's `write.target-file-size-bytes` if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_size: Option<ByteSize>,
    /// Table properties of a new table.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub properties: IndexMap<String, String>,
    /// Location of a new table, if not the catalog's choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
}

impl Sink {
    fn default_create() -> bool {
        true
    }

    fn check(&self) -> Result<()> {
        let parts: Vec<&str> = self.table.split('.').collect();
        if parts.len() < 2 || parts.iter().any(|part| part.is_empty()) {
            return Err(Error::config("sink.table", format!("expected 'namespace.table', found '{}'", self.table)));
        }
        if let Some(version) = self.format_version
            && !(2..=3).contains(&version)
        {
            return Err(Error::config("sink.format_version", format!("expected 2 or 3, found {version}")));
        }
        for (index, field) in self.partition_by.iter().enumerate() {
            if self.partition_by[..index].iter().any(|other| other.field_name() == field.field_name()) {
                return Err(Error::config(format!("sink.partition_by[{index}]"), format!("'{field}' stands there twice")));
            }
        }
        if let Some(name) = self.properties.keys().find(|name| name.starts_with("frazil.")) {
            return Err(Error::config(format!("sink.properties.{name}"), "names that begin with 'frazil.' are Frazil's own"));
        }
        Ok(())
    }
}

/// What happens to bad records, lost offsets and rollbacks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// Where bad records go. Without it, a bad record stops the job, or, within `max_bad`, is dropped and counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<DeadLetters>,
    /// How many bad records the job bears before it stops: `1%`, `0.01` or a count. With dead letters unlimited by
    /// default, without them none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bad: Option<MaxBad>,
    /// When the table was rolled back behind the ledger's commit.
    #[serde(default)]
    pub on_rollback: OnRollback,
    /// When offsets that the ledger needs are gone from the source.
    #[serde(default)]
    pub on_lost_offsets: OnLostOffsets,
}

/// The dead-letter topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetters {
    /// The topic; it must exist, or the brokers must create topics by themselves.
    pub topic: String,
    /// Its brokers, if not the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<String>,
}

/// What to do when the table was rolled back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnRollback {
    /// Stop with an error that names both snapshots.
    #[default]
    Stop,
    /// Go on from the offsets of the newest snapshot of this job that is still in the table.
    Rewind,
}

/// What to do when offsets are gone from the source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLostOffsets {
    /// Stop with an error that names the gap.
    #[default]
    Stop,
    /// Record the gap in the ledger and go on behind it.
    Skip,
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
