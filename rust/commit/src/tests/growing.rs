use std::collections::{HashMap, HashSet};

use iceberg::spec::{FormatVersion, ManifestFile};

use super::support::*;
use crate::merge::{self, FAN};
use crate::{Committer, audit};

#[tokio::test]
async fn merging_keeps_every_entry_with_its_numbers() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let (home, table) = home(version, &[]).await;
        let mut committer = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
        let mut expected = HashMap::new();
        let mut next_row = 0;
        for number in 0..150 {
            let append = round(0, 10 * number, 10 * number + 10);
            let done = committer.append(&append).await.unwrap();
            // Row ids that a merge takes are never given to rows.
            let range = committer.table().metadata().snapshot_by_id(done.snapshot_id).unwrap().row_range();
            let first_row = range.map(|(first, _)| first as i64);
            assert!(first_row.is_none_or(|first| first >= next_row), "row ids overlap");
            next_row = first_row.unwrap_or_default() + 10;
            expected
                .insert(append.files[0].file_path().to_owned(), (done.snapshot_id, done.sequence_number, first_row));
            if number % 3 == 0 {
                // Merges end in time even where commits come faster than they.
                committer.finish_merge().await;
            }
        }
        committer.finish().await;

        let table = home.lake.load_table(&home.ident).await.unwrap();
        let contents = contents(&table, table.metadata().current_snapshot().unwrap()).await;
        assert!(contents.len() < 3 * FAN + FAN, "{} manifests", contents.len());
        let mut seen = HashSet::new();
        for (manifest, entries) in &contents {
            let counted = manifest.added_files_count.unwrap() + manifest.existing_files_count.unwrap();
            assert_eq!(counted as usize, entries.len());
            assert_eq!(
                manifest.min_sequence_number,
                entries.iter().filter_map(|entry| entry.sequence_number()).min().unwrap()
            );
            for entry in entries {
                assert!(seen.insert(entry.file_path().to_owned()), "twice: {}", entry.file_path());
                let numbers =
                    (entry.snapshot_id().unwrap(), entry.sequence_number().unwrap(), entry.data_file().first_row_id());
                assert_eq!(expected[entry.file_path()], numbers);
                assert_eq!(entry.file_sequence_number, entry.sequence_number);
            }
        }
        assert_eq!(seen.len(), 150);
    }
}

#[tokio::test]
async fn a_new_committer_merges_what_an_older_one_left_by_reading_it() {
    let (home, table) = home(FormatVersion::V3, &[("commit.manifest-merge.enabled", "false")]).await;
    let mut committer = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
    for number in 0..20 {
        committer.append(&round(0, number, number + 1)).await.unwrap();
    }
    let before: HashMap<_, _> = entries(committer.table())
        .await
        .iter()
        .map(|entry| (entry.file_path().to_owned(), entry.data_file().first_row_id()))
        .collect();
    assert_eq!(contents(committer.table(), committer.table().metadata().current_snapshot().unwrap()).await.len(), 20);

    let updates = vec![iceberg::TableUpdate::SetProperties {
        updates: HashMap::from([("commit.manifest-merge.enabled".to_owned(), "true".to_owned())]),
    }];
    let table = home.lake.commit(committer.table(), vec![], updates).await.unwrap();
    let mut next = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
    for number in 20..26 {
        next.append(&round(0, number, number + 1)).await.unwrap();
        next.finish_merge().await;
    }
    let manifests = contents(next.table(), next.table().metadata().current_snapshot().unwrap()).await;
    assert!(manifests.len() <= 12, "{}", manifests.len());
    let after = entries(next.table()).await;
    assert_eq!(after.len(), 26);
    for entry in after {
        if let Some(id) = before.get(entry.file_path()) {
            assert_eq!(entry.data_file().first_row_id(), *id);
        }
    }
}

#[test]
fn merges_take_one_spec_and_tier_and_stay_below_the_target() {
    let manifest = |files: u32, spec: i32, bytes: i64| ManifestFile {
        manifest_path: format!("{files}-{spec}-{bytes}"),
        manifest_length: bytes,
        partition_spec_id: spec,
        content: Default::default(),
        sequence_number: 1,
        min_sequence_number: 1,
        added_snapshot_id: 1,
        added_files_count: Some(files),
        existing_files_count: Some(0),
        deleted_files_count: Some(0),
        added_rows_count: Some(1),
        existing_rows_count: Some(0),
        deleted_rows_count: Some(0),
        partitions: None,
        key_metadata: None,
        first_row_id: None,
    };
    let of = |files, spec, bytes, count| vec![manifest(files, spec, bytes); count];
    assert_eq!(merge::plan(&of(1, 0, 10, FAN - 1), 1000), None);
    assert_eq!(merge::plan(&of(1, 0, 10, FAN), 1000).map(|sources| sources.len()), Some(FAN));
    let mixed = [of(1, 0, 10, FAN - 1), of(1, 1, 10, 1), of(9, 0, 10, FAN)].concat();
    assert!(merge::plan(&mixed, 1000).unwrap().iter().all(|source| source.added_files_count == Some(9)));
    assert_eq!(merge::plan(&of(1, 0, 300, FAN), 1000).map(|sources| sources.len()), Some(3));
    assert_eq!(merge::plan(&of(1, 0, 500, FAN), 1000), None);
}

#[tokio::test]
async fn history_stays_bounded_and_every_retained_snapshot_readable() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let (home, table) =
            home(version, &[("frazil.history.max-snapshots", "20"), ("frazil.history.grace-ms", "0")]).await;
        let mut committer = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
        for number in 0..300 {
            committer.append(&round(0, number, number + 1)).await.unwrap();
            assert!(committer.table().metadata().snapshots().len() < 22);
        }
        committer.finish().await;
        let table = home.lake.load_table(&home.ident).await.unwrap();
        let snapshots: Vec<_> = table.metadata().snapshots().cloned().collect();
        assert!(snapshots.len() >= 20);
        let mut reachable = HashSet::new();
        for snapshot in &snapshots {
            let contents = contents(&table, snapshot).await;
            let rows: usize = contents.iter().map(|(_, entries)| entries.len()).sum();
            assert_eq!(rows.to_string(), snapshot.summary().additional_properties["total-records"]);
            reachable.extend(contents.into_iter().map(|(manifest, _)| manifest.manifest_path));
        }
        assert_eq!(metadata_files(&table, is_list).len(), snapshots.len());
        assert_eq!(metadata_files(&table, is_manifest).len(), reachable.len());
        let report = audit(&table, None).await.unwrap().remove(0);
        assert!(report.clean, "{:?}", report.findings);
        assert_eq!((report.rows, report.live_rows, report.history_complete), (300, Some(300), false));
    }
}

#[tokio::test]
async fn history_is_kept_while_a_tag_exists_or_the_table_says_so() {
    for (property, value) in
        [("gc.enabled", "false"), ("frazil.history.max-snapshots", "0"), ("history.expire.min-snapshots-to-keep", "30")]
    {
        let mut properties = vec![("frazil.history.max-snapshots", "5")];
        properties.retain(|(name, _)| *name != property);
        properties.push((property, value));
        let (home, table) = home(FormatVersion::V2, &properties).await;
        let mut committer = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
        for number in 0..25 {
            committer.append(&round(0, number, number + 1)).await.unwrap();
        }
        assert_eq!(committer.table().metadata().snapshots().len(), 25, "{property}");
    }
    let (home, table) = home(FormatVersion::V2, &[("frazil.history.max-snapshots", "5")]).await;
    let mut committer = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
    let first = committer.append(&round(0, 0, 1)).await.unwrap().snapshot_id;
    let tag = iceberg::TableUpdate::SetSnapshotRef {
        ref_name: "audit".to_owned(),
        reference: iceberg::spec::SnapshotReference::new(
            first,
            iceberg::spec::SnapshotRetention::Tag { max_ref_age_ms: None },
        ),
    };
    home.lake.commit(committer.table(), vec![], vec![tag]).await.unwrap();
    for number in 1..25 {
        committer.append(&round(0, number, number + 1)).await.unwrap();
    }
    assert_eq!(committer.table().metadata().snapshots().len(), 25);
    assert_eq!(
        committer.table().metadata().snapshot_for_ref("audit").map(|snapshot| snapshot.snapshot_id()),
        Some(first)
    );
}
