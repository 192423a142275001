//! What a running job says about itself.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cpu_time::ThreadTime;
use frazil_model::{Error, Positions};
use parking_lot::Mutex;
use serde::Serialize;
use uuid::Uuid;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Opening source and table, or waiting to try again.
    Starting,
    /// Reading and committing.
    Running,
    /// Told to stop: committing what was read.
    Draining,
    /// Ended well.
    Finished,
    /// Ended with an error.
    Failed,
}

/// The last commit of a job.
#[derive(Debug, Clone, Serialize)]
pub struct LastCommit {
    /// The snapshot.
    pub snapshot_id: i64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// How long the commit alone took.
    pub duration_ms: f64,
    /// Rows that it added.
    pub rows: u64,
    /// Its own id.
    pub commit_id: Uuid,
}

/// CPU time by stage in seconds: of the lanes for decode, transform and write, of the reader for consume. The Kafka
/// client's own threads and input/output are not in it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct StageCpu {
    /// Taking records from Kafka's queues.
    pub consume: f64,
    /// Bytes to columns.
    pub decode: f64,
    /// The job's expressions, and fitting to the table.
    pub transform: f64,
    /// Partitioning, Parquet, hand-over to storage.
    pub write: f64,
}

/// A job's state at one moment. Counts are since the process started the job.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// How far it is.
    pub state: State,
    /// The job's name.
    pub job: String,
    /// The table.
    pub table: String,
    /// When it was started, in milliseconds since 1970.
    pub started_at_ms: u64,
    /// Records committed.
    pub records: u64,
    /// Rows committed.
    pub rows: u64,
    /// Records left out by `where`, committed.
    pub filtered: u64,
    /// Dead letters, committed.
    pub dead_letters: u64,
    /// Bytes of keys and values read so far.
    pub bytes: u64,
    /// Commits.
    pub commits: u64,
    /// The next offset in the table's ledger, by topic and partition.
    pub offsets: Positions,
    /// Records not yet in the table, by topic and partition.
    pub lag: Positions,
    /// Sum of `lag`.
    pub lag_total: i64,
    /// Records read a second, over the last seconds.
    pub records_per_second: f64,
    /// Bytes read a second, over the last seconds.
    pub bytes_per_second: f64,
    /// The last commit.
    pub last_commit: Option<LastCommit>,
    /// Age of the oldest record that was read and is not in the table.
    pub freshness_ms: Option<f64>,
    /// Data files being written.
    pub open_files: u64,
    /// Bytes held of the memory budget.
    pub memory_bytes: u64,
    /// The memory budget.
    pub memory_limit: u64,
    /// CPU time by stage.
    pub stage_cpu_seconds: StageCpu,
    /// How often a commit was refused because another worker had moved the ledger.
    pub fenced: u64,
    /// How often the job began again after an error.
    pub retries: u64,
    /// Whether a broker can be reached.
    pub kafka_connected: bool,
    /// The last error, also one that was mended by trying again.
    pub last_error: Option<String>,
    /// Running, connected, not trying again, and, of a stream, committing in time.
    pub healthy: bool,
}

/// What the threads of a job share to report with.
pub(crate) struct Shared {
    status: Mutex<Status>,
    rates: Mutex<Rates>,
    stop: AtomicBool,
    stopped_at: Mutex<Option<Instant>>,
    pub(crate) read_records: AtomicU64,
    pub(crate) read_bytes: AtomicU64,
    cpu_nanos: [AtomicU64; 4],
    oldest: Mutex<Option<Instant>>,
    patience: Option<Duration>,
}

struct Rates {
    at: Instant,
    records: u64,
    bytes: u64,
}

/// The stages whose CPU time is taken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Stage {
    Consume,
    Decode,
    Transform,
    Write,
}

impl Shared {
    /// `patience` is how long records may wait for their commit until the job does not count as healthy any more.
    pub(crate) fn new(job: String, table: String, memory: u64, patience: Option<Duration>) -> Self {
        Shared {
            status: Mutex::new(Status {
                state: State::Starting,
                job,
                table,
                started_at_ms: now_ms(),
                records: 0,
                rows: 0,
                filtered: 0,
                dead_letters: 0,
                bytes: 0,
                commits: 0,
                offsets: Positions::default(),
                lag: Positions::default(),
                lag_total: 0,
                records_per_second: 0.0,
                bytes_per_second: 0.0,
                last_commit: None,
                freshness_ms: None,
                open_files: 0,
                memory_bytes: 0,
                memory_limit: memory,
                stage_cpu_seconds: StageCpu::default(),
                fenced: 0,
                retries: 0,
                kafka_connected: false,
                last_error: None,
                healthy: false,
            }),
            rates: Mutex::new(Rates { at: Instant::now(), records: 0, bytes: 0 }),
            stop: AtomicBool::new(false),
            stopped_at: Mutex::new(None),
            read_records: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            cpu_nanos: Default::default(),
            oldest: Mutex::new(None),
            patience,
        }
    }

    /// Changes the status.
    pub(crate) fn update(&self, change: impl FnOnce(&mut Status)) {
        change(&mut self.status.lock());
    }

    /// The table's ledger, as far as this job knows.
    pub(crate) fn offsets(&self) -> Positions {
        self.status.lock().offsets.clone()
    }

    /// Enters a state, unless the job has ended or is already on its way out.
    pub(crate) fn enter(&self, state: State) {
        self.update(|status| {
            let ended = matches!(status.state, State::Finished | State::Failed);
            let backwards = status.state == State::Draining && matches!(state, State::Running | State::Starting);
            if !ended && !backwards {
                status.state = state;
            }
        });
    }

    pub(crate) fn note_error(&self, error: &Error) {
        self.update(|status| status.last_error = Some(error.to_string()));
    }

    /// Asks the job to drain.
    pub(crate) fn stop(&self) {
        self.stopped_at.lock().get_or_insert_with(Instant::now);
        self.stop.store(true, Relaxed);
    }

    pub(crate) fn stopping(&self) -> bool {
        self.stop.load(Relaxed)
    }

    /// Whether draining has taken longer than it may.
    pub(crate) fn overdue(&self, drain: Duration) -> bool {
        self.stopping() && self.stopped_at.lock().is_some_and(|at| at.elapsed() > drain)
    }

    /// Whether records were read that are not in the table.
    pub(crate) fn waits(&self) -> bool {
        self.oldest.lock().is_some()
    }

    /// Records wait for a commit since then; an earlier time stays.
    pub(crate) fn wait_begins(&self, oldest: Option<Instant>) {
        let mut kept = self.oldest.lock();
        if kept.is_none() {
            *kept = oldest;
        }
    }

    /// A commit is in the table: the oldest record that still waits was read then.
    pub(crate) fn wait_goes_on(&self, oldest: Option<Instant>) {
        *self.oldest.lock() = oldest;
    }

    /// Adds the CPU time that this thread spent since `begun` to a stage.
    pub(crate) fn spend(&self, stage: Stage, begun: ThreadTime) {
        self.cpu_nanos[stage as usize].fetch_add(begun.elapsed().as_nanos() as u64, Relaxed);
    }

    /// The status now.
    pub(crate) fn status(&self) -> Status {
        let mut status = self.status.lock().clone();
        let (records, bytes) = (self.read_records.load(Relaxed), self.read_bytes.load(Relaxed));
        status.bytes = bytes;
        let cpu = |stage: Stage| self.cpu_nanos[stage as usize].load(Relaxed) as f64 / 1e9;
        status.stage_cpu_seconds = StageCpu {
            consume: cpu(Stage::Consume),
            decode: cpu(Stage::Decode),
            transform: cpu(Stage::Transform),
            write: cpu(Stage::Write),
        };
        status.lag_total = status.lag.iter().map(|(_, _, lag)| lag).sum();
        status.freshness_ms = self.oldest.lock().map(|oldest| oldest.elapsed().as_secs_f64() * 1e3);
        let late = self.patience.is_some_and(|patience| self.oldest.lock().is_some_and(|at| at.elapsed() > patience));
        status.healthy = status.state == State::Running && status.kafka_connected && !late;
        let mut rates = self.rates.lock();
        let elapsed = rates.at.elapsed();
        if elapsed >= Duration::from_secs(1) {
            let per_second = |now: u64, before: u64| (now - before) as f64 / elapsed.as_secs_f64();
            let (records_rate, bytes_rate) = (per_second(records, rates.records), per_second(bytes, rates.bytes));
            *rates = Rates { at: Instant::now(), records, bytes };
            self.update(|kept| {
                kept.records_per_second = records_rate;
                kept.bytes_per_second = bytes_rate;
            });
            status.records_per_second = records_rate;
            status.bytes_per_second = bytes_rate;
        }
        status
    }
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_does_not_commit_in_time_is_not_healthy() {
        let patience = Duration::from_millis(20);
        for (patience, expected) in [(Some(patience), false), (None, true)] {
            let shared = Shared::new("j".to_owned(), "n.t".to_owned(), 1, patience);
            shared.enter(State::Running);
            shared.update(|status| status.kafka_connected = true);
            shared.wait_begins(Some(Instant::now()));
            assert!(shared.status().healthy);
            std::thread::sleep(Duration::from_millis(30));
            assert_eq!(shared.status().healthy, expected);
            shared.wait_goes_on(None);
            assert!(shared.status().healthy && !shared.waits());
        }
    }
}
