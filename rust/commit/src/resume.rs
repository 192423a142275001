//! Where a job stands in a table, and whether the table was rolled back behind it.
//!
//! The ledger is a table property, and rolling a table back moves only the branch: the property then claims offsets
//! whose rows are gone. So the ledger also names the snapshot that wrote it, which must be `main`'s current snapshot
//! or an ancestor of it. If it is not, the offsets to go back to are found by taking the ranges of the snapshots that
//! were rolled back from the ledger again, from its own snapshot down to the first one that `main` still has. That
//! needs no copy of the ledger in each snapshot (which, with thousands of partitions, would fill the metadata); it
//! needs the rolled-back snapshots to be in the metadata still. If expiry has taken them, the job cannot be rewound
//! and the error says so.

use std::collections::HashSet;

use frazil_model::{Error, ErrorKind, JobName, Ledger, OnRollback, Ranges, Result, summary as key};
use iceberg::spec::{Snapshot, TableMetadata};
use iceberg::table::Table;

use crate::history::ancestors;
use crate::ledger::covered;

/// The ledger that a job goes on from: `None` if the table has none of it.
///
/// With [`OnRollback::Rewind`] and a table that was rolled back it is the ledger as of the newest snapshot of this job
/// that `main` still has. The table itself then still has the old one: [`crate::Committer::resume`] also replaces
/// that, and without it the next append is refused.
///
/// # Errors
/// `RolledBack` if the table was rolled back behind the ledger and the policy is to stop, or the way back is gone.
pub async fn resume(table: &Table, job: &JobName, on_rollback: OnRollback) -> Result<Option<Ledger>> {
    let metadata = table.metadata();
    match (standing(metadata, job)?, on_rollback) {
        (Standing::New, _) => Ok(None),
        (Standing::Sound(ledger), _) => Ok(Some(ledger)),
        (Standing::RolledBack(ledger), OnRollback::Stop) => Err(rolled_back(metadata, job, &ledger)),
        (Standing::RolledBack(ledger), OnRollback::Rewind) => rewound(metadata, job, &ledger).map(Some),
    }
}

/// A job's ledger and `main`, held against each other.
#[derive(Debug)]
pub(crate) enum Standing {
    /// The table has no ledger of the job.
    New,
    /// The ledger's snapshot is part of `main`.
    Sound(Ledger),
    /// It is not: the ledger promises rows that `main` does not have.
    RolledBack(Ledger),
}

/// The job's ledger in the table's properties.
pub(crate) fn ledger_of(metadata: &TableMetadata, job: &JobName) -> Result<Option<Ledger>> {
    let text = metadata.properties().get(&job.property());
    text.map(|text| Ledger::parse(text).map_err(|error| error.with("job", job))).transpose()
}

/// Compares a job's ledger with `main`.
pub(crate) fn standing(metadata: &TableMetadata, job: &JobName) -> Result<Standing> {
    let Some(ledger) = ledger_of(metadata, job)? else { return Ok(Standing::New) };
    let sound = is_in_main(metadata, &ledger);
    Ok(if sound { Standing::Sound(ledger) } else { Standing::RolledBack(ledger) })
}

/// Whether the ledger's snapshot is part of `main`. Where expiry has removed it, sequence numbers decide: it is
/// unless `main` as listed leaves no place for it.
fn is_in_main(metadata: &TableMetadata, ledger: &Ledger) -> bool {
    let mut parent = None;
    for snapshot in ancestors(metadata) {
        if snapshot.snapshot_id() == ledger.snapshot_id {
            return true;
        }
        if snapshot.sequence_number() <= ledger.sequence_number {
            // `main` goes past the ledger's place without it.
            return false;
        }
        parent = snapshot.parent_snapshot_id();
    }
    // All of `main` that is listed is newer. It is sound if `main` goes on below, where nothing is listed any more.
    parent.is_some() && metadata.snapshot_by_id(ledger.snapshot_id).is_none()
}

/// The error for a table that was rolled back.
pub(crate) fn rolled_back(metadata: &TableMetadata, job: &JobName, ledger: &Ledger) -> Error {
    let current = metadata.current_snapshot_id().map_or("none".to_owned(), |id| id.to_string());
    Error::new(
        ErrorKind::RolledBack,
        format!(
            "the table was rolled back: the job's ledger was written by snapshot {}, which is no ancestor of main's current \
             snapshot {current}. To ingest the rolled-back offsets again, set 'errors.on_rollback: rewind'; else bring the \
             table back to snapshot {}",
            ledger.snapshot_id, ledger.snapshot_id
        ),
    )
    .with("job", job)
}

/// The ledger as of the newest snapshot of this job that `main` still has.
pub(crate) fn rewound(metadata: &TableMetadata, job: &JobName, ledger: &Ledger) -> Result<Ledger> {
    let on_main: HashSet<i64> = ancestors(metadata).map(|snapshot| snapshot.snapshot_id()).collect();
    let cannot = |why: String| {
        let error = rolled_back(metadata, job, ledger);
        Error::new(ErrorKind::RolledBack, format!("{}. It cannot be rewound: {why}", error.message())).with("job", job)
    };
    let mut back = ledger.clone();
    let mut at = Some(ledger.snapshot_id);
    while let Some(id) = at.filter(|id| !on_main.contains(id)) {
        let snapshot = metadata.snapshot_by_id(id).ok_or_else(|| {
            cannot(format!("snapshot {id}, which was rolled back, is no longer in the table's metadata, and with it the offsets that it added"))
        })?;
        if let Some(part) = Part::of(snapshot, job)? {
            part.take_from(&mut back).map_err(|why| cannot(format!("snapshot {id} {why}")))?;
        }
        at = snapshot.parent_snapshot_id();
    }
    let last =
        ancestors(metadata).find_map(|snapshot| Part::of(snapshot, job).transpose().map(|part| (snapshot, part)));
    match last {
        Some((snapshot, part)) => {
            back.commit_id = part?.commit_id;
            back.snapshot_id = snapshot.snapshot_id();
            back.sequence_number = snapshot.sequence_number();
        }
        None => {
            let main = metadata.current_snapshot();
            back.commit_id = uuid::Uuid::nil();
            back.snapshot_id = main.map_or(-1, |main| main.snapshot_id());
            back.sequence_number = main.map_or(0, |main| main.sequence_number());
        }
    }
    Ok(back)
}

/// What one snapshot says it added for a job.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) commit_id: uuid::Uuid,
    /// Ranges and skipped offsets together.
    pub(crate) covered: Ranges,
    pub(crate) skipped: Ranges,
    pub(crate) records: u64,
    pub(crate) rows: u64,
    pub(crate) filtered: u64,
    pub(crate) dead_letters: u64,
    /// A rewind adds nothing and is not counted as a commit.
    pub(crate) rewind: bool,
}

impl Part {
    /// Reads a snapshot's summary: `None` if another job or program wrote it.
    ///
    /// # Errors
    /// `Catalog` if the summary names the job but cannot be read.
    pub(crate) fn of(snapshot: &Snapshot, job: &JobName) -> Result<Option<Part>> {
        let summary = &snapshot.summary().additional_properties;
        if summary.get(key::JOB).map(String::as_str) != Some(job.as_str()) {
            return Ok(None);
        }
        let broken = |name: &str| {
            Error::new(
                ErrorKind::Catalog,
                format!("the summary of snapshot {} has no readable '{name}'", snapshot.snapshot_id()),
            )
            .with("job", job)
        };
        let number =
            |name: &str| summary.get(name).and_then(|text| text.parse::<u64>().ok()).ok_or_else(|| broken(name));
        let ranges = |name: &str| serde_json::from_str::<Ranges>(summary.get(name)?).ok();
        let skipped = match summary.contains_key(key::SKIPPED) {
            true => ranges(key::SKIPPED).ok_or_else(|| broken(key::SKIPPED))?,
            false => Ranges::default(),
        };
        let id = summary.get(key::COMMIT_ID).and_then(|text| text.parse().ok());
        Ok(Some(Part {
            commit_id: id.ok_or_else(|| broken(key::COMMIT_ID))?,
            covered: covered(&ranges(key::RANGES).ok_or_else(|| broken(key::RANGES))?, &skipped)?,
            skipped,
            records: number(key::RECORDS)?,
            rows: number(key::ROWS)?,
            filtered: number(key::FILTERED)?,
            dead_letters: number(key::DEAD_LETTERS)?,
            rewind: summary.contains_key(crate::summary::REWOUND_FROM),
        }))
    }

    /// Undoes this part in a ledger. A partition that began in it stays at its first offset, so that the rewound job
    /// reads the same offsets again whatever its `start` says.
    fn take_from(&self, ledger: &mut Ledger) -> Result<(), String> {
        for (topic, partition, range) in self.covered.iter() {
            if ledger.next.get(topic, partition) != Some(range.end) {
                return Err(format!(
                    "ends at offset {} of {topic}/{partition}, but the ledger does not stand there",
                    range.end
                ));
            }
            ledger.next.set(topic, partition, range.start);
        }
        if !self.skipped.is_empty()
            && let Some(at) = ledger.skipped.iter().rposition(|skipped| *skipped == self.skipped)
        {
            ledger.skipped.remove(at);
        }
        let take = |total: &mut u64, part: u64| *total = total.saturating_sub(part);
        take(&mut ledger.records, self.records);
        take(&mut ledger.rows, self.rows);
        take(&mut ledger.filtered, self.filtered);
        take(&mut ledger.dead_letters, self.dead_letters);
        take(&mut ledger.commits, u64::from(!self.rewind));
        Ok(())
    }
}
