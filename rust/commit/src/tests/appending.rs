use frazil_model::{ErrorKind, summary as key};
use iceberg::TableUpdate;
use iceberg::spec::{FormatVersion, Literal, Struct, Transform, UnboundPartitionField, UnboundPartitionSpec};

use super::support::*;
use crate::{Append, Committer};

#[tokio::test]
async fn an_append_puts_files_ledger_and_summary_into_an_empty_table_of_both_versions() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let (home, table) = home(version, &[]).await;
        let mut committer = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
        assert_eq!(committer.ledger().unwrap(), None);
        let mut append = round(0, 100, 110);
        append.files = vec![data_file(4), data_file(6)];
        append.properties.insert("who".to_owned(), "me".to_owned());
        let one = committer.append(&append).await.unwrap();
        let two = committer.append(&round(0, 110, 113)).await.unwrap();
        assert_eq!((one.attempts, one.replayed, two.sequence_number), (1, false, 2));

        let table = home.lake.load_table(&home.ident).await.unwrap();
        let metadata = table.metadata();
        assert_eq!(metadata.current_snapshot_id(), Some(two.snapshot_id));
        let ledger = crate::resume::ledger_of(metadata, &"j".parse().unwrap()).unwrap().unwrap();
        assert_eq!(ledger, two.ledger);
        assert_eq!((ledger.first.get("events", 0), ledger.next.get("events", 0)), (Some(100), Some(113)));
        assert_eq!((ledger.rows, ledger.commits, ledger.snapshot_id), (13, 2, two.snapshot_id));

        let first = metadata.snapshot_by_id(one.snapshot_id).unwrap();
        let summary = &first.summary().additional_properties;
        for (name, value) in [
            ("added-data-files", "2"),
            ("added-records", "10"),
            ("added-files-size", "1000"),
            ("changed-partition-count", "1"),
            ("total-records", "10"),
            ("total-delete-files", "0"),
            ("who", "me"),
            (key::JOB, "j"),
            (key::RANGES, r#"{"events":{"0":[100,110]}}"#),
            (key::ROWS, "10"),
        ] {
            assert_eq!(summary.get(name).map(String::as_str), Some(value), "{name}");
        }
        let last = metadata.current_snapshot().unwrap();
        assert_eq!(last.parent_snapshot_id(), Some(one.snapshot_id));
        assert_eq!(last.summary().additional_properties["total-records"], "13");
        assert_eq!(entries(&table).await.len(), 3);

        if version == FormatVersion::V3 {
            assert_eq!((first.row_range(), last.row_range()), (Some((0, 10)), Some((10, 3))));
            assert_eq!(metadata.next_row_id(), 13);
            let mut ids: Vec<_> = entries(&table).await.iter().map(|entry| entry.data_file().first_row_id()).collect();
            ids.sort();
            assert_eq!(ids, [Some(0), Some(4), Some(10)]);
        }
    }
}

#[tokio::test]
async fn a_round_without_files_moves_the_ledger_all_the_same() {
    let (home, table) = home(FormatVersion::V2, &[]).await;
    let mut committer = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
    committer.append(&round(0, 0, 5)).await.unwrap();
    let nothing = Append { files: vec![], rows: 0, filtered: 3, dead_letters: 2, ..round(0, 5, 10) };
    let done = committer.append(&nothing).await.unwrap();
    assert_eq!(done.ledger.next.get("events", 0), Some(10));
    assert_eq!((done.ledger.records, done.ledger.rows, done.ledger.filtered, done.ledger.dead_letters), (10, 5, 3, 2));
    let table = home.lake.load_table(&home.ident).await.unwrap();
    assert_eq!(table.metadata().current_snapshot_id(), Some(done.snapshot_id));
    assert_eq!(entries(&table).await.len(), 1);
}

#[tokio::test]
async fn a_stale_commit_is_fenced_and_leaves_no_files() {
    let (home, table) = home(FormatVersion::V2, &[]).await;
    let mut paused = Committer::new(home.lake.clone(), table.clone(), "j".parse().unwrap());
    let mut running = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
    paused.append(&round(0, 0, 5)).await.unwrap();
    running.reload().await.unwrap();
    running.append(&round(0, 5, 9)).await.unwrap();
    let error = paused.append(&round(0, 5, 7)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    let table = home.lake.load_table(&home.ident).await.unwrap();
    assert_eq!(entries(&table).await.len(), 2);
    assert_eq!(metadata_files(&table, is_list).len(), 2);
    assert_eq!(metadata_files(&table, is_manifest).len(), 2);
    // It is of no use again before it resumes from the table's ledger.
    let ledger = paused.ledger().unwrap().unwrap();
    assert_eq!(ledger.next.get("events", 0), Some(9));
    paused.append(&round(0, 9, 10)).await.unwrap();
}

#[tokio::test]
async fn a_partition_that_comes_from_another_worker_is_committed_where_that_one_stopped() {
    let (home, table) = home(FormatVersion::V2, &[]).await;
    let mut one = Committer::new(home.lake.clone(), table.clone(), "j".parse().unwrap());
    let mut other = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
    one.append(&round(0, 0, 5)).await.unwrap();
    other.append(&round(1, 0, 5)).await.unwrap();
    one.append(&round(0, 5, 9)).await.unwrap();
    // The group gives it the partition; the table as it holds it still says 5.
    let done = other.append(&round(0, 9, 12)).await.unwrap();
    assert_eq!((done.ledger.next.get("events", 0), done.ledger.next.get("events", 1)), (Some(12), Some(5)));
    assert_eq!(one.append(&round(0, 9, 12)).await.unwrap_err().kind(), ErrorKind::Fenced);
    let table = home.lake.load_table(&home.ident).await.unwrap();
    assert!(crate::audit(&table, None).await.unwrap()[0].clean);
}

#[tokio::test]
async fn counts_that_do_not_agree_with_the_files_are_refused() {
    let (home, table) = home(FormatVersion::V2, &[]).await;
    let mut committer = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
    let error = committer.append(&Append { rows: 4, ..round(0, 0, 5) }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    let mut unpartitioned = round(0, 0, 5);
    unpartitioned.files = vec![data_file_in(5, 0, Struct::empty())];
    let error = committer.append(&unpartitioned).await.unwrap_err();
    assert!(error.message().contains("partition values"), "{error}");
    assert!(home.lake.load_table(&home.ident).await.unwrap().metadata().current_snapshot().is_none());
}

#[tokio::test]
async fn files_of_an_older_partition_spec_get_a_manifest_of_that_spec() {
    let (home, table) = home(FormatVersion::V2, &[]).await;
    let spec = UnboundPartitionSpec::builder().with_spec_id(1);
    let spec = spec.add_partition_fields([("day", 2, Transform::Identity), ("bucket", 1, Transform::Bucket(4))].map(
        |(name, source_id, transform)| UnboundPartitionField {
            name: name.to_owned(),
            source_id,
            field_id: None,
            transform,
        },
    ));
    let updates =
        vec![TableUpdate::AddSpec { spec: spec.unwrap().build() }, TableUpdate::SetDefaultSpec { spec_id: -1 }];
    let evolved = home.lake.commit(&table, vec![], updates).await.unwrap();
    // Loaded before the change: the commit meets the new spec only after a conflict.
    let mut committer = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
    committer.append(&round(0, 0, 5)).await.unwrap();
    assert_eq!(committer.table().metadata().default_partition_spec_id(), 1);
    let mut both = round(0, 5, 12);
    let new = Struct::from_iter([Some(Literal::int(20_000)), Some(Literal::int(3))]);
    both.files = vec![data_file(3), data_file_in(4, 1, new)];
    committer.append(&both).await.unwrap();
    for (manifest, entries) in
        contents(committer.table(), committer.table().metadata().current_snapshot().unwrap()).await
    {
        let fields = evolved.metadata().partition_spec_by_id(manifest.partition_spec_id).unwrap().fields().len();
        assert!(entries.iter().all(|entry| entry.data_file().partition().fields().len() == fields));
    }
    assert_eq!(entries(committer.table()).await.len(), 3);
}

#[tokio::test]
async fn a_second_call_with_the_same_id_changes_nothing() {
    let (home, table) = home(FormatVersion::V2, &[]).await;
    let append = round(0, 0, 5);
    let first = Committer::new(home.lake.clone(), table, "j".parse().unwrap()).append(&append).await.unwrap();
    for later in [None, Some(round(0, 5, 6))] {
        let table = home.lake.load_table(&home.ident).await.unwrap();
        let mut again = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
        if let Some(later) = later {
            again.append(&later).await.unwrap();
            again.reload().await.unwrap();
        }
        let found = again.append(&append).await.unwrap();
        assert!(found.replayed);
        assert_eq!((found.snapshot_id, found.attempts), (first.snapshot_id, 0));
    }
    assert_eq!(entries(&home.lake.load_table(&home.ident).await.unwrap()).await.len(), 2);
}
