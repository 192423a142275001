//! Reading a document: the path of a mistake, and what was probably meant.

use serde::de::DeserializeOwned;

use crate::{Document, Error, Result};

pub(super) fn read<T: DeserializeOwned>(root: &str, value: Document) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = match error.path().to_string() {
            path if path == "." => root.to_owned(),
            path if root.is_empty() => path,
            path => format!("{root}.{path}"),
        };
        let (path, message) = explain(path, &error.inner().to_string());
        Error::config(path, message)
    })
}

/// serde knows the expected names but only lists them: pick the nearest one.
fn explain(path: String, message: &str) -> (String, String) {
    for (prefix, what) in [("unknown field `", "key"), ("unknown variant `", "value")] {
        let Some(rest) = message.strip_prefix(prefix) else { continue };
        let Some((found, rest)) = rest.split_once('`') else { continue };
        let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        // The path of an unknown key ends with the key itself.
        let path = path.strip_suffix(found).map_or(path.as_str(), |parent| parent.trim_end_matches('.')).to_owned();
        return (
            path,
            format!("unknown {what} '{found}'{} (known: {})", did_you_mean(found, &known), known.join(", ")),
        );
    }
    (path, message.replace('`', "'"))
}

/// `, did you mean 'day'?` if one of the known names is near enough, else nothing.
pub(crate) fn did_you_mean(found: &str, known: &[&str]) -> String {
    known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(found, name), name))
        .filter(|(distance, name)| *distance <= 1.max(name.len() / 3))
        .min()
        .map(|(_, name)| format!(", did you mean '{name}'?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::{ErrorKind, Job};

    const GOOD: &str = r#"
name: sales
lake: ./lake
source: {kafka: {topics: [events], bootstrap: "localhost:9092", start: earliest}}
decode: {avro: {registry: "http://localhost:8081"}}
transform: {sql: "select user_id, price, ts from input where price > 0"}
sink: {table: shop.sales, partition_by: ["day(ts)", "bucket(16, user_id)"], file_size: 256MiB}
errors: {dead_letters: {topic: events.dlq}, max_bad: 1%}
trigger: {every: 1s}
memory: 1GiB
engine: local
"#;

    #[test]
    fn the_designs_document_is_read_and_written_back() {
        let job = Job::from_yaml(GOOD).unwrap();
        assert_eq!(Job::from_yaml(&job.to_json().to_string()).unwrap(), job);
        assert_eq!(job.ledger_name().as_str(), "sales");
    }

    fn complaint(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        let error = Job::from_yaml(&GOOD.replace(from, to)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        error.to_string()
    }

    #[test]
    fn mistakes_are_answered_with_their_path() {
        assert_eq!(
            complaint("day(ts)", "dya(ts)"),
            "sink.partition_by[0]: unknown transform 'dya', did you mean 'day'?"
        );
        assert!(
            complaint("table: shop", "tabel: shop")
                .starts_with("sink: unknown key 'tabel', did you mean 'table'? (known: table, create,")
        );
        assert!(
            complaint("engine: local", "engine: lokal")
                .starts_with("engine: unknown value 'lokal', did you mean 'local'?")
        );
        assert_eq!(complaint("shop.sales", "sales"), "sink.table: expected 'namespace.table', found 'sales'");
        assert!(complaint("every: 1s", "every: 1 parsec").starts_with("trigger.every: expected an interval"));
        assert!(complaint("file_size: 256MiB", "file_size: large").starts_with("sink.file_size: expected a size"));
        assert!(complaint("memory: 1GiB", "memory: [1]").starts_with("memory: expected a size"));
        assert!(complaint("topics: [events]", "topics: events").starts_with("source.kafka.topics: "));
        assert!(complaint("topic: events.dlq", "topic: events").starts_with("errors.dead_letters.topic: "));
        assert!(
            complaint("avro: {registry", "jsn: {registry")
                .starts_with("decode: unknown key 'jsn', did you mean 'json'?")
        );
        assert!(complaint("start: earliest", "properties: {group.id: x}").contains("use source.kafka.group"));
    }

    #[test]
    fn secrets_leave_no_trace_in_the_stored_document() {
        let job = Job::from_yaml(&GOOD.replace(
            "lake: ./lake",
            "lake: {catalog: 'http://c:8181', token: tok-hunter2, storage: {secret_access_key: '${env:KEY}', access_key_id: hunter2}}",
        ))
        .unwrap();
        let shown = format!("{job:?} {}", job.to_json());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("${env:KEY}"));
    }

    #[test]
    fn columns_keep_the_order_in_which_they_are_written() {
        let from = "avro: {registry: \"http://localhost:8081\"}";
        let job = Job::from_yaml(&GOOD.replace(from, "json: {schema: {zeta: long, alpha: string}}")).unwrap();
        let columns: Vec<_> = job.decode.json.unwrap().schema.unwrap().into_keys().collect();
        assert_eq!(columns, ["zeta", "alpha"]);
        assert!(Job::from_yaml("{lake: a, lake: b}").unwrap_err().to_string().contains("lake"));
    }

    #[test]
    fn start_offsets_have_partitions_as_keys() {
        let job =
            Job::from_yaml(&GOOD.replace("start: earliest", "start: {offsets: {events: {0: 5, \"1\": 7}}}")).unwrap();
        let crate::Source::Kafka(kafka) = job.source;
        let crate::Start::Offsets(offsets) = kafka.start else { panic!("{:?}", kafka.start) };
        assert_eq!((offsets["events"][&0], offsets["events"][&1]), (5, 7));
    }

    #[test]
    fn the_json_schema_is_generated_and_closed() {
        let schema = Job::json_schema();
        assert_eq!(schema["additionalProperties"], false);
        assert!(schema["properties"]["sink"].is_object());
    }
}
