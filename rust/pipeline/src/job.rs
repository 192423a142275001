//! A job from start to end: attempts until it is done, stopped, or beyond mending.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use frazil_model::{Error, ErrorKind, Job, OnLostOffsets, OnRollback, Result, Trigger};
use parking_lot::{Condvar, Mutex};
use rand::Rng;

use crate::open::{self, Opened};
use crate::runtime::runtime;
use crate::status::{Shared, State, Status};

/// How long a job goes on trying without one commit before it gives up.
pub(crate) const RETRY_BUDGET: Duration = Duration::from_secs(600);
/// An attempt that went on for so long with nothing left to commit has worked: what ends it is a new trouble.
const QUIET: Duration = Duration::from_secs(60);
/// How often in a row an attempt may begin by setting the ledger right.
const CORRECTIONS: u32 = 3;
/// The wait before the first new attempt; it doubles up to [`LONGEST_WAIT`], and a random part of it is left out.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// See [`FIRST_WAIT`].
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// A stream whose records have waited for so long, or for ten intervals, is not healthy.
const LATE: Duration = Duration::from_secs(60);
/// How often in a row a job may be fenced: more means that another one with its name is at work all the time.
const FENCED_IN_A_ROW: u32 = 10;

/// A job that runs in the background of this process.
pub struct JobHandle {
    shared: Arc<Shared>,
    ended: Arc<Ended>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Default)]
struct Ended {
    result: Mutex<Option<Result<(), Arc<Error>>>>,
    changed: Condvar,
}

impl JobHandle {
    /// Opens everything that the job names and begins.
    ///
    /// # Errors
    /// What opening finds wrong: settings, credentials, a missing topic or table, columns that do not fit.
    pub fn start(job: Job) -> Result<Self> {
        let patience = match job.trigger {
            Trigger::Every(every) => Some(LATE.max(every.0 * 10)),
            Trigger::AvailableNow | Trigger::Once => None,
        };
        let (name, table) = (job.ledger_name().to_string(), job.sink.table.clone());
        let shared = Arc::new(Shared::new(name, table, job.memory.0, patience));
        let opened = runtime().block_on(open::open(&job))?;
        let ended = Arc::new(Ended::default());
        let (for_thread, for_end) = (shared.clone(), ended.clone());
        let thread = std::thread::Builder::new()
            .name("frazil-job".to_owned())
            .spawn(move || {
                let result =
                    catch_unwind(AssertUnwindSafe(|| supervise(&job, opened, &for_thread))).unwrap_or_else(|_| {
                        Err(Error::new(
                            ErrorKind::Internal,
                            "the job panicked; what it had not committed will be read again",
                        ))
                    });
                match &result {
                    Ok(()) => for_thread.enter(State::Finished),
                    Err(error) => {
                        for_thread.note_error(error);
                        for_thread.enter(State::Failed);
                    }
                }
                *for_end.result.lock() = Some(result.map_err(Arc::new));
                for_end.changed.notify_all();
            })
            .map_err(|error| {
                Error::new(ErrorKind::Memory, "the operating system refused another thread").caused_by(error)
            })?;
        Ok(JobHandle { shared, ended, thread: Mutex::new(Some(thread)) })
    }

    /// The job's state now.
    pub fn status(&self) -> Status {
        self.shared.status()
    }

    /// Asks the job to stop reading, commit what it has read, and end.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Waits for the end; `None` if it did not come within `timeout`.
    ///
    /// # Errors
    /// The job's own error, the same at each call.
    pub fn wait(&self, timeout: Option<Duration>) -> Option<Result<Status, Arc<Error>>> {
        let mut result = self.ended.result.lock();
        let until = timeout.map(|timeout| Instant::now() + timeout);
        while result.is_none() {
            match until {
                None => self.ended.changed.wait(&mut result),
                Some(until) => {
                    if self.ended.changed.wait_until(&mut result, until).timed_out() {
                        break;
                    }
                }
            }
        }
        let ended = result.clone()?;
        drop(result);
        if let Some(thread) = self.thread.lock().take() {
            // A panic there would have left no result.
            let _ = thread.join();
        }
        Some(ended.map(|()| self.shared.status()))
    }
}

impl Drop for JobHandle {
    fn drop(&mut self) {
        self.stop();
    }
}

fn supervise(job: &Job, opened: Opened, shared: &Arc<Shared>) -> Result<()> {
    let mut ready = Some(opened);
    let mut tries = Tries::default();
    loop {
        let commits = shared.status().commits;
        let began = Instant::now();
        let opened = match ready.take() {
            Some(opened) => Ok(opened),
            None => match runtime().block_on(open_unless_stopped(job, shared)) {
                // Nothing was read, so there is nothing to commit.
                None => return Ok(()),
                Some(opened) => opened,
            },
        };
        let Err(error) = opened.and_then(|opened| crate::attempt::run(job, opened, shared)) else { return Ok(()) };
        shared.note_error(&error);
        if shared.status().commits > commits || (began.elapsed() >= QUIET && !shared.waits()) {
            tries = Tries::default();
        }
        let wait = tries.next(job, error, shared.stopping())?;
        shared.update(|status| {
            status.state = State::Starting;
            status.retries += 1;
        });
        let until = Instant::now() + wait;
        while Instant::now() < until && !shared.stopping() {
            std::thread::sleep(Duration::from_millis(20));
        }
        if shared.stopping() {
            return Ok(());
        }
    }
}

/// Opens the job again; `None` if it is told to stop meanwhile.
async fn open_unless_stopped(job: &Job, shared: &Shared) -> Option<Result<Opened>> {
    tokio::select! {
        opened = open::open(job) => Some(opened),
        () = async {
            while !shared.stopping() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        } => None,
    }
}

/// What the last attempts without a commit have cost.
#[derive(Default)]
struct Tries {
    /// When the first of them failed.
    since: Option<Instant>,
    count: u32,
    fenced: u32,
}

impl Tries {
    /// How long to wait before the next attempt.
    ///
    /// # Errors
    /// The attempt's own error, if trying again cannot help or has not helped for too long.
    fn next(&mut self, job: &Job, error: Error, stopping: bool) -> Result<Duration> {
        let mends = match error.kind() {
            ErrorKind::Fenced => {
                self.fenced += 1;
                self.fenced <= FENCED_IN_A_ROW
            }
            // The next attempt records the gap and goes on behind it.
            ErrorKind::OffsetsLost => job.errors.on_lost_offsets == OnLostOffsets::Skip && self.count < CORRECTIONS,
            // The next attempt rewinds the ledger.
            ErrorKind::RolledBack => job.errors.on_rollback == OnRollback::Rewind && self.count < CORRECTIONS,
            ErrorKind::OutcomeUnknown => true,
            _ => error.is_retryable(),
        };
        let since = *self.since.get_or_insert_with(Instant::now);
        if !mends || stopping || since.elapsed() > RETRY_BUDGET {
            return Err(error);
        }
        let longest = FIRST_WAIT.saturating_mul(1 << self.count.min(16)).min(LONGEST_WAIT);
        self.count += 1;
        let wait = longest.mul_f64(rand::rng().random_range(0.5..=1.0)).max(error.wait_hint().unwrap_or_default());
        log::warn!("trying again in {:.1} s: {error}", wait.as_secs_f64());
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(errors: &str) -> Job {
        Job::from_yaml(&format!(
            "{{lake: ./l, source: {{kafka: {{topics: [t], bootstrap: b}}}}, decode: {{raw: {{}}}}, sink: {{table: n.t}}, \
             errors: {{{errors}}}}}"
        ))
        .unwrap()
    }

    #[test]
    fn only_what_may_pass_is_tried_again_and_nothing_by_a_job_that_stops() {
        let job = job("");
        let passing = || Error::new(ErrorKind::Source, "away").retryable();
        assert!(Tries::default().next(&job, passing(), false).unwrap() <= FIRST_WAIT);
        assert!(Tries::default().next(&job, passing(), true).is_err());
        for kind in [ErrorKind::TooManyBad, ErrorKind::OffsetsLost, ErrorKind::RolledBack, ErrorKind::Storage] {
            assert_eq!(Tries::default().next(&job, Error::new(kind, "no"), false).unwrap_err().kind(), kind);
        }
    }

    #[test]
    fn policies_let_the_next_attempt_set_the_ledger_right_but_not_for_ever() {
        let job = job("on_rollback: rewind, on_lost_offsets: skip");
        for kind in [ErrorKind::RolledBack, ErrorKind::OffsetsLost] {
            let mut tries = Tries::default();
            for _ in 0..CORRECTIONS {
                tries.next(&job, Error::new(kind, "gone"), false).unwrap();
            }
            assert_eq!(tries.next(&job, Error::new(kind, "gone"), false).unwrap_err().kind(), kind);
        }
    }

    #[test]
    fn a_job_that_is_fenced_again_and_again_gives_way() {
        let job = job("");
        let mut tries = Tries::default();
        for _ in 0..FENCED_IN_A_ROW {
            tries.next(&job, Error::new(ErrorKind::Fenced, "moved"), false).unwrap();
        }
        assert!(tries.next(&job, Error::new(ErrorKind::Fenced, "moved"), false).is_err());
    }
}
