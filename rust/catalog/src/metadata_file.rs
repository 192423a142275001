//! A table's metadata files: their names, and writing them.

use std::collections::HashMap;

use frazil_model::{Error, ErrorKind, Result};
use iceberg::MetadataLocation;
use iceberg::io::FileIO;
use iceberg::spec::TableMetadata;
use uuid::Uuid;

use crate::from_iceberg;

const METADATA_PATH: &str = "write.metadata.path";
const CODEC: &str = "write.metadata.compression-codec";

/// The directory of a table's metadata files, manifests and manifest lists.
pub(crate) fn metadata_directory(metadata: &TableMetadata) -> String {
    match metadata.properties().get(METADATA_PATH) {
        Some(path) => path.trim_end_matches('/').to_owned(),
        None => format!("{}/metadata", metadata.location()),
    }
}

fn gzip(properties: &HashMap<String, String>) -> Result<bool> {
    match properties.get(CODEC).map(|codec| codec.to_ascii_lowercase()).as_deref() {
        None | Some("" | "none") => Ok(false),
        Some("gzip") => Ok(true),
        Some(other) => {
            Err(Error::new(ErrorKind::Config, format!("expected {CODEC} 'none' or 'gzip', found '{other}'")))
        }
    }
}

/// The version in a metadata file's name, `00012-<uuid>.metadata.json`; -1 where there is none, as Java has it.
fn version(location: &str) -> i64 {
    let name = location.rsplit('/').next().unwrap_or_default();
    name.split_once('-').and_then(|(version, _)| version.parse().ok()).unwrap_or(-1)
}

/// Writes metadata under a name of its own, one version above `previous`, and returns where.
pub(crate) async fn write(metadata: &TableMetadata, file_io: &FileIO, previous: Option<&str>) -> Result<String> {
    let gzip = gzip(metadata.properties())?;
    let suffix = if gzip { ".gz.metadata.json" } else { ".metadata.json" };
    let version = previous.map_or(-1, version) + 1;
    let location = format!("{}/{version:05}-{}{suffix}", metadata_directory(metadata), Uuid::new_v4());
    let bytes = if gzip { compressed(metadata).await? } else { plain(metadata)? };
    let output = file_io.new_output(&location).map_err(from_iceberg)?;
    output.write(bytes.into()).await.map_err(from_iceberg)?;
    Ok(location)
}

fn plain(metadata: &TableMetadata) -> Result<Vec<u8>> {
    serde_json::to_vec(metadata).map_err(|error| {
        Error::new(ErrorKind::Internal, "the table's metadata cannot be written as JSON").caused_by(error)
    })
}

/// The crate compresses only on the way into a file of its own naming, so it writes one in memory.
async fn compressed(metadata: &TableMetadata) -> Result<Vec<u8>> {
    let memory = FileIO::new_with_memory();
    let location = MetadataLocation::new_with_metadata("memory:/t", metadata);
    let written = async {
        metadata.write_to(&memory, &location).await?;
        memory.new_input(location.to_string())?.read().await
    };
    Ok(written.await.map_err(from_iceberg)?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_on_from_any_writer() {
        assert_eq!(version("s3://b/t/metadata/00012-2cd22b57-5127-4198-92ba-e4e67c79821b.metadata.json"), 12);
        assert_eq!(version("/t/metadata/100000-x.gz.metadata.json"), 100_000);
        assert_eq!(version("/t/metadata/v3.metadata.json"), -1);
    }
}
