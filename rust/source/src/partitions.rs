//! Where each assigned partition stands, and how a message becomes a record.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

use frazil_model::{Error, ErrorKind, Header, Positions, Record, Records, Result};
use rdkafka::Message as _;
use rdkafka::message::{BorrowedHeaders, BorrowedMessage, Headers as _};

pub(crate) struct Partition {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    /// The next offset to be delivered.
    pub(crate) position: i64,
    /// When it last got a record or was assigned.
    pub(crate) active: Instant,
    /// The call of `poll` that last made sure that the records' ranges know this partition.
    filled_in: u64,
}

/// The assigned partitions, ordered by topic and number.
#[derive(Default)]
pub(crate) struct Partitions {
    all: Vec<Partition>,
    /// The partition of the last message, by the address of its topic in librdkafka: runs of messages of one
    /// partition need no search. Forgotten in each call of `poll`, while which librdkafka frees no topic.
    last: Option<((usize, i32), usize)>,
    call: u64,
    now: Option<Instant>,
}

impl Partitions {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Partition> {
        self.all.iter()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn find(&self, topic: &str, partition: i32) -> Result<usize, usize> {
        self.all.binary_search_by(|known| (&*known.topic, known.partition).cmp(&(topic, partition)))
    }

    pub(crate) fn position(&self, topic: &str, partition: i32) -> Option<i64> {
        self.find(topic, partition).ok().map(|at| self.all[at].position)
    }

    pub(crate) fn set(&mut self, topic: &str, partition: i32, position: i64) {
        self.last = None;
        match self.find(topic, partition) {
            Ok(at) => {
                self.all[at].position = position;
                self.all[at].active = Instant::now();
                self.all[at].filled_in = 0;
            }
            Err(at) => {
                let topic = match self.all.iter().find(|known| &*known.topic == topic) {
                    Some(known) => known.topic.clone(),
                    None => topic.into(),
                };
                self.all.insert(at, Partition { topic, partition, position, active: Instant::now(), filled_in: 0 });
            }
        }
    }

    pub(crate) fn remove(&mut self, topic: &str, partition: i32) {
        self.last = None;
        if let Ok(at) = self.find(topic, partition) {
            self.all.remove(at);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.last = None;
        self.all.clear();
    }

    pub(crate) fn positions(&self) -> Positions {
        let mut positions = Positions::default();
        for part in &self.all {
            positions.set(&part.topic, part.partition, part.position);
        }
        positions
    }

    /// A call of `poll` begins: it may be given other records than the last one.
    pub(crate) fn begin(&mut self) {
        self.call += 1;
        self.last = None;
        self.now = Some(Instant::now());
    }

    /// Copies a message into `into`.
    pub(crate) fn take(&mut self, message: &BorrowedMessage<'_>, into: &mut Records) -> Result<()> {
        let key = (message.topic_ptr() as usize, message.partition());
        let at = match self.last {
            Some((last, at)) if last == key => at,
            _ => {
                let Ok(at) = self.find(message.topic(), message.partition()) else {
                    // Given back meanwhile: its next owner reads it.
                    log::debug!(target: "frazil::kafka", "dropped a record of {} [{}]", message.topic(), message.partition());
                    return Ok(());
                };
                self.last = Some((key, at));
                self.enter(at, into)?;
                at
            }
        };
        let part = &mut self.all[at];
        let offset = message.offset();
        if offset < part.position {
            return Err(Error::new(
                ErrorKind::Internal,
                format!("expected offset {} or above, librdkafka delivered {offset}", part.position),
            )
            .with("topic", &part.topic)
            .with("partition", part.partition));
        }
        let record =
            Record { value: message.payload(), key: message.key(), offset, timestamp: message.timestamp().to_millis() };
        let headers = message.headers().map(headers).unwrap_or_default();
        into.push(&part.topic, part.partition, record, headers)?;
        part.position = offset + 1;
        Ok(())
    }

    /// Moves a partition on over offsets that hold no record, if it still stands at `from`. Returns whether it did.
    pub(crate) fn skip(&mut self, topic: &str, partition: i32, from: i64, to: i64, into: &mut Records) -> Result<bool> {
        match self.find(topic, partition) {
            Ok(at) if self.all[at].position == from && to > from => {
                self.enter(at, into)?;
                let part = &mut self.all[at];
                into.cover(&part.topic, partition, from, to)?;
                part.position = to;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Lets the coverage of `into` begin where the partition stands: its first record may come later.
    fn enter(&mut self, at: usize, into: &mut Records) -> Result<()> {
        let part = &mut self.all[at];
        if let Some(now) = self.now {
            part.active = now;
        }
        if part.filled_in != self.call {
            part.filled_in = self.call;
            let known = into.ranges().0.get(&*part.topic).is_some_and(|known| known.contains_key(&part.partition));
            if !known {
                into.cover(&part.topic, part.partition, part.position, part.position)?;
            }
        }
        Ok(())
    }
}

fn headers(headers: &BorrowedHeaders) -> Vec<Header> {
    (0..headers.count())
        .map(|index| {
            // rdkafka panics on a name that is not UTF-8, and anybody may have written one.
            catch_unwind(AssertUnwindSafe(|| headers.get(index)))
                .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
                .unwrap_or_else(|_| (char::REPLACEMENT_CHARACTER.to_string(), None))
        })
        .collect()
}
