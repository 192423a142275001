//! A producer that waits when its queue is full and reports what was not delivered.

use std::time::{Duration, Instant};

use frazil_model::{Error, ErrorKind, Header, Kafka, Result};
use parking_lot::Mutex;
use rdkafka::client::OAuthToken;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header as KafkaHeader, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Statistics};

use crate::client::{Client, Health};
use crate::config;
use crate::error::{Meaning, from_code, from_kafka, meaning};

/// How long a full queue may keep a sender waiting: as long as a record may take to be delivered.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a producer compresses its batches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// LZ4: fast.
    #[default]
    Lz4,
    /// Zstandard: small.
    Zstd,
}

/// One message to send.
#[derive(Debug, Clone, Copy, Default)]
pub struct Message<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition; by default chosen by the key.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a [Header],
    /// Milliseconds since 1970-01-01T00:00:00Z; by default now.
    pub timestamp: Option<i64>,
}

/// What became of messages since the last flush.
#[derive(Default)]
struct Failures {
    count: u64,
    first: Option<(RDKafkaErrorCode, String)>,
}

struct Deliveries {
    client: Client,
    failures: Mutex<Failures>,
}

impl ClientContext for Deliveries {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn error(&self, error: KafkaError, reason: &str) {
        self.client.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        self.client.stats(statistics);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.client.generate_oauth_token(config)
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            let mut failures = self.failures.lock();
            failures.count += 1;
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
            failures.first.get_or_insert_with(|| (code, rdkafka::Message::topic(message).to_owned()));
        }
    }
}

/// An idempotent producer with bounded memory: what it has accepted is delivered once, or counted as failed.
pub struct Producer {
    producer: ThreadedProducer<Deliveries>,
    bootstrap: String,
}

impl Producer {
    /// Creates a producer for the brokers of a source, or others with the same security. It connects when it sends.
    ///
    /// # Errors
    /// `Config` if settings are wrong.
    pub fn open(
        kafka: &Kafka,
        bootstrap: Option<&str>,
        name: &str,
        compression: Compression,
        queue_bytes: usize,
    ) -> Result<Self> {
        let bootstrap = bootstrap.unwrap_or(&kafka.bootstrap).to_owned();
        let mut config = config::producer(kafka, &bootstrap, name, queue_bytes)?;
        config.set(
            "compression.type",
            match compression {
                Compression::None => "none",
                Compression::Lz4 => "lz4",
                Compression::Zstd => "zstd",
            },
        );
        let context = Deliveries { client: Client::new(kafka), failures: Mutex::default() };
        let producer = config
            .create_with_context(context)
            .map_err(|error| from_kafka("the Kafka producer could not be created", error))?;
        Ok(Producer { producer, bootstrap })
    }

    /// Queues a message; waits while the queue is full.
    ///
    /// # Errors
    /// `Source` if the queue stays full or the client has failed, `NotFound` if the topic is known not to exist.
    pub fn send(&self, message: Message<'_>) -> Result<()> {
        let headers = (!message.headers.is_empty()).then(|| {
            message.headers.iter().fold(OwnedHeaders::new_with_capacity(message.headers.len()), |all, (key, value)| {
                all.insert(KafkaHeader { key, value: value.as_ref() })
            })
        });
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(message.topic);
        record.partition = message.partition;
        record.key = message.key;
        record.payload = message.value;
        record.timestamp = message.timestamp;
        record.headers = headers;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((error, back)) => {
                    let full = error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull);
                    if !full || Instant::now() >= deadline {
                        let what = format!("a message for topic '{}' was not accepted", message.topic);
                        return Err(from_kafka(&what, error).with("bootstrap", &self.bootstrap));
                    }
                    record = back;
                    std::thread::sleep(Duration::from_millis(1));
                }
            }
        }
    }

    /// Waits until everything sent before is delivered.
    ///
    /// # Errors
    /// Says how many messages were not delivered, since the last flush or within the deadline, and why the first was
    /// not. What is only late stays queued: after a retryable error, flush again.
    pub fn flush(&self, deadline: Duration) -> Result<()> {
        let end = Instant::now() + deadline;
        while self.producer.in_flight_count() > 0 && Instant::now() < end {
            // In short steps: rdkafka's own flush looks only every 100 ms.
            self.producer.poll(Duration::from_millis(1));
        }
        let failures = std::mem::take(&mut *self.producer.context().failures.lock());
        if let Some((code, topic)) = failures.first {
            let what = format!("{} message(s) for topic '{topic}' were not delivered", failures.count);
            return Err(from_code(&what, code).with("bootstrap", &self.bootstrap));
        }
        match self.producer.in_flight_count() {
            0 => Ok(()),
            late => {
                let last = self.health().last_error.unwrap_or_else(|| "no error was reported".to_owned());
                Err(Error::new(
                    ErrorKind::Source,
                    format!(
                        "{late} message(s) were not delivered within {} ms (last error: {last})",
                        deadline.as_millis()
                    ),
                )
                .with("bootstrap", &self.bootstrap)
                .retryable())
            }
        }
    }

    /// How the connection does.
    pub fn health(&self) -> Health {
        self.producer.context().client.health()
    }

    /// Checks that a topic is there; a broker that creates topics by itself creates it now.
    pub(crate) fn check_topic(&self, topic: &str, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let code = match self.producer.client().fetch_metadata(Some(topic), Duration::from_secs(1)) {
                Err(error) => error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown),
                Ok(metadata) => match metadata.topics().iter().find(|found| found.name() == topic) {
                    Some(found) => match found.error() {
                        Some(code) => code.into(),
                        None => return Ok(()),
                    },
                    None => RDKafkaErrorCode::UnknownTopic,
                },
            };
            if let Some(reason) = self.producer.context().client.take_refused() {
                return Err(Error::new(ErrorKind::Unauthorized, format!("Kafka refused the connection: {reason}"))
                    .with("bootstrap", &self.bootstrap));
            }
            let passing = matches!(meaning(code), Meaning::Passing | Meaning::NotFound);
            if !passing || Instant::now() >= deadline {
                return Err(from_code(&format!("topic '{topic}' could not be found; create it first"), code)
                    .with("bootstrap", &self.bootstrap));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
