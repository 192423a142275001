use frazil_model::{ErrorKind, summary as key};
use iceberg::spec::{FormatVersion, TableMetadata};
use iceberg::table::Table;

use super::support::*;
use crate::{Append, Committer, audit};

/// The table with one snapshot's summary changed behind Frazil's back.
fn tampered(table: &Table, snapshot_id: i64, name: &str, value: &str) -> Table {
    let mut json = serde_json::to_value(table.metadata()).unwrap();
    let snapshots = json["snapshots"].as_array_mut().unwrap();
    let snapshot = snapshots.iter_mut().find(|snapshot| snapshot["snapshot-id"] == snapshot_id).unwrap();
    snapshot["summary"][name] = value.into();
    let metadata: TableMetadata = serde_json::from_value(json).unwrap();
    let table =
        Table::builder().file_io(table.file_io().clone()).metadata(metadata).identifier(table.identifier().clone());
    table.runtime(iceberg::Runtime::try_current().unwrap()).build().unwrap()
}

#[tokio::test]
async fn an_untouched_table_is_clean_and_the_report_says_what_is_in_it() {
    let (home, table) = home(FormatVersion::V2, &[]).await;
    let mut committer = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
    committer.append(&round(0, 10, 15)).await.unwrap();
    committer
        .append(&Append {
            records: 7,
            filtered: 2,
            dead_letters: 1,
            rows: 4,
            files: vec![data_file(4)],
            ..round(0, 15, 22)
        })
        .await
        .unwrap();
    let mut gap = round(0, 30, 31);
    gap.skipped = ranges(0, 22, 30);
    committer.append(&gap).await.unwrap();
    let report = audit(committer.table(), None).await.unwrap().remove(0);
    assert!(report.clean, "{:?}", report.findings);
    let offsets = &report.offsets[0];
    assert_eq!((offsets.first, offsets.next, offsets.proven_from), (10, 31, Some(10)));
    assert_eq!((report.records, report.rows, report.filtered, report.dead_letters), (13, 10, 2, 1));
    assert_eq!((report.commits, report.snapshots_checked, report.history_complete), (3, 3, true));
    assert_eq!((report.live_rows, report.skipped.len()), (Some(10), 1));
    assert!(serde_json::to_string(&report).unwrap().contains(r#""clean":true"#));
    let error = audit(committer.table(), Some(&"nobody".parse().unwrap())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_range_or_count_that_was_changed_is_found() {
    let (home, table) = home(FormatVersion::V2, &[]).await;
    let mut committer = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
    let mut ids = Vec::new();
    for number in 0..4 {
        ids.push(committer.append(&round(0, 10 * number, 10 * number + 10)).await.unwrap().snapshot_id);
    }
    for (snapshot, name, value, says) in [
        (ids[1], key::RANGES, "{}", "Gap: offsets [10, 20) of events/0"),
        (ids[1], key::RANGES, r#"{"events":{"0":[9,20]}}"#, "Overlap"),
        (ids[0], key::RANGES, r#"{"events":{"0":[1,10]}}"#, "Gap: offsets [0, 1)"),
        (ids[3], key::RANGES, r#"{"events":{"0":[30,39]}}"#, "The ledger stands at offset 40"),
        (ids[2], key::ROWS, "9", "its files hold 10"),
        (ids[2], key::ROWS, "none", "no readable"),
        (ids[2], key::JOB, "other", "Gap: offsets [20, 30)"),
        (ids[2], key::DEAD_LETTERS, "1", "dead-letters"),
        (ids[3], "total-records", "39", "total-records"),
    ] {
        let table = tampered(committer.table(), snapshot, name, value);
        let report = audit(&table, Some(&"j".parse().unwrap())).await.unwrap().remove(0);
        assert!(!report.clean);
        assert!(report.findings.iter().any(|finding| finding.contains(says)), "{says}: {:?}", report.findings);
    }
}
