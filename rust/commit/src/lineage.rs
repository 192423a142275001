//! Row lineage (format version 3) and what else of a data file the iceberg crate keeps to itself.
//!
//! A data file's `first_row_id` is either written in its manifest entry or inherited: the manifest's own
//! `first_row_id` plus the rows of the live files in front of it that inherit too. Once a file's entry moves to
//! another manifest, the id must be written out, else the rows would change their ids.

use std::sync::Arc;

use frazil_model::{Error, ErrorKind, Result};
use iceberg::spec::{
    DataFile, DataFileBuilder, FormatVersion, ManifestEntry, ManifestEntryRef, ManifestFile, TableMetadata,
};

/// The same file with another `first_row_id` and partition spec: the crate has no setter, so it is built again.
fn rebuilt(file: &DataFile, first_row_id: Option<i64>, spec_id: i32) -> DataFile {
    let mut builder = DataFileBuilder::default();
    builder
        .content(file.content_type())
        .file_path(file.file_path().to_owned())
        .file_format(file.file_format())
        .partition(file.partition().clone())
        .record_count(file.record_count())
        .file_size_in_bytes(file.file_size_in_bytes())
        .column_sizes(file.column_sizes().clone())
        .value_counts(file.value_counts().clone())
        .null_value_counts(file.null_value_counts().clone())
        .nan_value_counts(file.nan_value_counts().clone())
        .lower_bounds(file.lower_bounds().clone())
        .upper_bounds(file.upper_bounds().clone())
        .key_metadata(file.key_metadata().map(<[u8]>::to_vec))
        .split_offsets(file.split_offsets().map(<[i64]>::to_vec))
        .equality_ids(file.equality_ids())
        .first_row_id(first_row_id)
        .partition_spec_id(spec_id)
        .referenced_data_file(file.referenced_data_file())
        .content_offset(file.content_offset())
        .content_size_in_bytes(file.content_size_in_bytes());
    if let Some(order) = file.sort_order_id() {
        builder.sort_order_id(order);
    }
    builder.build().expect("every field without a default was set")
}

/// The partition spec that a data file was written with. The crate does not say, so with more than one spec in the
/// table the file is compared with itself under each of them, the default first.
pub(crate) fn spec_id_of(file: &DataFile, metadata: &TableMetadata) -> Result<i32> {
    let default = metadata.default_partition_spec_id();
    let others = metadata.partition_specs_iter().map(|spec| spec.spec_id()).filter(|id| *id != default);
    let mut ids = std::iter::once(default).chain(others);
    let found = ids.find(|id| rebuilt(file, file.first_row_id(), *id) == *file);
    found.ok_or_else(|| {
        Error::new(ErrorKind::Internal, "a data file names a partition spec that the table does not have")
            .with("file", file.file_path())
    })
}

/// Gives `entries` (of `manifest`, in order) the `first_row_id` that they inherit. Nothing to do before version 3.
pub(crate) fn assign_row_ids(
    entries: impl IntoIterator<Item = ManifestEntryRef>,
    manifest: &ManifestFile,
    version: FormatVersion,
) -> Vec<ManifestEntryRef> {
    let inherited = manifest.first_row_id.filter(|_| version >= FormatVersion::V3);
    let Some(mut next) = inherited else { return entries.into_iter().collect() };
    let assign = |entry: ManifestEntryRef| {
        if !entry.is_alive() || entry.data_file.first_row_id().is_some() {
            return entry;
        }
        let data_file = rebuilt(&entry.data_file, Some(next as i64), manifest.partition_spec_id);
        next += data_file.record_count();
        Arc::new(ManifestEntry { data_file, ..ManifestEntry::clone(&entry) })
    };
    entries.into_iter().map(assign).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use iceberg::spec::{DataContentType, DataFileFormat, Datum, Literal, Struct};

    use super::*;

    #[test]
    fn a_rebuilt_file_differs_in_nothing_else() {
        let file = DataFileBuilder::default()
            .content(DataContentType::Data)
            .file_path("p".to_owned())
            .file_format(DataFileFormat::Parquet)
            .partition(Struct::from_iter([Some(Literal::int(3))]))
            .record_count(5)
            .file_size_in_bytes(6)
            .column_sizes(HashMap::from([(1, 1)]))
            .value_counts(HashMap::from([(1, 2)]))
            .null_value_counts(HashMap::from([(1, 3)]))
            .nan_value_counts(HashMap::from([(1, 4)]))
            .lower_bounds(HashMap::from([(1, Datum::long(1))]))
            .upper_bounds(HashMap::from([(1, Datum::long(9))]))
            .key_metadata(Some(vec![1]))
            .split_offsets(Some(vec![4]))
            .equality_ids(Some(vec![1]))
            .sort_order_id(7)
            .first_row_id(Some(8))
            .partition_spec_id(2)
            .referenced_data_file(Some("d".to_owned()))
            .content_offset(Some(1))
            .content_size_in_bytes(Some(2))
            .build()
            .unwrap();
        assert_eq!(rebuilt(&file, Some(8), 2), file);
        assert_ne!(rebuilt(&file, Some(9), 2), file);
    }
}
