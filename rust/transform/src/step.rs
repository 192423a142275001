//! The steps of a compiled transform: evaluate, and on failure find the rows that fail.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBufferBuilder, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{FilterBuilder, concat, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::physical_expr::PhysicalExpr;
use frazil_model::{Error, ErrorKind, Result};

use crate::from_datafusion;

type Expr = Arc<dyn PhysicalExpr>;

/// A batch on its way through the steps.
pub(crate) struct Flow {
    pub(crate) batch: RecordBatch,
    /// Rows of the input that `batch` holds; `None` while it holds all.
    pub(crate) rows: Option<Vec<u32>>,
    pub(crate) filtered: u64,
    pub(crate) rejected: Vec<(u32, String)>,
}

impl Flow {
    pub(crate) fn new(batch: RecordBatch) -> Self {
        Flow { batch, rows: None, filtered: 0, rejected: Vec::new() }
    }

    fn row(&self, row: usize) -> u32 {
        self.rows.as_ref().map_or(row as u32, |rows| rows[row])
    }

    fn reject(&mut self, row: usize, reason: String) {
        let row = self.row(row);
        self.rejected.push((row, reason));
    }

    /// Keeps the rows of the mask and puts `batch`, which holds just these, in place.
    fn keep(&mut self, mask: &BooleanBuffer, batch: RecordBatch) {
        self.rows = Some(mask.set_indices().map(|row| self.row(row)).collect());
        self.batch = batch;
    }
}

/// One step. Row-wise: what it makes of a row depends on that row alone.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Some of the columns, shared, not copied.
    Columns { indices: Vec<usize>, schema: SchemaRef },
    /// Expressions, one for each column of the schema.
    Project { exprs: Vec<Expr>, schema: SchemaRef },
    /// The rows for which a predicate is true.
    Filter(Filter),
    /// No row at all: the predicate was found to be never true.
    Nothing { schema: SchemaRef },
}

/// A predicate, and the columns that are still needed behind it.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    pub(crate) predicate: Expr,
    /// The parts that are joined by `and`, in the order in which they were written.
    pub(crate) conjuncts: Vec<Expr>,
    pub(crate) keep: Option<(Vec<usize>, SchemaRef)>,
}

impl Step {
    pub(crate) fn run(&self, flow: &mut Flow) -> Result<()> {
        match self {
            Step::Columns { indices, schema } => {
                flow.batch = pick(&flow.batch, indices, schema).map_err(from_datafusion)?;
                Ok(())
            }
            Step::Nothing { schema } => {
                flow.filtered += flow.batch.num_rows() as u64;
                let none = BooleanBuffer::new_unset(flow.batch.num_rows());
                flow.keep(&none, RecordBatch::new_empty(schema.clone()));
                Ok(())
            }
            Step::Filter(filter) => filter.run(flow),
            Step::Project { exprs, schema } => match project(exprs, schema, &flow.batch) {
                Ok(batch) => {
                    flow.batch = batch;
                    Ok(())
                }
                Err(error) if is_of_a_row(&error) => project_by_row(exprs, schema, flow),
                Err(error) => Err(not_of_a_row(error)),
            },
        }
    }

    /// Runs it on no rows, for the errors that come from no row.
    pub(crate) fn probe(&self, batch: &RecordBatch) -> DfResult<RecordBatch> {
        match self {
            Step::Columns { indices, schema } => pick(batch, indices, schema),
            Step::Nothing { schema } => Ok(RecordBatch::new_empty(schema.clone())),
            Step::Project { exprs, schema } => project(exprs, schema, batch),
            Step::Filter(filter) => {
                mask(&filter.predicate, batch)?;
                filter.columns(batch)
            }
        }
    }
}

impl Filter {
    fn run(&self, flow: &mut Flow) -> Result<()> {
        match mask(&self.predicate, &flow.batch) {
            Ok(mask) => self.take(flow, mask.values(), 0),
            Err(error) if is_of_a_row(&error) => self.run_by_row(flow),
            Err(error) => Err(not_of_a_row(error)),
        }
    }

    /// Each part of the predicate on the rows that are still in: `a <> 0 and b / a > 2` fails on no row.
    fn run_by_row(&self, flow: &mut Flow) -> Result<()> {
        let rows = flow.batch.num_rows();
        let mut alive: Vec<usize> = (0..rows).collect();
        let mut failed = 0;
        for conjunct in &self.conjuncts {
            let all = flag(rows, &alive);
            let batch = select(&flow.batch, &all)?;
            let (pieces, bad) = isolate(&batch, &|slice| mask(conjunct, slice))?;
            let passed = pieces
                .iter()
                .flat_map(|(at, mask)| mask.values().set_indices().map(|row| alive[at.start + row]))
                .collect();
            failed += bad.len() as u64;
            for (row, error) in bad {
                flow.reject(alive[row], from_datafusion(error).message().to_owned());
            }
            alive = passed;
        }
        self.take(flow, &flag(rows, &alive), failed)
    }

    fn take(&self, flow: &mut Flow, mask: &BooleanBuffer, failed: u64) -> Result<()> {
        let (rows, passed) = (mask.len(), mask.count_set_bits());
        flow.filtered += (rows - passed) as u64 - failed;
        let batch = self.columns(&flow.batch).map_err(from_datafusion)?;
        if passed == rows {
            flow.batch = batch;
        } else {
            let batch = select(&batch, mask)?;
            flow.keep(mask, batch);
        }
        Ok(())
    }

    fn columns(&self, batch: &RecordBatch) -> DfResult<RecordBatch> {
        match &self.keep {
            Some((indices, schema)) => pick(batch, indices, schema),
            None => Ok(batch.clone()),
        }
    }
}

fn project(exprs: &[Expr], schema: &SchemaRef, input: &RecordBatch) -> DfResult<RecordBatch> {
    let columns =
        exprs.iter().map(|expr| expr.evaluate(input)?.into_array(input.num_rows())).collect::<DfResult<_>>()?;
    batch(schema, columns, input.num_rows())
}

fn project_by_row(exprs: &[Expr], schema: &SchemaRef, flow: &mut Flow) -> Result<()> {
    let input = flow.batch.clone();
    let (pieces, bad) = isolate(&input, &|slice| project(exprs, schema, slice))?;
    let mut good = BooleanBufferBuilder::new(input.num_rows());
    good.append_n(input.num_rows(), true);
    for (row, error) in bad {
        good.set_bit(row, false);
        let column = failing(exprs, schema, &input.slice(row, 1));
        flow.reject(row, format!("column '{column}': {}", from_datafusion(error).message()));
    }
    let good = good.finish();
    let columns = (0..schema.fields().len())
        .map(|at| {
            let parts: Vec<&dyn Array> = pieces.iter().map(|(_, piece)| piece.column(at).as_ref()).collect();
            if parts.is_empty() {
                Ok(arrow::array::new_empty_array(schema.field(at).data_type()))
            } else {
                concat(&parts)
            }
        })
        .collect::<Result<Vec<ArrayRef>, ArrowError>>()
        .map_err(arrow_failed)?;
    let output = batch(schema, columns, good.count_set_bits()).map_err(from_datafusion)?;
    if good.count_set_bits() == good.len() {
        flow.batch = output;
    } else {
        flow.keep(&good, output);
    }
    Ok(())
}

fn failing(exprs: &[Expr], schema: &SchemaRef, row: &RecordBatch) -> String {
    let at = exprs.iter().position(|expr| expr.evaluate(row).is_err());
    at.map_or_else(|| "?".to_owned(), |at| schema.field(at).name().clone())
}

type Pieces<T> = Vec<(Range<usize>, T)>;
type Bad = Vec<(usize, DataFusionError)>;

/// Halves a failing batch until the failures are single rows: the results of the good pieces, in order, and the bad
/// rows. Results are kept and not computed again on the good rows together, because an expression may well fail on
/// many rows at once and on none of them alone (a division that a `case` beside it guards).
fn isolate<T>(batch: &RecordBatch, eval: &dyn Fn(&RecordBatch) -> DfResult<T>) -> Result<(Pieces<T>, Bad)> {
    let (mut pieces, mut bad) = (Vec::new(), Vec::new());
    // A stack instead of recursion; the left half is on top, so pieces come in order.
    let whole = 0..batch.num_rows();
    let mut todo = vec![whole];
    while let Some(range) = todo.pop() {
        if range.is_empty() {
            continue;
        }
        match eval(&batch.slice(range.start, range.len())) {
            Ok(result) => pieces.push((range, result)),
            Err(error) if !is_of_a_row(&error) => return Err(not_of_a_row(error)),
            Err(error) if range.len() == 1 => bad.push((range.start, error)),
            Err(_) => {
                let middle = range.start + range.len() / 2;
                todo.push(middle..range.end);
                todo.push(range.start..middle);
            }
        }
    }
    Ok((pieces, bad))
}

/// Where the predicate is true: null is not true.
fn mask(predicate: &Expr, batch: &RecordBatch) -> DfResult<BooleanArray> {
    let array = predicate.evaluate(batch)?.into_array(batch.num_rows())?;
    let Some(mask) = array.as_boolean_opt() else {
        return Err(DataFusionError::Internal(format!("a predicate gave {}", array.data_type())));
    };
    Ok(if mask.null_count() == 0 { mask.clone() } else { prep_null_mask_filter(mask) })
}

fn flag(len: usize, rows: &[usize]) -> BooleanBuffer {
    let mut flags = BooleanBufferBuilder::new(len);
    flags.append_n(len, false);
    for row in rows {
        flags.set_bit(*row, true);
    }
    flags.finish()
}

fn select(batch: &RecordBatch, mask: &BooleanBuffer) -> Result<RecordBatch> {
    let mask = BooleanArray::new(mask.clone(), None);
    let builder = FilterBuilder::new(&mask);
    // Worth it only where several columns share the work.
    let builder = if batch.num_columns() > 1 { builder.optimize() } else { builder };
    builder.build().filter_record_batch(batch).map_err(arrow_failed)
}

fn pick(input: &RecordBatch, indices: &[usize], schema: &SchemaRef) -> DfResult<RecordBatch> {
    let columns = indices.iter().map(|at| input.column(*at).clone()).collect();
    batch(schema, columns, input.num_rows())
}

/// A batch that may have no columns, only rows.
pub(crate) fn batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> DfResult<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

fn arrow_failed(error: ArrowError) -> Error {
    from_datafusion(error.into())
}

/// Whether a value can be the reason. If not, every row would be rejected for a mistake that is not the row's.
fn is_of_a_row(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::Execution(_) => true,
        DataFusionError::ArrowError(inner, _) => !matches!(
            **inner,
            ArrowError::NotYetImplemented(_)
                | ArrowError::MemoryError(_)
                | ArrowError::IoError(..)
                | ArrowError::SchemaError(_)
        ),
        _ => false,
    }
}

fn not_of_a_row(error: DataFusionError) -> Error {
    let error = from_datafusion(error);
    Error::new(ErrorKind::Internal, format!("the transform could not be evaluated: {}", error.message()))
}
