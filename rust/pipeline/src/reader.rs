//! The reader: takes records from Kafka, deals them out, and decides when a round ends.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use frazil_model::{Error, ErrorKind, Positions, Ranges, Records, Result, Trigger};
use frazil_source::KafkaSource;
use frazil_write::Budget;
use parking_lot::Mutex;

use crate::job::RETRY_BUDGET;
use crate::partitions::TablePartitions;
use crate::read::reached;
use crate::round::RoundControl;
use crate::status::{Shared, Stage, State};

/// A chunk fits the caches and is still large enough that the cost per chunk vanishes.
pub(crate) const CHUNK_RECORDS: usize = 16 * 1024;
/// See [`CHUNK_RECORDS`].
pub(crate) const CHUNK_BYTES: usize = 4 << 20;
/// How long a chunk may fill. Part of the delay from produce to queryable.
const CHUNK_WAIT: Duration = Duration::from_millis(50);
/// A job that reads what is there commits at least this often, so that a failure costs little.
const BOUNDED_ROUND: Duration = Duration::from_secs(30);
/// And after so many bytes.
const BOUNDED_BYTES: u64 = 4 << 30;
/// How much may be read while the round before is being committed: a catalog that is away for long must not let the
/// storage fill up with uncommitted files.
const READ_AHEAD_BYTES: u64 = 4 << 30;
/// How long lanes may be full before the source is paused; Kafka's group protocol goes on meanwhile.
const PAUSE_AFTER: Duration = Duration::from_millis(500);
/// How often lag is looked up.
const LAG_EVERY: Duration = Duration::from_secs(1);

/// When a job ends by itself.
pub(crate) enum Until {
    /// Never.
    Stopped,
    /// When every partition has reached this offset.
    Reached(Positions),
}

/// The reader's side of an attempt.
pub(crate) struct Reader<'a> {
    pub(crate) source: &'a mut KafkaSource,
    pub(crate) partitions: Option<Arc<TablePartitions>>,
    pub(crate) round: Arc<RoundControl>,
    pub(crate) emptied: Receiver<Records>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) failure: Arc<Failure>,
    /// The offsets of the last commit, not yet told to Kafka's group.
    pub(crate) group: Arc<Mutex<Option<Positions>>>,
    pub(crate) skips: Ranges,
    pub(crate) trigger: Trigger,
    pub(crate) until: Until,
    pub(crate) drain: Duration,
}

/// The first error of any thread of an attempt: the others see it and end.
#[derive(Default)]
pub(crate) struct Failure(Mutex<Option<Error>>);

impl Failure {
    pub(crate) fn set(&self, error: Error) {
        self.0.lock().get_or_insert(error);
    }

    pub(crate) fn take(&self) -> Option<Error> {
        self.0.lock().take()
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.lock().is_some()
    }
}

impl Reader<'_> {
    /// Reads until the job ends, is told to stop, or fails. What was read is committed when this returns `Ok`.
    pub(crate) fn run(mut self) -> Result<()> {
        let mut last_cut = Instant::now();
        let mut last_lag = Instant::now() - LAG_EVERY;
        self.shared.enter(State::Running);
        let mut last_connected = Instant::now();
        while !self.failure.is_set() {
            if self.shared.stopping() {
                self.shared.enter(State::Draining);
                break;
            }
            if self.at_end() {
                break;
            }
            self.read_chunk(last_cut)?;
            if self.is_due(last_cut) && self.round.idle() {
                self.enter_idle()?;
                self.finish_round(|give_up| self.round.cut(give_up))?;
                last_cut = Instant::now();
            }
            if last_lag.elapsed() >= LAG_EVERY {
                if self.report() {
                    last_connected = Instant::now();
                }
                self.check_patience(last_connected)?;
                last_lag = Instant::now();
            }
        }
        if self.failure.is_set() {
            return Ok(());
        }
        self.enter_idle()?;
        self.finish_round(|give_up| self.round.cut_and_wait(give_up))?;
        self.report();
        Ok(())
    }

    /// Ends a round in one of two ways. It takes as long as it takes, unless the attempt has failed or the job is being
    /// stopped.
    fn finish_round(&self, end: impl FnOnce(&dyn Fn() -> bool) -> bool) -> Result<()> {
        let done = end(&|| self.failure.is_set() || self.shared.overdue(self.drain));
        if done || self.failure.is_set() { Ok(()) } else { Err(undrained(self.drain)) }
    }

    /// A job that ends by itself does not wait for its brokers for ever; a stream does.
    fn check_patience(&self, last_connected: Instant) -> Result<()> {
        match self.until {
            Until::Reached(_) if last_connected.elapsed() > RETRY_BUDGET => Err(Error::new(
                ErrorKind::Source,
                format!("no Kafka broker could be reached for {} s", last_connected.elapsed().as_secs()),
            )
            .retryable()),
            _ => Ok(()),
        }
    }

    fn enter_idle(&self) -> Result<()> {
        let mut open = self.round.open();
        if open.records == 0 { Ok(()) } else { open.enter_idle(&self.source.positions(), &self.shared.offsets()) }
    }

    fn at_end(&self) -> bool {
        match &self.until {
            Until::Stopped => false,
            Until::Reached(ends) => reached(self.source, ends),
        }
    }

    fn is_due(&self, last_cut: Instant) -> bool {
        match self.trigger {
            Trigger::Every(every) => last_cut.elapsed() >= every.0,
            Trigger::AvailableNow => last_cut.elapsed() >= BOUNDED_ROUND || self.round.open().bytes >= BOUNDED_BYTES,
            Trigger::Once => false,
        }
    }

    fn read_chunk(&mut self, last_cut: Instant) -> Result<()> {
        let begun = ThreadTime::now();
        let mut chunk = self.emptied.try_recv().unwrap_or_default();
        let wait = match self.trigger {
            Trigger::Every(every) => {
                every.0.saturating_sub(last_cut.elapsed()).clamp(Duration::from_millis(1), CHUNK_WAIT)
            }
            Trigger::AvailableNow | Trigger::Once => CHUNK_WAIT,
        };
        self.source.poll(&mut chunk, CHUNK_RECORDS, CHUNK_BYTES, wait)?;
        self.shared.spend(Stage::Consume, begun);
        if let Some(partitions) = &self.partitions {
            // The chunk was empty when they went: nothing in it is of theirs.
            partitions.take_revoked()?;
        }
        if chunk.ranges().is_empty() {
            return Ok(());
        }
        if chunk.is_empty() {
            return self.round.open().cover(chunk.ranges(), &mut self.skips);
        }
        self.shared.read_records.fetch_add(chunk.len() as u64, Relaxed);
        self.shared.read_bytes.fetch_add(chunk.bytes() as u64, Relaxed);
        self.deal(chunk)
    }

    /// After a rebalance a chunk that waits for a lane may hold records that are now somebody else's: it is dropped, and
    /// the partitions that stayed are read again from where it began.
    fn drop_if_changed(&mut self, chunk: &mut Records) -> Result<bool> {
        let Some(partitions) = &self.partitions else { return Ok(false) };
        let revoked = partitions.take_revoked()?;
        if revoked.is_empty() {
            return Ok(false);
        }
        let mut back = Positions::default();
        for (topic, partition, range) in chunk.ranges().iter() {
            if !revoked.iter().any(|(t, p)| t == topic && *p == partition) {
                back.set(topic, partition, range.start);
            }
        }
        self.source.seek(&back)?;
        chunk.clear();
        Ok(true)
    }

    /// Hands the chunk to a lane, waiting while all are busy or the memory budget is used up. Kafka's client is still
    /// served, paused, so that the group goes on.
    fn deal(&mut self, mut chunk: Records) -> Result<()> {
        let begun = Instant::now();
        let mut paused = false;
        let mut nothing = Records::default();
        while !self.failure.is_set() {
            // Counted only once a lane has it: a rebalance below may end the round.
            let back = if self.round.is_full(READ_AHEAD_BYTES) {
                Some(chunk)
            } else {
                self.round.open().deal(chunk, &mut self.skips)?
            };
            match back {
                None => break,
                Some(back) => chunk = back,
            }
            if self.shared.overdue(self.drain) {
                return Err(undrained(self.drain));
            }
            if begun.elapsed() < PAUSE_AFTER {
                std::thread::sleep(Duration::from_micros(500));
                continue;
            }
            if !paused {
                self.source.pause();
                paused = true;
            }
            self.source.poll(&mut nothing, 1, 1, Duration::from_millis(20))?;
            if self.drop_if_changed(&mut chunk)? {
                break;
            }
        }
        self.shared.wait_begins(self.round.open().oldest);
        if paused {
            self.source.resume()?;
        }
        if !nothing.is_empty() {
            return Err(Error::new(ErrorKind::Internal, "a paused partition delivered records"));
        }
        Ok(())
    }

    /// Tells the status how it goes. Returns whether a broker is connected.
    fn report(&self) -> bool {
        if let Some(positions) = self.group.lock().take() {
            self.source.commit_group(&positions);
        }
        let health = self.source.health();
        let lag = Positions(self.source.lag(&self.source.positions()));
        self.shared.update(|status| {
            status.kafka_connected = health.connected;
            status.lag = lag;
            status.memory_bytes = self.budget.used() as u64;
            if let Some(error) = health.last_error {
                status.last_error = Some(error);
            }
        });
        health.connected
    }
}

/// The error of a job that was told to stop and could not commit in time.
pub(crate) fn undrained(drain: Duration) -> Error {
    Error::new(
        ErrorKind::Interrupted,
        format!(
            "what was read last could not be committed within {drain:?}; unless that commit still comes through, it is \
             read again (drain_timeout allows more)"
        ),
    )
}
