//! What goes into a commit and what comes out of it.

use std::collections::HashMap;
use std::time::Duration;

use frazil_model::{Ledger, Ranges};
use iceberg::spec::DataFile;
use uuid::Uuid;

/// Finished data files and the source offsets that they hold: one round of a job, to be committed as one snapshot.
#[derive(Debug, Clone, Default)]
pub struct Append {
    /// The commit's own id. A second call with the same id finds the first one's snapshot and changes nothing.
    pub commit_id: Uuid,
    /// The offsets that this round covers. Each must start where the ledger stands.
    pub ranges: Ranges,
    /// Offsets that were gone from the source and are skipped by the job's policy. Per partition either inside
    /// `ranges` or directly in front of its range.
    pub skipped: Ranges,
    /// The data files; none if every record was filtered out or is a dead letter.
    pub files: Vec<DataFile>,
    /// Records read from the source.
    pub records: u64,
    /// Rows in `files`.
    pub rows: u64,
    /// Records left out by the job's `where`.
    pub filtered: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// More keys for the snapshot's summary. Keys of Iceberg and Frazil win over them.
    pub properties: HashMap<String, String>,
}

/// A commit that is in the table.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The snapshot that holds it.
    pub snapshot_id: i64,
    /// That snapshot's sequence number.
    pub sequence_number: i64,
    /// The job's ledger as the table now has it.
    pub ledger: Ledger,
    /// How often it was handed to the catalog; 0 if it was found before the first try.
    pub attempts: u32,
    /// Whether it was found in the table already: an earlier call or a try whose answer was lost had put it there.
    pub replayed: bool,
    /// From the call to the answer.
    pub duration: Duration,
}
