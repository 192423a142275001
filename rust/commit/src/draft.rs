//! The files of one commit over all its tries: manifests are written once, the manifest list for each try.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::Utc;
use frazil_model::{Error, ErrorKind, JobName, Result};
use iceberg::spec::{
    DataFile, FormatVersion, ManifestContentType, ManifestEntry, ManifestFile, ManifestListWriter, ManifestStatus,
    ManifestWriterBuilder, Snapshot, UNASSIGNED_SEQUENCE_NUMBER,
};
use iceberg::table::Table;
use uuid::Uuid;

use crate::io::{self, metadata_directory};
use crate::lineage::{assign_row_ids, spec_id_of};
use crate::merge::{Entries, Merged};
use crate::policy::Policy;
use crate::{Append, summary};

/// Files in one manifest at most; more go into a second one.
const FILES_PER_MANIFEST: usize = 10_000;

/// A manifest of this commit and the files in it.
#[derive(Debug)]
struct Written {
    manifest: ManifestFile,
    files: Vec<DataFile>,
}

/// What this commit has written so far.
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    append: &'a Append,
    job: &'a JobName,
    /// The same for all tries: manifests hold it.
    pub(crate) snapshot_id: i64,
    /// In all file names, so that no other try of anybody can write the same file.
    uuid: Uuid,
    tries: u32,
    written: Option<Vec<Written>>,
    added: HashMap<String, String>,
    /// Each manifest list with the merged manifest that it uses.
    lists: Vec<(String, Option<String>)>,
}

/// One try, ready to be handed to the catalog.
#[derive(Debug)]
pub(crate) struct Try {
    pub(crate) snapshot: Snapshot,
    /// What the manifest list holds, all numbers assigned.
    pub(crate) manifests: Vec<ManifestFile>,
    /// Whether the merged manifest is among them.
    pub(crate) merged: bool,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(append: &'a Append, job: &'a JobName) -> Self {
        // Positive, as all of Iceberg's writers choose it; 63 random bits.
        let snapshot_id = (Uuid::new_v4().as_u128() >> 65) as i64;
        Draft {
            append,
            job,
            snapshot_id,
            uuid: Uuid::new_v4(),
            tries: 0,
            written: None,
            added: HashMap::new(),
            lists: Vec::new(),
        }
    }

    /// Writes what is missing for a snapshot on top of `parent` (the current snapshot's manifests).
    pub(crate) async fn prepare(
        &mut self,
        table: &Table,
        parent: &[ManifestFile],
        merged: Option<&Merged>,
        policy: &Policy,
    ) -> Result<Try> {
        let metadata = table.metadata();
        if self.written.is_none() {
            self.written = Some(self.write_manifests(table, policy).await?);
        }
        let sequence_number = metadata.next_sequence_number();
        let merged = merged.filter(|merged| has_all(parent, &merged.sources));
        let mut manifests: Vec<ManifestFile> =
            self.written.iter().flatten().map(|written| written.manifest.clone()).collect();
        if let Some(merged) = merged {
            manifests.push(ManifestFile { added_snapshot_id: self.snapshot_id, ..merged.manifest.clone() });
        }
        let stays =
            |manifest: &&ManifestFile| merged.is_none_or(|merged| !merged.sources.contains(&manifest.manifest_path));
        manifests.extend(parent.iter().filter(stays).cloned());

        let version = metadata.format_version();
        let first_row_id = (version >= FormatVersion::V3).then(|| metadata.next_row_id());
        let next_row_id = assign_numbers(&mut manifests, sequence_number, first_row_id)?;

        let list =
            format!("{}/snap-{}-{}-{}.avro", metadata_directory(metadata), self.snapshot_id, self.tries, self.uuid);
        self.tries += 1;
        self.lists.push((list.clone(), merged.map(|merged| merged.manifest.manifest_path.clone())));
        let failed = |error| io::failed("could not write a manifest list", &list, error);
        let output = table.file_io().new_output(&list).map_err(failed)?.writer().await.map_err(failed)?;
        let parent_id = metadata.current_snapshot_id();
        let mut writer = match version {
            FormatVersion::V3 => {
                ManifestListWriter::v3(output, self.snapshot_id, parent_id, sequence_number, first_row_id)
            }
            _ => ManifestListWriter::v2(output, self.snapshot_id, parent_id, sequence_number),
        };
        writer.add_manifests(manifests.iter().cloned()).map_err(failed)?;
        writer.close().await.map_err(failed)?;

        let summary =
            summary::summary(self.append, self.job, &self.added, metadata.current_snapshot().map(AsRef::as_ref));
        let builder = Snapshot::builder()
            .with_snapshot_id(self.snapshot_id)
            .with_parent_snapshot_id(parent_id)
            .with_sequence_number(sequence_number)
            // Never behind the table's own time: another writer's clock may be ahead.
            .with_timestamp_ms(Utc::now().timestamp_millis().max(metadata.last_updated_ms()))
            .with_manifest_list(list)
            .with_summary(summary)
            .with_schema_id(metadata.current_schema_id());
        let snapshot = match (first_row_id, next_row_id) {
            (Some(first), Some(next)) => builder.with_row_range(first, next - first).build(),
            _ => builder.build(),
        };
        Ok(Try { snapshot, manifests, merged: merged.is_some() })
    }

    /// One manifest for each partition spec (as a rule one), all written at the same time.
    async fn write_manifests(&mut self, table: &Table, policy: &Policy) -> Result<Vec<Written>> {
        let metadata = table.metadata();
        let schema = metadata.current_schema();
        let mut by_spec: BTreeMap<i32, Vec<&DataFile>> = BTreeMap::new();
        let only_one = metadata.partition_specs_iter().len() == 1;
        for file in &self.append.files {
            let spec = if only_one { metadata.default_partition_spec_id() } else { spec_id_of(file, metadata)? };
            by_spec.entry(spec).or_default().push(file);
        }
        let spec = |id: i32| metadata.partition_spec_by_id(id).expect("taken from the metadata");
        for (id, files) in &by_spec {
            let fields = spec(*id).fields().len();
            if let Some(file) = files.iter().find(|file| file.partition().fields().len() != fields) {
                let found = file.partition().fields().len();
                return Err(Error::new(
                    ErrorKind::Internal,
                    format!("expected {fields} partition values as in partition spec {id}, found {found}; nothing was committed"),
                )
                .with("file", file.file_path()));
            }
        }
        let with_spec = by_spec.iter().flat_map(|(id, files)| files.iter().map(move |file| (*file, spec(*id).clone())));
        self.added = summary::added(with_spec, schema, policy.summary_partitions);

        let chunks =
            by_spec.iter().flat_map(|(id, files)| files.chunks(FILES_PER_MANIFEST).map(move |files| (*id, files)));
        let writes = chunks.enumerate().map(|(number, (spec_id, files))| {
            let path = format!("{}/{}-m{number}.avro", metadata_directory(metadata), self.uuid);
            let snapshot_id = self.snapshot_id;
            async move {
                let failed = |error| io::failed("could not write a manifest", &path, error);
                let output = table.file_io().new_output(&path).map_err(failed)?;
                let builder = ManifestWriterBuilder::new(
                    output,
                    Some(snapshot_id),
                    schema.clone(),
                    spec(spec_id).as_ref().clone(),
                );
                let mut writer = match metadata.format_version() {
                    FormatVersion::V3 => builder.build_v3_data(),
                    _ => builder.build_v2_data(),
                };
                for file in files {
                    writer.add_file((*file).clone(), UNASSIGNED_SEQUENCE_NUMBER).map_err(failed)?;
                }
                let manifest = writer.write_manifest_file().await.map_err(failed)?;
                Ok::<_, Error>(Written { manifest, files: files.iter().map(|file| (*file).clone()).collect() })
            }
        });
        futures::future::try_join_all(writes).await
    }

    /// After the commit: the new manifests with their entries, everything resolved, for the next merge.
    pub(crate) fn take_entries(&mut self, done: &Try, version: FormatVersion) -> Vec<(ManifestFile, Entries)> {
        let sequence = Some(done.snapshot.sequence_number());
        let snapshot_id = Some(self.snapshot_id);
        let resolve = |(written, manifest): (&mut Written, &ManifestFile)| {
            let files = std::mem::take(&mut written.files);
            let entries = files.into_iter().map(|data_file| {
                Arc::new(ManifestEntry {
                    status: ManifestStatus::Added,
                    snapshot_id,
                    sequence_number: sequence,
                    file_sequence_number: sequence,
                    data_file,
                })
            });
            (manifest.clone(), Arc::new(assign_row_ids(entries, manifest, version)))
        };
        // `prepare` puts the commit's own manifests first.
        self.written.iter_mut().flatten().zip(&done.manifests).map(resolve).collect()
    }

    /// Files of this commit that the snapshot with manifest list `committed` does not use; with `None` all of them.
    pub(crate) fn unused(&self, committed: Option<&str>) -> Vec<String> {
        let ours = self.lists.iter().find(|(list, _)| Some(list.as_str()) == committed);
        let mut unused: Vec<String> = self.lists.iter().map(|(list, _)| list.clone()).collect();
        unused.retain(|list| Some(list.as_str()) != committed);
        if ours.is_none() {
            unused.extend(self.written.iter().flatten().map(|written| written.manifest.manifest_path.clone()));
        }
        let mut merged: Vec<String> = self.lists.iter().filter_map(|(_, merged)| merged.clone()).collect();
        merged.sort();
        merged.dedup();
        merged.retain(|path| ours.is_none_or(|(_, used)| used.as_ref() != Some(path)));
        unused.extend(merged);
        unused
    }
}

/// Whether all of `sources` are in the list.
pub(crate) fn has_all(manifests: &[ManifestFile], sources: &[String]) -> bool {
    sources.iter().all(|source| manifests.iter().any(|manifest| manifest.manifest_path == *source))
}

/// Gives manifests that are new their sequence number and, from format version 3 on, data manifests without one their
/// `first_row_id`, as the specification says: each takes its added and existing rows from the table's row ids. Returns
/// the next row id.
fn assign_numbers(
    manifests: &mut [ManifestFile],
    sequence_number: i64,
    mut next_row_id: Option<u64>,
) -> Result<Option<u64>> {
    for manifest in manifests {
        for number in [&mut manifest.sequence_number, &mut manifest.min_sequence_number] {
            if *number == UNASSIGNED_SEQUENCE_NUMBER {
                *number = sequence_number;
            }
        }
        if let (Some(next), ManifestContentType::Data, None) =
            (&mut next_row_id, manifest.content, manifest.first_row_id)
        {
            let (Some(added), Some(existing)) = (manifest.added_rows_count, manifest.existing_rows_count) else {
                return Err(Error::new(
                    ErrorKind::Catalog,
                    "expected row counts for every manifest of a table of format version 3, found one without: rewrite the manifests",
                )
                .with("path", &manifest.manifest_path));
            };
            manifest.first_row_id = Some(*next);
            *next += added + existing;
        }
    }
    Ok(next_row_id)
}
