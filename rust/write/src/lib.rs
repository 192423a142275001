//! Batches in, data files out: partitioned, sorted Parquet in object storage, described for Iceberg.
//!
//! Rows go through a [`Fitter`] (the job's columns → the table's) into a [`TableWriter`], whose [`Written`] files the next room,
//! `commit`, puts into the table. Nothing here changes a table: a file that is not committed is garbage, and
//! [`TableWriter::abort`] and [`delete_files`] remove it.

mod bounds;
mod budget;
mod column;
mod create;
mod dictionary;
mod file;
mod fit;
mod layout;
mod metrics;
mod names;
mod partition;
mod path;
mod properties;
mod sort;
mod types;
mod upload;
mod writer;

pub use budget::{Budget, Reservation};
pub use create::{DEFAULT_PROPERTIES, check_sink, table_creation};
pub use fit::{Fitted, Fitter};
pub use writer::{TableWriter, WriteOptions, Written, delete_files};

use frazil_model::{Error, ErrorKind};

/// Kernels fail on types that were checked before; what is left is a value that a buffer's offsets cannot hold.
fn arrow_error(error: arrow::error::ArrowError) -> Error {
    Error::new(ErrorKind::Schema, "rows could not be brought into the table's form").caused_by(error)
}

fn parquet_error(error: parquet::errors::ParquetError) -> Error {
    Error::new(ErrorKind::Internal, "rows could not be encoded as Parquet").caused_by(error)
}

#[cfg(test)]
mod testing;
