//! What a job bears and what stops it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::MaxBad;

/// What happens to bad records, lost offsets and rollbacks.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// Where bad records go. Without it, a bad record stops the job, or, within `max_bad`, is dropped and counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_letters: Option<DeadLetters>,
    /// How many bad records the job bears before it stops: `1%`, `0.01` or a count. With dead letters unlimited by
    /// default, without them none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bad: Option<MaxBad>,
    /// When the table was rolled back behind the ledger's commit.
    #[serde(default)]
    pub on_rollback: OnRollback,
    /// When offsets that the ledger needs are gone from the source.
    #[serde(default)]
    pub on_lost_offsets: OnLostOffsets,
}

/// The dead-letter topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DeadLetters {
    /// The topic; it must exist, or the brokers must create topics by themselves.
    pub topic: String,
    /// Its brokers, if not the source's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<String>,
}

/// What to do when the table was rolled back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnRollback {
    /// Stop with an error that names both snapshots.
    #[default]
    Stop,
    /// Go on from the offsets of the newest snapshot of this job that is still in the table.
    Rewind,
}

/// What to do when offsets are gone from the source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLostOffsets {
    /// Stop with an error that names the gap.
    #[default]
    Stop,
    /// Record the gap in the ledger and go on behind it.
    Skip,
}
