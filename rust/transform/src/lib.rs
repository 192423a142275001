//! Columns in, columns out: SQL, `with_columns`, `where` and `select`, compiled once and run batch by batch.
//!
//! DataFusion parses, type-checks and optimises; what runs is a short chain of its physical expressions, called
//! directly on each batch. There is no execution plan, no task and no channel per batch. Nothing here reads or
//! writes anything, and nothing here knows a table: whether the columns fit the table is decided in `write`.
//!
//! **Order.** `with_columns` sees the input's columns (not each other), `where` sees both, `select` comes last.
//! The optimiser moves a filter below new columns where that changes nothing, so work is not done for rows that go.
//!
//! **Rows.** A row on which an expression fails (a cast, a division by zero, an overflow) is rejected alone, with the
//! reason; its neighbours pass. Integer arithmetic that overflows fails; it never wraps around.
//!
//! **Same answer each time.** `now()`, `current_date`, `random()`, `uuid()` and the like are refused. A task may run
//! twice (a lost worker, a refused commit, a replayed dead letter), and only rows made from the record alone are the
//! same rows then: the same partition, the same values, whichever attempt is committed.
//!
//! **Names** are exact: `userId` is not `userid`, with or without quotes. Each output column needs a name of its own.
//!
//! The next room is `write`.

mod compile;
mod errors;
mod output;
mod step;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use frazil_model::{Error, ErrorKind, Rejected, Result, Stage, Transform};

use step::{Flow, Step};

pub use compile::{clauses, session_config};
pub use errors::{from_datafusion, near};

/// A compiled transform. Cloning it is cheap; clones may run on many threads at once.
#[derive(Clone)]
pub struct Transformer(Arc<Inner>);

struct Inner {
    input: SchemaRef,
    output: SchemaRef,
    steps: Vec<Step>,
}

/// What became of a batch.
#[derive(Debug)]
pub struct Transformed {
    /// The rows that passed, with the columns of [`Transformer::schema`].
    pub batch: RecordBatch,
    /// For each row of `batch` its row in the input; `None` where every row passed, in order.
    pub rows: Option<Vec<u32>>,
    /// How many rows were dropped because `where` was not true.
    pub filtered: u64,
    /// The rows on which an expression failed, by their row in the input, ascending.
    pub rejected: Vec<Rejected>,
}

impl Transformer {
    /// Compiles a transform for batches of these columns. An empty transform passes everything on untouched.
    ///
    /// # Errors
    /// `Config`, with the path in the job document: SQL that cannot be parsed, an unknown column or function, types
    /// that do not go together, a construct that is not row by row, two output columns of one name, a type that
    /// Iceberg does not have.
    pub fn compile(transform: &Transform, input: &SchemaRef) -> Result<Transformer> {
        let compiled = compile::compile(transform, input)?;
        let (output, cast) = output::normalise(compiled.path, &compiled.schema)?;
        let mut steps = compiled.steps;
        steps.extend(cast);
        let transformer = Transformer(Arc::new(Inner { input: input.clone(), output, steps }));
        // No rows are enough to find what no row can survive: `cast('abc' as int)`, a kernel that does not exist.
        let mut batch = RecordBatch::new_empty(input.clone());
        for step in &transformer.0.steps {
            batch = step.probe(&batch).map_err(|error| {
                let error = from_datafusion(error);
                Error::config(compiled.path, error.message())
            })?;
        }
        Ok(transformer)
    }

    /// The columns that come out.
    pub fn schema(&self) -> SchemaRef {
        self.0.output.clone()
    }

    /// Whether batches pass untouched.
    pub fn is_identity(&self) -> bool {
        self.0.steps.is_empty() && self.0.input == self.0.output
    }

    /// Runs the transform on a batch. Rows on which it fails come back as rejected, not as an error.
    ///
    /// # Errors
    /// `Schema` if the batch does not have the columns it was compiled for, `Internal` if an expression fails for a
    /// reason that has nothing to do with the row.
    pub fn apply(&self, batch: &RecordBatch) -> Result<Transformed> {
        let Inner { input, output, steps } = &*self.0;
        if !Arc::ptr_eq(input, batch.schema_ref()) {
            same_columns(input, batch.schema_ref())?;
        }
        let mut flow = Flow::new(batch.clone());
        for step in steps {
            step.run(&mut flow)?;
        }
        let Flow { batch, rows, filtered, mut rejected } = flow;
        let batch = relabel(batch, output)?;
        rejected.sort_unstable_by_key(|(row, _)| *row);
        let rejected = rejected
            .into_iter()
            .map(|(row, reason)| Rejected { row: row as usize, stage: Stage::Transform, reason, schema_id: None })
            .collect();
        Ok(Transformed { batch, rows, filtered, rejected })
    }
}

/// Puts the output's names on the columns; the columns themselves are shared.
fn relabel(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if Arc::ptr_eq(schema, batch.schema_ref()) {
        return Ok(batch);
    }
    let rows = batch.num_rows();
    let (_, columns, _) = batch.into_parts();
    step::batch(schema, columns, rows).map_err(from_datafusion)
}

fn same_columns(expected: &SchemaRef, found: &SchemaRef) -> Result<()> {
    let same = expected.fields().len() == found.fields().len()
        && expected.fields().iter().zip(found.fields()).all(|(a, b)| {
            a.name() == b.name() && a.data_type() == b.data_type() && (a.is_nullable() || !b.is_nullable())
        });
    if same {
        return Ok(());
    }
    let list = |schema: &SchemaRef| {
        let fields: Vec<_> =
            schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
        fields.join(", ")
    };
    Err(Error::new(
        ErrorKind::Schema,
        format!(
            "the transform was compiled for the columns ({}), this batch has ({}): compile it again",
            list(expected),
            list(found)
        ),
    ))
}
