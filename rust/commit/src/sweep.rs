//! Deleting the files of removed snapshots, in the background and only after a time of grace.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use frazil_model::Result;
use futures::{StreamExt, TryStreamExt};
use iceberg::spec::SnapshotRef;
use iceberg::table::Table;
use tokio::task::JoinHandle;

use crate::io::{self, PARALLEL};

/// Which manifests each snapshot lists, as far as this process has written or read it.
type Lists = Arc<Mutex<HashMap<i64, Arc<[String]>>>>;

/// Snapshots that a commit removed, and when their files may go.
#[derive(Debug)]
struct Removed {
    due: Instant,
    snapshots: Vec<SnapshotRef>,
    /// Statistics files that no retained snapshot has.
    statistics: Vec<String>,
}

/// Files waiting to be deleted, and the task that deletes.
#[derive(Debug, Default)]
pub(crate) struct Sweeper {
    waiting: VecDeque<Removed>,
    running: Option<JoinHandle<()>>,
    lists: Lists,
}

impl Sweeper {
    /// Remembers what a snapshot lists, so that it need not be read.
    pub(crate) fn learn(&self, snapshot_id: i64, manifests: Arc<[String]>) {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner).insert(snapshot_id, manifests);
    }

    /// Takes snapshots that a commit has removed.
    pub(crate) fn push(&mut self, snapshots: Vec<SnapshotRef>, statistics: Vec<String>, grace: Duration) {
        self.waiting.push_back(Removed { due: Instant::now() + grace, snapshots, statistics });
    }

    /// Starts deleting what is due, if no task is at it. `table` is the table as it now stands.
    pub(crate) fn tick(&mut self, table: &Table) {
        if self.running.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let now = Instant::now();
        let due = self.waiting.iter().take_while(|removed| removed.due <= now).count();
        if due > 0 {
            let removed: Vec<_> = self.waiting.drain(..due).collect();
            self.running = Some(tokio::spawn(sweep(table.clone(), removed, self.lists.clone())));
        }
    }

    /// Deletes what is due and waits for it. What is not due yet is left to orphan removal.
    pub(crate) async fn finish(&mut self, table: &Table) {
        for _ in 0..2 {
            self.tick(table);
            if let Some(task) = self.running.take()
                && let Err(error) = task.await
            {
                log::warn!("deleting files of removed snapshots ended early, orphan removal will: {error}");
            }
        }
        if !self.waiting.is_empty() {
            let snapshots: usize = self.waiting.iter().map(|removed| removed.snapshots.len()).sum();
            log::info!(
                "metadata files of {snapshots} removed snapshots are still in their time of grace: left to orphan removal"
            );
        }
    }
}

async fn sweep(table: Table, removed: Vec<Removed>, lists: Lists) {
    let gone: Vec<_> = removed.iter().flat_map(|removed| removed.snapshots.iter().cloned()).collect();
    let mut delete: Vec<String> = Vec::new();
    match unreachable(&table, &gone, &lists).await {
        Ok(manifests) => delete.extend(manifests),
        // Without proof nothing but the lists goes: each belongs to one snapshot alone.
        Err(error) => log::warn!("could not tell which manifests are still in use, none is deleted: {error}"),
    }
    delete.extend(gone.iter().map(|snapshot| snapshot.manifest_list().to_owned()));
    delete.extend(removed.into_iter().flat_map(|removed| removed.statistics));
    io::delete(table.file_io(), delete).await;
    let mut known = lists.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|id, _| {
        table.metadata().snapshot_by_id(*id).is_some() || !gone.iter().any(|snapshot| snapshot.snapshot_id() == *id)
    });
}

/// Manifests that the `gone` snapshots list and no snapshot of the table does.
async fn unreachable(table: &Table, gone: &[SnapshotRef], lists: &Lists) -> Result<HashSet<String>> {
    let retained: Vec<_> = table.metadata().snapshots().cloned().collect();
    let retained = manifests_of(table, &retained, lists).await?;
    let retained: HashSet<&str> = retained.iter().flat_map(|list| list.iter().map(String::as_str)).collect();
    let gone = manifests_of(table, gone, lists).await?;
    let free = gone.iter().flat_map(|list| list.iter()).filter(|path| !retained.contains(path.as_str()));
    Ok(free.cloned().collect())
}

async fn manifests_of(table: &Table, snapshots: &[SnapshotRef], lists: &Lists) -> Result<Vec<Arc<[String]>>> {
    let loads: Vec<_> = snapshots
        .iter()
        .map(|snapshot| async move {
            let known = lists.lock().unwrap_or_else(PoisonError::into_inner).get(&snapshot.snapshot_id()).cloned();
            if let Some(known) = known {
                return Ok(known);
            }
            let list = io::load_list(table, snapshot).await?;
            let paths: Arc<[String]> = list.into_iter().map(|manifest| manifest.manifest_path).collect();
            lists.lock().unwrap_or_else(PoisonError::into_inner).insert(snapshot.snapshot_id(), paths.clone());
            Ok(paths)
        })
        .collect();
    futures::stream::iter(loads).buffered(PARALLEL).try_collect().await
}
