//! The committer: waits for the lanes' files of a round and puts them into the table in one commit.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use frazil_commit::{Append, Committed, Committer};
use frazil_model::{Error, ErrorKind, Positions, Result};
use frazil_write::{Written, delete_files};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::bad::BadRecords;
use crate::lane::LaneOutcome;
use crate::reader::{Failure, undrained};
use crate::round::{Cut, RoundControl};
use crate::runtime::runtime;
use crate::status::{LastCommit, Shared, now_ms};

/// How long the dead-letter topic may take before a commit fails.
const FLUSH_DEADLINE: Duration = Duration::from_secs(60);

/// The committer's side of an attempt.
pub(crate) struct Commits {
    pub(crate) committer: Committer,
    pub(crate) cuts: Receiver<Cut>,
    pub(crate) outcomes: Receiver<LaneOutcome>,
    pub(crate) round: Arc<RoundControl>,
    pub(crate) bad: Arc<BadRecords>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) failure: Arc<Failure>,
    /// The offsets of the last commit, for Kafka's group.
    pub(crate) group: Arc<Mutex<Option<Positions>>>,
    pub(crate) drain: Duration,
    /// A job that ends by itself judges its bad records by share even if it read few.
    pub(crate) bounded: bool,
}

impl Commits {
    /// Commits round after round until no more come.
    ///
    /// # Errors
    /// None: the first one is the attempt's failure. Its round is not in the table unless the error says that this is
    /// unknown.
    pub(crate) fn run(mut self) -> Result<()> {
        let result = self.work();
        if let Err(error) = result {
            // Set here already: the reader and the lanes end by it.
            self.failure.set(error);
            self.round.fail();
        }
        // What lanes still hand over is for no commit.
        while let Ok(outcome) = self.outcomes.recv() {
            runtime().block_on(delete_files(self.committer.table(), &outcome.written.files));
        }
        runtime().block_on(self.committer.finish());
        Ok(())
    }

    fn work(&mut self) -> Result<()> {
        while let Ok(cut) = self.cuts.recv() {
            let number = cut.number;
            self.commit(cut)?;
            self.round.committed(number);
        }
        Ok(())
    }

    fn commit(&mut self, cut: Cut) -> Result<()> {
        let (written, filtered, dead_letters) = self.gather(cut.lanes)?;
        let append = Append {
            commit_id: Uuid::new_v4(),
            ranges: cut.ranges,
            skipped: cut.skipped,
            records: cut.records,
            rows: written.rows,
            filtered,
            dead_letters,
            files: written.files,
            properties: Default::default(),
        };
        let accounted = append.rows + append.filtered + append.dead_letters;
        let committed = if accounted == append.records {
            let judged = if self.bounded { self.bad.judge_at_the_end() } else { Ok(()) };
            judged.and_then(|()| self.bad.flush(FLUSH_DEADLINE)).and_then(|()| self.append(&append))
        } else {
            Err(Error::new(
                ErrorKind::Internal,
                format!(
                    "{} records were read, but {accounted} are accounted for; nothing was committed",
                    append.records
                ),
            ))
        };
        match committed {
            Ok(committed) => {
                self.report(&append, &committed);
                Ok(())
            }
            Err(error) => {
                // Files of a commit that may be in the table must stay.
                if !self.committer.is_in_doubt(append.commit_id) {
                    runtime().block_on(delete_files(self.committer.table(), &append.files));
                }
                if error.kind() == ErrorKind::Fenced {
                    self.shared.update(|status| status.fenced += 1);
                }
                Err(error)
            }
        }
    }

    /// Commits, for as long as draining may take. A commit that is given up on its way is in doubt, and the table's
    /// ledger decides when the job runs again.
    fn append(&mut self, append: &Append) -> Result<Committed> {
        let (shared, drain) = (self.shared.clone(), self.drain);
        let overdue = async move {
            while !shared.overdue(drain) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let committer = &mut self.committer;
        runtime().block_on(async move {
            tokio::select! {
                committed = committer.append(append) => committed,
                () = overdue => Err(undrained(drain)),
            }
        })
    }

    /// What the lanes made of the round; removed again if one of them fails on the way.
    fn gather(&self, lanes: usize) -> Result<(Written, u64, u64)> {
        let mut all = Written { files: Vec::new(), rows: 0, bytes: 0 };
        let (mut filtered, mut dead_letters) = (0, 0);
        for _ in 0..lanes {
            let outcome = loop {
                match self.outcomes.recv_timeout(Duration::from_millis(100)) {
                    Ok(outcome) => break outcome,
                    Err(RecvTimeoutError::Timeout) if !self.failure.is_set() => {}
                    Err(_) => {
                        runtime().block_on(delete_files(self.committer.table(), &all.files));
                        // The last lane lets go of the channel a moment before its error is set.
                        let until = Instant::now() + Duration::from_secs(1);
                        while !self.failure.is_set() && Instant::now() < until {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                        return Err(Error::new(ErrorKind::Internal, "a lane ended before its round"));
                    }
                }
            };
            all.files.extend(outcome.written.files);
            all.rows += outcome.written.rows;
            all.bytes += outcome.written.bytes;
            filtered += outcome.filtered;
            dead_letters += outcome.dead_letters;
        }
        Ok((all, filtered, dead_letters))
    }

    fn report(&self, append: &Append, committed: &Committed) {
        *self.group.lock() = Some(committed.ledger.next.clone());
        self.shared.wait_goes_on(self.round.open().oldest);
        self.shared.update(|status| {
            status.commits += 1;
            status.records += append.records;
            status.rows += append.rows;
            status.filtered += append.filtered;
            status.dead_letters += append.dead_letters;
            status.offsets = committed.ledger.next.clone();
            status.last_commit = Some(LastCommit {
                snapshot_id: committed.snapshot_id,
                at_ms: now_ms(),
                duration_ms: committed.duration.as_secs_f64() * 1e3,
                rows: append.rows,
                commit_id: append.commit_id,
            });
        });
    }
}
