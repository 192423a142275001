//! What the table itself knows of a job: the next offset of every source partition, and who wrote it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, ErrorKind, Positions, Ranges, Result};

/// The table property of a job's ledger is this, followed by the job's name.
pub const LEDGER_PREFIX: &str = "frazil.ledger.";

/// Keys that Frazil adds to the summary of each snapshot that it writes.
pub mod summary {
    /// The job's name.
    pub const JOB: &str = "frazil.job";
    /// The commit's own id, also in the ledger.
    pub const COMMIT_ID: &str = "frazil.commit-id";
    /// The offsets that the snapshot covers, as JSON: `{"topic": {"partition": [start, end]}}`.
    pub const RANGES: &str = "frazil.ranges";
    /// Offsets that were gone from the source and were skipped by the job's policy, in the form of `RANGES`.
    pub const SKIPPED: &str = "frazil.skipped-ranges";
    /// Records read from the source in these ranges.
    pub const RECORDS: &str = "frazil.records";
    /// Rows added to the table.
    pub const ROWS: &str = "frazil.rows";
    /// Records left out by the job's `where`.
    pub const FILTERED: &str = "frazil.filtered";
    /// Records sent to the dead-letter topic (or dropped, if the job has none).
    pub const DEAD_LETTERS: &str = "frazil.dead-letters";
}

/// The name of a job: the ledger's key. Letters, digits, `_`, `-` and `.`, at most 200 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
pub struct JobName(String);

impl JobName {
    /// The table property that holds this job's ledger.
    pub fn property(&self) -> String {
        format!("{LEDGER_PREFIX}{}", self.0)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for JobName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if text.is_empty() || text.len() > 200 || !text.chars().all(fits) {
            return Err(Error::new(
                ErrorKind::Config,
                format!("expected a job name of letters, digits, '_', '-' and '.', at most 200 long, found {text:?}"),
            ));
        }
        Ok(JobName(text.to_owned()))
    }
}

impl TryFrom<String> for JobName {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<JobName> for String {
    fn from(name: JobName) -> Self {
        name.0
    }
}

/// The ledger of one job in one table, kept as JSON in the table property [`JobName::property`] and written in
/// the same atomic commit as the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Version of this format.
    pub version: u32,
    /// The commit that wrote it; also in that snapshot's summary.
    pub commit_id: Uuid,
    /// The snapshot that wrote it.
    pub snapshot_id: i64,
    /// That snapshot's sequence number.
    pub sequence_number: i64,
    /// The first offset that this job ever covered, by partition: where the audit starts.
    pub first: Positions,
    /// The next offset to read, by partition: everything below (from `first`) is in the table.
    pub next: Positions,
    /// Ranges below `next` that were gone from the source and were skipped by the job's policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
}

impl Ledger {
    /// The version that this program writes.
    pub const VERSION: u32 = 1;

    /// The ledger of a job that has not committed yet.
    pub fn empty() -> Self {
        Ledger {
            version: Self::VERSION,
            commit_id: Uuid::nil(),
            snapshot_id: -1,
            sequence_number: 0,
            first: Positions::default(),
            next: Positions::default(),
            skipped: Vec::new(),
            records: 0,
            rows: 0,
            filtered: 0,
            dead_letters: 0,
            commits: 0,
        }
    }

    /// Reads the property's text.
    ///
    /// # Errors
    /// `Catalog` if it is not a ledger, `Unsupported` if a newer Frazil wrote it.
    pub fn parse(text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let broken = |error: serde_json::Error| {
            Error::new(
                ErrorKind::Catalog,
                "the table's ledger property is not a Frazil ledger; restore it from the table's metadata log",
            )
            .caused_by(error)
        };
        let Version { version } = serde_json::from_str(text).map_err(broken)?;
        if version > Self::VERSION {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the table's ledger has version {version}, this Frazil knows up to {}: upgrade it",
                    Self::VERSION
                ),
            ));
        }
        serde_json::from_str(text).map_err(broken)
    }

    /// The property's text.
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).expect("a ledger is plain data")
    }

    /// Checks that every range starts where this ledger stands. A partition that the ledger does not know may start
    /// anywhere.
    ///
    /// # Errors
    /// `Fenced`, naming the first partition that has moved.
    pub fn check(&self, ranges: &Ranges) -> Result<()> {
        for (topic, partition, range) in ranges.iter() {
            if let Some(next) = self.next.get(topic, partition)
                && next != range.start
            {
                return Err(Error::new(
                    ErrorKind::Fenced,
                    format!(
                        "the table's ledger is at offset {next}, this commit starts at {}: another worker runs this job; \
                         nothing was committed",
                        range.start
                    ),
                )
                .with("topic", topic)
                .with("partition", partition));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_fences_a_commit_whose_start_has_moved() {
        let mut ledger = Ledger::empty();
        ledger.next.set("t", 0, 10);
        let mut ranges = Ranges::default();
        ranges.extend("t", 0, (10, 20).into()).unwrap();
        ranges.extend("t", 7, (100, 101).into()).unwrap();
        ledger.check(&ranges).unwrap();
        ledger.next.set("t", 0, 20);
        assert_eq!(ledger.check(&ranges).unwrap_err().kind(), ErrorKind::Fenced);
    }

    #[test]
    fn a_ledger_survives_its_text_form_and_a_newer_one_is_refused() {
        let mut ledger = Ledger::empty();
        ledger.next.set("t", 3, 4);
        assert_eq!(Ledger::parse(&ledger.to_text()).unwrap(), ledger);
        assert_eq!(Ledger::parse(r#"{"version":99}"#).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(Ledger::parse("[]").unwrap_err().kind(), ErrorKind::Catalog);
    }
}
