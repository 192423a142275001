//! The only room that changes a table: it turns finished data files into one atomic Iceberg commit that also moves
//! the job's ledger.
//!
//! What a commit holds and why it is safe:
//!
//! * [`Committer::append`] writes manifests, a manifest list and a snapshot, and hands the catalog one change: the
//!   snapshot, `main` pointing at it, and the ledger property. The catalog takes it only if `main` is still the
//!   snapshot that the ledger was checked against, so check and write are one step (compare-and-swap).
//! * Conflict with another writer: reload, look whether this very commit is in already, check the ledger again, and
//!   commit the same files again. Data files and manifests are never written twice.
//! * Outcome unknown: nothing is deleted; the table is asked for the commit's id until it answers.
//! * A commit that was rolled back is never built upon silently: see [`resume`].
//!
//! # What keeps commit 10,000 as cheap as commit 100
//!
//! * The table, the current manifest list and the entries of small manifests stay in memory between commits.
//! * **Manifests** are merged in tiers: eight of similar file count become one, in the background, beside the next
//!   rounds; the commit that finds a merge finished carries it. So the list grows with the logarithm of the table's
//!   age and no commit waits for a large merge. `commit.manifest-merge.enabled` and
//!   `commit.manifest.target-size-bytes` are honoured. Entries keep snapshot id, sequence numbers and row ids.
//! * **History** is trimmed: `frazil.history.max-snapshots` (by default 60, more where commits are slow; 0 = never) bounds the snapshots that
//!   `metadata.json` lists. When `main` is longer by a tenth, the same commit also removes the oldest ones. It does
//!   so only while no other branch or tag exists, `gc.enabled` is not `false`, and never below
//!   `history.expire.min-snapshots-to-keep` or inside an explicitly set `history.expire.max-snapshot-age-ms`. A
//!   snapshot whose child is not an append is not removed (nor any behind it), because its data files might then be
//!   referenced by nothing: deciding that is the business of expiry, not of a commit.
//! * **Files of removed snapshots** (manifest lists, and manifests that no retained snapshot lists) are deleted in the
//!   background, `frazil.history.grace-ms` (default 60,000) after the commit, so a reader that has just planned on one
//!   of them can finish. Data files are never deleted here: all of them are still in the oldest retained snapshot,
//!   since only appends lie between. What is not yet due when the process ends is left to orphan removal.
//!
//! What must not be here: reading sources, writing data files, deciding when to commit (`pipeline`).

mod append;
mod attempt;
mod audit;
mod background;
mod catalog;
mod committer;
mod draft;
mod history;
mod io;
mod ledger;
mod lineage;
mod merge;
mod policy;
mod resume;
mod summary;
mod sweep;
#[cfg(test)]
mod tests;

pub use append::{Append, Committed};
pub use audit::{AuditReport, PartitionAudit, audit};
pub use catalog::CatalogCommit;
pub use committer::Committer;
pub use resume::resume;
