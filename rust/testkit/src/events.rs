//! Click events of about 1 KB: random ids, URLs, a JSON payload, money and time. Not compressible to nothing.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Float64Builder, Int32Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

/// The Avro schema of the events.
pub const AVRO_SCHEMA: &str = r#"{"type":"record","name":"Click","namespace":"shop","fields":[
{"name":"event_id","type":"string"},
{"name":"seq","type":"long"},
{"name":"user_id","type":"long"},
{"name":"session_id","type":"string"},
{"name":"ts","type":{"type":"long","logicalType":"timestamp-micros"}},
{"name":"url","type":"string"},
{"name":"referrer","type":["null","string"],"default":null},
{"name":"user_agent","type":"string"},
{"name":"country","type":"string"},
{"name":"price","type":["null","double"],"default":null},
{"name":"quantity","type":"int"},
{"name":"latency_ms","type":"double"},
{"name":"payload","type":"string"}]}"#;

const COUNTRIES: [&str; 12] = ["DE", "FR", "US", "IN", "BR", "JP", "GB", "NG", "ID", "MX", "PL", "ES"];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:151.0) Gecko/20100101 Firefox/151.0",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 20_1 like Mac OS X) AppleWebKit/605.1.15 Version/20.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 17; Pixel 12) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/149.0.0.0 Mobile Safari/537.36",
];
const WORDS: [&str; 16] = [
    "garden", "lamp", "winter", "coat", "kettle", "bicycle", "paper", "violin", "anchor", "maple", "copper", "window",
    "harbour", "pencil", "orchard", "velvet",
];

/// Where in time and how many days the events lie.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// First microsecond since 1970.
    pub start_us: i64,
    /// The events are spread at random over so many days.
    pub days: i64,
}

impl Default for Shape {
    /// 2026-11-01, one day.
    fn default() -> Self {
        Shape { start_us: 1_793_491_200_000_000, days: 1 }
    }
}

/// The Arrow schema of the events.
pub fn schema() -> SchemaRef {
    let field = |name: &str, data_type: DataType, nullable| Field::new(name, data_type, nullable);
    Arc::new(Schema::new(vec![
        field("event_id", DataType::Utf8, false),
        field("seq", DataType::Int64, false),
        field("user_id", DataType::Int64, false),
        field("session_id", DataType::Utf8, false),
        field("ts", DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())), false),
        field("url", DataType::Utf8, false),
        field("referrer", DataType::Utf8, true),
        field("user_agent", DataType::Utf8, false),
        field("country", DataType::Utf8, false),
        field("price", DataType::Float64, true),
        field("quantity", DataType::Int32, false),
        field("latency_ms", DataType::Float64, false),
        field("payload", DataType::Utf8, false),
    ]))
}

/// Events `first_seq..first_seq + count`, the same for the same arguments.
pub fn batch(first_seq: i64, count: usize, shape: Shape) -> RecordBatch {
    let mut rng = StdRng::seed_from_u64(first_seq as u64);
    let (mut event_id, mut session_id, mut url, mut referrer) = texts();
    let (mut user_agent, mut country, mut payload, _) = texts();
    let (mut seq, mut user_id) = (Int64Builder::new(), Int64Builder::new());
    let mut ts = TimestampMicrosecondBuilder::new().with_timezone("+00:00");
    let (mut price, mut latency, mut quantity) = (Float64Builder::new(), Float64Builder::new(), Int32Builder::new());
    let span = shape.days * 86_400_000_000;
    for index in 0..count {
        event_id.append_value(hex(&mut rng, 36));
        seq.append_value(first_seq + index as i64);
        user_id.append_value(rng.random_range(0..5_000_000));
        session_id.append_value(hex(&mut rng, 32));
        ts.append_value(shape.start_us + rng.random_range(0..span));
        url.append_value(address(&mut rng));
        referrer.append_option(rng.random_bool(0.7).then(|| address(&mut rng)));
        user_agent.append_value(AGENTS.choose(&mut rng).expect("not empty"));
        country.append_value(COUNTRIES.choose(&mut rng).expect("not empty"));
        price.append_option(rng.random_bool(0.8).then(|| f64::from(rng.random_range(99..99_999)) / 100.0));
        quantity.append_value(rng.random_range(1..10));
        latency.append_value(rng.random_range(0.2..900.0));
        payload.append_value(json(&mut rng));
    }
    let columns: Vec<ArrayRef> = vec![
        Arc::new(event_id.finish()),
        Arc::new(seq.finish()),
        Arc::new(user_id.finish()),
        Arc::new(session_id.finish()),
        Arc::new(ts.finish()),
        Arc::new(url.finish()),
        Arc::new(referrer.finish()),
        Arc::new(user_agent.finish()),
        Arc::new(country.finish()),
        Arc::new(price.finish()),
        Arc::new(quantity.finish()),
        Arc::new(latency.finish()),
        Arc::new(payload.finish()),
    ];
    RecordBatch::try_new(schema(), columns).expect("the columns are made for the schema")
}

fn texts() -> (StringBuilder, StringBuilder, StringBuilder, StringBuilder) {
    Default::default()
}

fn hex(rng: &mut StdRng, length: usize) -> String {
    (0..length).map(|_| char::from(b"0123456789abcdef"[rng.random_range(0..16)])).collect()
}

fn address(rng: &mut StdRng) -> String {
    let word = |rng: &mut StdRng| *WORDS.choose(rng).expect("not empty");
    format!(
        "https://shop.example/{}/{}-{}/{}?ref={}&page={}",
        word(rng),
        word(rng),
        word(rng),
        rng.random_range(100_000..999_999),
        hex(rng, 12),
        rng.random_range(1..50)
    )
}

fn json(rng: &mut StdRng) -> String {
    let mut text = String::with_capacity(440);
    let _ = write!(text, r#"{{"trace":"{}","cart":["#, hex(rng, 32));
    for item in 0..4 {
        let comma = if item == 0 { "" } else { "," };
        let word = WORDS.choose(rng).expect("not empty");
        let (sku, cents, count) = (hex(rng, 16), rng.random_range(100..99_999), rng.random_range(1..5));
        let _ = write!(text, r#"{comma}{{"sku":"{sku}","name":"{word}","cents":{cents},"count":{count}}}"#);
    }
    let _ = write!(text, r#"],"note":"{}","scroll":{:.4}}}"#, hex(rng, 70), rng.random::<f64>());
    text
}
