//! Opens a catalog and its storage: SQLite in the schema shared with PyIceberg and Java, or Iceberg's REST protocol.
//!
//! Tables are found, created and committed to here; what a commit holds (snapshots, manifests, the ledger) is the
//! business of `commit`, what is in the files that of `write`. The next room is `source`.

mod error;
mod info;
mod lake;
pub mod location;
mod metadata_file;
mod rest;
mod sql;
mod storage;

pub use error::from_iceberg;
pub use info::table_info;
pub use lake::{Lake, table_ident};
