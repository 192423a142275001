//! The snapshots of `main`, and which of them a commit may remove.

use std::collections::HashMap;

use frazil_model::{Error, ErrorKind, Result};
use iceberg::spec::{MAIN_BRANCH, Operation, SnapshotRef, SnapshotReference, SnapshotRetention, TableMetadata};
use serde::Deserialize;

use crate::policy::Policy;

/// The snapshots of `main`, newest first, as far back as the metadata still lists them.
pub(crate) fn ancestors(metadata: &TableMetadata) -> impl Iterator<Item = &SnapshotRef> {
    std::iter::successors(metadata.current_snapshot(), |snapshot| {
        metadata.snapshot_by_id(snapshot.parent_snapshot_id()?)
    })
}

/// All branches and tags. The iceberg crate answers only for a name that one knows, so they are read from the
/// metadata's JSON: not for every commit.
pub(crate) fn references(metadata: &TableMetadata) -> Result<HashMap<String, SnapshotReference>> {
    #[derive(Deserialize)]
    struct References {
        #[serde(default)]
        refs: HashMap<String, SnapshotReference>,
    }
    let read = || serde_json::from_slice::<References>(&serde_json::to_vec(metadata)?);
    let broken =
        |error| Error::new(ErrorKind::Internal, "could not read the table's branches and tags").caused_by(error);
    Ok(read().map_err(broken)?.refs)
}

/// How `main` keeps snapshots: what the next commit must leave as it is.
pub(crate) fn main_retention(references: &HashMap<String, SnapshotReference>) -> SnapshotRetention {
    let main = references.get(MAIN_BRANCH).map(|main| main.retention.clone());
    main.unwrap_or_else(|| SnapshotRetention::branch(None, None, None))
}

/// Whether `main` with one more snapshot has become so long that it is worth looking closer.
pub(crate) fn may_be_too_long(metadata: &TableMetadata, policy: &Policy) -> bool {
    policy.gc
        && metadata.snapshots().len() >= policy.max_snapshots.unwrap_or(FEWEST)
        && metadata.snapshots().len() + 1 >= upper_limit(most(metadata, policy))
}

/// With commits every second, time travel reaches back a minute, and the metadata that each of them writes stays small.
const FEWEST: usize = 60;
/// Even a table that is written once a day does not keep more by default.
const MOST: usize = 2_000;

/// How many snapshots `main` keeps. Each commit writes all of them into the metadata once more, so by default slow
/// commits keep more than fast ones: about as many as 60 for each second between two commits.
fn most(metadata: &TableMetadata, policy: &Policy) -> usize {
    if let Some(given) = policy.max_snapshots {
        return if given == 0 { usize::MAX } else { given };
    }
    let times = metadata.snapshots().map(|snapshot| snapshot.timestamp_ms());
    let (first, last) = times.fold((i64::MAX, i64::MIN), |(first, last), at| (first.min(at), last.max(at)));
    let gaps = metadata.snapshots().len().saturating_sub(1).max(1);
    let seconds = last.saturating_sub(first).max(0) as f64 / 1e3 / gaps as f64;
    ((FEWEST as f64 * seconds) as usize).clamp(FEWEST, MOST)
}

fn upper_limit(most: usize) -> usize {
    most.saturating_add((most / 10).max(1))
}

/// The oldest snapshots of `main` that a commit at `now_ms` removes together with adding its own (an append).
pub(crate) fn removable(
    metadata: &TableMetadata,
    references: &HashMap<String, SnapshotReference>,
    policy: &Policy,
    now_ms: i64,
) -> Vec<SnapshotRef> {
    if references.keys().any(|name| name != MAIN_BRANCH) {
        return Vec::new();
    }
    let mut oldest_first: Vec<_> = ancestors(metadata).collect();
    oldest_first.reverse();
    let length = oldest_first.len() + 1;
    let most = most(metadata, policy);
    if length < upper_limit(most) {
        return Vec::new();
    }
    let (branch_keeps, branch_age) = match references.get(MAIN_BRANCH).map(|main| &main.retention) {
        Some(SnapshotRetention::Branch { min_snapshots_to_keep, max_snapshot_age_ms, .. }) => {
            (min_snapshots_to_keep.map_or(0, |keep| keep.max(0) as usize), *max_snapshot_age_ms)
        }
        _ => (0, None),
    };
    let keep = most.max(policy.min_snapshots_to_keep).max(branch_keeps);
    let age = branch_age.or_else(|| policy.max_snapshot_age.map(|age| age.as_millis() as i64));
    let may_go = |index: &usize| {
        let child_is_append =
            oldest_first.get(index + 1).is_none_or(|child| child.summary().operation == Operation::Append);
        let old_enough = age.is_none_or(|age| oldest_first[*index].timestamp_ms() < now_ms.saturating_sub(age));
        child_is_append && old_enough
    };
    let count = (0..length.saturating_sub(keep)).take_while(may_go).count();
    oldest_first[..count].iter().map(|snapshot| (*snapshot).clone()).collect()
}
