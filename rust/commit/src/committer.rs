//! The loop around a commit: try, and on conflict or an unknown outcome look again before anything else.

use std::time::Instant;

use frazil_catalog::Lake;
use frazil_model::{Error, ErrorKind, JobName, Ledger, OnRollback, Result};
use iceberg::spec::{ManifestFile, SnapshotRetention};
use iceberg::table::Table;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::attempt::{Outcome, Step};
use crate::draft::Draft;
use crate::ledger::check_append;
use crate::merge::{EntryCache, Merged};
use crate::policy::{Policy, Retry};
use crate::resume::{self, Standing};
use crate::summary::REWOUND_FROM;
use crate::sweep::Sweeper;
use crate::{Append, CatalogCommit, Committed, io};

/// Commits the rounds of one job to one table's `main`. Keeps the table between commits, so that a commit without a
/// conflict loads nothing.
#[derive(Debug)]
pub struct Committer<C: CatalogCommit = Lake> {
    pub(crate) catalog: C,
    pub(crate) table: Table,
    pub(crate) job: JobName,
    /// The current snapshot's manifest list, once read or written.
    pub(crate) manifests: Option<Vec<ManifestFile>>,
    /// How `main` keeps snapshots, once asked.
    pub(crate) retention: Option<SnapshotRetention>,
    /// Below so many snapshots it is not worth looking whether some can be removed.
    pub(crate) trim_at: usize,
    /// `table` may not be what the catalog has: reload before anything else.
    pub(crate) stale: bool,
    /// A commit that may be in the table, or may still come.
    pub(crate) doubt: Option<Doubt>,
    /// `table` came from the catalog and may hold this commit already: look before committing.
    pub(crate) unseen: bool,
    pub(crate) entries: EntryCache,
    pub(crate) merging: Option<JoinHandle<Result<Merged>>>,
    pub(crate) merged: Option<Merged>,
    pub(crate) sweeper: Sweeper,
}

/// A commit of which a try got no answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubt {
    pub(crate) commit_id: Uuid,
    /// `main` when its first try without an answer began.
    pub(crate) base: Option<i64>,
}

impl<C: CatalogCommit> Committer<C> {
    /// A committer for `job` that starts from `table` as it was loaded.
    pub fn new(catalog: C, table: Table, job: JobName) -> Self {
        Committer {
            catalog,
            table,
            job,
            manifests: None,
            retention: None,
            trim_at: 0,
            stale: false,
            doubt: None,
            unseen: true,
            entries: EntryCache::default(),
            merging: None,
            merged: None,
            sweeper: Sweeper::default(),
        }
    }

    /// The table after the last commit or reload.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The job's ledger in that table.
    ///
    /// # Errors
    /// `Catalog` or `Unsupported` if the property cannot be read.
    pub fn ledger(&self) -> Result<Option<Ledger>> {
        resume::ledger_of(self.table.metadata(), &self.job)
    }

    /// Loads the table as the catalog now has it.
    ///
    /// # Errors
    /// What the catalog answers.
    pub async fn reload(&mut self) -> Result<()> {
        let table = self.catalog.load_table(self.table.identifier()).await?;
        if table.metadata().uuid() != self.table.metadata().uuid() {
            return Err(Error::new(
                ErrorKind::NotFound,
                "the table was dropped and another one created under its name; restart the job to begin in the new one",
            )
            .with("table", self.table.identifier()));
        }
        if self.stale {
            // A try without an answer may have put it into the table: not ours to use or delete any more.
            self.merged = None;
        }
        self.table = table;
        self.manifests = None;
        self.retention = None;
        self.trim_at = 0;
        self.stale = false;
        self.unseen = true;
        Ok(())
    }

    /// The ledger that the job goes on from; `None` if it begins. If the table was rolled back and the policy is to
    /// rewind, a small commit without files replaces the ledger in the table first.
    ///
    /// # Errors
    /// `RolledBack` if the policy is to stop or the way back is gone; what [`Committer::append`] gives.
    pub async fn resume(&mut self, on_rollback: OnRollback) -> Result<Option<Ledger>> {
        if self.stale {
            self.reload().await?;
        }
        let metadata = self.table.metadata();
        io::check_supported(metadata)?;
        match resume::standing(metadata, &self.job)? {
            Standing::New => Ok(None),
            Standing::Sound(ledger) => Ok(Some(ledger)),
            Standing::RolledBack(ledger) if on_rollback == OnRollback::Stop => {
                Err(resume::rolled_back(metadata, &self.job, &ledger))
            }
            Standing::RolledBack(ledger) => {
                log::warn!(
                    "job {}: the table was rolled back behind snapshot {}, rewinding",
                    self.job,
                    ledger.snapshot_id
                );
                let properties = [(REWOUND_FROM.to_owned(), ledger.snapshot_id.to_string())].into();
                let rewind = Append { commit_id: Uuid::new_v4(), properties, ..Append::default() };
                Ok(Some(self.commit(&rewind, Step::Rewind).await?.ledger))
            }
        }
    }

    /// Commits a round: one snapshot with its files, and the ledger moved to the ends of its ranges. A round without
    /// files moves the ledger all the same.
    ///
    /// After an error the round's files are in no table, and the caller deletes them or calls again, unless
    /// [`Committer::is_in_doubt`] says that nobody knows: then the caller keeps them and calls again with the same
    /// commit id.
    ///
    /// # Errors
    /// `Fenced` if another worker has moved the ledger; `RolledBack` if the table was rolled back behind it;
    /// `Conflict` if other writers were first more often than `commit.retry.*` allows; `OutcomeUnknown` if the
    /// catalog did not tell what became of it; what catalog and storage answer.
    pub async fn append(&mut self, append: &Append) -> Result<Committed> {
        if append.commit_id.is_nil() {
            return Err(Error::new(ErrorKind::Internal, "a commit needs an id of its own"));
        }
        check_append(append)?;
        self.commit(append, Step::Advance).await
    }

    /// Waits for what runs in the background: a merge, and deleting files of removed snapshots. To be called before
    /// the process ends; the committer can still be used afterwards.
    pub async fn finish(&mut self) {
        if self.merging.is_some() {
            self.collect_merge(true).await;
        }
        if let Some(merged) = self.merged.take().filter(|_| !self.stale) {
            io::delete(self.table.file_io(), [merged.manifest.manifest_path]).await;
        }
        self.sweeper.finish(&self.table).await;
    }

    /// Waits for a merge that is under way; the next commit carries it.
    #[cfg(test)]
    pub(crate) async fn finish_merge(&mut self) {
        self.collect_merge(true).await;
    }

    /// Whether a try of this commit got no answer and it could not be found out whether it is in. Then its data files
    /// must be kept, whatever error it ended with: they may be part of the table, or become so.
    pub fn is_in_doubt(&self, commit_id: Uuid) -> bool {
        self.doubt.is_some_and(|doubt| doubt.commit_id == commit_id)
    }

    async fn commit(&mut self, append: &Append, step: Step) -> Result<Committed> {
        let started = Instant::now();
        let job = self.job.clone();
        let mut draft = Draft::new(append, &job);
        let mut attempts = 0;
        let result = self.try_until_known(&mut draft, append, step, &mut attempts, started).await;
        match result {
            Ok(mut done) => {
                done.attempts = attempts;
                done.duration = started.elapsed();
                self.doubt = None;
                // Main has moved, so a try whose answer was lost is refused by now if it ever arrives. Where the
                // snapshot is not listed any more, nobody can say which manifest list it had.
                let committed = self.table.metadata().snapshot_by_id(done.snapshot_id);
                if let Some(unused) = committed.map(|snapshot| draft.unused(Some(snapshot.manifest_list()))) {
                    io::delete(self.table.file_io(), unused).await;
                }
                Ok(done)
            }
            Err(error) if self.is_in_doubt(append.commit_id) => Err(match error.kind() {
                ErrorKind::OutcomeUnknown | ErrorKind::Fenced | ErrorKind::RolledBack => error,
                _ => in_doubt(error),
            }),
            Err(error) => {
                let unused = draft.unused(None);
                self.merged = self.merged.take().filter(|merged| !unused.contains(&merged.manifest.manifest_path));
                io::delete(self.table.file_io(), unused).await;
                Err(error)
            }
        }
    }

    async fn try_until_known(
        &mut self,
        draft: &mut Draft<'_>,
        append: &Append,
        step: Step,
        attempts: &mut u32,
        started: Instant,
    ) -> Result<Committed> {
        let mut fresh = self.stale;
        if fresh {
            let retry = Policy::of(self.table.metadata().properties())?.status_check;
            self.reload_until(&retry, started).await?;
        }
        loop {
            let outcome = match self.attempt(draft, append, step, attempts).await {
                // Judged by the table as it was held since the last commit. Where partitions move between workers of one
                // job, the other one has moved the ledger to where this commit begins.
                Err(error) if !fresh && matches!(error.kind(), ErrorKind::Fenced | ErrorKind::RolledBack) => {
                    fresh = true;
                    let retry = Policy::of(self.table.metadata().properties())?.commit;
                    self.reload_until(&retry, started).await?;
                    continue;
                }
                outcome => outcome?,
            };
            fresh = true;
            let policy = Policy::of(self.table.metadata().properties())?;
            let (error, retry) = match outcome {
                Outcome::Done(done) => return Ok(*done),
                Outcome::Unknown(error) => {
                    log::warn!(
                        "job {}: the catalog did not say whether the commit went in, looking it up: {error}",
                        self.job
                    );
                    self.reload_until(&policy.status_check, started).await?;
                    if let Some(done) = self.find(append.commit_id)? {
                        return Ok(done);
                    }
                    (error, policy.commit)
                }
                Outcome::Refused(error) => (error, policy.commit),
            };
            if *attempts > retry.retries || started.elapsed() >= retry.total {
                return Err(error);
            }
            log::info!("job {}: commit attempt {attempts} did not go in, trying again: {error}", self.job);
            tokio::time::sleep(retry.wait(*attempts - 1).max(error.wait_hint().unwrap_or_default())).await;
            self.reload_until(&retry, started).await?;
        }
    }

    async fn reload_until(&mut self, retry: &Retry, started: Instant) -> Result<()> {
        for tries in 0.. {
            match self.reload().await {
                Ok(()) => return Ok(()),
                Err(error) if error.is_retryable() && tries < retry.retries && started.elapsed() < retry.total => {
                    log::info!("job {}: could not load the table, trying again: {error}", self.job);
                    tokio::time::sleep(retry.wait(tries).max(error.wait_hint().unwrap_or_default())).await;
                }
                Err(error) => return Err(error),
            }
        }
        unreachable!("the number of retries is finite")
    }
}

/// The error of a commit that may be in the table whatever it ended with.
fn in_doubt(error: Error) -> Error {
    Error::new(
        ErrorKind::OutcomeUnknown,
        "the catalog did not say whether the commit went in and could not be asked; nothing was deleted: run the job \
         again, the table's ledger decides",
    )
    .retryable()
    .caused_by(error)
}
