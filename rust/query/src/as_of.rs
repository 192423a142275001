//! Which snapshot a moment, an id or a reference stands for.

use chrono::{DateTime, SecondsFormat};
use frazil_model::{Error, ErrorKind, Result};
use frazil_transform::near;
use iceberg::table::Table;

/// A state of a table in the past, or on a branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AsOf {
    /// A snapshot's id.
    Snapshot(i64),
    /// What the table was at this time, in milliseconds since 1970-01-01T00:00:00Z.
    Timestamp(i64),
    /// A branch or a tag.
    Ref(String),
}

/// The snapshot's id.
pub(crate) fn resolve(table: &Table, as_of: &AsOf) -> Result<i64> {
    let metadata = table.metadata();
    let found = match as_of {
        AsOf::Snapshot(id) => metadata
            .snapshot_by_id(*id)
            .map(|snapshot| snapshot.snapshot_id())
            .ok_or_else(|| format!("no snapshot {id}; {}", range(table))),
        // The log says what was current when, rollbacks included; it may name snapshots that are expired by now.
        AsOf::Timestamp(ms) => match metadata.history().iter().rfind(|entry| entry.timestamp_ms <= *ms) {
            Some(entry) if metadata.snapshot_by_id(entry.snapshot_id).is_some() => Ok(entry.snapshot_id),
            Some(entry) => {
                Err(format!("the snapshot of {}, {}, is expired; {}", time(*ms), entry.snapshot_id, range(table)))
            }
            None => Err(format!("nothing is known of the table at {}; {}", time(*ms), range(table))),
        },
        AsOf::Ref(name) => metadata.snapshot_for_ref(name).map(|snapshot| snapshot.snapshot_id()).ok_or_else(|| {
            let names = references(table);
            format!(
                "no branch or tag '{name}'{} there are: {}",
                near(name, &names),
                if names.is_empty() { "none".to_owned() } else { names.join(", ") }
            )
        }),
    };
    found.map_err(|message| Error::new(ErrorKind::NotFound, message).with("table", table.identifier()))
}

/// What there is to choose from.
fn range(table: &Table) -> String {
    let mut snapshots: Vec<(i64, i64)> =
        table.metadata().snapshots().map(|snapshot| (snapshot.timestamp_ms(), snapshot.snapshot_id())).collect();
    snapshots.sort_unstable();
    match (snapshots.first(), snapshots.last()) {
        (Some(first), Some(last)) => format!(
            "the table has {} snapshots, from {} ({}) to {} ({})",
            snapshots.len(),
            first.1,
            time(first.0),
            last.1,
            time(last.0)
        ),
        _ => "the table has no snapshot yet".to_owned(),
    }
}

fn time(ms: i64) -> String {
    match DateTime::from_timestamp_millis(ms) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None => format!("{ms} ms"),
    }
}

/// The crate finds references by name only; the document lists them.
fn references(table: &Table) -> Vec<String> {
    let document = serde_json::to_value(table.metadata()).unwrap_or_default();
    let mut names: Vec<String> =
        document["refs"].as_object().map(|refs| refs.keys().cloned().collect()).unwrap_or_default();
    names.sort_unstable();
    names
}
