//! Partitions that come and go as the consumer group divides them.

use frazil_model::{Error, ErrorKind, Positions, Result};
use rdkafka::consumer::Consumer as _;

use crate::error::from_kafka;
use crate::offsets::list;
use crate::source::KafkaSource;

/// What the pipeline knows about partitions that come and go. All calls come from [`KafkaSource::poll`], on the thread
/// that drives it; every record that `poll` has returned before is then in the pipeline's hands.
pub trait Assignment: Send + Sync {
    /// Partitions are newly given to this consumer. Returns where to begin, from the table's ledger: best all that the
    /// ledger knows of these topics, for a partition that is missing among others of its topic is new, and is read
    /// from its first record. A topic that the ledger does not know begins where `source.kafka.start` says.
    ///
    /// # Errors
    /// Whatever keeps the pipeline from knowing. `poll` returns it; if it is retryable, the next `poll` asks again.
    fn assigned(&self, partitions: &[(String, i32)]) -> Result<Positions>;

    /// Partitions are about to be taken away; they go when this returns. The pipeline commits what it has of them, or
    /// drops it, within its deadline.
    fn revoked(&self, partitions: &[(String, i32)]);

    /// Partitions are gone without notice (session time-out); another consumer may read them already.
    fn lost(&self, partitions: &[(String, i32)]);
}

/// What librdkafka asked for, not answered yet.
#[derive(Debug, Clone)]
pub(crate) struct Rebalance {
    pub(crate) given: bool,
    pub(crate) lost: bool,
    pub(crate) partitions: Vec<(String, i32)>,
}

impl KafkaSource {
    /// Answers everything that librdkafka has asked for.
    pub(crate) fn rebalance(&mut self) -> Result<()> {
        while let Some(rebalance) = self.client().next_rebalance() {
            let result = if rebalance.given { self.given(&rebalance.partitions) } else { self.taken(&rebalance) };
            if let Err(error) = result {
                self.client().retry_rebalance(rebalance);
                return Err(error);
            }
        }
        Ok(())
    }

    fn given(&mut self, partitions: &[(String, i32)]) -> Result<()> {
        let assignment = self
            .assignment
            .clone()
            .ok_or_else(|| Error::new(ErrorKind::Internal, "partitions were assigned without a subscription"))?;
        let known = assignment.assigned(partitions)?;
        let starts = self.starts(partitions, &known)?;
        let mut assigned = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            let start = starts.get(topic, *partition).ok_or_else(|| {
                Error::new(ErrorKind::Internal, "a partition has no start")
                    .with("topic", topic)
                    .with("partition", partition)
            })?;
            assigned.push((topic.as_str(), *partition, start));
        }
        let assigned_list = list(assigned.iter().copied())?;
        self.consumer
            .incremental_assign(&assigned_list)
            .map_err(|error| from_kafka("partitions could not be assigned", error))?;
        for (topic, partition, start) in assigned {
            log::info!(target: "frazil::kafka", "{topic} [{partition}] assigned at {start}");
            self.partitions.set(topic, partition, start);
        }
        if self.stopped {
            self.consumer.pause(&assigned_list).map_err(|error| from_kafka("partitions could not be paused", error))?;
        }
        Ok(())
    }

    fn taken(&mut self, rebalance: &Rebalance) -> Result<()> {
        // Gone from here first: what librdkafka delivers of them from now on is dropped.
        let mine: Vec<_> = rebalance
            .partitions
            .iter()
            .filter(|(topic, partition)| self.partitions.position(topic, *partition).is_some())
            .cloned()
            .collect();
        if let Some(assignment) = &self.assignment
            && !mine.is_empty()
        {
            if rebalance.lost { assignment.lost(&mine) } else { assignment.revoked(&mine) }
        }
        for (topic, partition) in &mine {
            log::info!(target: "frazil::kafka", "{topic} [{partition}] {}", if rebalance.lost { "lost" } else { "revoked" });
            self.partitions.remove(topic, *partition);
        }
        let gone = list(rebalance.partitions.iter().map(|(topic, partition)| (topic.as_str(), *partition, 0)))?;
        self.consumer
            .incremental_unassign(&gone)
            .map_err(|error| from_kafka("partitions could not be given back", error))
    }
}
