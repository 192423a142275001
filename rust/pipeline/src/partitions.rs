//! Which partitions this worker holds, where they begin, and what happens when they come and go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use frazil_catalog::Lake;
use frazil_commit::resume;
use frazil_model::{Error, ErrorKind, JobName, OnRollback, Positions, Ranges, Result};
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
    lost: Option<&'static str>,
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

    /// Partitions that went in good order since the last call.
    ///
    /// # Errors
    /// `Source` (retryable) if any went while records of it were not committed: what this attempt holds must be dropped.
    pub(crate) fn take_revoked(&self) -> Result<Vec<Partition>> {
        let mut changes = self.changes.lock();
        match changes.lost.take() {
            Some(why) => Err(Error::new(ErrorKind::Source, why).retryable()),
            None => Ok(std::mem::take(&mut changes.revoked)),
        }
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
        let until = Instant::now() + self.deadline;
        let committed = self.round.cut_and_wait(|| Instant::now() > until);
        let mut changes = self.changes.lock();
        if committed {
            self.round.forget(partitions);
            changes.revoked.extend_from_slice(partitions);
        } else {
            changes.lost = Some(
                "partitions were taken away before their records could be committed within drain_timeout; their new owner reads them again",
            );
        }
    }

    fn lost(&self, _: &[Partition]) {
        self.changes.lock().lost = Some(
            "this worker lost its partitions without notice (it was away longer than Kafka's session.timeout.ms); what it had not committed is read again by their new owner",
        );
    }
}
