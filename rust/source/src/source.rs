//! The Kafka consumer, driven by one thread of the pipeline.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use frazil_model::{Error, ErrorKind, JobName, Kafka, Positions, Records, Result, Start};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::KafkaError;

use crate::client::{Client, Health};
use crate::config;
use crate::error::{Meaning, from_code, from_kafka, meaning};
use crate::offsets::list;
use crate::partitions::Partitions;
use crate::rebalance::Assignment;
use crate::tail::Tail;

/// A pause shorter than this only stops polling, and keeps what librdkafka has fetched already: a real pause throws
/// that away. Group membership bears it (heartbeats have their own thread), rebalances wait for so long.
const SHORT_PAUSE: Duration = Duration::from_secs(1);

/// How much a source may hold and how long it may take to connect.
#[derive(Debug, Clone)]
pub struct SourceOptions {
    /// Bytes of records fetched ahead, all partitions together. Records that are compressed very well may exceed it by
    /// one fetch of each broker. Measured, 16 to 32 MiB cost the least CPU; more only helps over slow networks.
    pub queue_bytes: usize,
    /// How long [`KafkaSource::open`] tries to reach the brokers.
    pub connect_timeout: Duration,
}

impl Default for SourceOptions {
    fn default() -> Self {
        SourceOptions { queue_bytes: 32 << 20, connect_timeout: Duration::from_secs(10) }
    }
}

/// What a call of [`KafkaSource::poll`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PollOutcome {
    /// Records that it added.
    pub records: usize,
    /// It returned early because partitions come or go, which is settled in the next call. Hand the records on first,
    /// and call again with an empty `Records`: until then, `poll` does nothing.
    pub rebalancing: bool,
}

/// Kafka topics as a source of records.
pub struct KafkaSource {
    pub(crate) consumer: BaseConsumer<Client>,
    pub(crate) topics: Vec<String>,
    pub(crate) start: Start,
    /// How many partitions each topic had when the source was opened: further ones are new.
    pub(crate) first_count: HashMap<String, i32>,
    pub(crate) assignment: Option<Arc<dyn Assignment>>,
    pub(crate) partitions: Partitions,
    /// Whether librdkafka itself was told to pause.
    pub(crate) stopped: bool,
    paused_since: Option<Instant>,
    kafka: Kafka,
    tail_config: ClientConfig,
    tail: Option<Tail>,
    tail_asked: Instant,
}

impl KafkaSource {
    /// Connects and checks that the topics exist.
    ///
    /// # Errors
    /// `NotFound` names a topic that is not there, `Unauthorized` says that credentials were refused, `Source` that no
    /// broker could be reached in time, `Config` that settings are wrong.
    pub fn open(kafka: &Kafka, job: &JobName, options: SourceOptions) -> Result<Self> {
        let settings = config::consumer(kafka, job, options.queue_bytes)?;
        let consumer: BaseConsumer<Client> = settings
            .create_with_context(Client::new(kafka))
            .map_err(|error| from_kafka("the Kafka consumer could not be created", error))?;
        let mut source = KafkaSource {
            consumer,
            topics: kafka.topics.clone(),
            start: kafka.start.clone(),
            first_count: HashMap::new(),
            assignment: None,
            partitions: Partitions::default(),
            stopped: false,
            paused_since: None,
            kafka: kafka.clone(),
            tail_config: config::tail(&settings),
            tail: None,
            tail_asked: Instant::now(),
        };
        let deadline = Instant::now() + options.connect_timeout;
        for topic in &kafka.topics {
            let count = source.connect(topic, deadline)?;
            source.first_count.insert(topic.clone(), count);
        }
        source.client().well();
        Ok(source)
    }

    fn connect(&self, topic: &str, deadline: Instant) -> Result<i32> {
        loop {
            // In short steps: refused credentials are reported as events, which only polling brings out.
            let result = self.count_partitions(topic, Instant::now() + Duration::from_millis(300));
            if result.is_err() {
                self.consumer.poll(Duration::from_millis(50));
            }
            if let Some(reason) = self.client().take_refused() {
                return Err(Error::new(ErrorKind::Unauthorized, format!("Kafka refused the connection: {reason}"))
                    .with("bootstrap", &self.kafka.bootstrap));
            }
            match result {
                Err(error) if error.is_retryable() && Instant::now() < deadline => {}
                Err(error) if error.is_retryable() => {
                    let last = self.client().health().last_error.unwrap_or_else(|| error.to_string());
                    return Err(Error::new(
                        ErrorKind::Source,
                        format!(
                            "no Kafka broker answered; check source.kafka.bootstrap and security (last error: {last})"
                        ),
                    )
                    .with("bootstrap", &self.kafka.bootstrap)
                    .retryable());
                }
                result => return result,
            }
        }
    }

    pub(crate) fn client(&self) -> &Client {
        self.consumer.context()
    }

    /// Joins the consumer group, which divides the partitions of the topics among its members.
    ///
    /// # Errors
    /// `Source` if librdkafka refuses.
    pub fn subscribe(&mut self, assignment: Arc<dyn Assignment>) -> Result<()> {
        self.assignment = Some(assignment);
        let topics: Vec<&str> = self.topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&topics).map_err(|error| from_kafka("the topics could not be subscribed to", error))
    }

    /// Takes all partitions of the topics, without a group. Those that `from` does not have begin as
    /// [`KafkaSource::start_positions`] says.
    ///
    /// # Errors
    /// As [`KafkaSource::high_watermarks`].
    pub fn assign_all(&mut self, from: &Positions) -> Result<()> {
        self.resume()?;
        let partitions = self.list_partitions()?;
        let starts = self.starts(&partitions, from)?;
        // The ends that are to be reached, also where no record stands before them.
        self.ends_of(&partitions)?;
        self.consumer
            .assign(&list(starts.iter())?)
            .map_err(|error| from_kafka("the partitions could not be assigned", error))?;
        self.partitions.clear();
        for (topic, partition, start) in starts.iter() {
            self.partitions.set(topic, partition, start);
        }
        self.tail = None;
        Ok(())
    }

    /// Fills `into` until it holds `limit_records` or `limit_bytes`, or `wait` has passed. Where the end of a
    /// partition holds no record, its coverage goes on to the end all the same, a moment later.
    ///
    /// # Errors
    /// `OffsetsLost`, `Unauthorized`, `NotFound`, `Source`; brokers that are away for a while are no error, see
    /// [`KafkaSource::health`].
    pub fn poll(
        &mut self,
        into: &mut Records,
        limit_records: usize,
        limit_bytes: usize,
        wait: Duration,
    ) -> Result<PollOutcome> {
        let deadline = Instant::now() + wait;
        let before = into.len();
        self.partitions.begin();
        loop {
            if self.client().rebalancing() {
                // Coverage without records (an empty tail) counts too: it may be of a partition that goes.
                if !into.is_empty() || !into.ranges().is_empty() {
                    return Ok(PollOutcome { records: into.len() - before, rebalancing: true });
                }
                self.rebalance()?;
            }
            if self.short_pause(deadline)? {
                break;
            }
            if into.len() >= limit_records || into.bytes() >= limit_bytes {
                break;
            }
            let message = match self.consumer.poll(Duration::ZERO) {
                Some(message) => message,
                None if self.client().rebalancing() => continue,
                None => {
                    self.settle_tails(into)?;
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        break;
                    }
                    match self.consumer.poll(left.min(Duration::from_millis(20))) {
                        Some(message) => message,
                        None => continue,
                    }
                }
            };
            match message {
                Ok(message) => self.partitions.take(&message, into)?,
                Err(error) => self.trouble(error)?,
            }
        }
        Ok(PollOutcome { records: into.len() - before, rebalancing: false })
    }

    /// Which errors end the run.
    fn trouble(&self, error: KafkaError) -> Result<()> {
        let Some(code) = error.rdkafka_error_code() else {
            return Err(from_kafka("Kafka failed", error));
        };
        if matches!(error, KafkaError::MessageConsumptionFatal(_)) {
            return Err(Error::new(ErrorKind::Source, "the Kafka consumer cannot go on").caused_by(code).retryable());
        }
        // The last reported error is this one, with librdkafka's own words about where.
        let reason = self.client().health().last_error.unwrap_or_default();
        match meaning(code) {
            Meaning::Passing => Ok(()),
            Meaning::OffsetsLost => Err(self.explain_lost()),
            // Without a group, the group's permission is only needed by lag tools.
            Meaning::Unauthorized
                if self.assignment.is_none() && code == rdkafka::error::RDKafkaErrorCode::GroupAuthorizationFailed =>
            {
                Ok(())
            }
            Meaning::Unauthorized | Meaning::NotFound | Meaning::Failed => {
                Err(from_code(&format!("reading from Kafka failed ({reason})"), code))
            }
        }
    }

    /// Asks about the tails of partitions that have stood still before their end, and passes empty ones over.
    fn settle_tails(&mut self, into: &mut Records) -> Result<()> {
        // Who pauses has no use for coverage either: the answer waits.
        if self.paused_since.is_some() {
            return Ok(());
        }
        let asking = self.tail.as_ref().is_some_and(Tail::asking);
        if !asking {
            // Of a stream only the lag depends on it; a read to the end waits for it.
            let still = Duration::from_millis(if self.assignment.is_some() { 2000 } else { 100 });
            if self.tail_asked.elapsed() < still {
                return Ok(());
            }
            self.tail_asked = Instant::now();
            let ends = self.client().ends().clone();
            let behind = |part: &&crate::partitions::Partition| {
                part.active.elapsed() >= still
                    && ends.get(&part.topic, part.partition).is_some_and(|end| end > part.position)
            };
            let Some(topic) = self.partitions.iter().find(behind).map(|part| part.topic.clone()) else {
                return Ok(());
            };
            let ask: Vec<_> = self
                .partitions
                .iter()
                .filter(|part| part.topic == topic)
                .filter(behind)
                .map(|part| (part.partition, part.position, ends.get(&topic, part.partition).unwrap_or(part.position)))
                .collect();
            if self.tail.is_none() {
                self.tail = Some(Tail::open(&self.tail_config, &self.kafka)?);
            }
            self.tail.as_mut().expect("opened above").ask(&topic, &ask)?;
        }
        let Some(tail) = &mut self.tail else { return Ok(()) };
        for empty in tail.answers(Duration::ZERO)? {
            self.partitions.skip(&empty.topic, empty.partition, empty.from, empty.to, into)?;
        }
        Ok(())
    }

    /// Stops delivering records until [`KafkaSource::resume`]. `poll` must go on being called, to stay in the group.
    pub fn pause(&mut self) {
        self.paused_since.get_or_insert_with(Instant::now);
    }

    /// Delivers records again.
    ///
    /// # Errors
    /// `Source` if librdkafka refuses.
    pub fn resume(&mut self) -> Result<()> {
        self.paused_since = None;
        if self.stopped {
            self.stopped = false;
            self.consumer
                .resume(&list(self.partitions.positions().iter())?)
                .map_err(|error| from_kafka("the partitions could not be resumed", error))?;
        }
        Ok(())
    }

    /// While a pause is short, waits; when it has become long, tells librdkafka. Returns whether it has waited.
    fn short_pause(&mut self, deadline: Instant) -> Result<bool> {
        match self.paused_since {
            Some(since) if !self.stopped && since.elapsed() < SHORT_PAUSE => {
                std::thread::sleep(deadline.saturating_duration_since(Instant::now()).min(SHORT_PAUSE));
                Ok(true)
            }
            Some(_) if !self.stopped => {
                self.stopped = true;
                self.consumer
                    .pause(&list(self.partitions.positions().iter())?)
                    .map_err(|error| from_kafka("the partitions could not be paused", error))?;
                Ok(false)
            }
            _ => Ok(false),
        }
    }

    /// Goes on from other positions, after a commit was refused. Partitions that are not assigned are left out.
    ///
    /// # Errors
    /// `Source` (retryable) if a partition could not be moved.
    pub fn seek(&mut self, positions: &Positions) -> Result<()> {
        let mine: Vec<_> = positions
            .iter()
            .filter(|(topic, partition, _)| self.partitions.position(topic, *partition).is_some())
            .collect();
        if mine.is_empty() {
            return Ok(());
        }
        if self.stopped {
            // A paused partition would go on from where it was paused. What is fetched now is only queued.
            self.resume()?;
            self.pause();
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let result = self
                .consumer
                .seek_partitions(list(mine.iter().copied())?, Duration::from_secs(5))
                .and_then(|moved| moved.elements().iter().try_for_each(|part| part.error()));
            match result {
                Ok(()) => break,
                // Right after the assignment, librdkafka is not ready for it yet.
                Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
                Err(error) => return Err(from_kafka("the partitions could not be moved to other offsets", error)),
            }
        }
        for (topic, partition, offset) in mine {
            self.partitions.set(topic, partition, offset);
        }
        // Answers to questions from the old positions would be about other offsets.
        self.tail = None;
        Ok(())
    }

    /// The next offset that will be delivered, of each assigned partition.
    pub fn positions(&self) -> Positions {
        self.partitions.positions()
    }

    /// Tells the group's offsets to lag tools. Best effort: the table's ledger is what counts.
    pub fn commit_group(&self, positions: &Positions) {
        if positions.is_empty() {
            return;
        }
        let result = list(positions.iter()).map(|offsets| self.consumer.commit(&offsets, CommitMode::Async));
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => log::debug!(target: "frazil::kafka", "group offsets not committed: {error}"),
            Err(error) => log::debug!(target: "frazil::kafka", "group offsets not committed: {error}"),
        }
    }

    /// How the connection does.
    pub fn health(&self) -> Health {
        self.client().health()
    }

    /// Leaves the group.
    pub fn close(self) {}
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.client().close();
        // What librdkafka still waits for must be answered, or leaving would wait for ever.
        while let Some(rebalance) = self.client().next_rebalance() {
            let partitions =
                list(rebalance.partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition, 0)));
            let result = match partitions {
                Ok(_) if rebalance.given => self.consumer.incremental_assign(&rdkafka::TopicPartitionList::new()),
                Ok(partitions) => self.consumer.incremental_unassign(&partitions),
                Err(_) => Ok(()),
            };
            if let Err(error) = result {
                log::debug!(target: "frazil::kafka", "while closing: {error}");
            }
        }
    }
}
