//! The leaf of a plan: files, divided into partitions, read by the `iceberg` crate's reader.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::EquivalenceProperties;
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet, MetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties};
use frazil_catalog::from_iceberg;
use futures::StreamExt;
use iceberg::arrow::ArrowReader;
use iceberg::scan::FileScanTask;

/// A file is read in pieces only if each has at least this much to do: every piece reads the footer again.
const SMALLEST_PIECE: u64 = 16 << 20;

/// Files divided into partitions of about the same size.
pub(crate) struct Work {
    partitions: Vec<Vec<FileScanTask>>,
    files: usize,
    rows: Precision<usize>,
    bytes: u64,
}

impl Work {
    /// `whole`: no filter, so every row of the files is wanted.
    pub(crate) fn divide(mut tasks: Vec<FileScanTask>, whole: bool, limit: Option<usize>, partitions: usize) -> Self {
        let counted = tasks.iter().all(|task| task.deletes.is_empty() && task.record_count.is_some());
        let rows_of = |task: &FileScanTask| task.record_count.unwrap_or(0);
        if let Some(limit) = limit.filter(|_| whole && counted) {
            // The first files that hold enough rows.
            let mut rows = 0;
            tasks.retain(|task| {
                let wanted = rows < limit as u64;
                rows += rows_of(task);
                wanted
            });
        }
        let rows = tasks.iter().map(rows_of).sum::<u64>() as usize;
        let rows = if whole && counted { Precision::Exact(rows) } else { Precision::Inexact(rows) };
        let (files, bytes) = (tasks.len(), tasks.iter().map(|task| task.length).sum::<u64>());
        let piece = SMALLEST_PIECE.max(bytes / (2 * partitions as u64));
        let mut pieces: Vec<FileScanTask> = tasks.into_iter().flat_map(|task| split(task, piece)).collect();
        // The largest first, each to the partition that has least to do.
        pieces.sort_by_key(|task| std::cmp::Reverse(task.length));
        // A plan without any partition is one that DataFusion's operators do not expect.
        let mut loads: Vec<(u64, Vec<FileScanTask>)> = vec![(0, Vec::new()); partitions.min(pieces.len()).max(1)];
        for task in pieces {
            let least = loads.iter_mut().min_by_key(|(load, _)| *load).expect("there is at least one");
            // Opening a file costs something, however small it is.
            least.0 += task.length + (1 << 20);
            least.1.push(task);
        }
        Work { partitions: loads.into_iter().map(|(_, tasks)| tasks).collect(), files, rows, bytes }
    }
}

/// Cuts a file into byte ranges that cover it. The reader gives a row group to the range that holds its middle, so each
/// is read exactly once, wherever the cuts are.
fn split(task: FileScanTask, piece: u64) -> Vec<FileScanTask> {
    let pieces = task.length / piece;
    if pieces < 2 || task.start != 0 {
        return vec![task];
    }
    let length = task.length;
    (0..pieces)
        .map(|n| {
            let (start, end) = (length * n / pieces, length * (n + 1) / pieces);
            FileScanTask { start, length: end - start, record_count: None, ..task.clone() }
        })
        .collect()
}

/// Reads the files of a table.
pub(crate) struct FileScan {
    table: String,
    schema: SchemaRef,
    reader: ArrowReader,
    work: Work,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl FileScan {
    pub(crate) fn new(table: String, schema: SchemaRef, reader: ArrowReader, work: Work) -> Self {
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema.clone()),
            Partitioning::UnknownPartitioning(work.partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        )
        .with_scheduling_type(SchedulingType::NonCooperative);
        FileScan {
            table,
            schema,
            reader,
            work,
            properties: Arc::new(properties),
            metrics: ExecutionPlanMetricsSet::new(),
        }
    }
}

impl ExecutionPlan for FileScan {
    fn name(&self) -> &str {
        "FileScan"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let tasks = self.work.partitions.get(partition).cloned();
        let tasks = tasks.ok_or_else(|| DataFusionError::Internal(format!("no partition {partition}")))?;
        let table = self.table.clone();
        let failed = move |error| DataFusionError::External(Box::new(from_iceberg(error).with("table", &table)));
        let tasks = futures::stream::iter(tasks.into_iter().map(Ok)).boxed();
        let batches = self.reader.clone().read(tasks).map_err(&failed)?.stream();
        let (schema, metrics) = (self.schema.clone(), BaselineMetrics::new(&self.metrics, partition));
        let batches = batches.map(move |batch| {
            let batch = conform(batch.map_err(&failed)?, &schema)?;
            metrics.record_output(batch.num_rows());
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), batches)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Statistics> {
        let mut statistics = Statistics::new_unknown(&self.schema);
        if partition.is_none() {
            statistics.num_rows = self.work.rows;
            // Compressed and of all columns: good enough to tell a large table from a small one.
            statistics.total_byte_size = Precision::Inexact(self.work.bytes as usize);
        }
        Ok(statistics)
    }
}

/// The columns as the schema has them. The reader gives constants of a partition run-end encoded.
fn conform(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if batch.schema_ref() == schema {
        return Ok(batch);
    }
    let rows = batch.num_rows();
    let (_, columns, _) = batch.into_parts();
    let columns = columns
        .into_iter()
        .zip(schema.fields())
        .map(
            |(column, field)| {
                if column.data_type() == field.data_type() { Ok(column) } else { cast(&column, field.data_type()) }
            },
        )
        .collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new_with_options(
        schema.clone(),
        columns,
        &RecordBatchOptions::new().with_row_count(Some(rows)),
    )?)
}

impl DisplayAs for FileScan {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        write!(
            f,
            "FileScan: table={}, files={}, partitions={}, columns=[{}]",
            self.table,
            self.work.files,
            self.work.partitions.len(),
            columns.join(", ")
        )?;
        match self.work.partitions.iter().flatten().find_map(|task| task.predicate.as_ref()) {
            Some(predicate) => write!(f, ", predicate={predicate}"),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for FileScan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}
