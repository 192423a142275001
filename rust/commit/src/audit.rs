//! Proving from the table alone what each job has put into it: no gap, no overlap, counts that agree with the files.
//!
//! For each ledger the ancestors of `main` are walked from the oldest to the newest. The ranges of the job's snapshots
//! must join end to end in every partition, begin where the ledger says the job began (or, once history has been
//! trimmed or expired, anywhere) and end where the ledger stands; each snapshot's counts must agree with each other and
//! with the files that its own manifests add; all of them together must give the ledger's totals.

use std::collections::{BTreeMap, BTreeSet};

use frazil_model::{ErrorKind, JobName, LEDGER_PREFIX, Ledger, Positions, Ranges, Result, summary as key};
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::{DataContentType, ManifestContentType, ManifestStatus, SnapshotRef};
use iceberg::table::Table;
use serde::Serialize;

use crate::history::ancestors;
use crate::io::{self, PARALLEL};
use crate::resume::{Part, Standing, rolled_back, standing};

/// What the audit of one job in one table found.
#[derive(Debug, Clone, Serialize)]
pub struct AuditReport {
    /// The table.
    pub table: String,
    /// The job.
    pub job: String,
    /// Whether nothing is wrong.
    pub clean: bool,
    /// What is wrong, a sentence each.
    pub findings: Vec<String>,
    /// `main`'s current snapshot, which was audited.
    pub snapshot_id: Option<i64>,
    /// What the ledger covers, by topic and partition.
    pub offsets: Vec<PartitionAudit>,
    /// Ranges that were gone from the source and skipped by the job's policy.
    pub skipped: Vec<Ranges>,
    /// Records read since the job began.
    pub records: u64,
    /// Rows added since the job began.
    pub rows: u64,
    /// Records left out by `where` since the job began.
    pub filtered: u64,
    /// Dead letters since the job began.
    pub dead_letters: u64,
    /// Commits since the job began.
    pub commits: u64,
    /// Snapshots of this job that the table still lists, each of which was checked.
    pub snapshots_checked: u64,
    /// Whether the table still lists every snapshot of the job.
    pub history_complete: bool,
    /// Milliseconds since 1970 of the oldest snapshot checked.
    pub history_since_ms: Option<i64>,
    /// Rows in the table now, of all writers; unknown if it has equality deletes.
    pub live_rows: Option<u64>,
}

/// What a ledger covers of one partition.
#[derive(Debug, Clone, Serialize)]
pub struct PartitionAudit {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// The first offset that the job covered.
    pub first: i64,
    /// The next offset it will read.
    pub next: i64,
    /// From which offset on the retained snapshots prove it.
    pub proven_from: Option<i64>,
}

/// Audits `job`, or each job that has a ledger in the table.
///
/// # Errors
/// `NotFound` if the table has no ledger of `job`; what reading the table's metadata gives. What the audit finds is
/// no error but in the report.
pub async fn audit(table: &Table, job: Option<&JobName>) -> Result<Vec<AuditReport>> {
    let metadata = table.metadata();
    let jobs: BTreeSet<JobName> = match job {
        Some(job) => BTreeSet::from([job.clone()]),
        None => {
            metadata.properties().keys().filter_map(|name| name.strip_prefix(LEDGER_PREFIX)?.parse().ok()).collect()
        }
    };
    let live = Live::count(table).await?;
    let mut reports = Vec::with_capacity(jobs.len());
    for job in &jobs {
        reports.push(audit_job(table, job, &live).await?);
    }
    Ok(reports)
}

/// What the current snapshot holds.
struct Live {
    rows: Option<u64>,
    finding: Option<String>,
}

impl Live {
    async fn count(table: &Table) -> Result<Self> {
        let Some(snapshot) = table.metadata().current_snapshot() else {
            return Ok(Live { rows: Some(0), finding: None });
        };
        let list = io::load_list(table, snapshot).await?;
        let (mut data, mut deleted, mut equality) = (0, 0, false);
        let counts = list.iter().map(|manifest| async move {
            let loaded = io::load_manifest(table.file_io(), manifest).await?;
            Ok::<_, frazil_model::Error>(
                loaded
                    .entries()
                    .iter()
                    .filter(|entry| entry.is_alive())
                    .map(|entry| (entry.content_type(), entry.record_count()))
                    .collect::<Vec<_>>(),
            )
        });
        let counts: Vec<_> = counts.collect();
        let counts: Vec<Vec<_>> = futures::stream::iter(counts).buffered(PARALLEL).try_collect().await?;
        for (content, count) in counts.into_iter().flatten() {
            match content {
                DataContentType::Data => data += count,
                DataContentType::PositionDeletes => deleted += count,
                DataContentType::EqualityDeletes => equality = true,
            }
        }
        let total =
            snapshot.summary().additional_properties.get("total-records").and_then(|text| text.parse::<u64>().ok());
        let finding = total.filter(|total| *total != data).map(|total| {
            format!("the current snapshot's summary counts {total} rows in data files ('total-records'), its manifests {data}")
        });
        Ok(Live { rows: (!equality).then(|| data.saturating_sub(deleted)), finding })
    }
}

async fn audit_job(table: &Table, job: &JobName, live: &Live) -> Result<AuditReport> {
    let metadata = table.metadata();
    let mut findings: Vec<String> = live.finding.iter().cloned().collect();
    let ledger = match standing(metadata, job)? {
        Standing::New => {
            return Err(frazil_model::Error::new(
                ErrorKind::NotFound,
                format!("the table has no ledger of job '{job}': it has never committed to it, or under another name"),
            )
            .with("table", table.identifier()));
        }
        Standing::Sound(ledger) => ledger,
        Standing::RolledBack(ledger) => {
            findings.push(rolled_back(metadata, job, &ledger).message().to_owned());
            ledger
        }
    };

    let mut snapshots: Vec<SnapshotRef> = ancestors(metadata).cloned().collect();
    snapshots.reverse();
    let mut parts = Vec::new();
    for snapshot in &snapshots {
        match Part::of(snapshot, job) {
            Ok(Some(part)) => parts.push((snapshot, part)),
            Ok(None) => {}
            Err(error) => findings.push(format!("{}.", error.message())),
        }
    }
    check_files(table, &parts, &mut findings).await;
    let commits = parts.iter().filter(|(_, part)| !part.rewind).count() as u64;
    // The root of the table's history is listed: nothing of the job can lie before what is listed.
    let root_listed = snapshots.first().is_some_and(|oldest| oldest.parent_snapshot_id().is_none());
    let history_complete = root_listed || commits >= ledger.commits;
    let proven = check_ranges(&parts, &ledger, history_complete, &mut findings);
    check_totals(&parts, &ledger, history_complete, &mut findings);

    let offsets = ledger.next.iter().map(|(topic, partition, next)| PartitionAudit {
        topic: topic.to_owned(),
        partition,
        first: ledger.first.get(topic, partition).unwrap_or(next),
        next,
        proven_from: proven.get(&(topic.to_owned(), partition)).copied(),
    });
    Ok(AuditReport {
        table: table.identifier().to_string(),
        job: job.to_string(),
        clean: findings.is_empty(),
        snapshot_id: metadata.current_snapshot_id(),
        offsets: offsets.collect(),
        skipped: ledger.skipped.clone(),
        records: ledger.records,
        rows: ledger.rows,
        filtered: ledger.filtered,
        dead_letters: ledger.dead_letters,
        commits: ledger.commits,
        snapshots_checked: parts.len() as u64,
        history_complete,
        history_since_ms: parts.first().map(|(snapshot, _)| snapshot.timestamp_ms()),
        live_rows: live.rows,
        findings,
    })
}

/// Ranges join end to end. Returns where the proof of each partition begins.
fn check_ranges(
    parts: &[(&SnapshotRef, Part)],
    ledger: &Ledger,
    complete: bool,
    findings: &mut Vec<String>,
) -> BTreeMap<(String, i32), i64> {
    let mut proven = BTreeMap::new();
    let mut at = Positions::default();
    for (snapshot, part) in parts {
        let id = snapshot.snapshot_id();
        for (topic, partition, range) in part.covered.iter() {
            let expected = match at.get(topic, partition) {
                Some(expected) => Some(expected),
                None => {
                    proven.insert((topic.to_owned(), partition), range.start);
                    ledger.first.get(topic, partition).filter(|first| complete || range.start < *first)
                }
            };
            match expected {
                Some(expected) if range.start > expected => findings.push(format!(
                    "Gap: offsets [{expected}, {}) of {topic}/{partition} are in no snapshot; snapshot {id} goes on behind them.",
                    range.start
                )),
                Some(expected) if range.start < expected => findings.push(format!(
                    "Overlap: snapshot {id} covers offsets of {topic}/{partition} from {} on, those below {expected} are not its to cover.",
                    range.start
                )),
                _ => {}
            }
            at.set(topic, partition, range.end);
        }
    }
    for (topic, partition, next) in ledger.next.iter() {
        match (at.get(topic, partition), ledger.first.get(topic, partition)) {
            (None, None) => findings.push(format!("The ledger does not say where {topic}/{partition} began.")),
            (None, Some(first)) if complete && first != next => findings.push(format!(
                "Gap: the ledger covers offsets [{first}, {next}) of {topic}/{partition}, but no snapshot does."
            )),
            (Some(end), _) if end != next => findings.push(format!(
                "The ledger stands at offset {next} of {topic}/{partition}, the newest snapshot that covers it ends at {end}."
            )),
            _ => {}
        }
    }
    for (topic, partition, _) in at.iter().filter(|(topic, partition, _)| ledger.next.get(topic, *partition).is_none())
    {
        findings.push(format!("Snapshots cover {topic}/{partition}, which the ledger does not know."));
    }
    proven
}

/// What the ledger counted is what the snapshots say, as far as they are listed.
fn check_totals(parts: &[(&SnapshotRef, Part)], ledger: &Ledger, complete: bool, findings: &mut Vec<String>) {
    let sum = |of: fn(&Part) -> u64| parts.iter().map(|(_, part)| of(part)).sum::<u64>();
    let totals = [
        (key::RECORDS, ledger.records, sum(|part| part.records)),
        (key::ROWS, ledger.rows, sum(|part| part.rows)),
        (key::FILTERED, ledger.filtered, sum(|part| part.filtered)),
        (key::DEAD_LETTERS, ledger.dead_letters, sum(|part| part.dead_letters)),
    ];
    for (name, total, listed) in totals {
        if listed > total || (complete && listed != total) {
            let name = name.trim_start_matches("frazil.");
            findings.push(format!(
                "The ledger counts {total} {name} since the job began, its snapshots add up to {listed}."
            ));
        }
    }
    for (snapshot, part) in parts {
        if part.records != part.rows + part.filtered + part.dead_letters {
            findings.push(format!(
                "Snapshot {} read {} records but accounts for {} (rows {}, filtered {}, dead letters {}).",
                snapshot.snapshot_id(),
                part.records,
                part.rows + part.filtered + part.dead_letters,
                part.rows,
                part.filtered,
                part.dead_letters
            ));
        }
    }
}

/// Each snapshot's rows are those of the files that its own manifests add.
async fn check_files(table: &Table, parts: &[(&SnapshotRef, Part)], findings: &mut Vec<String>) {
    let checks: Vec<_> = parts
        .iter()
        .map(|(snapshot, part)| async move {
            match rows_added_by(table, snapshot).await {
                Ok(rows) if rows == part.rows => None,
                Ok(rows) => Some(format!(
                    "Snapshot {} says it added {} rows, its files hold {rows}.",
                    snapshot.snapshot_id(),
                    part.rows
                )),
                Err(error) => Some(format!("Snapshot {} could not be read: {error}.", snapshot.snapshot_id())),
            }
        })
        .collect();
    let found: Vec<Option<String>> = futures::stream::iter(checks).buffered(PARALLEL).collect().await;
    findings.extend(found.into_iter().flatten());
}

/// Rows of the data files that a snapshot added. Its own manifest list names the manifests that it wrote, whatever has
/// been merged or compacted since.
async fn rows_added_by(table: &Table, snapshot: &SnapshotRef) -> Result<u64> {
    let id = snapshot.snapshot_id();
    let list = io::load_list(table, snapshot).await?;
    let own = |manifest: &&iceberg::spec::ManifestFile| {
        manifest.added_snapshot_id == id && manifest.content == ManifestContentType::Data && manifest.has_added_files()
    };
    let own: Vec<_> = list.iter().filter(own).collect();
    let manifests = io::load_manifests(table.file_io(), &own).await?;
    let entries = manifests.iter().flat_map(|manifest| manifest.entries());
    let added = entries.filter(|entry| entry.status() == ManifestStatus::Added && entry.snapshot_id() == Some(id));
    Ok(added.map(|entry| entry.record_count()).sum())
}
