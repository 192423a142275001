//! One open data file: rows that wait, and from a certain size on the encoder that takes them.
//!
//! An encoder's buffers cost megabytes whatever it holds, so a file gets one only when enough rows wait; a file that
//! stays small is encoded in one go when it is closed.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::concat_batches;
use frazil_model::{Error, ErrorKind, Result};
use iceberg::spec::{DataContentType, DataFileBuilder, DataFileFormat, Struct};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterPropertiesBuilder;

use crate::budget::{Budget, Reservation};
use crate::dictionary::Dictionaries;
use crate::layout::Layout;
use crate::metrics::{Mode, NanCounts, add_metrics};
use crate::sort::Sorter;
use crate::upload::{Sink, Stream, Uploads};
use crate::{arrow_error, parquet_error};

/// Waiting bytes at which a file gets its encoder.
const OPEN_BYTES: usize = 8 << 20;
/// Waiting bytes that an encoder is given at once.
const FEED_BYTES: usize = 1 << 20;
/// Batches of fewer rows than this on average are joined before they are encoded.
const JOIN_ROWS: usize = 256;

/// What all files of a table share.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) layout: Layout,
    pub(crate) modes: Vec<Mode>,
    pub(crate) nans: NanCounts,
    pub(crate) properties: WriterPropertiesBuilder,
    pub(crate) dictionaries: Dictionaries,
    pub(crate) sorter: Option<Sorter>,
    pub(crate) spec_id: i32,
    pub(crate) target_size: u64,
    /// Waiting bytes at which a sorted file is closed: its rows are in memory until they are sorted.
    pub(crate) sort_bytes: usize,
}

/// An open data file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    shape: Arc<Shape>,
    path: String,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    waiting_rows: usize,
    encoder: Option<Encoder>,
    nans: NanCounts,
    held: Reservation,
}

#[derive(Debug)]
struct Encoder {
    writer: ArrowWriter<Sink>,
    stream: Option<Stream>,
}

impl OpenFile {
    pub(crate) fn new(shape: Arc<Shape>, path: String, budget: &Arc<Budget>) -> Self {
        let nans = shape.nans.clone();
        let held = budget.reserve(0);
        OpenFile { shape, path, waiting: Vec::new(), waiting_bytes: 0, waiting_rows: 0, encoder: None, nans, held }
    }

    /// Bytes that this file holds.
    pub(crate) fn memory(&self) -> usize {
        self.held.bytes()
    }

    /// Takes rows. Says whether the file has reached its size.
    pub(crate) async fn add(
        &mut self,
        batch: RecordBatch,
        uploads: &mut Uploads,
        budget: &Arc<Budget>,
    ) -> Result<bool> {
        self.waiting_bytes += batch_memory(&batch);
        self.waiting_rows += batch.num_rows();
        self.waiting.push(batch);
        if self.shape.sorter.is_some() {
            self.account();
            return Ok(self.waiting_bytes >= self.shape.sort_bytes);
        }
        let enough = match self.encoder {
            Some(_) => FEED_BYTES,
            None => OPEN_BYTES,
        };
        let target = usize::try_from(self.shape.target_size).unwrap_or(usize::MAX);
        if self.waiting_bytes >= enough.min(target) {
            self.feed(uploads, budget).await?;
        }
        self.account();
        Ok(self.encoder.as_ref().is_some_and(|encoder| encoder.size() >= self.shape.target_size))
    }

    /// Encodes everything that waits, and sends complete pieces.
    async fn feed(&mut self, uploads: &mut Uploads, budget: &Arc<Budget>) -> Result<()> {
        let mut waiting = std::mem::take(&mut self.waiting);
        let rows = std::mem::take(&mut self.waiting_rows);
        self.waiting_bytes = 0;
        let mut encoder = match self.encoder.take() {
            Some(encoder) => encoder,
            None => Encoder::new(&self.shape)?,
        };
        if let Some(sorter) = &self.shape.sorter {
            for batch in sorter.sorted(&waiting)? {
                encoder.write(&batch?, &mut self.nans)?;
                encoder.drain(&self.path, uploads, budget).await?;
            }
        } else {
            if waiting.len() > 1 && rows / waiting.len() < JOIN_ROWS {
                waiting = vec![concat_batches(&self.shape.layout.arrow, &waiting).map_err(arrow_error)?];
            }
            for batch in waiting {
                encoder.write(&batch, &mut self.nans)?;
                encoder.drain(&self.path, uploads, budget).await?;
            }
        }
        self.encoder = Some(encoder);
        Ok(())
    }

    /// Drops all rows; the upload that was begun, if any, is left to be given up too.
    pub(crate) fn give_up(self) -> Option<Stream> {
        self.encoder.and_then(|encoder| encoder.stream)
    }

    fn account(&mut self) {
        let encoder = self.encoder.as_ref().map_or(0, Encoder::memory);
        self.held.resize(self.waiting_bytes + encoder);
    }

    /// Encodes the rest and hands the file to the uploads.
    pub(crate) async fn close(mut self, partition: Struct, uploads: &mut Uploads, budget: &Arc<Budget>) -> Result<()> {
        if self.encoder.is_none() || !self.waiting.is_empty() {
            self.feed(uploads, budget).await?;
        }
        let Some(mut encoder) = self.encoder.take() else {
            return Err(Error::new(ErrorKind::Internal, "a fed file has no encoder"));
        };
        let parquet = encoder.writer.finish().map_err(parquet_error)?;
        encoder.drain(&self.path, uploads, budget).await?;
        self.shape.dictionaries.learn(&parquet);
        let size = encoder.writer.bytes_written() as u64;
        let file = self.data_file(&parquet, partition, size)?;
        let rest = encoder.writer.inner_mut().rest();
        let mut held = self.held;
        held.resize(rest.len());
        match encoder.stream {
            None => uploads.put(file, rest, held),
            Some(mut stream) => {
                if !rest.is_empty() {
                    stream.send(rest, held).await?;
                }
                uploads.end(stream, file);
                Ok(())
            }
        }
    }

    fn data_file(&self, parquet: &ParquetMetaData, partition: Struct, size: u64) -> Result<iceberg::spec::DataFile> {
        let rows = u64::try_from(parquet.file_metadata().num_rows()).unwrap_or_default();
        let mut file = DataFileBuilder::default();
        file.content(DataContentType::Data)
            .file_path(self.path.clone())
            .file_format(DataFileFormat::Parquet)
            .partition(partition)
            .partition_spec_id(self.shape.spec_id)
            .record_count(rows)
            .file_size_in_bytes(size);
        if let Some(sorter) = &self.shape.sorter {
            file.sort_order_id(sorter.order_id);
        }
        add_metrics(&mut file, parquet, &self.shape.layout, &self.shape.modes, &self.nans)?;
        file.build().map_err(|error| {
            Error::new(ErrorKind::Internal, "a data file's description is incomplete").caused_by(error)
        })
    }
}

impl Encoder {
    fn new(shape: &Shape) -> Result<Self> {
        let options = ArrowWriterOptions::new()
            .with_properties(shape.dictionaries.apply(shape.properties.clone()).build())
            // The table's schema says what the columns are; Arrow's would only make the footer larger.
            .with_skip_arrow_metadata(true)
            .with_parquet_schema(shape.layout.parquet.clone());
        let writer = ArrowWriter::try_new_with_options(Sink::default(), shape.layout.arrow.clone(), options);
        Ok(Encoder { writer: writer.map_err(parquet_error)?, stream: None })
    }

    fn write(&mut self, batch: &RecordBatch, nans: &mut NanCounts) -> Result<()> {
        nans.add(batch);
        self.writer.write(batch).map_err(parquet_error)
    }

    /// Size of the file so far, the row group that is being encoded included.
    fn size(&self) -> u64 {
        (self.writer.bytes_written() + self.writer.in_progress_size()) as u64
    }

    fn memory(&self) -> usize {
        self.writer.memory_size() + self.writer.inner().memory()
    }

    async fn drain(&mut self, path: &str, uploads: &mut Uploads, budget: &Arc<Budget>) -> Result<()> {
        while let Some(piece) = self.writer.inner_mut().next_piece() {
            let stream = match &mut self.stream {
                Some(stream) => stream,
                None => self.stream.insert(uploads.stream(path)?),
            };
            let held = budget.reserve(piece.len());
            stream.send(piece, held).await?;
        }
        Ok(())
    }
}

/// Bytes that a batch keeps in memory. A slice of a large batch counts its own rows twice at most: the rest of the buffers
/// is held by the others too.
pub(crate) fn batch_memory(batch: &RecordBatch) -> usize {
    let sliced: usize = batch
        .columns()
        .iter()
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or(usize::MAX / 1024))
        .sum();
    batch.get_array_memory_size().min(sliced.saturating_mul(2))
}
