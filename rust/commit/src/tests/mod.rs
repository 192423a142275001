//! Commits against a real catalog (SQLite and local files), with faults put between it and the committer.

mod appending;
mod auditing;
mod conflicts;
mod growing;
mod rollback;
mod support;
