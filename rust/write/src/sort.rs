//! Rows in a table's sort order.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{SortColumn, SortOptions, concat, interleave_record_batch, lexsort_to_indices};
use frazil_catalog::from_iceberg;
use frazil_model::Result;
use iceberg::spec::{NullOrder, SortDirection, SortOrder, Transform};
use iceberg::transform::{BoxedTransformFunction, create_transform_function};

use crate::arrow_error;
use crate::column::extract;
use crate::create::unsupported;
use crate::layout::Layout;
use crate::partition::apply;

/// Rows sorted at a time are copied in pieces of so many.
const PIECE_ROWS: usize = 16 << 10;

/// How to sort.
#[derive(Debug)]
pub(crate) struct Sorter {
    pub(crate) order_id: i32,
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    source: Vec<usize>,
    transform: Option<(Transform, BoxedTransformFunction)>,
    options: SortOptions,
}

impl Sorter {
    /// `None` for a table without a sort order.
    pub(crate) fn new(order: &SortOrder, layout: &Layout) -> Result<Option<Self>> {
        if order.is_unsorted() {
            return Ok(None);
        }
        let positions = layout.positions();
        let mut keys = Vec::with_capacity(order.fields.len());
        for field in &order.fields {
            let source = positions.get(&field.source_id).cloned();
            let source = source.ok_or_else(|| unsupported("the table is sorted by a value inside a list or map"))?;
            let transform = match field.transform {
                Transform::Identity => None,
                Transform::Void => continue,
                other => Some((other, create_transform_function(&other).map_err(from_iceberg)?)),
            };
            let options = SortOptions {
                descending: field.direction == SortDirection::Descending,
                nulls_first: field.null_order == NullOrder::First,
            };
            keys.push(Key { source, transform, options });
        }
        let order_id =
            i32::try_from(order.order_id).map_err(|_| unsupported(format!("sort order id {}", order.order_id)))?;
        Ok(Some(Sorter { order_id, keys }))
    }

    /// All rows in order, in batches of moderate size, each copied only when it is asked for.
    pub(crate) fn sorted(&self, batches: &[RecordBatch]) -> Result<impl Iterator<Item = Result<RecordBatch>>> {
        let columns = self.keys.iter().map(|key| key.column(batches)).collect::<Result<Vec<_>>>()?;
        let mut starts = Vec::with_capacity(batches.len());
        let mut rows = 0;
        for batch in batches {
            starts.push(rows);
            rows += batch.num_rows();
        }
        let order: Vec<(usize, usize)> = if columns.is_empty() || rows == 0 {
            batches
                .iter()
                .enumerate()
                .flat_map(|(index, batch)| (0..batch.num_rows()).map(move |row| (index, row)))
                .collect()
        } else {
            let indices = lexsort_to_indices(&columns, None).map_err(arrow_error)?;
            let place = |row: &u32| {
                let row = *row as usize;
                let index = starts.partition_point(|start| *start <= row) - 1;
                (index, row - starts[index])
            };
            indices.values().iter().map(place).collect()
        };
        let pieces: Vec<Vec<(usize, usize)>> = order.chunks(PIECE_ROWS).map(<[_]>::to_vec).collect();
        Ok(pieces.into_iter().map(move |piece| {
            let sources: Vec<&RecordBatch> = batches.iter().collect();
            interleave_record_batch(&sources, &piece).map_err(arrow_error)
        }))
    }
}

impl Key {
    fn column(&self, batches: &[RecordBatch]) -> Result<SortColumn> {
        let parts = batches.iter().map(|batch| {
            let column = extract(batch, &self.source);
            match &self.transform {
                None => Ok(column),
                Some((transform, function)) => apply(*transform, function.as_ref(), column),
            }
        });
        let parts: Vec<ArrayRef> = parts.collect::<Result<_>>()?;
        let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
        let values = concat(&parts).map_err(arrow_error)?;
        Ok(SortColumn { values, options: Some(self.options) })
    }
}
