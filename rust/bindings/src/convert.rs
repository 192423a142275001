//! Plain values between Python and the core.

use frazil_model::{Document, yaml};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::errors::raise;

/// A mapping, or a string of YAML, as a plain value.
pub(crate) fn document(py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Document> {
    match value.cast::<PyString>() {
        Ok(text) => yaml(text.to_str()?).map_err(|error| raise(py, &error)),
        Err(_) => plain(value),
    }
}

/// Any plain Python value.
pub(crate) fn plain(value: &Bound<'_, PyAny>) -> PyResult<Document> {
    Ok(pythonize::depythonize(value)?)
}

/// Anything serialisable as Python dicts, lists and scalars.
pub(crate) fn to_python<'py>(py: Python<'py>, value: &impl serde::Serialize) -> PyResult<Bound<'py, PyAny>> {
    Ok(pythonize::pythonize(py, value)?)
}
