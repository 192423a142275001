//! Sources: records with their positions, from Kafka; and the way back, dead letters into a Kafka topic.
//!
//! [`KafkaSource`] fills [`frazil_model::Records`] and knows where each partition stands; where a job begins, and what
//! is committed, is decided by the pipeline from the table's ledger. Nothing here looks into a record's bytes: that is
//! the next room, `decode`.

mod client;
mod config;
mod dead_letters;
mod embedded;
mod error;
mod offsets;
mod partitions;
mod producer;
mod rebalance;
mod source;
mod tail;

pub use client::Health;
pub use dead_letters::{DeadLetters, Letter};
pub use embedded::EmbeddedBroker;
pub use producer::{Compression, Message, Producer};
pub use rebalance::Assignment;
pub use source::{KafkaSource, PollOutcome, SourceOptions};

#[cfg(test)]
mod tests;
