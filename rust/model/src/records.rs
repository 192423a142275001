//! Records on their way from a source to a decoder: many records in a few large buffers.

use std::sync::Arc;

use crate::{OffsetRange, Ranges, Result};

/// One header of a record; a null value is `None`.
pub type Header = (String, Option<Vec<u8>>);

/// One record as a source hands it over.
#[derive(Debug, Clone, Copy, Default)]
pub struct Record<'a> {
    /// The value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The offset.
    pub offset: i64,
    /// Milliseconds since 1970-01-01T00:00:00Z, if the record has a timestamp.
    pub timestamp: Option<i64>,
}

/// Rows that follow each other and come from one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The rows, from the first to behind the last.
    pub rows: std::ops::Range<usize>,
}

/// Byte strings behind each other in one buffer.
#[derive(Debug, Default)]
struct Strings {
    bytes: Vec<u8>,
    /// End of each string; a null ends where it begins and is marked in `nulls`.
    ends: Vec<usize>,
    nulls: Vec<usize>,
}

impl Strings {
    fn push(&mut self, text: Option<&[u8]>) {
        match text {
            Some(text) => self.bytes.extend_from_slice(text),
            None => self.nulls.push(self.ends.len()),
        }
        self.ends.push(self.bytes.len());
    }

    fn get(&self, row: usize) -> Option<&[u8]> {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        let end = self.ends[row];
        if start == end && !self.nulls.is_empty() && self.nulls.binary_search(&row).is_ok() {
            return None;
        }
        Some(&self.bytes[start..end])
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.nulls.clear();
    }
}

/// Records of one or more partitions, and the offset ranges that they cover. Its buffers are kept by
/// [`Records::clear`], so one value can be filled again and again.
#[derive(Debug, Default)]
pub struct Records {
    values: Strings,
    keys: Strings,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    headers: Vec<(usize, Vec<Header>)>,
    runs: Vec<Run>,
    ranges: Ranges,
}

const NO_TIMESTAMP: i64 = i64::MIN;

impl Records {
    /// Appends a record. Offsets of a partition must rise; where they jump (compaction, transaction markers) the
    /// skipped ones count as covered.
    ///
    /// # Errors
    /// `Internal` if the offset is not above the partition's last one.
    pub fn push(&mut self, topic: &Arc<str>, partition: i32, record: Record<'_>, headers: Vec<Header>) -> Result<()> {
        let row = self.offsets.len();
        match self.runs.last_mut() {
            Some(run) if run.partition == partition && run.topic == *topic => run.rows.end = row + 1,
            _ => self.runs.push(Run { topic: topic.clone(), partition, rows: row..row + 1 }),
        }
        self.cover(topic, partition, record.offset, record.offset + 1)?;
        self.values.push(record.value);
        self.keys.push(record.key);
        self.offsets.push(record.offset);
        self.timestamps.push(record.timestamp.unwrap_or(NO_TIMESTAMP));
        if !headers.is_empty() {
            self.headers.push((row, headers));
        }
        Ok(())
    }

    /// Counts offsets up to `end` as covered though no record stands there (the end of a partition whose last offsets
    /// are transaction markers).
    ///
    /// # Errors
    /// `Internal` if `end` is below what is covered.
    pub fn cover(&mut self, topic: &Arc<str>, partition: i32, start: i64, end: i64) -> Result<()> {
        let known = self.ranges.0.get(topic.as_ref()).and_then(|partitions| partitions.get(&partition));
        let start = known.map_or(start, |range| if range.end <= start { range.end } else { start });
        self.ranges.extend(topic, partition, OffsetRange { start, end })
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Bytes of all keys and values.
    pub fn bytes(&self) -> usize {
        self.values.bytes.len() + self.keys.bytes.len()
    }

    /// Bytes that its buffers hold, filled or not.
    pub fn memory(&self) -> usize {
        self.values.bytes.capacity()
            + self.keys.bytes.capacity()
            + 8 * (self.values.ends.capacity()
                + self.keys.ends.capacity()
                + self.offsets.capacity()
                + self.timestamps.capacity())
    }

    /// The value of a row; `None` is a tombstone.
    pub fn value(&self, row: usize) -> Option<&[u8]> {
        self.values.get(row)
    }

    /// The key of a row.
    pub fn key(&self, row: usize) -> Option<&[u8]> {
        self.keys.get(row)
    }

    /// The offset of a row.
    pub fn offset(&self, row: usize) -> i64 {
        self.offsets[row]
    }

    /// The timestamp of a row in milliseconds.
    pub fn timestamp(&self, row: usize) -> Option<i64> {
        Some(self.timestamps[row]).filter(|ms| *ms != NO_TIMESTAMP)
    }

    /// The headers of a row.
    pub fn headers(&self, row: usize) -> &[Header] {
        match self.headers.binary_search_by_key(&row, |(row, _)| *row) {
            Ok(at) => &self.headers[at].1,
            Err(_) => &[],
        }
    }

    /// The runs of rows of one partition each, in row order.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }

    /// The run that a row belongs to.
    pub fn run_of(&self, row: usize) -> &Run {
        &self.runs[self.runs.partition_point(|run| run.rows.end <= row)]
    }

    /// The offsets that these records cover.
    pub fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    /// Empties it and keeps the buffers.
    pub fn clear(&mut self) {
        self.values.clear();
        self.keys.clear();
        self.offsets.clear();
        self.timestamps.clear();
        self.headers.clear();
        self.runs.clear();
        self.ranges = Ranges::default();
    }
}

/// Where on its way a record was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Its bytes are not what the format or schema says.
    Decode,
    /// An expression of the transform failed on it.
    Transform,
    /// Its values do not fit the table.
    Fit,
}

impl Stage {
    /// The name in the dead letter's `frazil.stage` header.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Decode => "decode",
            Stage::Transform => "transform",
            Stage::Fit => "fit",
        }
    }
}

/// A record that could not go on, by its row in the batch that a stage was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The row.
    pub row: usize,
    /// Where it was refused.
    pub stage: Stage,
    /// Why, for a person.
    pub reason: String,
    /// The id of its schema in the registry, if it got that far.
    pub schema_id: Option<i32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_keep_nulls_runs_headers_and_ranges() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut records = Records::default();
        for round in 0..2 {
            let record = |offset, value| Record { value, key: Some(b"k"), offset, timestamp: Some(7) };
            records.push(&a, 0, record(5, Some(b"x".as_slice())), vec![]).unwrap();
            records.push(&a, 0, record(8, None), vec![("h".into(), None)]).unwrap();
            records.push(&b, 3, record(0, Some(b"")), vec![]).unwrap();
            records.push(&a, 0, record(9, Some(b"yz")), vec![]).unwrap();
            assert_eq!(
                (records.value(0), records.value(1), records.value(2), records.value(3)),
                (Some(b"x".as_slice()), None, Some(b"".as_slice()), Some(b"yz".as_slice()))
            );
            assert_eq!(records.headers(1).len() + records.headers(0).len(), 1);
            assert_eq!(records.runs().len(), 3, "round {round}");
            assert_eq!(records.run_of(2).topic, b);
            assert_eq!(records.run_of(3).rows, 3..4);
            assert_eq!(serde_json::to_string(records.ranges()).unwrap(), r#"{"a":{"0":[5,10]},"b":{"3":[0,1]}}"#);
            assert!(records.push(&a, 0, record(9, None), vec![]).is_err());
            records.clear();
        }
    }
}
