//! The decoder: a format for the values and the metadata columns behind them, made once from the job's settings.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryBuilder, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use frazil_model::{Decode, Error, ErrorKind, Format, RecordField, Records, Rejected, Result, Stage};

use crate::avro::AvroFormat;
use crate::format::{Rows, Values};
use crate::json::JsonFormat;
use crate::metadata;

/// Offsets in Arrow's strings are 32 bits, so more bytes than these at once might not fit in a column.
const MOST_BYTES: usize = 1 << 30;

/// Makes a batch of rows from a batch of records. It belongs to one thread; [`Decoder::fork`] makes one for another.
pub struct Decoder {
    values: ValueFormat,
    metadata: Arc<[RecordField]>,
    schema: SchemaRef,
}

/// What became of a batch of records: each is a row or rejected.
#[derive(Debug)]
pub struct Decoded {
    /// The rows, in the records' order.
    pub batch: RecordBatch,
    /// The record of each row, ascending; `None` if every record became a row.
    pub rows: Option<Vec<u32>>,
    /// The records that are bad, ascending by row.
    pub rejected: Vec<Rejected>,
}

enum ValueFormat {
    Avro(AvroFormat),
    Json(JsonFormat),
    Raw,
}

impl Decoder {
    /// Whether [`Decoder::open`] wants the first records: JSON without a schema for a table that does not exist.
    pub fn needs_sample(decode: &Decode, table_exists: bool) -> bool {
        matches!(decode.format(), Format::Json(json) if json.schema.is_none() && !table_exists)
    }

    /// Settles the columns. `sample` is only read to infer a JSON schema; `table_schema` is the existing table's, used
    /// for JSON without a schema of its own.
    ///
    /// # Errors
    /// `Config`, `NotFound`, `Schema` or `Unsupported` if there is no usable schema; `Catalog` or `Unauthorized` if
    /// the registry fails.
    pub async fn open(
        decode: &Decode,
        topics: &[String],
        table_schema: Option<SchemaRef>,
        sample: Option<&Records>,
    ) -> Result<Decoder> {
        let (values, fields) = match decode.format() {
            Format::Avro(avro) => {
                let format = AvroFormat::open(avro, topics).await?;
                let fields = format.fields().clone();
                (ValueFormat::Avro(format), fields)
            }
            Format::Json(json) => {
                let ours = |name: &str| decode.metadata.values().any(|column| column == name);
                let format = JsonFormat::open(json, table_schema, sample, ours)?;
                let fields = format.fields().clone();
                (ValueFormat::Json(format), fields)
            }
            Format::Raw(raw) => {
                (ValueFormat::Raw, Fields::from(vec![Field::new(raw.column.as_ref(), DataType::Binary, true)]))
            }
        };
        let mut columns: Vec<Arc<Field>> = fields.iter().cloned().collect();
        for (index, (field, name)) in decode.metadata.iter().enumerate() {
            let path = format!("decode.metadata.{}", field.name());
            if fields.iter().any(|column| column.name() == name) {
                return Err(Error::config(
                    path,
                    format!("the column '{name}' clashes with the value's column '{name}': give it another name"),
                ));
            }
            if let Some((other, _)) = decode.metadata.iter().take(index).find(|(_, other)| *other == name) {
                return Err(Error::config(
                    path,
                    format!(
                        "the column '{name}' clashes with that of decode.metadata.{}: give it another name",
                        other.name()
                    ),
                ));
            }
            columns.push(Arc::new(metadata::column(*field, name)));
        }
        let metadata = decode.metadata.keys().copied().collect();
        Ok(Decoder { values, metadata, schema: Arc::new(Schema::new(columns)) })
    }

    /// The schema of every batch: the value's columns, then the metadata columns.
    pub fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// A decoder for another thread; what the registry has answered is shared.
    pub fn fork(&self) -> Decoder {
        let values = match &self.values {
            ValueFormat::Avro(format) => ValueFormat::Avro(format.fork()),
            ValueFormat::Json(format) => ValueFormat::Json(format.fork()),
            ValueFormat::Raw => ValueFormat::Raw,
        };
        Decoder { values, metadata: self.metadata.clone(), schema: self.schema.clone() }
    }

    /// Decodes every record. Blocks while the registry is asked for an id that was not seen before.
    ///
    /// # Errors
    /// `Catalog`, retryable, if the registry cannot be reached: the records are neither good nor bad then, and the same
    /// call can be made again. `Unauthorized`, `Config` if the registry refuses; `Internal`.
    pub fn decode(&mut self, records: &Records) -> Result<Decoded> {
        if records.bytes() > MOST_BYTES || u32::try_from(records.len()).is_err() {
            let message = format!(
                "expected at most {MOST_BYTES} bytes of records at once, found {}: pass fewer",
                records.bytes()
            );
            return Err(Error::new(ErrorKind::Internal, message));
        }
        let Values { mut columns, rows, rejected } = match &mut self.values {
            ValueFormat::Avro(format) => format.decode(records)?,
            ValueFormat::Json(format) => format.decode(records)?,
            ValueFormat::Raw => Values { columns: vec![raw(records)], rows: Rows::All, rejected: Vec::new() },
        };
        let failed =
            |error| Error::new(ErrorKind::Internal, "the decoded columns do not fit the schema").caused_by(error);
        for field in self.metadata.iter() {
            columns.push(metadata::values(*field, records, &rows).map_err(failed)?);
        }
        let count = match &rows {
            Rows::All => records.len(),
            Rows::Some(rows) => rows.len(),
        };
        debug_assert_eq!(count + rejected.len(), records.len(), "each record is a row or rejected");
        let options = RecordBatchOptions::new().with_row_count(Some(count));
        let batch = RecordBatch::try_new_with_options(self.schema.clone(), columns, &options).map_err(failed)?;
        let rows = match rows {
            Rows::All => None,
            Rows::Some(rows) => Some(rows),
        };
        Ok(Decoded { batch, rows, rejected })
    }
}

/// The values as they are; a tombstone is null.
fn raw(records: &Records) -> ArrayRef {
    let mut values = BinaryBuilder::with_capacity(records.len(), records.bytes());
    (0..records.len()).for_each(|row| values.append_option(records.value(row)));
    Arc::new(values.finish())
}

/// A rejection in this room.
pub(crate) fn rejected(row: usize, reason: impl Into<String>) -> Rejected {
    Rejected { row, stage: Stage::Decode, reason: reason.into(), schema_id: None }
}
