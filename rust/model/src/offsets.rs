//! Where in a source: positions of partitions, and the ranges that a piece of work covers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Error, ErrorKind, Result};

/// Offsets from `start` (included) to `end` (not included) of one partition. Written as `[start, end]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "(i64, i64)", into = "(i64, i64)")]
pub struct OffsetRange {
    /// First offset in the range.
    pub start: i64,
    /// First offset behind the range.
    pub end: i64,
}

impl From<(i64, i64)> for OffsetRange {
    fn from((start, end): (i64, i64)) -> Self {
        OffsetRange { start, end }
    }
}

impl From<OffsetRange> for (i64, i64) {
    fn from(range: OffsetRange) -> Self {
        (range.start, range.end)
    }
}

/// The next offset to read, by topic and partition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Positions(pub BTreeMap<String, BTreeMap<i32, i64>>);

impl Positions {
    /// The next offset of a partition, if there is one.
    pub fn get(&self, topic: &str, partition: i32) -> Option<i64> {
        self.0.get(topic)?.get(&partition).copied()
    }

    /// Sets the next offset of a partition.
    pub fn set(&mut self, topic: &str, partition: i32, offset: i64) {
        match self.0.get_mut(topic) {
            Some(partitions) => {
                partitions.insert(partition, offset);
            }
            None => {
                self.0.insert(topic.to_owned(), BTreeMap::from([(partition, offset)]));
            }
        }
    }

    /// Every partition with its next offset, ordered by topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32, i64)> {
        self.0.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(|(partition, offset)| (topic.as_str(), *partition, *offset))
        })
    }

    /// Whether no partition is known.
    pub fn is_empty(&self) -> bool {
        self.0.values().all(BTreeMap::is_empty)
    }
}

/// The offsets that a piece of work covers: one range for each partition that it touched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ranges(pub BTreeMap<String, BTreeMap<i32, OffsetRange>>);

impl Ranges {
    /// Adds a range behind what is there for the partition.
    ///
    /// # Errors
    /// `Internal` if it does not start where the known range ends: offsets would be lost or doubled.
    pub fn extend(&mut self, topic: &str, partition: i32, range: OffsetRange) -> Result<()> {
        if !self.0.contains_key(topic) {
            self.0.insert(topic.to_owned(), BTreeMap::new());
        }
        let partitions = self.0.get_mut(topic).expect("inserted above");
        match partitions.get_mut(&partition) {
            None => {
                partitions.insert(partition, range);
            }
            Some(known) if known.end == range.start => known.end = range.end,
            Some(known) => {
                return Err(Error::new(
                    ErrorKind::Internal,
                    format!("expected offset {} next, found a range that starts at {}", known.end, range.start),
                )
                .with("topic", topic)
                .with("partition", partition));
            }
        }
        Ok(())
    }

    /// Every range, ordered by topic and partition.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i32, OffsetRange)> {
        self.0.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(|(partition, range)| (topic.as_str(), *partition, *range))
        })
    }

    /// Whether no offset is covered.
    pub fn is_empty(&self) -> bool {
        self.iter().all(|(_, _, range)| range.start >= range.end)
    }

    /// How many offsets are covered (Kafka's offsets may have holes: not the number of records).
    pub fn len(&self) -> i64 {
        self.iter().map(|(_, _, range)| range.end - range.start).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join_end_to_end_and_refuse_gaps() {
        let mut ranges = Ranges::default();
        ranges.extend("t", 0, (0, 5).into()).unwrap();
        ranges.extend("t", 0, (5, 9).into()).unwrap();
        ranges.extend("t", 1, (3, 4).into()).unwrap();
        assert_eq!(serde_json::to_string(&ranges).unwrap(), r#"{"t":{"0":[0,9],"1":[3,4]}}"#);
        assert_eq!(ranges.len(), 10);
        let error = ranges.extend("t", 0, (10, 11).into()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Internal);
    }
}
