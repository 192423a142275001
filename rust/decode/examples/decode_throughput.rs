//! CPU seconds per GB of decoding 1 KB Avro events: bare arrow-avro, the decoder on clean records, and with 1 % bad ones.
//!
//! `cargo run --release -p frazil-decode --example decode_throughput`

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::Arc;

use arrow_avro::reader::ReaderBuilder;
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use frazil_decode::Decoder;
use frazil_model::{Decode, Record, Records};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;

const RECORDS: usize = 10_000;
const ROUNDS: usize = 30;
const BAD: [&str; 4] = ["wrong schema id", "cut off", "bytes behind the value", "invalid UTF-8"];

fn main() -> Result<(), Box<dyn Error>> {
    let schema = json!({"type": "record", "name": "event", "fields": [
        {"name": "event_id", "type": "string"}, {"name": "user_id", "type": "long"}, {"name": "session", "type": "string"},
        {"name": "ts", "type": {"type": "long", "logicalType": "timestamp-micros"}}, {"name": "received", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "url", "type": "string"}, {"name": "referrer", "type": ["null", "string"]}, {"name": "agent", "type": "string"}, {"name": "country", "type": "string"},
        {"name": "price", "type": "double"}, {"name": "latitude", "type": "double"}, {"name": "longitude", "type": "double"},
        {"name": "quantity", "type": "int"}, {"name": "active", "type": "boolean"}, {"name": "payload", "type": "string"},
    ]})
    .to_string();
    let url = registry(&schema)?;
    let mut rng = StdRng::seed_from_u64(1);
    let clean: Vec<Vec<u8>> = (0..RECORDS).map(|_| event(&mut rng)).collect();
    let bytes: usize = clean.iter().map(Vec::len).sum();
    println!("{RECORDS} records of {} bytes, {ROUNDS} rounds", bytes / RECORDS);
    let gb = (bytes * ROUNDS) as f64 / 1e9;

    let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
    store.set(Fingerprint::Id(1), AvroSchema::new(schema))?;
    let mut bare = ReaderBuilder::new().with_batch_size(RECORDS).with_writer_schema_store(store).build_decoder()?;
    let records = fill(&clean)?;
    let run = |name: &str, work: &mut dyn FnMut() -> Result<usize, Box<dyn Error>>| -> Result<(), Box<dyn Error>> {
        work()?;
        let start = cpu_seconds()?;
        let mut rows = 0;
        for _ in 0..ROUNDS {
            rows += work()?;
        }
        println!("{name:<28} {:.3} CPU-s/GB, {rows} rows", (cpu_seconds()? - start) / gb);
        Ok(())
    };
    for _ in 0..2 {
        run("bare arrow-avro", &mut || {
            for row in 0..records.len() {
                bare.decode(records.value(row).unwrap_or_default())?;
            }
            Ok(bare.flush()?.map_or(0, |batch| batch.num_rows()))
        })?;
        let decode: Decode = serde_json::from_value(json!({"avro": {"registry": url}}))?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        let mut decoder = runtime.block_on(Decoder::open(&decode, &["events".to_owned()], None, None))?;
        run("clean", &mut || Ok(decoder.decode(&records)?.batch.num_rows()))?;
        for kind in BAD.iter().chain(&["all kinds of bad"]) {
            let spoiled = fill(&spoil(&clean, kind))?;
            run(&format!("1 %: {kind}"), &mut || Ok(decoder.decode(&spoiled)?.batch.num_rows()))?;
        }
    }
    Ok(())
}

/// CPU time of this thread (Linux).
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanoseconds: f64 = stat.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanoseconds / 1e9)
}

fn fill(values: &[Vec<u8>]) -> Result<Records, Box<dyn Error>> {
    let topic: Arc<str> = "events".into();
    let mut records = Records::default();
    for (offset, value) in values.iter().enumerate() {
        records.push(
            &topic,
            0,
            Record { value: Some(value), key: None, offset: offset as i64, timestamp: None },
            vec![],
        )?;
    }
    Ok(records)
}

fn spoil(clean: &[Vec<u8>], kind: &str) -> Vec<Vec<u8>> {
    let mut values = clean.to_vec();
    for (at, value) in values.iter_mut().enumerate().skip(50).step_by(100) {
        let kind = BAD.iter().position(|bad| *bad == kind).unwrap_or(at / 100 % BAD.len());
        let end = value.len();
        match kind {
            0 => value[4] = 9,
            1 => value.truncate(end / 2),
            2 => value.push(0),
            _ => value[end - 100] = 0xFF,
        }
    }
    values
}

fn event(rng: &mut StdRng) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 0, 1];
    let long = |value: i64, out: &mut Vec<u8>| {
        let mut raw = ((value << 1) ^ (value >> 63)) as u64;
        while raw >= 0x80 {
            out.push(raw as u8 | 0x80);
            raw >>= 7;
        }
        out.push(raw as u8);
    };
    let text = |text: &str, out: &mut Vec<u8>| {
        long(text.len() as i64, out);
        out.extend(text.as_bytes());
    };
    let hex = |rng: &mut StdRng, digits: usize| {
        (0..digits).map(|_| char::from_digit(rng.random_range(0..16), 16).unwrap_or('0')).collect::<String>()
    };
    text(&hex(rng, 36), &mut out);
    long(rng.random_range(0..1 << 40), &mut out);
    text(&hex(rng, 36), &mut out);
    long(1_790_000_000_000_000 + rng.random_range(0..1 << 40), &mut out);
    long(1_790_000_000_000_000 + rng.random_range(0..1 << 40), &mut out);
    text(&format!("https://shop.example.com/products/{}?session={}", hex(rng, 24), hex(rng, 32)), &mut out);
    out.push(2);
    text(&format!("https://search.example.com/?q={}", hex(rng, 40)), &mut out);
    text("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36", &mut out);
    text("NL", &mut out);
    (0..3).for_each(|_| out.extend(rng.random::<f64>().to_le_bytes()));
    long(rng.random_range(1..100), &mut out);
    out.push(1);
    let payload =
        json!({"cart": hex(rng, 64), "items": (0..8).map(|_| hex(rng, 40)).collect::<Vec<_>>(), "note": hex(rng, 160)});
    text(&payload.to_string(), &mut out);
    out
}

/// A registry that has schema 1 only.
fn registry(schema: &str) -> Result<String, Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}", listener.local_addr()?);
    let known = json!({"schema": schema}).to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut first = String::new();
            let mut reader = BufReader::new(match stream.try_clone() {
                Ok(stream) => stream,
                Err(_) => return,
            });
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if first.is_empty() {
                    first.clone_from(&line);
                }
                line.clear();
            }
            let found = first.contains("/ids/1 ") || first.contains("/latest");
            let (status, body) = if found { (200, known.as_str()) } else { (404, r#"{"error_code": 40403}"#) };
            let _ = write!(
                stream,
                "HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
        }
    });
    Ok(url)
}
