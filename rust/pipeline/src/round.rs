//! One round: what the next commit covers, dealt out to the lanes, ended by the reader or by a rebalance.

use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, TrySendError};
use std::time::{Duration, Instant};

use frazil_model::{OffsetRange, Positions, Ranges, Records, Result};
use parking_lot::{Condvar, Mutex};

use crate::lane::LaneMessage;

/// Lets the group protocol end a round while the reader is inside Kafka's client, and wait for its commit.
pub(crate) struct RoundControl {
    state: Mutex<Rounds>,
    changed: Condvar,
    cut: Mutex<Option<Sender<Cut>>>,
    open: Mutex<OpenRound>,
}

#[derive(Default)]
struct Rounds {
    cut: u64,
    committed: u64,
    failed: bool,
}

/// What the reader knows of the round that it is filling.
#[derive(Default)]
pub(crate) struct OpenRound {
    pub(crate) ranges: Ranges,
    pub(crate) skipped: Ranges,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) oldest: Option<Instant>,
    pub(crate) lanes: Vec<SyncSender<LaneMessage>>,
    pub(crate) used: Vec<bool>,
}

impl OpenRound {
    /// Counts what a chunk covers. Offsets that were lost and may be skipped join in front of the first chunk behind
    /// them.
    ///
    /// # Errors
    /// `Internal` if the chunk does not begin where the round stands.
    pub(crate) fn cover(&mut self, ranges: &Ranges, skips: &mut Ranges) -> Result<()> {
        for (topic, partition, range) in ranges.iter() {
            let skip = skips.0.get_mut(topic).and_then(|partitions| partitions.remove(&partition));
            if let Some(skip) = skip.filter(|skip| skip.end <= range.start && skip.start < skip.end) {
                let joined = OffsetRange { start: skip.start, end: range.start };
                self.ranges.extend(topic, partition, joined)?;
                self.skipped.extend(topic, partition, joined)?;
            }
            self.ranges.extend(topic, partition, range)?;
        }
        Ok(())
    }

    /// Enters partitions that have brought nothing yet and are not in the ledger, so that the ledger knows where they
    /// stand: else a later `start: latest` would find other offsets.
    ///
    /// # Errors
    /// None in fact: an empty range joins anything.
    pub(crate) fn enter_idle(&mut self, positions: &Positions, known: &Positions) -> Result<()> {
        for (topic, partition, at) in positions.iter() {
            let seen = self.ranges.0.get(topic).is_some_and(|partitions| partitions.contains_key(&partition));
            if !seen && known.get(topic, partition).is_none() {
                self.ranges.extend(topic, partition, OffsetRange { start: at, end: at })?;
            }
        }
        Ok(())
    }

    /// Hands a chunk to the first lane that has room (so that little data stays in few files) and counts what it
    /// covers; gives it back, uncounted, if no lane has room.
    ///
    /// # Errors
    /// As [`OpenRound::cover`].
    pub(crate) fn deal(&mut self, records: Records, skips: &mut Ranges) -> Result<Option<Records>> {
        let (ranges, count, bytes) = (records.ranges().clone(), records.len() as u64, records.bytes() as u64);
        let mut message = LaneMessage::Chunk(records);
        for index in 0..self.lanes.len() {
            match self.lanes[index].try_send(message) {
                Ok(()) => {
                    self.used[index] = true;
                    self.records += count;
                    self.bytes += bytes;
                    self.oldest.get_or_insert_with(Instant::now);
                    self.cover(&ranges, skips)?;
                    return Ok(None);
                }
                Err(TrySendError::Full(back) | TrySendError::Disconnected(back)) => message = back,
            }
        }
        match message {
            LaneMessage::Chunk(records) => Ok(Some(records)),
            LaneMessage::Finish => Ok(None),
        }
    }
}

/// A round that is over: what the committer waits for and commits.
pub(crate) struct Cut {
    pub(crate) number: u64,
    pub(crate) ranges: Ranges,
    pub(crate) skipped: Ranges,
    pub(crate) records: u64,
    pub(crate) lanes: usize,
}

impl RoundControl {
    pub(crate) fn new(cuts: Sender<Cut>, lanes: Vec<SyncSender<LaneMessage>>) -> Arc<Self> {
        let used = vec![false; lanes.len()];
        Arc::new(RoundControl {
            state: Mutex::default(),
            changed: Condvar::new(),
            cut: Mutex::new(Some(cuts)),
            open: Mutex::new(OpenRound { lanes, used, ..OpenRound::default() }),
        })
    }

    /// The round being filled.
    pub(crate) fn open(&self) -> parking_lot::MutexGuard<'_, OpenRound> {
        self.open.lock()
    }

    /// Whether the round before has been committed, so that another may end.
    pub(crate) fn idle(&self) -> bool {
        let state = self.state.lock();
        state.cut == state.committed
    }

    /// Whether the open round holds so many bytes that it must wait for the commit of the one before.
    pub(crate) fn is_full(&self, bytes: u64) -> bool {
        self.open.lock().bytes >= bytes && !self.idle()
    }

    /// Ends the open round if it holds records: its lanes close their files, the committer commits. Only when no other
    /// round is on its way: lanes hand over outcomes without saying of which round. Returns false if `give_up` said so
    /// before every lane had taken notice; then the attempt must end.
    pub(crate) fn cut(&self, give_up: impl Fn() -> bool) -> bool {
        let mut open = self.open.lock();
        if open.records == 0 {
            return true;
        }
        let number = {
            let mut state = self.state.lock();
            state.cut += 1;
            state.cut
        };
        let mut lanes = 0;
        for index in 0..open.used.len() {
            if std::mem::take(&mut open.used[index]) {
                lanes += 1;
                // A lane that is gone has reported its error: the attempt ends by it.
                while let Err(TrySendError::Full(_)) = open.lanes[index].try_send(LaneMessage::Finish) {
                    if give_up() || self.state.lock().failed {
                        return false;
                    }
                    std::thread::sleep(Duration::from_micros(500));
                }
            }
        }
        let cut = Cut {
            number,
            ranges: std::mem::take(&mut open.ranges),
            skipped: std::mem::take(&mut open.skipped),
            records: std::mem::take(&mut open.records),
            lanes,
        };
        open.oldest = None;
        open.bytes = 0;
        if let Some(cuts) = &*self.cut.lock() {
            let _ = cuts.send(cut);
        }
        true
    }

    /// Waits until every round that was ended is committed: true, or false when `give_up` said so or the attempt failed.
    fn wait_committed(&self, give_up: impl Fn() -> bool) -> bool {
        let mut state = self.state.lock();
        while state.cut != state.committed && !state.failed {
            if give_up() {
                return false;
            }
            self.changed.wait_for(&mut state, Duration::from_millis(50));
        }
        !state.failed
    }

    /// Ends the open round and waits for its commit; false when `give_up` said so or the attempt failed.
    pub(crate) fn cut_and_wait(&self, give_up: impl Fn() -> bool) -> bool {
        self.wait_committed(&give_up) && self.cut(&give_up) && self.wait_committed(&give_up)
    }

    /// Forgets what the open round covers of partitions that were given away, once [`RoundControl::cut_and_wait`] has
    /// left it without records: their next owner covers it.
    pub(crate) fn forget(&self, partitions: &[(String, i32)]) {
        let mut open = self.open.lock();
        let OpenRound { ranges, skipped, .. } = &mut *open;
        for (topic, partition) in partitions {
            for covered in [&mut *ranges, &mut *skipped] {
                if let Some(partitions) = covered.0.get_mut(topic) {
                    partitions.remove(partition);
                }
            }
        }
    }

    /// The committer is done with a round.
    pub(crate) fn committed(&self, number: u64) {
        self.state.lock().committed = number;
        self.changed.notify_all();
    }

    /// The attempt has failed: nobody waits any longer.
    pub(crate) fn fail(&self) {
        self.state.lock().failed = true;
        self.changed.notify_all();
    }

    /// No further round will come.
    pub(crate) fn close(&self) {
        self.cut.lock().take();
        self.open.lock().lanes.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{channel, sync_channel};

    use frazil_model::Record;

    use super::*;

    fn records(partition: i32, offset: i64) -> Records {
        let mut records = Records::default();
        records.push(&"t".into(), partition, Record { offset, ..Record::default() }, Vec::new()).unwrap();
        records
    }

    fn covered(partition: i32, start: i64, end: i64) -> Ranges {
        let mut ranges = Ranges::default();
        ranges.extend("t", partition, (start, end).into()).unwrap();
        ranges
    }

    #[test]
    fn a_partition_that_went_and_comes_back_may_begin_anywhere() {
        let round = RoundControl::new(channel().0, Vec::new());
        let mut skips = Ranges::default();
        // Transaction markers: offsets without records, which no commit has taken yet.
        round.open().cover(&covered(0, 5, 7), &mut skips).unwrap();
        round.open().cover(&covered(1, 5, 7), &mut skips).unwrap();
        assert!(round.cut_and_wait(|| false), "there is nothing to commit");
        round.forget(&[("t".to_owned(), 0)]);
        round.open().cover(&covered(0, 5, 9), &mut skips).unwrap();
        round.open().cover(&covered(1, 7, 9), &mut skips).unwrap();
        assert!(round.open().cover(&covered(1, 5, 9), &mut skips).is_err());
    }

    #[test]
    fn a_round_whose_lane_or_commit_hangs_is_given_up() {
        let (cut_sender, cuts) = channel();
        let (lane, messages) = sync_channel(1);
        let round = RoundControl::new(cut_sender, vec![lane]);
        let mut skips = Ranges::default();
        assert!(round.open().deal(records(0, 5), &mut skips).unwrap().is_none());
        assert!(round.open().deal(records(0, 6), &mut skips).unwrap().is_some(), "the lane is full");
        assert!(!round.cut(|| true));
        drop(messages);
        assert!(cuts.try_recv().is_err(), "nothing may be committed of it");

        let (cut_sender, cuts) = channel();
        let (lane, _messages) = sync_channel(2);
        let round = RoundControl::new(cut_sender, vec![lane]);
        assert!(round.open().deal(records(0, 5), &mut skips).unwrap().is_none());
        let until = Instant::now() + Duration::from_millis(60);
        assert!(!round.cut_and_wait(|| Instant::now() > until));
        assert!(!round.idle());
        round.committed(cuts.recv().unwrap().number);
        assert!(round.idle() && round.cut_and_wait(|| false));
        round.fail();
        assert!(!round.cut_and_wait(|| false), "a failed attempt commits nothing more");
    }
}
