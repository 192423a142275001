use std::collections::HashSet;

use frazil_model::ErrorKind;
use iceberg::spec::FormatVersion;

use super::support::*;
use crate::Committer;

/// Waits of a millisecond, so that tests of retries do not sleep.
const HASTE: [(&str, &str); 2] = [("commit.retry.min-wait-ms", "1"), ("commit.status-check.min-wait-ms", "1")];

#[tokio::test]
async fn a_conflict_with_another_job_commits_the_same_files_again() {
    for version in [FormatVersion::V2, FormatVersion::V3] {
        let (home, table) = home(version, &HASTE).await;
        let mut ours = Committer::new(home.lake.clone(), table.clone(), "ours".parse().unwrap());
        let mut theirs = Committer::new(home.lake.clone(), table, "theirs".parse().unwrap());
        theirs.append(&round(0, 0, 3)).await.unwrap();
        let append = round(0, 0, 5);
        let done = ours.append(&append).await.unwrap();
        assert_eq!((done.attempts, done.replayed, done.sequence_number), (2, false, 2));

        let table = home.lake.load_table(&home.ident).await.unwrap();
        let entries = entries(&table).await;
        let file = entries.iter().find(|entry| entry.file_path() == append.files[0].file_path()).unwrap();
        assert_eq!((file.sequence_number(), file.snapshot_id()), (Some(2), Some(done.snapshot_id)));
        if version == FormatVersion::V3 {
            assert_eq!(file.data_file().first_row_id(), Some(3));
        }
        // One manifest each: the one of the refused try was used again; its list is gone.
        assert_eq!(metadata_files(&table, is_manifest).len(), 2);
        assert_eq!(metadata_files(&table, is_list).len(), 2);
        assert_eq!(table.metadata().current_snapshot().unwrap().summary().additional_properties["total-records"], "8");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_jobs_that_race_lose_nothing() {
    let (home, table) = home(FormatVersion::V2, &HASTE).await;
    let race = |job: &'static str| {
        let mut committer = Committer::new(home.lake.clone(), table.clone(), job.parse().unwrap());
        tokio::spawn(async move {
            let mut attempts = 0;
            for number in 0..20 {
                attempts += committer.append(&round(0, number, number + 1)).await.unwrap().attempts;
            }
            committer.finish().await;
            attempts
        })
    };
    let (one, two) = (race("one"), race("two"));
    let attempts = one.await.unwrap() + two.await.unwrap();
    let table = home.lake.load_table(&home.ident).await.unwrap();
    let paths: HashSet<_> = entries(&table).await.iter().map(|entry| entry.file_path().to_owned()).collect();
    assert_eq!(paths.len(), 40);
    assert!(attempts > 40, "the jobs never met, so the test proves nothing");
    for report in crate::audit(&table, None).await.unwrap() {
        assert!(report.clean, "{:?}", report.findings);
        assert_eq!((report.rows, report.live_rows, report.history_complete), (20, Some(40), true));
    }
}

#[tokio::test]
async fn a_lost_answer_is_found_by_the_commits_id() {
    for fault in [Fault::LoseAnswer, Fault::LoseAnswerAndStayDown(3)] {
        let (home, table) = home(FormatVersion::V2, &HASTE).await;
        let mut committer = Committer::new(Faulty::new(&home.lake, [fault]), table, "j".parse().unwrap());
        let done = committer.append(&round(0, 0, 5)).await.unwrap();
        assert!(done.replayed);
        assert_eq!((done.attempts, done.ledger.next.get("events", 0)), (1, Some(5)));
        committer.append(&round(0, 5, 7)).await.unwrap();
        let table = home.lake.load_table(&home.ident).await.unwrap();
        assert_eq!(entries(&table).await.iter().map(|entry| entry.record_count()).sum::<u64>(), 7);
        assert_eq!(metadata_files(&table, is_list).len(), 2);
    }
}

#[tokio::test]
async fn a_lost_request_is_committed_once() {
    let (home, table) = home(FormatVersion::V2, &HASTE).await;
    let faults = [Fault::LoseRequest, Fault::Busy, Fault::LoseRequest];
    let mut committer = Committer::new(Faulty::new(&home.lake, faults), table, "j".parse().unwrap());
    let done = committer.append(&round(0, 0, 5)).await.unwrap();
    assert_eq!((done.attempts, done.replayed), (4, false));
    let table = home.lake.load_table(&home.ident).await.unwrap();
    assert_eq!(entries(&table).await.len(), 1);
    // Files of the tries that did not go in are gone.
    assert_eq!((metadata_files(&table, is_list).len(), metadata_files(&table, is_manifest).len()), (1, 1));
}

#[tokio::test]
async fn while_the_outcome_stays_unknown_nothing_is_deleted_and_a_later_call_finds_it() {
    let few = [("commit.status-check.num-retries", "2"), HASTE[0], HASTE[1]];
    let (home, table) = home(FormatVersion::V2, &few).await;
    let catalog = Faulty::new(&home.lake, [Fault::LoseAnswerAndStayDown(3)]);
    let mut committer = Committer::new(catalog, table.clone(), "j".parse().unwrap());
    let append = round(0, 0, 5);
    let error = committer.append(&append).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutcomeUnknown);
    assert!(committer.is_in_doubt(append.commit_id));
    assert_eq!((metadata_files(&table, is_list).len(), metadata_files(&table, is_manifest).len()), (1, 1));
    let found = committer.append(&append).await.unwrap();
    assert!(found.replayed && !committer.is_in_doubt(append.commit_id));
    assert_eq!(entries(&home.lake.load_table(&home.ident).await.unwrap()).await.len(), 1);
}

/// A worker whose answer was lost wakes up when another one has gone on.
#[tokio::test]
async fn a_fenced_commit_stays_in_doubt_only_while_history_cannot_tell() {
    for (applied, snapshots, commits, doubt) in [
        // It went in, and its snapshot has been trimmed since: its files are live and nothing says so.
        (true, "5", 20, true),
        // It did not go in, but history does not reach back far enough to know.
        (false, "5", 20, true),
        // It did not go in, and history shows it.
        (false, "100", 20, false),
    ] {
        let properties = [
            ("frazil.history.max-snapshots", snapshots),
            ("frazil.history.grace-ms", "0"),
            ("commit.status-check.num-retries", "0"),
            HASTE[0],
            HASTE[1],
        ];
        let (home, table) = home(FormatVersion::V2, &properties).await;
        let fault = if applied { Fault::LoseAnswerAndStayDown(1) } else { Fault::LoseRequestAndStayDown(1) };
        let mut paused = Committer::new(Faulty::new(&home.lake, [Fault::None, fault]), table, "j".parse().unwrap());
        paused.append(&round(0, 0, 1)).await.unwrap();
        let append = round(0, 1, 2);
        assert_eq!(paused.append(&append).await.unwrap_err().kind(), ErrorKind::OutcomeUnknown);
        assert!(paused.is_in_doubt(append.commit_id));

        let table = home.lake.load_table(&home.ident).await.unwrap();
        let mut running = Committer::new(home.lake.clone(), table, "j".parse().unwrap());
        let first = running.ledger().unwrap().unwrap().next.get("events", 0).unwrap();
        for number in first..first + commits {
            running.append(&round(0, number, number + 1)).await.unwrap();
        }
        running.finish().await;
        let error = paused.append(&append).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert_eq!(paused.is_in_doubt(append.commit_id), doubt, "applied {applied}, {snapshots} snapshots");
        let table = home.lake.load_table(&home.ident).await.unwrap();
        let live = entries(&table).await.iter().any(|entry| entry.file_path() == append.files[0].file_path());
        assert_eq!(live, applied);
        assert!(crate::audit(&table, None).await.unwrap()[0].clean);
    }
}

#[tokio::test]
async fn too_many_conflicts_end_with_an_error_and_without_files() {
    let (home, table) = home(FormatVersion::V2, &[("commit.retry.num-retries", "2"), HASTE[0]]).await;
    let mut committer = Committer::new(Faulty::new(&home.lake, [Fault::Busy; 3]), table.clone(), "j".parse().unwrap());
    let append = round(0, 0, 5);
    let error = committer.append(&append).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), (ErrorKind::Catalog, true));
    assert_eq!(metadata_files(&table, |name| name.ends_with(".avro")).len(), 0);
    committer.append(&append).await.unwrap();
}
