//! Which partitions this worker holds, where they begin, and what happens when they come and go.

use std::sync::Arc;
use std::time::Duration;

use frazil_catalog::Lake;
use frazil_commit::resume;
use frazil_model::{JobName, OnRollback, Positions, Ranges, Result};
use frazil_source::Assignment;
use iceberg::TableIdent;
use parking_lot::Mutex;

use crate::round::RoundControl;
use crate::runtime::runtime;

/// A partition.
pub(crate) type Partition = (String, i32);

/// Answers Kafka's group protocol from the table's ledger.
pub(crate) struct TablePartitions {
    lake: Lake,
    ident: TableIdent,
    name: JobName,
    skips: Ranges,
    deadline: Duration,
    round: Arc<RoundControl>,
    changes: Mutex<Changes>,
}

#[derive(Default)]
struct Changes {
    revoked: Vec<Partition>,
    lost: bool,
}

impl TablePartitions {
    pub(crate) fn new(
        lake: Lake,
        ident: TableIdent,
        name: JobName,
        skips: Ranges,
        deadline: Duration,
        round: Arc<RoundControl>,
    ) -> Self {
        TablePartitions { lake, ident, name, skips, deadline, round, changes: Mutex::default() }
    }

    /// Partitions that went since the last call, and whether any went without notice.
    pub(crate) fn take_changes(&self) -> (Vec<Partition>, bool) {
        let mut changes = self.changes.lock();
        (std::mem::take(&mut changes.revoked), std::mem::take(&mut changes.lost))
    }
}

impl Assignment for TablePartitions {
    fn assigned(&self, _: &[Partition]) -> Result<Positions> {
        let ledger = runtime().block_on(async {
            let table = self.lake.load_table(&self.ident).await?;
            resume(&table, &self.name, OnRollback::Stop).await
        })?;
        let mut positions = ledger.map(|ledger| ledger.next).unwrap_or_default();
        for (topic, partition, skip) in self.skips.iter() {
            if positions.get(topic, partition) == Some(skip.start) {
                positions.set(topic, partition, skip.end);
            }
        }
        Ok(positions)
    }

    fn revoked(&self, partitions: &[Partition]) {
        // The reader thread is inside `poll`: what it dealt out so far can still be committed.
        if !self.round.cut_and_wait(self.deadline) {
            log::warn!(
                "partitions were taken away before their records were committed: they are read again by their new owner"
            );
        }
        self.changes.lock().revoked.extend_from_slice(partitions);
    }

    fn lost(&self, _: &[Partition]) {
        self.changes.lock().lost = true;
    }
}
