//! What every format hands back.

use arrow::array::ArrayRef;
use frazil_model::Rejected;

/// Which records the rows of the columns are.
#[derive(Debug, PartialEq)]
pub(crate) enum Rows {
    All,
    /// Ascending.
    Some(Vec<u32>),
}

/// Decoded values.
pub(crate) struct Values {
    pub(crate) columns: Vec<ArrayRef>,
    pub(crate) rows: Rows,
    /// Ascending by row.
    pub(crate) rejected: Vec<Rejected>,
}
