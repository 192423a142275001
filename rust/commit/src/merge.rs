//! Merging manifests in tiers, so that their number grows with the logarithm of the table's age.
//!
//! The tier of a manifest is the logarithm of its live files to base [`FAN`]. Once a tier holds `FAN` manifests of one
//! partition spec they become one manifest of a higher tier: each entry is rewritten about once per tier, and a table
//! of n commits has fewer than `FAN` manifests in each of log(n) tiers. A manifest of half the target size stays.

use std::collections::HashMap;
use std::sync::Arc;

use frazil_model::{Error, ErrorKind, Result};
use iceberg::io::FileIO;
use iceberg::spec::{
    FormatVersion, ManifestContentType, ManifestEntryRef, ManifestFile, ManifestWriterBuilder, TableMetadataRef,
};

use crate::io;
use crate::lineage::assign_row_ids;

/// How many manifests of a tier become one.
pub(crate) const FAN: usize = 8;

/// Whether there are so many manifests that a commit should rather wait for the merge that is under way.
pub(crate) fn too_many(manifests: &[ManifestFile]) -> bool {
    manifests.len() > FAN * FAN * FAN
}

/// Entries of one manifest with everything resolved that they inherit.
pub(crate) type Entries = Arc<Vec<ManifestEntryRef>>;

/// Entries of manifests that this process wrote, so that merging them reads nothing back. Bounded by the manifests'
/// bytes; what does not fit is read from storage when its turn comes.
#[derive(Debug, Default)]
pub(crate) struct EntryCache {
    entries: HashMap<String, (Entries, i64)>,
    bytes: i64,
}

/// Bytes of manifests whose entries are kept (in memory they take a few times as much).
const CACHE_BYTES: i64 = 4 << 20;

impl EntryCache {
    pub(crate) fn put(&mut self, manifest: &ManifestFile, entries: Entries) {
        if self.bytes + manifest.manifest_length <= CACHE_BYTES {
            self.bytes += manifest.manifest_length;
            self.entries.insert(manifest.manifest_path.clone(), (entries, manifest.manifest_length));
        }
    }

    pub(crate) fn get(&self, path: &str) -> Option<Entries> {
        self.entries.get(path).map(|(entries, _)| entries.clone())
    }

    pub(crate) fn remove(&mut self, path: &str) {
        if let Some((_, length)) = self.entries.remove(path) {
            self.bytes -= length;
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = EntryCache::default();
    }
}

/// Several manifests rewritten as one, not yet part of any snapshot.
#[derive(Debug)]
pub(crate) struct Merged {
    /// The manifests that it stands for.
    pub(crate) sources: Vec<String>,
    /// Without snapshot id, sequence number and first row id: the commit that carries it gives them.
    pub(crate) manifest: ManifestFile,
    pub(crate) entries: Entries,
}

/// Which manifests should become one now, if any: of the lowest tier that is full.
pub(crate) fn plan(manifests: &[ManifestFile], target_bytes: i64) -> Option<Vec<ManifestFile>> {
    let mut groups: std::collections::BTreeMap<(u32, i32), Vec<&ManifestFile>> = Default::default();
    for manifest in manifests {
        let counts = (manifest.added_files_count, manifest.existing_files_count);
        let (ManifestContentType::Data, (Some(added), Some(existing))) = (manifest.content, counts) else { continue };
        // An encrypted manifest would be rewritten in the clear.
        if manifest.manifest_length * 2 < target_bytes && manifest.key_metadata.is_none() {
            let tier = (added + existing).max(1).ilog(FAN as u32);
            groups.entry((tier, manifest.partition_spec_id)).or_default().push(manifest);
        }
    }
    groups.into_values().filter(|group| group.len() >= FAN).find_map(|group| {
        let mut bytes = 0;
        let fits = |manifest: &&&ManifestFile| {
            bytes += manifest.manifest_length;
            bytes <= target_bytes
        };
        let sources: Vec<_> = group.iter().take_while(fits).map(|manifest| (*manifest).clone()).collect();
        (sources.len() >= 2).then_some(sources)
    })
}

/// Writes the live entries of `sources` (those with entries in `cached` are not read) into one manifest at `path`.
///
/// # Errors
/// What reading and writing gives; `Unsupported` if an entry has no sequence number.
pub(crate) async fn run(
    io: FileIO,
    metadata: TableMetadataRef,
    sources: Vec<(ManifestFile, Option<Entries>)>,
    path: String,
) -> Result<Merged> {
    let version = metadata.format_version();
    let missing: Vec<_> = sources.iter().filter(|(_, cached)| cached.is_none()).map(|(manifest, _)| manifest).collect();
    let mut loaded = io::load_manifests(&io, &missing).await?.into_iter();
    let mut entries: Vec<ManifestEntryRef> = Vec::new();
    for (manifest, cached) in &sources {
        match cached {
            Some(cached) => entries.extend(cached.iter().cloned()),
            None => {
                let (own, _) = loaded.next().expect("one for each that is not cached").into_parts();
                entries.extend(assign_row_ids(own, manifest, version).into_iter().filter(|entry| entry.is_alive()));
            }
        }
    }
    let spec_id = sources[0].0.partition_spec_id;
    let spec = metadata.partition_spec_by_id(spec_id).ok_or_else(|| {
        Error::new(
            ErrorKind::Catalog,
            format!("a manifest names partition spec {spec_id}, which the table does not have"),
        )
    })?;
    let output = io.new_output(&path).map_err(|error| io::failed("could not write a manifest", &path, error))?;
    let builder = ManifestWriterBuilder::new(output, None, metadata.current_schema().clone(), spec.as_ref().clone());
    let mut writer = match version {
        FormatVersion::V3 => builder.build_v3_data(),
        _ => builder.build_v2_data(),
    };
    for entry in &entries {
        let (Some(snapshot_id), Some(sequence), file_sequence @ Some(_)) =
            (entry.snapshot_id, entry.sequence_number, entry.file_sequence_number)
        else {
            return Err(Error::new(ErrorKind::Unsupported, "an entry of an old manifest has no sequence number")
                .with("file", entry.file_path()));
        };
        let added = writer.add_existing_file(entry.data_file.clone(), snapshot_id, sequence, file_sequence);
        added.map_err(|error| io::failed("could not write a manifest", &path, error))?;
    }
    let written = writer.write_manifest_file().await;
    let manifest = written.map_err(|error| io::failed("could not write a manifest", &path, error))?;
    let sources = sources.into_iter().map(|(manifest, _)| manifest.manifest_path).collect();
    Ok(Merged { sources, manifest, entries: Arc::new(entries) })
}
