//! Bytes of records to Arrow batches, with errors found record by record: Avro with a schema registry or without,
//! JSON, and raw bytes. A bad record never takes its batch or its neighbours with it.
//!
//! Both formats work in the same three steps. A *judge* walks each record and says whether it is good and, if not,
//! why; it trusts no length and builds nothing. The good ones are decoded in bulk by arrow-avro or arrow-json. If
//! that fails after all, the batch is halved until the failing record is alone (`isolate`), and a panic counts as
//! a failure. Whether a record is good therefore depends on its own bytes only.
//!
//! Nothing here reads topics, writes dead letters or knows tables. The next room is `transform`.

mod avro;
mod convert;
mod decoder;
mod format;
mod isolate;
mod json;
mod metadata;
mod registry;
mod uuid;

pub use decoder::{Decoded, Decoder};
