//! The end of a partition may hold no record: transaction markers, aborted transactions, compacted offsets. librdkafka
//! passes them over in silence, so the consumer's position stays before them though nothing is left to read.
//!
//! Whether a tail is empty is found out by a second, small consumer that reads from the position of the first one. It
//! reports the end of a partition without naming the topic, so it reads one topic at a time; its answer holds up to
//! the end offset that was known *before* it began.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use frazil_model::{Kafka, Result};
use rdkafka::ClientConfig;
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;

use crate::client::Client;
use crate::error::from_kafka;
use crate::offsets::list;

/// After this long without an answer the question is dropped; it is asked again later.
const PATIENCE: Duration = Duration::from_secs(10);

/// A partition that was found to hold no record between two offsets.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EmptyTail {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) from: i64,
    pub(crate) to: i64,
}

pub(crate) struct Tail {
    consumer: BaseConsumer<Client>,
    topic: String,
    /// Where each partition is asked from, and the end that was known before.
    asked: HashMap<i32, (i64, i64)>,
    since: Instant,
}

impl Tail {
    pub(crate) fn open(config: &ClientConfig, kafka: &Kafka) -> Result<Self> {
        let consumer = config
            .create_with_context(Client::new(kafka))
            .map_err(|error| from_kafka("the consumer for partition ends could not be created", error))?;
        Ok(Tail { consumer, topic: String::new(), asked: HashMap::new(), since: Instant::now() })
    }

    pub(crate) fn asking(&self) -> bool {
        !self.asked.is_empty()
    }

    /// Asks about partitions of one topic: `(partition, position, end)`.
    pub(crate) fn ask(&mut self, topic: &str, partitions: &[(i32, i64, i64)]) -> Result<()> {
        let places = list(partitions.iter().map(|(partition, from, _)| (topic, *partition, *from)))?;
        self.consumer.assign(&places).map_err(|error| from_kafka("partition ends could not be asked for", error))?;
        topic.clone_into(&mut self.topic);
        self.asked = partitions.iter().map(|(partition, from, to)| (*partition, (*from, *to))).collect();
        self.since = Instant::now();
        Ok(())
    }

    /// The answers that have come, within `wait`.
    pub(crate) fn answers(&mut self, wait: Duration) -> Result<Vec<EmptyTail>> {
        let mut empty = Vec::new();
        let mut wait = wait;
        while self.asking() {
            match self.consumer.poll(wait) {
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    if let Some((from, to)) = self.asked.remove(&partition) {
                        empty.push(EmptyTail { topic: self.topic.clone(), partition, from, to });
                    }
                }
                // There is a record: the first consumer will get it too.
                Some(Ok(message)) => {
                    self.asked.remove(&message.partition());
                }
                // The first consumer reports what is wrong with the brokers or the topic.
                Some(Err(error)) => log::debug!(target: "frazil::kafka", "while asking for partition ends: {error}"),
                None => break,
            }
            wait = Duration::ZERO;
        }
        if self.since.elapsed() > PATIENCE {
            self.asked.clear();
        }
        if !self.asking() {
            self.consumer.unassign().map_err(|error| from_kafka("the consumer for partition ends failed", error))?;
        }
        Ok(empty)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.consumer.context().close();
    }
}
