//! The parts of the benchmarks that must be fast or bare: filling a topic, and the floor that Frazil is measured against.
//!
//!     frazil-bench produce BOOTSTRAP TOPIC RECORDS SCHEMA_ID [DAYS] [RECORDS_PER_SECOND]
//!     frazil-bench schema
//!     frazil-bench floor BOOTSTRAP TOPIC RECORDS STAGE        (STAGE: consume | decode | write)

use std::process::ExitCode;

mod floor;
mod produce;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["produce", bootstrap, topic, records, schema_id, rest @ ..] => {
            let number = |at: usize, default| rest.get(at).map_or(Some(default), |text| text.parse().ok());
            match (records.parse(), schema_id.parse(), number(0, 1), number(1, 0)) {
                (Ok(records), Ok(schema_id), Some(days), Some(rate)) => produce::run(bootstrap, topic, records, schema_id, days, rate),
                _ => Err("RECORDS, SCHEMA_ID, DAYS and RECORDS_PER_SECOND are whole numbers".to_owned()),
            }
        }
        ["schema"] => Ok(serde_json::json!({ "schema": frazil_testkit::events::AVRO_SCHEMA })),
        ["floor", bootstrap, topic, records, stage] => match (records.parse(), floor::Stage::parse(stage)) {
            (Ok(records), Some(stage)) => floor::run(bootstrap, topic, records, stage),
            _ => Err("RECORDS is a whole number, STAGE is consume, decode or write".to_owned()),
        },
        _ => Err("usage: frazil-bench produce BOOTSTRAP TOPIC RECORDS SCHEMA_ID [DAYS] [RECORDS_PER_SECOND] | floor BOOTSTRAP TOPIC RECORDS STAGE".to_owned()),
    };
    match result {
        Ok(report) => {
            println!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("frazil-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
