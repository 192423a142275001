//! One attempt at a job: its threads started, joined, and cleaned up after.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{channel, sync_channel};
use std::thread;
use std::time::Duration;

use frazil_model::{Error, ErrorKind, Job, Positions, Result, Source, Trigger};
use frazil_write::{Budget, TableWriter, WriteOptions};
use parking_lot::Mutex;

use crate::bad::BadRecords;
use crate::commits::Commits;
use crate::lane::Lane;
use crate::open::{Opened, queue_bytes};
use crate::partitions::TablePartitions;
use crate::reader::{CHUNK_BYTES, Failure, Reader, Until};
use crate::round::RoundControl;
use crate::status::Shared;

/// How long removing uncommitted files may take when draining has taken too long.
const CLEAN_UP: Duration = Duration::from_secs(2);
/// Chunks that may wait for each lane.
const LANE_QUEUE: usize = 1;

/// How many lanes a job has: the reader and Kafka's client need a part of a core each, the lanes all the rest.
fn lane_count() -> usize {
    thread::available_parallelism().map_or(1, |cores| cores.get()).clamp(1, 32)
}

/// The part of the budget that files may take: without Kafka's queues, the chunks on their way (up to about four times
/// their bytes while they are decoded), and a quarter for what encoders and the allocator hold beside what is counted
/// (measured with a thousand open partitions).
fn file_budget(memory: u64, lanes: usize) -> usize {
    let chunks = (lanes * (LANE_QUEUE + 4) * CHUNK_BYTES) as u64;
    let taken = queue_bytes(memory) as u64 + chunks + memory / 4;
    memory.saturating_sub(taken).max(memory / 4) as usize
}

/// Runs the job until it ends, is stopped or fails. Nothing that is not in the table stays behind, unless its commit's
/// outcome is not known.
pub(crate) fn run(job: &Job, opened: Opened, shared: &Arc<Shared>) -> Result<()> {
    let Opened { lake, ident, name, mut source, decoder, transformer, fitter, committer, ledger, skips } = opened;
    let Source::Kafka(kafka) = &job.source;
    let lanes = lane_count();
    let budget = Budget::new(file_budget(job.memory.0, lanes));
    let drain = job.drain_timeout.0;
    let before = shared.status();
    let bad = BadRecords::open(&job.errors, kafka, &name, (before.dead_letters, before.records))?;
    let failure = Arc::new(Failure::default());
    let (cut_sender, cuts) = channel();
    let (outcome_sender, outcomes) = channel();
    let (emptied_sender, emptied) = channel();
    let mut lane_senders = Vec::new();
    let mut threads = Vec::new();
    for index in 0..lanes {
        let (sender, messages) = sync_channel(LANE_QUEUE);
        lane_senders.push(sender);
        let options = WriteOptions { target_file_size: job.sink.file_size.map(|size| size.0), memory: budget.clone() };
        let writer = TableWriter::new(committer.table(), options)?;
        let lane = Lane::new(decoder.fork(), transformer.clone(), fitter.clone(), writer, bad.clone(), shared.clone());
        let (outcomes, emptied) = (outcome_sender.clone(), emptied_sender.clone());
        threads
            .push(spawn(format!("frazil-lane-{index}"), &failure, move || lane.run(&messages, &outcomes, &emptied))?);
    }
    drop((outcome_sender, emptied_sender));
    let round = RoundControl::new(cut_sender, lane_senders);
    let group = Arc::new(Mutex::new(None));
    let commits = Commits {
        committer,
        cuts,
        outcomes,
        round: round.clone(),
        bad,
        shared: shared.clone(),
        failure: failure.clone(),
        group: group.clone(),
        drain,
        bounded: !matches!(job.trigger, Trigger::Every(_)),
    };
    threads.push(spawn("frazil-commit".to_owned(), &failure, move || commits.run())?);

    let known = ledger.map(|ledger| ledger.next).unwrap_or_default();
    shared.update(|status| status.offsets = known.clone());
    let read = begin(&mut source, job, &known, &skips, || {
        Arc::new(TablePartitions::new(lake, ident, name, skips.clone(), drain, round.clone()))
    })
    .and_then(|(partitions, until)| {
        Reader {
            source: &mut source,
            partitions,
            round: round.clone(),
            emptied,
            budget,
            shared: shared.clone(),
            failure: failure.clone(),
            group,
            skips: skips.clone(),
            trigger: job.trigger.clone(),
            until,
            drain,
        }
        .run()
    });
    if let Err(error) = read {
        failure.set(error);
        round.fail();
    }
    // Without senders the lanes end, then the committer.
    round.close();
    for thread in threads {
        join(thread, || shared.overdue(drain + CLEAN_UP));
    }
    source.close();
    failure.take().map_or(Ok(()), Err)
}

/// Waits for a thread of the attempt. One that hangs in a storage or catalog that does not answer is left behind by a
/// job that must end now; the process ends it.
fn join(thread: thread::JoinHandle<()>, give_up: impl Fn() -> bool) {
    while !thread.is_finished() {
        if give_up() {
            log::warn!("a thread of the job still waits for storage or catalog and is left behind");
            return;
        }
        thread::sleep(Duration::from_millis(2));
    }
    // It has caught its own panic.
    let _ = thread.join();
}

type Begun = (Option<Arc<TablePartitions>>, Until);

fn begin(
    source: &mut frazil_source::KafkaSource,
    job: &Job,
    known: &Positions,
    skips: &frazil_model::Ranges,
    partitions: impl FnOnce() -> Arc<TablePartitions>,
) -> Result<Begun> {
    if matches!(job.trigger, Trigger::Every(_)) {
        let partitions = partitions();
        source.subscribe(partitions.clone())?;
        return Ok((Some(partitions), Until::Stopped));
    }
    let mut from = known.clone();
    for (topic, partition, skip) in skips.iter() {
        from.set(topic, partition, skip.end);
    }
    source.assign_all(&from)?;
    let ends = source.high_watermarks()?;
    Ok((None, Until::Reached(ends)))
}

/// Starts a thread of the attempt; its error, or its panic, becomes the attempt's failure.
fn spawn(
    name: String,
    failure: &Arc<Failure>,
    work: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<thread::JoinHandle<()>> {
    let failure = failure.clone();
    let guarded = move || {
        let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            let name = thread::current().name().unwrap_or_default().to_owned();
            Err(Error::new(ErrorKind::Internal, "a thread of the job panicked; nothing of its round was committed")
                .with("thread", name))
        });
        if let Err(error) = result {
            failure.set(error);
        }
    };
    thread::Builder::new().name(name).spawn(guarded).map_err(|error| {
        Error::new(ErrorKind::Memory, "the operating system refused another thread").caused_by(error).retryable()
    })
}
