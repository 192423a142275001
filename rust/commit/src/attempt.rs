//! One try of a commit against the table as it is held now: check, write, hand over, take the answer.

use std::sync::Arc;
use std::time::Duration;

use frazil_model::{Error, ErrorKind, Ledger, Result, summary as key};
use iceberg::spec::{MAIN_BRANCH, ManifestFile, SnapshotRef, SnapshotReference, SnapshotRetention};
use iceberg::table::Table;
use iceberg::{TableRequirement, TableUpdate};
use uuid::Uuid;

use crate::committer::Doubt;
use crate::draft::{Draft, Try};
use crate::ledger::advance;
use crate::policy::Policy;
use crate::resume::{self, Standing};
use crate::{Append, CatalogCommit, Committed, Committer, history, io};

/// What a commit does to the ledger.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Step {
    Advance,
    Rewind,
}

/// How one try ended.
pub(crate) enum Outcome {
    Done(Box<Committed>),
    /// Certainly not applied; trying again may help.
    Refused(Error),
    Unknown(Error),
}

impl<C: CatalogCommit> Committer<C> {
    /// One try against the table as it is held now.
    pub(crate) async fn attempt(
        &mut self,
        draft: &mut Draft<'_>,
        append: &Append,
        step: Step,
        attempts: &mut u32,
    ) -> Result<Outcome> {
        let metadata = self.table.metadata_ref();
        io::check_supported(&metadata)?;
        let policy = Policy::of(metadata.properties())?;
        if std::mem::take(&mut self.unseen)
            && let Some(done) = self.find(append.commit_id)?
        {
            return Ok(Outcome::Done(Box::new(done)));
        }
        self.settle_doubt();
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
        self.collect_merge(crate::merge::too_many(&parent)).await;
        let ready = draft.prepare(&self.table, &parent, self.merged.as_ref(), &policy).await?;
        let removed = self.removable(&policy, ready.snapshot.timestamp_ms())?;
        let (requirements, updates) = self.change(&ready, &ledger, &removed)?;

        *attempts += 1;
        // Until there is an answer, also if this future is dropped while it waits.
        self.stale = true;
        let base = metadata.current_snapshot_id();
        let doubt = Doubt { commit_id: append.commit_id, base };
        // The first try without an answer counts: what is looked through later must reach back to it.
        let earlier = self.doubt.filter(|earlier| earlier.commit_id == append.commit_id);
        self.doubt = Some(earlier.unwrap_or(doubt));
        match self.catalog.commit(&self.table, requirements, updates).await {
            Ok(table) => {
                self.doubt = None;
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
                self.doubt = earlier;
                self.stale = false;
                self.unseen = true;
                let again = error.kind() == ErrorKind::Conflict || error.is_retryable();
                if again { Ok(Outcome::Refused(error)) } else { Err(error) }
            }
        }
    }

    /// Looks for a commit by its id: in the ledger, then in the snapshots of `main`.
    pub(crate) fn find(&self, commit_id: Uuid) -> Result<Option<Committed>> {
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

    /// Ends the doubt about a commit that was not found: it cannot be in, nor come in later, once `main` has gone on
    /// from where its first lost try began and every snapshot since is listed.
    fn settle_doubt(&mut self) {
        let Some(doubt) = self.doubt else { return };
        let metadata = self.table.metadata();
        if metadata.current_snapshot_id() == doubt.base {
            return;
        }
        let reaches = match doubt.base {
            Some(base) => history::ancestors(metadata).any(|snapshot| snapshot.snapshot_id() == base),
            None => history::ancestors(metadata).last().is_some_and(|root| root.parent_snapshot_id().is_none()),
        };
        if reaches {
            self.doubt = None;
        }
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
            log::info!(
                "job {}: {snapshots} snapshots are listed and none can be removed (another branch or tag, a replaced or \
                 deleted file, or a retention property holds them): expire snapshots",
                self.job
            );
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
}

/// Statistics files that only `before` has.
fn statistics_only_of(before: &Table, after: &Table) -> Vec<String> {
    let paths = |table: &Table| -> Vec<String> {
        let metadata = table.metadata();
        let statistics = metadata.statistics_iter().map(|file| file.statistics_path.clone());
        statistics.chain(metadata.partition_statistics_iter().map(|file| file.statistics_path.clone())).collect()
    };
    let kept = paths(after);
    paths(before).into_iter().filter(|path| !kept.contains(path)).collect()
}
