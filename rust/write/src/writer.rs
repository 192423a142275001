//! The writer of a table: rows in, data files out.

use std::sync::Arc;

use arrow::array::RecordBatch;
use frazil_catalog::location::DataLocation;
use frazil_model::{Error, ErrorKind, Result};
use iceberg::spec::{DataFile, Struct};
use iceberg::table::Table;

use crate::budget::{Budget, Membership, Reservation};
use crate::dictionary::Dictionaries;
use crate::file::{OpenFile, Shape, batch_memory};
use crate::layout::Layout;
use crate::metrics::{Mode, NanCounts};
use crate::partition::{Partition, Partitioner};
use crate::path::FileNames;
use crate::properties;
use crate::sort::Sorter;
use crate::upload::{Uploads, delete};

/// Rows of many partitions are gathered up to so many before they are divided: each partition's share is then
/// copied once, in a piece worth having.
const GATHER_ROWS: usize = 64 << 10;
const GATHER_BYTES: usize = 32 << 20;

/// How to write.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// Size at which a file is closed; the table's `write.target-file-size-bytes` if not given.
    pub target_file_size: Option<u64>,
    /// The job's memory, shared with its other writers and stages.
    pub memory: Arc<Budget>,
}

/// What a round has written.
#[derive(Debug, Clone, Default)]
pub struct Written {
    /// The files, all of them in storage, none of them in the table yet.
    pub files: Vec<DataFile>,
    /// Rows in them.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Writes rows into the data files of one table, many partitions at a time.
///
/// Its methods are not cancel-safe: after an error, or a future that was dropped, call [`TableWriter::abort`].
#[derive(Debug)]
pub struct TableWriter {
    shape: Arc<Shape>,
    budget: Arc<Budget>,
    location: DataLocation,
    names: FileNames,
    partitioner: Option<Partitioner>,
    partitions: Vec<Partition>,
    /// The open file of each partition.
    files: Vec<Option<OpenFile>>,
    open: usize,
    held: usize,
    gathered: Vec<RecordBatch>,
    gathered_rows: usize,
    gathered_memory: Reservation,
    uploads: Uploads,
    _share: Membership,
}

impl TableWriter {
    /// A writer for the table's current schema, partition spec and sort order.
    ///
    /// # Errors
    /// `Config` for a table property that has no meaning, `Unsupported` for what this version does not write.
    pub fn new(table: &Table, options: WriteOptions) -> Result<Self> {
        let metadata = table.metadata();
        let schema = metadata.current_schema();
        let layout = Layout::new(schema)?;
        let modes = Mode::of(metadata, &layout)?;
        let limit = options.memory.limit();
        let properties = properties::writer_properties(metadata, &layout, &modes, limit / 4)?;
        let target_size = match options.target_file_size {
            Some(size) => size.max(1),
            None => properties::target_file_size(metadata)?,
        };
        let spec = metadata.default_partition_spec();
        let partitioner = match spec.fields().is_empty() {
            true => None,
            false => Some(Partitioner::new(spec, schema, &layout)?),
        };
        let shape = Shape {
            nans: NanCounts::new(&layout, &modes),
            dictionaries: Dictionaries::new(layout.leaves.iter().map(|leaf| leaf.path.clone())),
            sorter: Sorter::new(metadata.default_sort_order(), &layout)?,
            spec_id: spec.spec_id(),
            target_size,
            sort_bytes: (limit / 4).min(usize::try_from(target_size.saturating_mul(2)).unwrap_or(usize::MAX)),
            layout,
            modes,
            properties,
        };
        let mut writer = TableWriter {
            shape: Arc::new(shape),
            location: DataLocation::new(metadata),
            names: FileNames::new(),
            partitioner,
            partitions: Vec::new(),
            files: Vec::new(),
            open: 0,
            held: 0,
            gathered: Vec::new(),
            gathered_rows: 0,
            gathered_memory: options.memory.reserve(0),
            uploads: Uploads::new(table.file_io().clone()),
            _share: options.memory.join(),
            budget: options.memory,
        };
        writer.begin();
        Ok(writer)
    }

    /// Takes rows, in the schema of the table's [`crate::Fitter`]. Encodes and sends what is ready; over the memory budget it closes
    /// its largest files and waits until their bytes are sent.
    ///
    /// # Errors
    /// `Storage` if something could not be stored, `Schema` if the batch does not have the table's columns.
    pub async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.check(&batch)?;
        let single = match &mut self.partitioner {
            None => Some(0),
            Some(partitioner) => partitioner.single(&batch, &mut self.partitions)?,
        };
        match single {
            Some(partition) => self.add(partition, batch).await?,
            None => {
                self.gathered_rows += batch.num_rows();
                self.gathered_memory.resize(self.gathered_memory.bytes() + batch_memory(&batch));
                self.gathered.push(batch);
                if self.gathered_rows >= GATHER_ROWS || self.gathered_memory.bytes() >= GATHER_BYTES {
                    self.divide().await?;
                }
            }
        }
        self.uploads.collect()?;
        if self.budget.over() { self.relieve().await } else { Ok(()) }
    }

    /// Closes every open file and waits until all are stored. The writer goes on with new files afterwards.
    ///
    /// # Errors
    /// `Storage` if something could not be stored; then call [`TableWriter::abort`].
    pub async fn finish(&mut self) -> Result<Written> {
        self.divide().await?;
        for partition in 0..self.files.len() {
            if self.close(partition).await? {
                // Many small files take a while to encode: let uploads on this thread go on meanwhile.
                tokio::task::yield_now().await;
            }
        }
        let files = self.uploads.finish().await?;
        self.begin();
        let rows = files.iter().map(DataFile::record_count).sum();
        let bytes = files.iter().map(DataFile::file_size_in_bytes).sum();
        Ok(Written { files, rows, bytes })
    }

    /// Gives up everything since the last [`TableWriter::finish`] and deletes what was stored of it. The writer can be used again.
    ///
    /// # Errors
    /// `Storage` if a file could not be deleted. It is in no table; all others are gone.
    pub async fn abort(&mut self) -> Result<()> {
        self.gathered.clear();
        self.gathered_rows = 0;
        self.gathered_memory.resize(0);
        let mut streams = Vec::new();
        for file in self.files.drain(..).flatten() {
            streams.extend(file.give_up());
        }
        for stream in streams {
            stream.give_up().await;
        }
        let deleted = self.uploads.abort().await;
        self.begin();
        deleted
    }

    /// How many files hold rows and are not closed.
    pub fn open_files(&self) -> usize {
        self.open
    }

    /// A new attempt: new file names, no partitions.
    fn begin(&mut self) {
        self.names = FileNames::new();
        self.partitions.clear();
        self.files.clear();
        self.open = 0;
        self.held = 0;
        match &mut self.partitioner {
            Some(partitioner) => partitioner.clear(),
            None => self.partitions.push(Partition { values: Struct::empty(), path: String::new() }),
        }
    }

    fn check(&self, batch: &RecordBatch) -> Result<()> {
        let expected = &self.shape.layout.arrow;
        let fits = batch.num_columns() == expected.fields().len()
            && batch
                .columns()
                .iter()
                .zip(expected.fields())
                .all(|(column, field)| column.data_type() == field.data_type());
        if fits {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Schema,
            format!(
                "expected rows with the columns {expected}, found {}: pass them through the table's fitter",
                batch.schema()
            ),
        ))
    }

    /// Divides what was gathered among the partitions.
    async fn divide(&mut self) -> Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let Some(partitioner) = &mut self.partitioner else {
            return Err(Error::new(ErrorKind::Internal, "rows of an unpartitioned table were gathered"));
        };
        let groups = partitioner.group(&self.gathered, &mut self.partitions)?;
        self.gathered.clear();
        self.gathered_rows = 0;
        self.gathered_memory.resize(0);
        for (partition, rows) in groups {
            self.add(partition, rows).await?;
        }
        Ok(())
    }

    /// Gives rows to a partition's file, in pieces small enough for the file to end near its target size.
    async fn add(&mut self, partition: usize, batch: RecordBatch) -> Result<()> {
        let memory = batch_memory(&batch) as u64;
        let pieces = usize::try_from(memory.saturating_mul(4) / self.shape.target_size).unwrap_or(usize::MAX);
        if pieces < 2 {
            return self.add_piece(partition, batch).await;
        }
        let step = batch.num_rows().div_ceil(pieces).max(1);
        for start in (0..batch.num_rows()).step_by(step) {
            self.add_piece(partition, batch.slice(start, step.min(batch.num_rows() - start))).await?;
        }
        Ok(())
    }

    async fn add_piece(&mut self, partition: usize, batch: RecordBatch) -> Result<()> {
        if self.files.len() < self.partitions.len() {
            self.files.resize_with(self.partitions.len(), || None);
        }
        let file = match &mut self.files[partition] {
            Some(file) => file,
            closed => {
                let directory = Some(self.partitions[partition].path.as_str()).filter(|path| !path.is_empty());
                let path = self.location.file(directory, &self.names.next());
                self.open += 1;
                closed.insert(OpenFile::new(self.shape.clone(), path, &self.budget))
            }
        };
        self.held -= file.memory();
        let full = file.add(batch, &mut self.uploads, &self.budget).await?;
        self.held += file.memory();
        if full {
            self.close(partition).await?;
        }
        Ok(())
    }

    /// Closes a partition's file. Says whether there was one.
    async fn close(&mut self, partition: usize) -> Result<bool> {
        let Some(file) = self.files[partition].take() else { return Ok(false) };
        self.open -= 1;
        self.held -= file.memory();
        let values = self.partitions[partition].values.clone();
        file.close(values, &mut self.uploads, &self.budget).await?;
        Ok(true)
    }

    /// Closes the largest files until enough memory is free, and waits for uploads if that did not do. Ordering the files
    /// takes time, but frees a fifth of the budget each time.
    async fn relieve(&mut self) -> Result<()> {
        self.divide().await?;
        let mut sizes: Vec<(usize, usize)> = self
            .files
            .iter()
            .enumerate()
            .filter_map(|(partition, file)| Some((file.as_ref()?.memory(), partition)))
            .collect();
        sizes.sort_unstable();
        let floor = self.budget.writer_floor();
        while self.budget.used() > self.budget.low_water() && self.held > floor {
            let Some((_, partition)) = sizes.pop() else { break };
            self.close(partition).await?;
        }
        while self.budget.over() && self.uploads.wait_one().await? {}
        Ok(())
    }
}

/// Deletes files that were written but not committed, as far as that is possible: what could not be deleted is logged.
pub async fn delete_files(table: &Table, files: &[DataFile]) {
    let paths = files.iter().map(|file| file.file_path().to_owned()).collect();
    // Each failure was logged with its path.
    let _ = delete(table.file_io(), paths).await;
}

#[cfg(test)]
mod tests;
