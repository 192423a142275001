//! One column out of a batch, through structs.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, make_array};
use arrow::buffer::NullBuffer;

/// The column at `path`, null wherever a struct around it is null.
pub(crate) fn extract(batch: &RecordBatch, path: &[usize]) -> ArrayRef {
    let mut column = batch.column(path[0]).clone();
    for &index in &path[1..] {
        let parent = column.as_struct();
        let child = parent.column(index);
        column = match parent.nulls() {
            None => child.clone(),
            Some(outer) => {
                let nulls = NullBuffer::union(Some(outer), child.nulls());
                let data = child.to_data().into_builder().nulls(nulls).build();
                make_array(data.expect("only the null mask changed, and it has the column's length"))
            }
        };
    }
    column
}
