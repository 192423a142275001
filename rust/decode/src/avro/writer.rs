//! One writer's schema at work: judged records go straight into arrow-avro's decoder, a batch at a time.

use std::sync::Arc;

use arrow::array::{AsArray, StructArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use arrow_avro::reader::{Decoder, ReaderBuilder};
use arrow_avro::schema::{AvroSchema, Fingerprint, FingerprintAlgorithm, SchemaStore};
use frazil_model::Result;

use super::bytes::Flaw;
use super::judge::{Node, Utf8};
use super::pair::pair;
use super::schema::Schema;
use crate::convert::Shape;
use crate::isolate::{guarded, isolate};

/// What arrow-avro wants in front of each value; the real id was read before.
const PREFIX: [u8; 5] = [0, 0, 0, 0, 1];

/// Batches that check UTF-8 record by record after one that had to be decoded twice for it.
const WARY: u32 = 32;

pub(super) struct Writer {
    node: Node,
    shape: Shape,
    writer: AvroSchema,
    reader: AvroSchema,
    /// `None` after a failure: a decoder that failed holds part of a record.
    decoder: Option<Decoder>,
    rows: Vec<u32>,
    broken: bool,
    wary: u32,
}

impl Writer {
    /// Resolves the schemas; an error says why the writer's records cannot be read.
    pub(super) fn new(writer: &Schema, reader: &Schema) -> Result<Writer, String> {
        let pair = pair(writer, reader)?;
        let mut made = Writer {
            node: pair.node,
            shape: pair.shape,
            writer: AvroSchema::new(pair.writer.to_string()),
            reader: AvroSchema::new(pair.reader.to_string()),
            decoder: None,
            rows: Vec::new(),
            broken: false,
            wary: 0,
        };
        made.decoder = Some(guarded(|| made.decoder())?);
        Ok(made)
    }

    fn decoder(&self) -> Result<Decoder, String> {
        let mut store = SchemaStore::new_with_type(FingerprintAlgorithm::Id);
        store.set(Fingerprint::Id(1), self.writer.clone()).map_err(|error| error.to_string())?;
        let builder = ReaderBuilder::new().with_batch_size(u32::MAX as usize).with_reader_schema(self.reader.clone());
        builder.with_writer_schema_store(store).build_decoder().map_err(|error| error.to_string())
    }

    /// Makes ready for a batch.
    pub(super) fn begin(&mut self) {
        self.rows.clear();
        self.broken = false;
        if self.decoder.as_ref().is_none_or(|decoder| !decoder.batch_is_empty()) {
            self.decoder = self.decoder().ok();
        }
    }

    /// Judges a record and, if it is good, decodes it.
    #[inline]
    pub(super) fn push(&mut self, row: u32, body: &[u8]) -> Result<(), Box<Flaw>> {
        if self.node.judge(body, if self.wary > 0 { Utf8::Check } else { Utf8::Later }).is_err() {
            // The reason must not depend on the batch either, and a record can have several flaws.
            return self.node.judge(body, Utf8::Check);
        }
        self.rows.push(row);
        if !self.broken {
            self.broken = match &mut self.decoder {
                Some(decoder) => guarded(|| feed(decoder, body)).is_err(),
                None => true,
            };
        }
        Ok(())
    }

    /// The rows that were decoded and their values; records that fail after all go to `refuse`.
    pub(super) fn finish<'a>(
        &mut self,
        target: &DataType,
        body: &impl Fn(u32) -> &'a [u8],
        refuse: &mut impl FnMut(u32, String),
    ) -> Vec<(Vec<u32>, StructArray)> {
        let mut rows = std::mem::take(&mut self.rows);
        self.wary = self.wary.saturating_sub(1);
        if rows.is_empty() {
            return Vec::new();
        }
        let decoder = self.decoder.as_mut().filter(|_| !self.broken);
        let whole = decoder.and_then(|decoder| guarded(|| take(decoder, &self.shape, target, rows.len())).ok());
        if let Some(array) = whole {
            return vec![(rows, array)];
        }
        self.decoder = None;
        rows.retain(|row| match self.node.judge(body(*row), Utf8::Check) {
            Ok(()) => true,
            Err(flaw) => {
                self.wary = WARY;
                refuse(*row, flaw.to_string());
                false
            }
        });
        let mut decode = |rows: &[u32]| {
            let mut decoder = self.decoder()?;
            rows.iter().try_for_each(|row| feed(&mut decoder, body(*row)))?;
            take(&mut decoder, &self.shape, target, rows.len())
        };
        isolate(&rows, &mut decode, refuse)
    }
}

/// Decodes one value, which must take exactly its bytes.
#[inline]
fn feed(decoder: &mut Decoder, body: &[u8]) -> Result<(), String> {
    decoder.decode(&PREFIX).map_err(|error| error.to_string())?;
    // arrow-avro waits for more when a value has no bytes at all, so it is shown one that it does not take.
    let (shown, expected) = if body.is_empty() { (&PREFIX[..1], 0) } else { (body, body.len()) };
    match decoder.decode(shown) {
        Ok(taken) if taken == expected => Ok(()),
        Ok(taken) => Err(format!("the value ends after {taken} of {expected} bytes")),
        Err(error) => Err(error.to_string()),
    }
}

fn take(decoder: &mut Decoder, shape: &Shape, target: &DataType, rows: usize) -> Result<StructArray, String> {
    let batch: Option<RecordBatch> = decoder.flush().map_err(|error| error.to_string())?;
    let batch = batch.filter(|batch| batch.num_rows() == rows).ok_or("the values are not one row a record")?;
    let array = shape.apply(Arc::new(StructArray::from(batch)), target).map_err(|error| error.to_string())?;
    Ok(array.as_struct().clone())
}
