//! JSON from bytes to columns: what fits, what is refused, and spoiled records.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use frazil_model::{Decode, ErrorKind, Record, Records};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use crate::{Decoded, Decoder};

fn records<T: AsRef<[u8]>>(values: &[T]) -> Records {
    let topic: Arc<str> = "t".into();
    let mut records = Records::default();
    for (offset, value) in values.iter().enumerate() {
        records
            .push(
                &topic,
                0,
                Record { value: Some(value.as_ref()), key: None, offset: offset as i64, timestamp: None },
                vec![],
            )
            .unwrap();
    }
    records
}

fn open_with(decode: Value, table: Option<SchemaRef>, sample: Option<&Records>) -> frazil_model::Result<Decoder> {
    let decode: Decode = serde_json::from_value(decode).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(Decoder::open(&decode, &["t".to_owned()], table, sample))
}

fn open(schema: Value) -> Decoder {
    open_with(json!({"json": {"schema": schema}}), None, None).unwrap()
}

fn rows(decoded: &Decoded) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("null");
    let columns: Vec<_> =
        decoded.batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    (0..decoded.batch.num_rows())
        .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect())
        .collect()
}

#[test]
fn every_type_is_read_as_it_is_and_what_would_change_is_refused() {
    let good = [
        ("boolean", "true", "true"),
        ("int", "-2147483648", "-2147483648"),
        ("long", "9223372036854775807", "9223372036854775807"),
        ("long", "2.0", "2"),
        ("long", "1e3", "1000"),
        ("float", "0.5", "0.5"),
        ("double", "1e300", "1e300"),
        ("double", "3", "3.0"),
        ("decimal(5,2)", "123.45", "123.45"),
        ("decimal(5,2)", "\"-0.10\"", "-0.10"),
        ("decimal(38,0)", "12345678901234567890123456789012345678", "12345678901234567890123456789012345678"),
        ("date", "\"2026-01-31\"", "2026-01-31"),
        ("time", "\"23:59:59.999999\"", "23:59:59.999999"),
        ("timestamptz", "\"2026-01-31T12:30:00.123456+02:00\"", "2026-01-31T10:30:00.123456Z"),
        ("timestamptz", "\"2026-01-31 12:30:00\"", "2026-01-31T12:30:00Z"),
        ("timestamp", "\"1969-12-31T23:59:59.999999\"", "1969-12-31T23:59:59.999999"),
        ("string", "\"\\u00e9\\n\\ud83d\\ude00\"", "é\n😀"),
        ("string", "\"\\ud840\\udc00\\udbff\\udfff\"", "\u{20000}\u{10FFFF}"),
        ("uuid", "\"00112233-4455-6677-8899-aabbccddeeff\"", "00112233445566778899aabbccddeeff"),
        ("binary", "\"00FF\"", "00ff"),
        ("fixed(2)", "\"0102\"", "0102"),
        ("list<long>", "[1, null, 3]", "[1, null, 3]"),
        (
            "map<string,list<uuid>>",
            "{\"k\": [\"00112233445566778899aabbccddeeff\"]}",
            "{k: [00112233445566778899aabbccddeeff]}",
        ),
        (
            "struct<a: long, b: struct<c: string required>>",
            "{\"b\": {\"c\": \"x\", \"other\": [{}]}}",
            "{a: null, b: {c: x}}",
        ),
        ("long", "null", "null"),
    ];
    for (kind, text, shown) in good {
        let decoded = open(json!({"c": kind})).decode(&records(&[format!("{{\"c\": {text}}}")])).unwrap();
        assert!(decoded.rejected.is_empty(), "{kind} {text}: {}", decoded.rejected[0].reason);
        assert_eq!(rows(&decoded), [[shown]], "{kind} {text}");
    }
    let bad = [
        ("boolean", "1"),
        ("int", "2147483648"),
        ("long", "9223372036854775808"),
        ("long", "1.5"),
        ("long", "\"5\""),
        ("long", "true"),
        ("float", "1e39"),
        ("double", "1e400"),
        ("double", "\"1\""),
        ("decimal(5,2)", "1234.5"),
        ("decimal(5,2)", "1.234"),
        ("date", "20000"),
        ("date", "\"2026-02-30\""),
        ("time", "\"25:00:00\""),
        ("timestamptz", "1700000000000"),
        ("timestamptz", "\"yesterday\""),
        ("string", "5"),
        ("string", "{}"),
        ("uuid", "\"0011\""),
        ("binary", "\"0\""),
        ("binary", "\"zz\""),
        ("fixed(2)", "\"010203\""),
        ("list<long>", "[1, \"x\"]"),
        ("list<long>", "{}"),
        ("list<long required>", "[null]"),
        ("map<string,long>", "[]"),
        ("map<string,long required>", "{\"a\": null}"),
        ("struct<a: long required>", "{}"),
        ("long required", "null"),
    ];
    for (kind, text) in bad {
        let decoded = open(json!({"c": kind})).decode(&records(&[format!("{{\"c\": {text}}}")])).unwrap();
        assert_eq!((decoded.batch.num_rows(), decoded.rejected.len()), (0, 1), "{kind} {text}");
        assert!(decoded.rejected[0].reason.contains("'c"), "{kind} {text}: {}", decoded.rejected[0].reason);
    }
}

#[test]
fn what_is_not_exactly_one_object_is_refused_and_its_neighbours_stay() {
    let good = r#" {"a": 1, "new": {"x": [1, {"y": null}]}, "a": 2} "#.as_bytes().to_vec();
    let deep = [b"{\"new\":".as_slice(), &b"[".repeat(100_000)].concat();
    let bad: Vec<Vec<u8>> = [
        "",
        " ",
        "null",
        "[]",
        "5",
        "{",
        "{}x",
        "{}{}",
        "{}\n{}",
        "{\"a\":1,}",
        "{\"a\" 1}",
        "{a:1}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":+1}",
        "{\"a\":NaN}",
        "{\"new\":tru}",
        "{\"new\":\"\\x\"}",
        "{\"new\":\"\\ud800\"}",
        "{\"new\":\"a\nb\"}",
        "{\"new\":\"open}",
        "{\"a\":1",
    ]
    .iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([deep, b"{\"new\":\"\xff\"}".to_vec()])
    .collect();
    let mut decoder = open(json!({"a": "long"}));
    for value in &bad {
        let decoded = decoder.decode(&records(&[&good, value, &good])).unwrap();
        assert_eq!(rows(&decoded), [["2"], ["2"]], "{:?}", String::from_utf8_lossy(&value[..value.len().min(40)]));
        assert_eq!((decoded.rejected.len(), decoded.rejected[0].row), (1, 1));
    }
}

#[test]
fn columns_come_from_the_table_but_for_those_that_are_ours() {
    let table = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("added_by_sql", DataType::Utf8, false),
        Field::new("ts", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), true),
        Field::new("raw", DataType::LargeBinary, true),
        Field::new("kafka_offset", DataType::Int64, true),
    ]);
    let mut decoder =
        open_with(json!({"json": {}, "metadata": {"offset": "kafka_offset"}}), Some(Arc::new(table)), None).unwrap();
    let decoded = decoder
        .decode(&records(&[r#"{"id": 1, "ts": "2026-01-01T00:00:00Z", "raw": "0a", "kafka_offset": "ignored"}"#]))
        .unwrap();
    assert_eq!(rows(&decoded), [["1", "null", "2026-01-01T00:00:00Z", "0a", "0"]]);
}

#[test]
fn columns_are_inferred_from_the_good_ones_among_the_first_records() {
    let sample = records(&[
        r#"{"id": 1, "v": 1, "never": null, "tags": [], "at": "2026-01-01"}"#,
        "broken",
        r#"{"id": 2, "v": 1.5, "mixed": 1, "tags": ["a"], "in": {"x": true, "no": null}}"#,
        r#"{"mixed": "text"}"#,
    ]);
    let mut decoder = open_with(json!({"json": {}}), None, Some(&sample)).unwrap();
    let schema = decoder.schema();
    let found: std::collections::BTreeMap<_, _> =
        schema.fields().iter().map(|field| (field.name().as_str(), field.data_type().clone())).collect();
    assert_eq!(found["id"], DataType::Int64);
    assert_eq!(found["v"], DataType::Float64);
    assert_eq!(found["mixed"], DataType::Utf8);
    assert_eq!(found["at"], DataType::Utf8);
    assert!(!found.contains_key("never"));
    assert_eq!(found["in"].to_string(), "Struct(\"x\": Boolean)");
    let decoded = decoder.decode(&sample).unwrap();
    assert_eq!(decoded.rows.as_deref(), Some([0, 2, 3].as_slice()));
    let mixed = schema.index_of("mixed").unwrap();
    assert_eq!(rows(&decoded).iter().map(|row| row[mixed].as_str()).collect::<Vec<_>>(), ["null", "1", "text"]);
    let error = open_with(json!({"json": {}}), None, Some(&records(&["[]", "{}"]))).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
}

#[test]
fn mistakes_in_the_settings_name_their_path() {
    let error = open_with(json!({"json": {"schema": {"id": "long", "ts": "timestmp"}}}), None, None).err().unwrap();
    assert!(
        error.kind() == ErrorKind::Config && error.message().starts_with("decode.json.schema.ts: 'timestmp'"),
        "{error}"
    );
    let error = open_with(json!({"json": {"schema": {"topic": "long"}}, "metadata": {"topic": "topic"}}), None, None)
        .err()
        .unwrap();
    assert!(error.kind() == ErrorKind::Config && error.message().starts_with("decode.metadata.topic: "), "{error}");
    let error = open_with(json!({"raw": {}, "metadata": {"topic": "t", "key": "t"}}), None, None).err().unwrap();
    assert!(
        error.message().contains("decode.metadata.key") && error.message().contains("decode.metadata.topic"),
        "{error}"
    );
}

#[test]
fn spoiled_records_never_panic_and_never_take_a_neighbour_with_them() {
    let mut rng = StdRng::seed_from_u64(0xF2A212);
    let schema = json!({
        "id": "long required", "name": "string", "price": "decimal(12,2)", "ts": "timestamptz", "day": "date", "u": "uuid", "tags": "list<string>",
        "deep": "struct<a: int, b: map<string,double>>", "ok": "boolean",
    });
    let mut decoder = open(schema);
    let mut alone = decoder.fork();
    let mut refused = 0;
    for round in 0..60 {
        let good: Vec<String> = (0..100)
            .map(|id| {
                json!({
                    "id": id, "name": format!("n{}é\"\\", rng.random::<u32>()), "price": 12.5, "ts": "2026-01-01T00:00:00.123456Z", "day": "2026-01-01",
                    "u": format!("{:032x}", rng.random::<u128>()), "tags": ["x", null, "😀"], "deep": {"a": rng.random::<i32>(), "b": {"k": rng.random::<f64>()}}, "ok": true, "more": [[], {}],
                })
                .to_string()
            })
            .collect();
        let share = [0.01, 0.1, 0.9][round % 3];
        let values: Vec<(bool, Vec<u8>)> = good
            .iter()
            .map(|good| {
                let mut bytes = good.clone().into_bytes();
                let at = rng.random_range(0..bytes.len());
                let spoiled = rng.random_bool(share);
                match rng.random_range(0..6) {
                    _ if !spoiled => {}
                    0 => bytes.truncate(at),
                    1 => bytes[at] ^= 1 << rng.random_range(0..8),
                    2 => bytes[at] = b"{}[]\",:0\\ntf-. "[rng.random_range(0..15)],
                    3 => bytes.splice(at..at, vec![b'['; rng.random_range(1..5000)]).for_each(drop),
                    4 => bytes.extend(b"{}"),
                    _ => bytes.splice(at..at, (0..4).map(|_| rng.random::<u8>()).collect::<Vec<_>>()).for_each(drop),
                }
                (!spoiled, bytes)
            })
            .collect();
        let decoded = decoder.decode(&records(&values.iter().map(|(_, value)| value).collect::<Vec<_>>())).unwrap();
        let kept: Vec<u32> = decoded.rows.clone().unwrap_or_else(|| (0..values.len() as u32).collect());
        assert_eq!(kept.len() + decoded.rejected.len(), values.len());
        for (row, (good, value)) in values.iter().enumerate() {
            let by_itself = alone.decode(&records(&[value])).unwrap();
            match kept.binary_search(&(row as u32)) {
                Ok(at) => assert_eq!(decoded.batch.slice(at, 1), by_itself.batch, "round {round}, row {row}"),
                Err(_) => {
                    assert!(!good, "round {round}: the good row {row} was rejected: {:?}", decoded.rejected);
                    assert_eq!(by_itself.rejected.len(), 1);
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 1000, "{refused} refused");
}
