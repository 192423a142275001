//! Bad records: to the dead-letter topic, counted, and an end to the job when there are too many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use frazil_model::{Error, ErrorKind, Errors, JobName, Kafka, MaxBad, Records, Rejected, Result};
use frazil_source::{DeadLetters, Letter};

/// A share says little about the first few records.
const SHARE_NEEDS_RECORDS: u64 = 1000;

/// What happens to bad records; shared by all lanes.
pub(crate) struct BadRecords {
    letters: Option<DeadLetters>,
    job: JobName,
    limit: Option<MaxBad>,
    bad: AtomicU64,
    records: AtomicU64,
}

impl BadRecords {
    /// Connects to the dead-letter topic. `before` is how many bad records of how many this run has committed already.
    ///
    /// # Errors
    /// As [`DeadLetters::open`].
    pub(crate) fn open(errors: &Errors, source: &Kafka, job: &JobName, before: (u64, u64)) -> Result<Arc<Self>> {
        let letters = errors.dead_letters.as_ref().map(|letters| DeadLetters::open(letters, source)).transpose()?;
        let limit = errors.max_bad.or(if letters.is_some() { None } else { Some(MaxBad::Count(0)) });
        Ok(Arc::new(BadRecords {
            letters,
            job: job.clone(),
            limit,
            bad: AtomicU64::new(before.0),
            records: AtomicU64::new(before.1),
        }))
    }

    /// Takes what a lane has rejected of so many records.
    ///
    /// # Errors
    /// `TooManyBad`, naming the last bad record; `Source` if the dead-letter topic refuses it.
    pub(crate) fn take(&self, records: &Records, rejected: &[Rejected]) -> Result<()> {
        let seen = self.records.fetch_add(records.len() as u64, Relaxed) + records.len() as u64;
        let Some(last) = rejected.last() else { return Ok(()) };
        if let Some(letters) = &self.letters {
            for record in rejected {
                letters.send(Letter::new(records, record, &self.job))?;
            }
        }
        let bad = self.bad.fetch_add(rejected.len() as u64, Relaxed) + rejected.len() as u64;
        let judged = !matches!(self.limit, Some(MaxBad::Share(_))) || seen >= SHARE_NEEDS_RECORDS;
        match self.limit {
            Some(limit) if judged && limit.exceeded(bad, seen) => Err(too_many(limit, bad, seen, records, last)),
            _ => Ok(()),
        }
    }

    /// Judges a share at the end of a job that read fewer records than a share needs.
    pub(crate) fn judge_at_the_end(&self) -> Result<()> {
        let (bad, seen) = (self.bad.load(Relaxed), self.records.load(Relaxed));
        match self.limit {
            Some(limit) if limit.exceeded(bad, seen) => Err(Error::new(
                ErrorKind::TooManyBad,
                format!(
                    "{bad} of {seen} records are bad, errors.max_bad allows {limit}; what was read last is not committed"
                ),
            )),
            _ => Ok(()),
        }
    }

    /// Waits until every dead letter has arrived.
    pub(crate) fn flush(&self, deadline: Duration) -> Result<()> {
        self.letters.as_ref().map_or(Ok(()), |letters| letters.flush(deadline))
    }
}

fn too_many(limit: MaxBad, bad: u64, seen: u64, records: &Records, last: &Rejected) -> Error {
    let run = records.run_of(last.row);
    let advice = match limit {
        MaxBad::Count(0) => "set errors.dead_letters to keep bad records aside, or errors.max_bad to drop some",
        _ => "look at the dead letters, or raise errors.max_bad",
    };
    Error::new(
        ErrorKind::TooManyBad,
        format!(
            "{bad} of {seen} records are bad, errors.max_bad allows {limit}; the last one: {} ({}); {advice}",
            last.reason,
            last.stage.name()
        ),
    )
    .with("topic", &run.topic)
    .with("partition", run.partition)
    .with("offset", records.offset(last.row))
}
