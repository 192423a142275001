//! Fills a topic with events, as fast as the broker takes them or at a rate.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use frazil_pipeline::{AvroRows, open_producer, send_avro};
use frazil_testkit::events::{self, Shape};
use serde_json::{Value, json};

const BATCH: i64 = 1000;

pub(crate) fn run(
    bootstrap: &str,
    topic: &str,
    records: i64,
    schema_id: u32,
    days: i64,
    rate: i64,
) -> Result<Value, String> {
    let text = |error: frazil_model::Error| error.to_string();
    let producer = open_producer(bootstrap, &HashMap::new()).map_err(text)?;
    let how = AvroRows {
        topic: topic.to_owned(),
        schema: events::AVRO_SCHEMA.to_owned(),
        schema_id,
        key_column: Some("user_id".to_owned()),
        spoil_every: 0,
    };
    let shape = Shape { days, ..Shape::default() };
    let begun = Instant::now();
    let batches = (0..records).step_by(BATCH as usize).map(|first| {
        if rate > 0 {
            let due = begun + Duration::from_secs_f64(first as f64 / rate as f64);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(events::batch(first, BATCH.min(records - first) as usize, shape))
    });
    let sent = send_avro(&producer, &events::schema(), batches, &how).map_err(text)?;
    producer.flush(Duration::from_secs(60)).map_err(text)?;
    Ok(json!({ "records": sent, "seconds": begun.elapsed().as_secs_f64() }))
}
