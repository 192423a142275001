//! Frazil's vocabulary: the job document, offsets and ledger, quantities, secrets, and the one error type.
//!
//! Nothing here reads or writes anything but the environment variables and files that a `${env:…}` or
//! `${file:…}` names. The next room is `catalog`.

mod error;
mod job;
mod ledger;
mod offsets;
mod quantity;
mod records;
mod secret;
mod transform_spec;

pub use error::{Error, ErrorKind, Result};
pub use job::*;
pub use ledger::{JobName, LEDGER_PREFIX, Ledger, summary};
pub use offsets::{OffsetRange, Positions, Ranges};
pub use quantity::{ByteSize, Interval, MaxBad};
pub use records::{Header, Record, Records, Rejected, Run, Stage};
pub use secret::{Secret, redact_url};
pub use transform_spec::{PartitionBy, PartitionTransform, SortBy};
