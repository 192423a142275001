//! A lane: one thread that turns chunks of records into data files.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};

use cpu_time::ThreadTime;
use frazil_decode::Decoder;
use frazil_model::{Records, Rejected, Result};
use frazil_transform::Transformer;
use frazil_write::{Fitter, TableWriter, Written};

use crate::bad::BadRecords;
use crate::runtime::runtime;
use crate::status::{Shared, Stage};

/// What the reader tells a lane. When the reader goes away, the lane removes what it has written and ends.
#[expect(clippy::large_enum_variant, reason = "a queue holds one or two of them")]
pub(crate) enum LaneMessage {
    /// Records of the current round.
    Chunk(Records),
    /// The round is over: close the files and hand them to the committer.
    Finish,
}

/// What a lane has made of its part of a round.
pub(crate) struct LaneOutcome {
    pub(crate) written: Written,
    pub(crate) filtered: u64,
    pub(crate) dead_letters: u64,
}

/// The stages of one lane.
pub(crate) struct Lane {
    pub(crate) decoder: Decoder,
    pub(crate) transformer: Transformer,
    pub(crate) fitter: Arc<Fitter>,
    pub(crate) writer: TableWriter,
    pub(crate) bad: Arc<BadRecords>,
    pub(crate) shared: Arc<Shared>,
    filtered: u64,
    dead_letters: u64,
}

impl Lane {
    pub(crate) fn new(
        decoder: Decoder,
        transformer: Transformer,
        fitter: Arc<Fitter>,
        writer: TableWriter,
        bad: Arc<BadRecords>,
        shared: Arc<Shared>,
    ) -> Self {
        Lane { decoder, transformer, fitter, writer, bad, shared, filtered: 0, dead_letters: 0 }
    }

    /// Works until the reader goes away. Emptied buffers go back to the reader.
    ///
    /// # Errors
    /// The first error; what was written in the unfinished round is removed before.
    pub(crate) fn run(
        mut self,
        messages: &Receiver<LaneMessage>,
        outcomes: &Sender<LaneOutcome>,
        emptied: &Sender<Records>,
    ) -> Result<()> {
        let result = self.work(messages, outcomes, emptied);
        if let Err(error) = runtime().block_on(self.writer.abort()) {
            log::warn!("files of an unfinished round could not be removed: {error}");
        }
        result
    }

    fn work(
        &mut self,
        messages: &Receiver<LaneMessage>,
        outcomes: &Sender<LaneOutcome>,
        emptied: &Sender<Records>,
    ) -> Result<()> {
        while let Ok(message) = messages.recv() {
            match message {
                LaneMessage::Chunk(mut records) => {
                    self.process(&records)?;
                    records.clear();
                    // The reader may have gone: then nobody needs the buffer.
                    let _ = emptied.send(records);
                }
                LaneMessage::Finish => {
                    let begun = ThreadTime::now();
                    let written = runtime().block_on(self.writer.finish())?;
                    self.shared.spend(Stage::Write, begun);
                    let outcome = LaneOutcome {
                        written,
                        filtered: std::mem::take(&mut self.filtered),
                        dead_letters: std::mem::take(&mut self.dead_letters),
                    };
                    // The committer takes outcomes, also unwanted ones, until all lanes have gone: unless it has panicked.
                    if outcomes.send(outcome).is_err() {
                        return Ok(());
                    }
                }
            }
        }
        Ok(())
    }

    fn process(&mut self, records: &Records) -> Result<()> {
        let begun = ThreadTime::now();
        let decoded = self.decoder.decode(records)?;
        self.shared.spend(Stage::Decode, begun);

        let begun = ThreadTime::now();
        let transformed = self.transformer.apply(&decoded.batch)?;
        let fitted = self.fitter.fit(&transformed.batch)?;
        self.filtered += transformed.filtered;
        let mut rejected = decoded.rejected;
        // Each stage counts rows of its own input: lead them back to the records.
        let to_record = |row: usize| decoded.rows.as_ref().map_or(row, |rows| rows[row] as usize);
        let to_decoded = |row: usize| transformed.rows.as_ref().map_or(row, |rows| rows[row] as usize);
        rejected.extend(transformed.rejected.into_iter().map(|bad| Rejected { row: to_record(bad.row), ..bad }));
        rejected.extend(fitted.rejected.into_iter().map(|bad| Rejected { row: to_record(to_decoded(bad.row)), ..bad }));
        self.dead_letters += rejected.len() as u64;
        self.bad.take(records, &rejected)?;
        self.shared.spend(Stage::Transform, begun);

        let begun = ThreadTime::now();
        if fitted.batch.num_rows() > 0 {
            runtime().block_on(self.writer.write(fitted.batch))?;
        }
        self.shared.spend(Stage::Write, begun);
        Ok(())
    }
}
