//! The loop around a commit: try, and on conflict or an unknown outcome look again before anything else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use frazil_catalog::Lake;
use frazil_model::{Error, ErrorKind, JobName, Ledger, OnRollback, Result, summary as key};
use iceberg::spec::{MAIN_BRANCH, ManifestFile, SnapshotRef, SnapshotReference, SnapshotRetention};
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::draft::{Draft, Try, has_all};
use crate::history;
use crate::io::{self, check_supported, metadata_directory};
use crate::ledger::{advance, check_append};
use crate::merge::{self, EntryCache, FAN, Merged};
use crate::policy::{Policy, Retry};
use crate::resume::{self, Standing};
use crate::summary::REWOUND_FROM;
use crate::sweep::Sweeper;
use crate::{Append, CatalogCommit, Committed};

/// Commits the rounds of one job to one table's `main`. Keeps the table between commits, so that a commit without a
/// conflict loads nothing.
#[derive(Debug)]
pub struct Committer<C: CatalogCommit = Lake> {
    catalog: C,
    table: Table,
    job: JobName,
    /// The current snapshot's manifest list, once read or written.
    manifests: Option<Vec<ManifestFile>>,
    /// How `main` keeps snapshots, once asked.
    retention: Option<SnapshotRetention>,
    /// Below so many snapshots it is not worth looking whether some can be removed.
    trim_at: usize,
    /// `table` may not be what the catalog has: reload before anything else.
    stale: bool,
    /// `table` came from the catalog and may hold this commit already: look before committing.
    unseen: bool,
    entries: EntryCache,
    merging: Option<JoinHandle<Result<Merged>>>,
    merged: Option<Merged>,
    sweeper: Sweeper,
}

/// What a commit does to the ledger.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Step {
    Advance,
    Rewind,
}

/// How one try ended.
enum Outcome {
    Done(Box<Committed>),
    /// Certainly not applied; trying again may help.
    Refused(Error),
    Unknown(Error),
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
    /// After `Fenced` and `RolledBack` the round's files are in no table: the caller deletes them. After
    /// `OutcomeUnknown` they may be: the caller keeps them and calls again with the same commit id.
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

    async fn commit(&mut self, append: &Append, step: Step) -> Result<Committed> {
        let started = Instant::now();
        let job = self.job.clone();
        let mut draft = Draft::new(append, &job);
        let mut attempts = 0;
        let mut unknown = false;
        let result = loop {
            match self.attempt(&mut draft, append, step, &mut attempts).await {
                Ok(Outcome::Done(done)) => break Ok(*done),
                Ok(Outcome::Unknown(error)) => {
                    log::warn!("job {job}: the catalog did not say whether the commit went in, looking it up: {error}");
                    unknown = true;
                    let policy = Policy::of(self.table.metadata().properties())?;
                    if let Err(down) = self.reload_until(&policy.status_check, started).await {
                        break Err(lost(error, down));
                    }
                    let too_often = attempts > policy.commit.retries || started.elapsed() >= policy.commit.total;
                    if too_often && self.find(append.commit_id)?.is_none() {
                        break Err(error);
                    }
                }
                Ok(Outcome::Refused(error)) => {
                    let retry = Policy::of(self.table.metadata().properties())?.commit;
                    if attempts > retry.retries || started.elapsed() >= retry.total {
                        break Err(error);
                    }
                    log::info!("job {job}: commit attempt {attempts} refused, trying again: {error}");
                    tokio::time::sleep(retry.wait(attempts - 1).max(error.wait_hint().unwrap_or_default())).await;
                    if let Err(error) = self.reload_until(&retry, started).await {
                        break Err(error);
                    }
                }
                Err(error) => break Err(error),
            }
        };
        match result {
            Ok(mut done) => {
                done.attempts = attempts;
                done.duration = started.elapsed();
                let committed =
                    self.table.metadata().snapshot_by_id(done.snapshot_id).map(|snapshot| snapshot.manifest_list());
                // Main has moved, so a try whose answer was lost is refused by now if it ever arrives. Where the
                // snapshot is not in the metadata any more, nobody can say which list it had.
                if let Some(committed) = committed {
                    let unused = draft.unused(Some(committed));
                    if !unused.is_empty() {
                        io::delete(self.table.file_io(), unused).await;
                    }
                }
                Ok(done)
            }
            // Main has moved (or was moved back): a lost try cannot go in any more. Else it could: keep everything.
            Err(error) if unknown && !matches!(error.kind(), ErrorKind::Fenced | ErrorKind::RolledBack) => {
                match error.kind() {
                    ErrorKind::OutcomeUnknown => Err(error),
                    _ => Err(lost(error, Error::new(ErrorKind::OutcomeUnknown, "an earlier try got no answer"))),
                }
            }
            Err(error) => {
                if !unknown {
                    let unused = draft.unused(None);
                    self.merged = self.merged.take().filter(|merged| !unused.contains(&merged.manifest.manifest_path));
                    io::delete(self.table.file_io(), unused).await;
                }
                Err(error)
            }
        }
    }

    /// One try against the table as it is held now.
    async fn attempt(
        &mut self,
        draft: &mut Draft<'_>,
        append: &Append,
        step: Step,
        attempts: &mut u32,
    ) -> Result<Outcome> {
        if self.stale {
            self.reload().await?;
        }
        let metadata = self.table.metadata_ref();
        check_supported(&metadata)?;
        let policy = Policy::of(metadata.properties())?;
        if std::mem::take(&mut self.unseen)
            && let Some(done) = self.find(append.commit_id)?
        {
            return Ok(Outcome::Done(Box::new(done)));
        }
        let sequence_number = metadata.next_sequence_number();
        let ledger = match (resume::standing(&metadata, &self.job)?, step) {
            (Standing::RolledBack(ledger), Step::Advance) => {
                return Err(resume::rolled_back(&metadata, &self.job, &ledger));
            }
            (Standing::RolledBack(ledger), Step::Rewind) => Ledger {
                commit_id: append.commit_id,
                snapshot_id: draft.snapshot_id,
                sequence_number,
                ..resume::rewound(&metadata, &self.job, &ledger)?
            },
            (_, Step::Rewind) => {
                return Err(Error::new(ErrorKind::Fenced, "another worker of this job has rewound the ledger already")
                    .with("job", &self.job));
            }
            (Standing::New, Step::Advance) => advance(None, append, draft.snapshot_id, sequence_number)?,
            (Standing::Sound(ledger), Step::Advance) => {
                advance(Some(&ledger), append, draft.snapshot_id, sequence_number)?
            }
        };

        let parent = self.current_manifests().await?;
        self.collect_merge(too_many(&parent)).await;
        let ready = draft.prepare(&self.table, &parent, self.merged.as_ref(), &policy).await?;
        let removed = self.removable(&policy, ready.snapshot.timestamp_ms())?;
        let (requirements, updates) = self.change(&ready, &ledger, &removed)?;

        *attempts += 1;
        // Until there is an answer, also if this future is dropped while it waits.
        self.stale = true;
        match self.catalog.commit(&self.table, requirements, updates).await {
            Ok(table) => {
                self.accept(table, &ready, draft, removed, &policy);
                Ok(Outcome::Done(Box::new(Committed {
                    snapshot_id: ready.snapshot.snapshot_id(),
                    sequence_number,
                    ledger,
                    attempts: *attempts,
                    replayed: false,
                    duration: Duration::ZERO,
                })))
            }
            Err(error) if error.kind() == ErrorKind::OutcomeUnknown => Ok(Outcome::Unknown(error)),
            Err(error) => {
                self.stale = false;
                self.unseen = true;
                let again = error.kind() == ErrorKind::Conflict || error.is_retryable();
                if again { Ok(Outcome::Refused(error)) } else { Err(error) }
            }
        }
    }

    /// Looks for a commit by its id: in the ledger, then in the snapshots of `main`.
    fn find(&self, commit_id: Uuid) -> Result<Option<Committed>> {
        let metadata = self.table.metadata();
        let Standing::Sound(ledger) = resume::standing(metadata, &self.job)? else { return Ok(None) };
        let (snapshot_id, sequence_number) = if ledger.commit_id == commit_id {
            (ledger.snapshot_id, ledger.sequence_number)
        } else {
            let id = commit_id.to_string();
            let has =
                |snapshot: &&SnapshotRef| snapshot.summary().additional_properties.get(key::COMMIT_ID) == Some(&id);
            match history::ancestors(metadata).find(has) {
                Some(snapshot) => (snapshot.snapshot_id(), snapshot.sequence_number()),
                None => return Ok(None),
            }
        };
        Ok(Some(Committed {
            snapshot_id,
            sequence_number,
            ledger,
            attempts: 0,
            replayed: true,
            duration: Duration::ZERO,
        }))
    }

    async fn current_manifests(&mut self) -> Result<Vec<ManifestFile>> {
        if let Some(manifests) = &self.manifests {
            return Ok(manifests.clone());
        }
        let manifests = match self.table.metadata().current_snapshot() {
            Some(snapshot) => io::load_list(&self.table, snapshot).await?,
            None => Vec::new(),
        };
        self.manifests = Some(manifests.clone());
        Ok(manifests)
    }

    /// The snapshots that this commit takes out of the metadata.
    fn removable(&mut self, policy: &Policy, now_ms: i64) -> Result<Vec<SnapshotRef>> {
        let metadata = self.table.metadata();
        let snapshots = metadata.snapshots().len();
        let trim = snapshots >= self.trim_at && history::may_be_too_long(metadata, policy);
        if !trim && self.retention.is_some() {
            return Ok(Vec::new());
        }
        let references = history::references(metadata)?;
        self.retention = Some(history::main_retention(&references));
        if !trim {
            return Ok(Vec::new());
        }
        let removed = history::removable(metadata, &references, policy, now_ms);
        if removed.is_empty() {
            // Something holds them (a tag, a child that is not an append): looking is not for every commit.
            self.trim_at = snapshots + (snapshots / 10).max(1);
        }
        Ok(removed)
    }

    /// The change for the catalog, and what must still hold for it.
    fn change(
        &self,
        ready: &Try,
        ledger: &Ledger,
        removed: &[SnapshotRef],
    ) -> Result<(Vec<TableRequirement>, Vec<TableUpdate>)> {
        let metadata = self.table.metadata();
        let requirements = vec![
            TableRequirement::UuidMatch { uuid: metadata.uuid() },
            TableRequirement::RefSnapshotIdMatch {
                r#ref: MAIN_BRANCH.to_owned(),
                snapshot_id: metadata.current_snapshot_id(),
            },
        ];
        let retention = self.retention.clone().unwrap_or_else(|| SnapshotRetention::branch(None, None, None));
        let mut updates = vec![
            TableUpdate::AddSnapshot { snapshot: ready.snapshot.clone() },
            TableUpdate::SetSnapshotRef {
                ref_name: MAIN_BRANCH.to_owned(),
                reference: SnapshotReference::new(ready.snapshot.snapshot_id(), retention),
            },
            TableUpdate::SetProperties { updates: [(self.job.property(), ledger.to_text())].into() },
        ];
        if !removed.is_empty() {
            let ids = removed.iter().map(|snapshot| snapshot.snapshot_id());
            updates.push(TableUpdate::RemoveSnapshots { snapshot_ids: ids.clone().collect() });
            for snapshot_id in ids {
                if metadata.statistics_for_snapshot(snapshot_id).is_some() {
                    updates.push(TableUpdate::RemoveStatistics { snapshot_id });
                }
                if metadata.partition_statistics_for_snapshot(snapshot_id).is_some() {
                    updates.push(TableUpdate::RemovePartitionStatistics { snapshot_id });
                }
            }
        }
        Ok((requirements, updates))
    }

    /// Takes over the table after a commit of ours and starts what runs beside the next round.
    fn accept(&mut self, table: Table, ready: &Try, draft: &mut Draft<'_>, removed: Vec<SnapshotRef>, policy: &Policy) {
        let before = std::mem::replace(&mut self.table, table);
        let metadata = self.table.metadata();
        self.stale = false;
        let snapshot_id = ready.snapshot.snapshot_id();
        let paths: Vec<String> = ready.manifests.iter().map(|manifest| manifest.manifest_path.clone()).collect();
        self.sweeper.learn(snapshot_id, Arc::from(paths));
        // A REST catalog may answer with a table that has gone on already.
        let still_current = metadata.current_snapshot_id() == Some(snapshot_id);
        self.manifests = still_current.then(|| ready.manifests.clone());
        self.unseen = !still_current;

        if ready.merged
            && let Some(merged) = self.merged.take()
        {
            for source in &merged.sources {
                self.entries.remove(source);
            }
            self.entries.put(&merged.manifest, merged.entries);
        }
        if policy.merge_manifests {
            for (manifest, entries) in draft.take_entries(ready, metadata.format_version()) {
                self.entries.put(&manifest, entries);
            }
            self.start_merge(policy);
        } else {
            self.entries.clear();
        }
        if !removed.is_empty() {
            let statistics = statistics_only_of(&before, &self.table);
            self.sweeper.push(removed, statistics, policy.grace);
        }
        self.sweeper.tick(&self.table);
    }

    /// Starts merging manifests beside the next round if a tier is full and no merge is under way.
    fn start_merge(&mut self, policy: &Policy) {
        let Some(manifests) = self.manifests.as_ref().filter(|_| self.merging.is_none() && self.merged.is_none())
        else {
            return;
        };
        let Some(sources) = merge::plan(manifests, policy.manifest_target_bytes) else { return };
        let sources = sources.into_iter().map(|manifest| (self.entries.get(&manifest.manifest_path), manifest));
        let sources: Vec<_> = sources.map(|(cached, manifest)| (manifest, cached)).collect();
        let metadata = self.table.metadata_ref();
        let path = format!("{}/{}-m0.avro", metadata_directory(&metadata), Uuid::new_v4());
        let run = merge::run(self.table.file_io().clone(), metadata, sources, path);
        // Encoding thousands of entries is work for a thread of its own, not between the futures of others.
        let runtime = tokio::runtime::Handle::current();
        self.merging = Some(tokio::task::spawn_blocking(move || runtime.block_on(run)));
    }

    /// Takes the result of a merge that has ended, or, told to `wait`, that ends now.
    async fn collect_merge(&mut self, wait: bool) {
        if let Some(merged) = self.merged.as_ref()
            && let Some(manifests) = &self.manifests
            && !has_all(manifests, &merged.sources)
            && !has_all(manifests, std::slice::from_ref(&merged.manifest.manifest_path))
        {
            // Another writer has rewritten its sources.
            let path = merged.manifest.manifest_path.clone();
            self.merged = None;
            io::delete(self.table.file_io(), [path]).await;
        }
        if !self.merging.as_ref().is_some_and(|task| wait || task.is_finished()) {
            return;
        }
        let Some(task) = self.merging.take() else { return };
        match task.await {
            Ok(Ok(merged)) => self.merged = Some(merged),
            Ok(Err(error)) => log::warn!("job {}: manifests were not merged, commits go on without: {error}", self.job),
            Err(error) => log::warn!("job {}: merging manifests ended early: {error}", self.job),
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

/// Whether there are so many manifests that a commit should rather wait for the merge that is under way.
fn too_many(manifests: &[ManifestFile]) -> bool {
    manifests.len() > FAN * FAN * FAN
}

fn statistics_only_of(before: &Table, after: &Table) -> Vec<String> {
    let paths = |table: &Table| -> Vec<String> {
        let metadata = table.metadata();
        let statistics = metadata.statistics_iter().map(|file| file.statistics_path.clone());
        statistics.chain(metadata.partition_statistics_iter().map(|file| file.statistics_path.clone())).collect()
    };
    let kept = paths(after);
    paths(before).into_iter().filter(|path| !kept.contains(path)).collect()
}

fn lost(error: Error, cause: Error) -> Error {
    Error::new(
        ErrorKind::OutcomeUnknown,
        format!(
            "the catalog did not say whether the commit went in ({}), and could not be asked; nothing was deleted: \
             run the job again, it finds out by the commit's id",
            error.message()
        ),
    )
    .retryable()
    .caused_by(cause)
}
