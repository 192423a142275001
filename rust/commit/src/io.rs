//! Small helpers around files of the table's metadata.

use frazil_model::{Error, ErrorKind, Result};
use futures::{StreamExt, TryStreamExt};
use iceberg::io::FileIO;
use iceberg::spec::{Manifest, ManifestFile, SnapshotRef, TableMetadata};
use iceberg::table::Table;

/// How many small files are read or deleted at the same time.
pub(crate) const PARALLEL: usize = 16;

/// The directory of manifests and manifest lists, without a slash at its end.
pub(crate) fn metadata_directory(metadata: &TableMetadata) -> String {
    match metadata.properties().get("write.metadata.path") {
        Some(path) => path.trim_end_matches('/').to_owned(),
        None => format!("{}/metadata", metadata.location().trim_end_matches('/')),
    }
}

/// An error of the iceberg crate while reading or writing a metadata file.
pub(crate) fn failed(action: &'static str, path: &str, error: iceberg::Error) -> Error {
    let error = frazil_catalog::from_iceberg(error);
    let wrapped = Error::new(error.kind(), action).with("path", path);
    let wrapped = if error.is_retryable() { wrapped.retryable() } else { wrapped };
    wrapped.caused_by(error)
}

/// The manifest list of a snapshot.
pub(crate) async fn load_list(table: &Table, snapshot: &SnapshotRef) -> Result<Vec<ManifestFile>> {
    let list = table.manifest_list_reader(snapshot).load().await;
    let list = list.map_err(|error| failed("could not read a manifest list", snapshot.manifest_list(), error))?;
    Ok(list.consume_entries().into_iter().collect())
}

/// A manifest, its entries with what they inherit.
pub(crate) async fn load_manifest(io: &FileIO, manifest: &ManifestFile) -> Result<Manifest> {
    let loaded = manifest.load_manifest(io).await;
    loaded.map_err(|error| failed("could not read a manifest", &manifest.manifest_path, error))
}

/// Many manifests, in their order.
pub(crate) async fn load_manifests(io: &FileIO, manifests: &[&ManifestFile]) -> Result<Vec<Manifest>> {
    let loads: Vec<_> = manifests.iter().map(|manifest| load_manifest(io, manifest)).collect();
    futures::stream::iter(loads).buffered(PARALLEL).try_collect().await
}

/// Deletes files that nothing references. A failure leaves an orphan, no harm: it is only logged.
pub(crate) async fn delete(io: &FileIO, paths: impl IntoIterator<Item = String>) {
    let deletes: Vec<_> = paths
        .into_iter()
        .map(|path| async move {
            if let Err(error) = io.delete(&path).await {
                log::debug!("could not delete {path}, orphan removal will: {error}");
            }
        })
        .collect();
    futures::stream::iter(deletes).buffer_unordered(PARALLEL).collect::<Vec<()>>().await;
}

/// What a table must be for this program to commit to it.
///
/// # Errors
/// `Unsupported`.
pub(crate) fn check_supported(metadata: &TableMetadata) -> Result<()> {
    if metadata.format_version() == iceberg::spec::FormatVersion::V1 {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "expected a table of format version 2 or 3, found 1: upgrade it (set the table property 'format-version' to 2)",
        ));
    }
    if metadata.properties().contains_key("encryption.key-id") {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "the table is encrypted ('encryption.key-id'): this version writes no encrypted manifests",
        ));
    }
    Ok(())
}
