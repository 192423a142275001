//! Questions about offsets: which partitions there are, where they begin and end, and where a job starts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::DateTime;
use frazil_model::{Error, ErrorKind, OffsetRange, Positions, Ranges, Result, Start};
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::{Meaning, from_code, from_kafka, meaning};
use crate::source::KafkaSource;

/// How long one question may take, brokers being slow or just being elected.
const PATIENCE: Duration = Duration::from_secs(10);

/// librdkafka's form of positions.
pub(crate) fn list<'a>(positions: impl Iterator<Item = (&'a str, i32, i64)>) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in positions {
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(|error| {
            Error::new(ErrorKind::Config, format!("expected an offset from 0 on, found {offset}"))
                .with("topic", topic)
                .with("partition", partition)
                .caused_by(error)
        })?;
    }
    Ok(list)
}

fn lost(topic: &str, partition: i32, why: String) -> Error {
    Error::new(
        ErrorKind::OffsetsLost,
        format!("{why}: the topic was created anew or cut off; give the job a new name to read it from its start, or restore the topic"),
    )
    .with("topic", topic)
    .with("partition", partition)
}

impl KafkaSource {
    /// The partitions of each topic, as they are now.
    pub(crate) fn list_partitions(&self) -> Result<Vec<(String, i32)>> {
        let mut partitions = Vec::new();
        for topic in &self.topics {
            for partition in 0..self.count_partitions(topic, Instant::now() + PATIENCE)? {
                partitions.push((topic.clone(), partition));
            }
        }
        Ok(partitions)
    }

    /// How many partitions a topic has.
    pub(crate) fn count_partitions(&self, topic: &str, deadline: Instant) -> Result<i32> {
        let what = format!("the metadata of topic '{topic}' could not be fetched");
        retry(deadline, |left| {
            let metadata = self
                .consumer
                .fetch_metadata(Some(topic), left.min(Duration::from_secs(5)))
                .map_err(|error| from_kafka(&what, error))?;
            let found = metadata.topics().iter().find(|found| found.name() == topic);
            if let Some(code) = found.and_then(|found| found.error()) {
                let code = RDKafkaErrorCode::from(code);
                return Err(match meaning(code) {
                    Meaning::NotFound => missing(topic),
                    _ => from_code(&what, code).with("topic", topic),
                });
            }
            match found.map_or(0, |found| found.partitions().len()) {
                0 => Err(missing(topic)),
                count => Ok(count as i32),
            }
        })
    }

    /// Asks for the offsets at a place (`Beginning`, `End`, or a time in milliseconds) in all these partitions, one
    /// request for each broker. A partition without a record at or after the time has none.
    fn offsets_at(&self, partitions: &[(String, i32)], at: Offset) -> Result<Positions> {
        if partitions.is_empty() {
            return Ok(Positions::default());
        }
        retry(Instant::now() + PATIENCE, |left| {
            let mut asked = TopicPartitionList::with_capacity(partitions.len());
            for (topic, partition) in partitions {
                asked
                    .add_partition_offset(topic, *partition, at)
                    .map_err(|error| from_kafka("offsets could not be asked for", error))?;
            }
            let answer = self
                .consumer
                .offsets_for_times(asked, left)
                .map_err(|error| from_kafka("offsets could not be fetched", error))?;
            let mut found = Positions::default();
            for part in answer.elements() {
                part.error().map_err(|error| {
                    from_kafka("offsets could not be fetched", error)
                        .with("topic", part.topic())
                        .with("partition", part.partition())
                })?;
                match (part.offset(), at) {
                    (Offset::Offset(offset), _) => found.set(part.topic(), part.partition(), offset),
                    (Offset::End, Offset::Offset(_)) => {}
                    _ => {
                        return Err(Error::new(ErrorKind::Source, "a broker gave no offset")
                            .with("topic", part.topic())
                            .with("partition", part.partition())
                            .retryable());
                    }
                }
            }
            Ok(found)
        })
    }

    /// The end offsets now (of `read_committed`: the last stable offset), of the assigned partitions, or of all
    /// partitions of the topics if none is assigned.
    ///
    /// # Errors
    /// `Source` (retryable) if brokers do not answer, `NotFound`, `Unauthorized`.
    pub fn high_watermarks(&self) -> Result<Positions> {
        let partitions = if self.partitions.is_empty() {
            self.list_partitions()?
        } else {
            self.partitions.iter().map(|part| (part.topic.to_string(), part.partition)).collect()
        };
        self.ends_of(&partitions)
    }

    pub(crate) fn ends_of(&self, partitions: &[(String, i32)]) -> Result<Positions> {
        let ends = self.offsets_at(partitions, Offset::End)?;
        let mut known = self.client().ends();
        for (topic, partition, end) in ends.iter() {
            known.set(topic, partition, end);
        }
        drop(known);
        Ok(ends)
    }

    /// `known` completed by every other partition of the topics: a new partition of a topic that `known` has begins
    /// at its first record, a topic that it does not have begins where `source.kafka.start` says. All are real offsets.
    ///
    /// # Errors
    /// As [`KafkaSource::high_watermarks`]; `Config` for a start that is not a time.
    pub fn start_positions(&self, known: &Positions) -> Result<Positions> {
        let mut positions = known.clone();
        for (topic, partition, start) in self.starts(&self.list_partitions()?, known)?.iter() {
            positions.set(topic, partition, start);
        }
        Ok(positions)
    }

    /// Where each of these partitions starts.
    pub(crate) fn starts(&self, partitions: &[(String, i32)], known: &Positions) -> Result<Positions> {
        let mut starts = Positions::default();
        let (mut first, mut by_start) = (Vec::new(), Vec::new());
        for (topic, partition) in partitions {
            if let Some(offset) = known.get(topic, *partition) {
                starts.set(topic, *partition, offset);
                continue;
            }
            let job_knows_topic = known.0.get(topic).is_some_and(|partitions| !partitions.is_empty());
            let came_later = self.first_count.get(topic).is_some_and(|count| partition >= count);
            let to = if job_knows_topic || came_later { &mut first } else { &mut by_start };
            to.push((topic.clone(), *partition));
        }
        let mut found = Vec::new();
        match &self.start {
            Start::Earliest => first.append(&mut by_start),
            Start::Latest => found.push(self.offsets_at(&by_start, Offset::End)?),
            Start::Timestamp(text) => {
                let time = DateTime::parse_from_rfc3339(text).map_err(|error| {
                    Error::config(
                        "source.kafka.start.timestamp",
                        format!("expected a time such as '2026-11-01T00:00:00Z', found '{text}': {error}"),
                    )
                })?;
                // The end comes first: a record that arrives between both questions is then not left out.
                found.push(self.offsets_at(&by_start, Offset::End)?);
                let time = time.timestamp_millis().max(0);
                found.push(self.offsets_at(&by_start, Offset::Offset(time))?);
            }
            Start::Offsets(offsets) => {
                for (topic, partition) in by_start {
                    match offsets.get(&topic).and_then(|partitions| partitions.get(&partition)) {
                        Some(offset) if *offset >= 0 => starts.set(&topic, partition, *offset),
                        Some(offset) => {
                            return Err(Error::config(
                                format!("source.kafka.start.offsets.{topic}.{partition}"),
                                format!("expected an offset from 0 on, found {offset}"),
                            ));
                        }
                        None => first.push((topic, partition)),
                    }
                }
            }
        }
        found.push(self.offsets_at(&first, Offset::Beginning)?);
        for (topic, partition, offset) in found.iter().flat_map(Positions::iter) {
            starts.set(topic, partition, offset);
        }
        Ok(starts)
    }

    /// The offsets that are needed from these positions on but are gone from the topics (retention, deleted records).
    ///
    /// # Errors
    /// `OffsetsLost` if a position lies behind the end of its partition, or the partition is not there any more: the
    /// topic was created anew or cut off, and what its offsets once meant cannot be known. Else as
    /// [`KafkaSource::high_watermarks`].
    pub fn check_retained(&self, positions: &Positions) -> Result<Ranges> {
        let there: BTreeSet<_> = self.list_partitions()?.into_iter().collect();
        let needed: Vec<_> = positions.iter().map(|(topic, partition, _)| (topic.to_owned(), partition)).collect();
        if let Some((topic, partition)) =
            needed.iter().find(|part| self.topics.contains(&part.0) && !there.contains(*part))
        {
            return Err(lost(topic, *partition, "the partition is not there any more".to_owned()));
        }
        let needed: Vec<_> = needed.into_iter().filter(|part| there.contains(part)).collect();
        let lows = self.offsets_at(&needed, Offset::Beginning)?;
        let ends = self.ends_of(&needed)?;
        let mut gone = Ranges::default();
        for (topic, partition, position) in positions.iter() {
            let (Some(low), Some(end)) = (lows.get(topic, partition), ends.get(topic, partition)) else { continue };
            if position > end {
                return Err(lost(
                    topic,
                    partition,
                    format!("expected offset {position}, but the partition ends at {end}"),
                ));
            }
            if position < low {
                gone.extend(topic, partition, OffsetRange { start: position, end: low })?;
            }
        }
        Ok(gone)
    }

    /// How far these positions are behind the last known ends. Cheap: nobody is asked.
    pub fn lag(&self, positions: &Positions) -> BTreeMap<String, BTreeMap<i32, i64>> {
        let ends = self.client().ends();
        let mut lag: BTreeMap<String, BTreeMap<i32, i64>> = BTreeMap::new();
        for (topic, partition, position) in positions.iter() {
            if let Some(end) = ends.get(topic, partition) {
                lag.entry(topic.to_owned()).or_default().insert(partition, (end - position).max(0));
            }
        }
        lag
    }

    /// The error for positions that librdkafka found out of range, with the partitions and the gaps.
    pub(crate) fn explain_lost(&self) -> Error {
        match self.check_retained(&self.positions()) {
            Err(error) => error,
            Ok(gone) => {
                let gaps: Vec<_> = gone
                    .iter()
                    .map(|(topic, partition, range)| format!("{topic} [{partition}]: {} to {}", range.start, range.end))
                    .collect();
                let gaps = if gaps.is_empty() { "which ones cannot be told".to_owned() } else { gaps.join(", ") };
                Error::new(
                    ErrorKind::OffsetsLost,
                    format!(
                        "offsets that were not read yet are gone from the topic, by retention or deletion ({gaps}); set errors.on_lost_offsets: skip to go on behind them"
                    ),
                )
            }
        }
    }
}

fn missing(topic: &str) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!(
            "topic '{topic}' does not exist (or these credentials may not see it); create it, or mend source.kafka.topics"
        ),
    )
}

/// Tries again what may pass, until the deadline.
fn retry<T>(deadline: Instant, mut ask: impl FnMut(Duration) -> Result<T>) -> Result<T> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(100));
        match ask(left) {
            Err(error) if error.is_retryable() && Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(100));
            }
            result => return result,
        }
    }
}
