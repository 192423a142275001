use frazil_model::{ErrorKind, JobName, OnRollback};
use iceberg::TableUpdate;
use iceberg::spec::{FormatVersion, MAIN_BRANCH, SnapshotReference, SnapshotRetention};
use iceberg::table::Table;

use super::support::*;
use crate::{Committer, audit, resume};

async fn roll_back(home: &Home, to: i64) -> Table {
    let table = home.lake.load_table(&home.ident).await.unwrap();
    let reference = SnapshotReference::new(to, SnapshotRetention::branch(None, None, None));
    let update = TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.to_owned(), reference };
    home.lake.commit(&table, vec![], vec![update]).await.unwrap()
}

async fn remove(home: &Home, snapshot_ids: Vec<i64>) -> Table {
    let table = home.lake.load_table(&home.ident).await.unwrap();
    home.lake.commit(&table, vec![], vec![TableUpdate::RemoveSnapshots { snapshot_ids }]).await.unwrap()
}

fn job() -> JobName {
    "j".parse().unwrap()
}

#[tokio::test]
async fn a_rolled_back_table_stops_the_job_and_names_both_snapshots() {
    let (home, table) = home(FormatVersion::V2, &[]).await;
    let mut committer = Committer::new(home.lake.clone(), table, job());
    let one = committer.append(&round(0, 0, 5)).await.unwrap();
    let two = committer.append(&round(0, 5, 9)).await.unwrap();
    assert_eq!(resume(committer.table(), &job(), OnRollback::Stop).await.unwrap(), Some(two.ledger));

    let table = roll_back(&home, one.snapshot_id).await;
    let error = resume(&table, &job(), OnRollback::Stop).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RolledBack);
    for part in [one.snapshot_id.to_string(), two.snapshot_id.to_string(), "errors.on_rollback: rewind".to_owned()] {
        assert!(error.message().contains(&part), "{error}");
    }
    // Neither does a worker that was running all the time build on it.
    let error = committer.append(&round(0, 9, 12)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RolledBack);
    let report = audit(&table, Some(&job())).await.unwrap().remove(0);
    assert!(!report.clean && report.findings[0].contains("rolled back"), "{:?}", report.findings);
}

#[tokio::test]
async fn a_rewound_job_goes_on_from_the_ancestors_offsets() {
    let (home, table) = home(FormatVersion::V3, &[]).await;
    let mut committer = Committer::new(home.lake.clone(), table, job());
    let one = committer.append(&round(0, 0, 5)).await.unwrap();
    Committer::new(home.lake.clone(), committer.table().clone(), "other".parse().unwrap())
        .append(&round(0, 0, 2))
        .await
        .unwrap();
    committer.append(&round(0, 5, 9)).await.unwrap();
    let mut gap = round(1, 7, 8);
    gap.skipped = ranges(1, 3, 7);
    committer.append(&gap).await.unwrap();

    let table = roll_back(&home, one.snapshot_id).await;
    let ledger = resume(&table, &job(), OnRollback::Rewind).await.unwrap().unwrap();
    assert_eq!((ledger.next.get("events", 0), ledger.next.get("events", 1)), (Some(5), Some(3)));
    assert_eq!((ledger.rows, ledger.commits, ledger.skipped.len(), ledger.snapshot_id), (5, 1, 0, one.snapshot_id));

    let mut again = Committer::new(home.lake.clone(), table, job());
    let rewound = again.resume(OnRollback::Rewind).await.unwrap().unwrap();
    assert_eq!((&rewound.next, rewound.rows, rewound.commits), (&ledger.next, 5, 1));
    let done = again.append(&round(0, 5, 6)).await.unwrap();
    assert_eq!((done.ledger.rows, done.ledger.commits), (6, 2));
    // The worker from before is fenced: its offsets were given back.
    assert_eq!(committer.append(&round(0, 9, 12)).await.unwrap_err().kind(), ErrorKind::Fenced);
    again.append(&round(1, 3, 4)).await.unwrap();
    let table = home.lake.load_table(&home.ident).await.unwrap();
    let report = audit(&table, Some(&job())).await.unwrap().remove(0);
    assert!(report.clean && report.history_complete, "{:?}", report.findings);
    assert_eq!((report.rows, report.live_rows), (7, Some(7)));
}

#[tokio::test]
async fn a_rewind_goes_through_an_earlier_rewind_and_back_to_the_beginning() {
    let (home, table) = home(FormatVersion::V2, &[]).await;
    let other =
        Committer::new(home.lake.clone(), table, "other".parse().unwrap()).append(&round(0, 0, 2)).await.unwrap();
    let table = home.lake.load_table(&home.ident).await.unwrap();
    let mut committer = Committer::new(home.lake.clone(), table, job());
    let one = committer.append(&round(0, 100, 105)).await.unwrap();
    committer.append(&round(0, 105, 109)).await.unwrap();
    for (to, next) in [(one.snapshot_id, 105), (other.snapshot_id, 100)] {
        let table = roll_back(&home, to).await;
        let mut again = Committer::new(home.lake.clone(), table, job());
        let ledger = again.resume(OnRollback::Rewind).await.unwrap().unwrap();
        assert_eq!(ledger.next.get("events", 0), Some(next));
        assert_eq!(again.resume(OnRollback::Stop).await.unwrap(), Some(ledger));
        again.append(&round(0, next, next + 3)).await.unwrap();
        let report = audit(again.table(), Some(&job())).await.unwrap().remove(0);
        assert!(report.clean, "{:?}", report.findings);
    }
}

#[tokio::test]
async fn an_expired_ledger_snapshot_is_fine_but_not_one_that_main_has_passed_without() {
    let (home, table) = home(FormatVersion::V2, &[]).await;
    let mut committer = Committer::new(home.lake.clone(), table, job());
    let mut other = Committer::new(home.lake.clone(), committer.table().clone(), "other".parse().unwrap());
    let one = committer.append(&round(0, 0, 5)).await.unwrap();
    let two = committer.append(&round(0, 5, 9)).await.unwrap();
    other.append(&round(0, 0, 1)).await.unwrap();
    let table = remove(&home, vec![one.snapshot_id, two.snapshot_id]).await;
    assert_eq!(resume(&table, &job(), OnRollback::Stop).await.unwrap(), Some(two.ledger.clone()));
    committer.append(&round(0, 9, 10)).await.unwrap();

    // Rolled back, the ledger's snapshot expired, and another writer has taken main past its place.
    let last = committer.append(&round(0, 10, 11)).await.unwrap();
    let base = other.table().metadata().current_snapshot_id().unwrap();
    roll_back(&home, base).await;
    other.append(&round(0, 1, 2)).await.unwrap();
    let table = remove(&home, vec![last.snapshot_id]).await;
    for policy in [OnRollback::Stop, OnRollback::Rewind] {
        let error = resume(&table, &job(), policy).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RolledBack, "{error}");
    }
}
