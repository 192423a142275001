//! Avro from bytes to columns: the table of types, schema resolution, the registry, and spoiled records.

use std::sync::Arc;

use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use frazil_model::{Decode, ErrorKind, Record, Records, Rejected};
use serde_json::{Value, json};

use super::schema::{Kind, Schema};
use crate::registry::tests::Server;
use crate::{Decoded, Decoder};

mod fuzz;

/// Writes `value` as Avro; a union's value is `[branch, value]`, bytes are text of that many characters.
fn write(schema: &Schema, value: &Value, out: &mut Vec<u8>) {
    match &schema.kind {
        Kind::Null => {}
        Kind::Boolean => out.push(value.as_bool().unwrap().into()),
        Kind::Int | Kind::Long => varint(value.as_i64().unwrap(), out),
        Kind::Float => out.extend((value.as_f64().unwrap() as f32).to_le_bytes()),
        Kind::Double => out.extend(value.as_f64().unwrap().to_le_bytes()),
        Kind::Fixed(..) => out.extend(value.as_str().unwrap().chars().map(|c| c as u8)),
        Kind::Bytes => {
            let bytes: Vec<u8> = value.as_str().unwrap().chars().map(|c| c as u8).collect();
            varint(bytes.len() as i64, out);
            out.extend(bytes);
        }
        Kind::String => {
            varint(value.as_str().unwrap().len() as i64, out);
            out.extend(value.as_str().unwrap().as_bytes());
        }
        Kind::Enum(_, symbols) => {
            varint(symbols.names.iter().position(|name| name == value.as_str().unwrap()).unwrap() as i64, out)
        }
        Kind::Array(items) => {
            let values = value.as_array().unwrap();
            // The first item in a block of its own that says its size, the others in one without.
            if let [first, rest @ ..] = values.as_slice() {
                let mut block = Vec::new();
                write(items, first, &mut block);
                varint(-1, out);
                varint(block.len() as i64, out);
                out.extend(block);
                if !rest.is_empty() {
                    varint(rest.len() as i64, out);
                    rest.iter().for_each(|item| write(items, item, out));
                }
            }
            varint(0, out);
        }
        Kind::Map(values) => {
            let entries = value.as_object().unwrap();
            if !entries.is_empty() {
                varint(entries.len() as i64, out);
            }
            for (key, value) in entries {
                varint(key.len() as i64, out);
                out.extend(key.as_bytes());
                write(values, value, out);
            }
            varint(0, out);
        }
        Kind::Record(_, fields) => fields.iter().for_each(|field| write(&field.schema, &value[&field.name], out)),
        Kind::Union(branches) => {
            let branch = value[0].as_u64().unwrap();
            varint(branch as i64, out);
            write(&branches[branch as usize], &value[1], out);
        }
        Kind::Recursive(_) => panic!("no test writes these"),
    }
}

fn varint(value: i64, out: &mut Vec<u8>) {
    let mut raw = ((value << 1) ^ (value >> 63)) as u64;
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

fn parse(schema: &Value) -> Schema {
    Schema::parse(&[schema.to_string()]).unwrap()
}

fn body(schema: &Value, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    write(&parse(schema), value, &mut out);
    out
}

fn framed(id: i32, body: &[u8]) -> Vec<u8> {
    [&[0], id.to_be_bytes().as_slice(), body].concat()
}

fn records<'a>(values: impl IntoIterator<Item = Option<&'a [u8]>>) -> Records {
    let topic: Arc<str> = "t".into();
    let mut records = Records::default();
    for (offset, value) in values.into_iter().enumerate() {
        records.push(&topic, 0, Record { value, key: None, offset: offset as i64, timestamp: None }, vec![]).unwrap();
    }
    records
}

fn open(decode: Value) -> frazil_model::Result<Decoder> {
    let decode: Decode = serde_json::from_value(decode).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(Decoder::open(&decode, &["t".to_owned()], None, None))
}

fn rows(decoded: &Decoded) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("null");
    let columns: Vec<_> =
        decoded.batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    (0..decoded.batch.num_rows())
        .map(|row| columns.iter().map(|column| column.value(row).to_string()).collect())
        .collect()
}

fn reasons(rejected: &[Rejected]) -> Vec<(usize, &str)> {
    rejected.iter().map(|rejected| (rejected.row, rejected.reason.as_str())).collect()
}

fn record(fields: Value) -> Value {
    json!({"type": "record", "name": "r", "namespace": "n", "fields": fields})
}

fn logical(kind: &str, logical: &str) -> Value {
    json!({"type": kind, "logicalType": logical})
}

#[test]
fn every_avro_type_has_its_column_and_its_value() {
    let fixed = |name: &str, size: usize| json!({"type": "fixed", "name": name, "size": size});
    let with = |mut schema: Value, more: Value| {
        schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        schema
    };
    let uuid = "00112233-4455-6677-8899-aabbccddeeff";
    // Avro type, value, Arrow type, shown value.
    let table: Vec<(Value, Value, &str, &str)> = vec![
        (json!("boolean"), json!(true), "Boolean", "true"),
        (json!("int"), json!(i32::MIN), "Int32", "-2147483648"),
        (json!("long"), json!(i64::MIN), "Int64", "-9223372036854775808"),
        (json!("float"), json!(0.5), "Float32", "0.5"),
        (json!("double"), json!(-0.25), "Float64", "-0.25"),
        (json!("string"), json!("é"), "Utf8", "é"),
        (json!("bytes"), json!("\u{0}\u{ff}"), "Binary", "00ff"),
        (fixed("f", 2), json!("\u{1}\u{2}"), "FixedSizeBinary(2)", "0102"),
        (
            with(fixed("du", 12), json!({"logicalType": "duration"})),
            json!("abcdefghijkl"),
            "FixedSizeBinary(12)",
            "6162636465666768696a6b6c",
        ),
        (logical("string", "uuid"), json!(uuid), "FixedSizeBinary(16)", "00112233445566778899aabbccddeeff"),
        (
            with(fixed("u", 16), json!({"logicalType": "uuid"})),
            json!("0123456789abcdef"),
            "FixedSizeBinary(16)",
            "30313233343536373839616263646566",
        ),
        (json!({"type": "enum", "name": "e", "symbols": ["A", "B"]}), json!("B"), "Utf8", "B"),
        (
            with(logical("bytes", "decimal"), json!({"precision": 9, "scale": 2})),
            json!("\u{ff}\u{85}"),
            "Decimal128(9, 2)",
            "-1.23",
        ),
        (
            with(fixed("d", 3), json!({"logicalType": "decimal", "precision": 6, "scale": 3})),
            json!("\u{0}\u{1}\u{0}"),
            "Decimal128(6, 3)",
            "0.256",
        ),
        (logical("int", "date"), json!(-1), "Date32", "1969-12-31"),
        (logical("int", "time-millis"), json!(86_399_999), "Time64(µs)", "23:59:59.999"),
        (logical("long", "time-micros"), json!(1), "Time64(µs)", "00:00:00.000001"),
        (logical("long", "timestamp-millis"), json!(-1), "Timestamp(µs, \"+00:00\")", "1969-12-31T23:59:59.999Z"),
        (
            logical("long", "timestamp-micros"),
            json!(1_700_000_000_123_456i64),
            "Timestamp(µs, \"+00:00\")",
            "2023-11-14T22:13:20.123456Z",
        ),
        (logical("long", "timestamp-nanos"), json!(1), "Timestamp(ns, \"+00:00\")", "1970-01-01T00:00:00.000000001Z"),
        (logical("long", "local-timestamp-millis"), json!(1), "Timestamp(µs)", "1970-01-01T00:00:00.001"),
        (logical("long", "local-timestamp-micros"), json!(1), "Timestamp(µs)", "1970-01-01T00:00:00.000001"),
        (logical("long", "local-timestamp-nanos"), json!(1), "Timestamp(ns)", "1970-01-01T00:00:00.000000001"),
        (logical("string", "timestamp-micros"), json!("as it is"), "Utf8", "as it is"),
        (json!(["null", "long"]), json!([1, 5]), "Int64", "5"),
        (json!(["long", "null"]), json!([1, null]), "Int64", "null"),
        (
            json!({"type": "array", "items": ["null", logical("long", "timestamp-millis")]}),
            json!([[1, 1], [0, null]]),
            "List(Timestamp(µs, \"+00:00\"), field: 'element')",
            "[1970-01-01T00:00:00.001Z, null]",
        ),
        (
            json!({"type": "map", "values": logical("int", "date")}),
            json!({"k": 0}),
            "Map(\"key_value\": non-null Struct(\"key\": non-null Utf8, \"value\": non-null Date32), unsorted)",
            "{k: 1970-01-01}",
        ),
        (
            json!(["null", {"type": "record", "name": "inner", "fields": [{"name": "x", "type": ["null", "n.e"]}]}]),
            json!([1, {"x": [1, "A"]}]),
            "Struct(\"x\": Utf8)",
            "{x: A}",
        ),
    ];
    let fields: Vec<Value> =
        table.iter().enumerate().map(|(at, (schema, ..))| json!({"name": format!("c{at}"), "type": schema})).collect();
    let schema = record(json!(fields));
    let value: Value = table
        .iter()
        .enumerate()
        .map(|(at, (_, value, ..))| (format!("c{at}"), value.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let mut decoder = open(json!({"avro": {"schema": schema}})).unwrap();
    let bytes = body(&schema, &value);
    let decoded = decoder.decode(&records([Some(bytes.as_slice())])).unwrap();
    assert_eq!(reasons(&decoded.rejected), []);
    for (at, (avro, _, arrow, shown)) in table.iter().enumerate() {
        let field = decoder.schema().field(at).clone();
        let found = match field.data_type() {
            DataType::List(element) => format!("List({}, field: '{}')", element.data_type(), element.name()),
            other => other.to_string(),
        };
        assert_eq!(found, *arrow, "{avro}");
        assert_eq!(field.is_nullable(), avro.is_array(), "{avro}");
        assert_eq!(rows(&decoded)[0][at], *shown, "{avro}");
    }
}

#[test]
fn types_that_iceberg_lacks_are_refused_at_open_by_name() {
    let nested = |inner: Value| {
        record(
            json!([{"name": "a", "type": {"type": "array", "items": record(json!([{"name": "b", "type": inner}])).as_object_mut().map(|o| { o.insert("name".into(), json!("s")); json!(o) }).unwrap()}}]),
        )
    };
    for inner in [
        json!("null"),
        json!(["string", "long"]),
        json!(["null", "string", "long"]),
        json!("n.r"),
        json!({"type": "record", "name": "empty", "fields": []}),
        json!({"type": "bytes", "logicalType": "decimal", "precision": 39}),
    ] {
        let error = open(json!({"avro": {"schema": nested(inner.clone())}})).err().unwrap_or_else(|| panic!("{inner}"));
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.message().contains("field 'a.element.b'"), "{error}");
    }
    assert_eq!(open(json!({"avro": {"schema": "\"long\""}})).err().unwrap().kind(), ErrorKind::Schema);
    assert_eq!(open(json!({"avro": {"schema": "{"}})).err().unwrap().kind(), ErrorKind::Config);
}

/// Decodes a value of the writer's schema with the reader's.
fn resolve(writer: &Value, reader: &Value, values: &[Value]) -> (Vec<Vec<String>>, Vec<String>) {
    let server = Server::start();
    server.register(1, "t-value", writer);
    let mut decoder = open(json!({"avro": {"registry": server.url, "schema": reader}})).unwrap();
    let bytes: Vec<Vec<u8>> = values.iter().map(|value| framed(1, &body(writer, value))).collect();
    let decoded = decoder.decode(&records(bytes.iter().map(|bytes| Some(bytes.as_slice())))).unwrap();
    (rows(&decoded), decoded.rejected.into_iter().map(|rejected| rejected.reason).collect())
}

#[test]
fn records_of_an_older_schema_are_read_with_the_newer_one() {
    let point = |name: &str, fields: Value| json!({"type": "record", "name": name, "fields": fields});
    let writer = record(json!([
        {"name": "gone", "type": {"type": "array", "items": {"type": "map", "values": ["null", "string", "double"]}}},
        {"name": "id", "type": "int"},
        {"name": "old_name", "type": "string"},
        {"name": "ratio", "type": "float"},
        {"name": "state", "type": {"type": "enum", "name": "state", "symbols": ["ON", "OFF", "BROKEN"]}},
        {"name": "was_required", "type": "long"},
        {"name": "was_optional", "type": ["null", {"type": "string"}]},
        {"name": "at", "type": point("point", json!([{"name": "x", "type": "int"}, {"name": "y", "type": "int"}]))},
        {"name": "path", "type": {"type": "array", "items": "point"}},
    ]));
    let reader = record(json!([
        {"name": "path", "type": {"type": "array", "items": point("point", json!([{"name": "y", "type": "long"}, {"name": "z", "type": "double", "default": 0.5}]))}},
        {"name": "at", "type": ["null", "point"]},
        {"name": "id", "type": logical("long", "timestamp-millis")},
        {"name": "name", "aliases": ["old_name"], "type": ["null", "bytes"]},
        {"name": "ratio", "type": ["double", "null"]},
        {"name": "state", "type": {"type": "enum", "name": "other.state", "symbols": ["UNKNOWN", "OFF", "ON"], "default": "UNKNOWN"}},
        {"name": "was_required", "type": ["null", "double"]},
        {"name": "was_optional", "type": "string"},
        {"name": "new_enum", "type": "other.state", "default": "OFF"},
        {"name": "new_null", "type": ["null", "string"], "default": null},
        {"name": "new_text", "type": ["string", "null"], "default": "d"},
        {"name": "new_bytes", "type": "bytes", "default": "\u{ff}"},
        {"name": "new_record", "type": point("whole", json!([{"name": "a", "type": "int"}, {"name": "b", "type": "other.state", "default": "ON"}])), "default": {"a": 3}},
        {"name": "new_list", "type": {"type": "array", "items": "int"}, "default": [1, 2]},
        {"name": "new_map", "type": {"type": "map", "values": logical("int", "date")}, "default": {"k": 1}},
    ]));
    let value = |optional: Value, state: &str| {
        json!({
            "gone": [{"a": [1, "x"], "b": [0, null]}, {}, {"c": [2, 1.5]}], "id": -5, "old_name": "hi", "ratio": 0.5, "state": state,
            "was_required": 3, "was_optional": optional, "at": {"x": 1, "y": 2}, "path": [{"x": 1, "y": 20}, {"x": 2, "y": 30}],
        })
    };
    let (rows, reasons) = resolve(
        &writer,
        &reader,
        &[value(json!([1, "there"]), "BROKEN"), value(json!([0, null]), "ON"), value(json!([1, ""]), "ON")],
    );
    let expected = [
        "[{y: 20, z: 0.5}, {y: 30, z: 0.5}]",
        "{y: 2, z: 0.5}",
        "1969-12-31T23:59:59.995Z",
        "6869",
        "0.5",
        "UNKNOWN",
        "3.0",
        "there",
        "OFF",
        "null",
        "d",
        "ff",
        "{a: 3, b: ON}",
        "[1, 2]",
        "{k: 1970-01-02}",
    ];
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0], expected);
    assert_eq!((rows[1][5].as_str(), rows[1][7].as_str()), ("ON", ""));
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].contains("field 'was_optional'") && reasons[0].contains("no null here"), "{}", reasons[0]);
}

#[test]
fn what_the_reader_cannot_hold_is_rejected_with_the_reason() {
    let one = |kind: Value| record(json!([{"name": "a", "type": kind}]));
    let symbols = |symbols: Value| json!({"type": "enum", "name": "e", "symbols": symbols});
    for (writer, reader, value, part) in [
        (one(json!("string")), one(json!("long")), json!({"a": "1"}), "a: string cannot be read as long"),
        (one(json!("long")), one(json!("int")), json!({"a": 1}), "a: long cannot be read as int"),
        (
            one(symbols(json!(["A", "B"]))),
            one(symbols(json!(["A"]))),
            json!({"a": "B"}),
            "no symbol 'B' and no default",
        ),
        (
            one(json!("int")),
            record(json!([{"name": "a", "type": "int"}, {"name": "b", "type": ["null", "int"]}])),
            json!({"a": 1}),
            "b: the writer's schema has no such field, and it has no default",
        ),
        (one(json!(["null", "int", "string"])), one(json!("int")), json!({"a": [1, 1]}), "union of null, int, string"),
    ] {
        let (rows, reasons) = resolve(&writer, &reader, &[value]);
        assert!(rows.is_empty() && reasons[0].contains(part), "{reasons:?}");
    }
}

#[test]
fn many_writers_in_one_batch_keep_the_order_and_bad_ids_take_nobody_with_them() {
    let server = Server::start();
    let old = record(json!([{"name": "id", "type": "int"}]));
    let new = record(json!([{"name": "id", "type": "long"}, {"name": "s", "type": "string", "default": "?"}]));
    server.register(1, "t-value", &old);
    server.register(2, "t-value", &new);
    server.answer("/schemas/ids/3", 200, json!({"schema": "not json"}));
    let mut decoder = open(json!({"avro": {"registry": server.url}})).unwrap();
    let values: Vec<Option<Vec<u8>>> = vec![
        Some(framed(2, &body(&new, &json!({"id": 0, "s": "new"})))),
        Some(framed(1, &body(&old, &json!({"id": 1})))),
        None,
        Some(framed(9, &[2])),
        Some(vec![]),
        Some(framed(2, &body(&new, &json!({"id": 5, "s": ""})))),
        Some(vec![1, 0, 0, 0, 1, 2]),
        Some(vec![0, 0, 0]),
        Some(framed(3, &[2])),
        Some(framed(1, &body(&old, &json!({"id": 9})))),
    ];
    for mut decoder in [decoder.fork(), decoder.fork()] {
        let decoded = decoder.decode(&records(values.iter().map(Option::as_deref))).unwrap();
        assert_eq!(rows(&decoded), [["0", "new"], ["1", "?"], ["5", ""], ["9", "?"]]);
        assert_eq!(decoded.rows.as_deref(), Some([0, 1, 5, 9].as_slice()));
        let expected = [
            (2, None, "tombstone"),
            (3, Some(9), "no schema with id 9"),
            (4, None, "empty"),
            (6, None, "0x01"),
            (7, None, "3 bytes"),
            (8, Some(3), "not JSON"),
        ];
        for (rejected, (row, id, part)) in decoded.rejected.iter().zip(expected) {
            assert_eq!((rejected.row, rejected.schema_id), (row, id));
            assert!(rejected.reason.contains(part), "{}", rejected.reason);
        }
        assert_eq!(decoded.rejected.len(), expected.len());
    }
    assert_eq!(server.asked("/schemas/ids/1"), 1, "forks share what was asked");
    // Now one that the registry fails on: nothing is decoded, and the same call succeeds later.
    server.answer("/schemas/ids/4", 500, "{}");
    let late = [framed(1, &body(&old, &json!({"id": 1}))), framed(4, &body(&old, &json!({"id": 4})))];
    let late = records(late.iter().map(|value| Some(value.as_slice())));
    let error = decoder.decode(&late).unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Catalog, true));
    server.answer("/schemas/ids/4", 200, json!({"schema": old.to_string()}));
    let decoded = decoder.decode(&late).unwrap();
    assert_eq!(rows(&decoded), [["1", "?"], ["4", "?"]]);
    assert!(decoded.rows.is_none());
}

#[test]
fn the_newest_schemas_of_several_topics_must_agree() {
    let server = Server::start();
    server.register(1, "a-value", &record(json!([{"name": "id", "type": "int"}])));
    server.register(2, "b-value", &record(json!([{"name": "id", "type": "long"}])));
    let decode: Decode = serde_json::from_value(json!({"avro": {"registry": server.url}})).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let open = |topics: &[&str]| {
        runtime.block_on(Decoder::open(
            &decode,
            &topics.iter().map(|topic| topic.to_string()).collect::<Vec<_>>(),
            None,
            None,
        ))
    };
    assert_eq!(open(&["a"]).unwrap().schema().field(0).data_type(), &DataType::Int32);
    let error = open(&["a", "b"]).err().unwrap();
    assert!(error.kind() == ErrorKind::Config && error.message().contains("'a-value' and 'b-value' differ"), "{error}");
    assert_eq!(open(&["c"]).err().unwrap().kind(), ErrorKind::NotFound);
}

#[test]
fn types_of_references_are_known_by_name() {
    let server = Server::start();
    let part = json!({"type": "record", "name": "Part", "namespace": "shop", "fields": [{"name": "n", "type": "int"}]});
    let whole = json!({"type": "record", "name": "Order", "namespace": "shop", "fields": [{"name": "parts", "type": {"type": "array", "items": "Part"}}]});
    let sent =
        json!({"schema": whole.to_string(), "references": [{"name": "shop.Part", "subject": "part", "version": 1}]});
    server.answer("/subjects/part/versions/1", 200, json!({"schema": part.to_string()}));
    server.answer("/subjects/t-value/versions/latest", 200, &sent);
    server.answer("/schemas/ids/1", 200, &sent);
    let mut decoder = open(json!({"avro": {"registry": server.url}})).unwrap();
    let value = framed(1, &[4, 2, 4, 0]);
    assert_eq!(rows(&decoder.decode(&records([Some(value.as_slice())])).unwrap()), [["[{n: 1}, {n: 2}]"]]);
}

#[test]
fn records_without_any_bytes_are_rows_and_items_without_bytes_are_counted() {
    let nothing = record(json!([{"name": "id", "type": "long", "default": 7}]));
    let empty = record(json!([{"name": "nothing", "type": "null"}]));
    assert_eq!(resolve(&empty, &nothing, &[json!({}), json!({})]).0, [["7"], ["7"]]);
    let nulls = record(json!([{"name": "nulls", "type": {"type": "array", "items": "null"}}]));
    let server = Server::start();
    server.register(1, "t-value", &nulls);
    let mut decoder = open(json!({"avro": {"registry": server.url, "schema": nothing}})).unwrap();
    let count = |count: i64| {
        let mut body = Vec::new();
        varint(count, &mut body);
        body.push(0);
        framed(1, &body)
    };
    let values = [count(1000), count(i64::MAX), count(i64::MIN + 1), count(i64::MIN)];
    let decoded = decoder.decode(&records(values.iter().map(|value| Some(value.as_slice())))).unwrap();
    assert_eq!(decoded.rows.as_deref(), Some([0].as_slice()));
}
