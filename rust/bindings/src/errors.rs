//! Errors of the core as the exception classes of `frazil.exceptions`.

use frazil_model::{Error, ErrorKind};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The exception for an error: its class by kind, its text as message.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    exception(py, error).unwrap_or_else(|import| import)
}

fn exception(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let class = py.import("frazil.exceptions")?.getattr(error.kind().name())?;
    let context = PyDict::new(py);
    for (key, value) in error.context() {
        context.set_item(key, value)?;
    }
    let fields = PyDict::new(py);
    fields.set_item("context", context)?;
    fields.set_item("retryable", error.is_retryable())?;
    Ok(PyErr::from_value(class.call((error.to_string(),), Some(&fields))?))
}

/// Runs something of the core without the GIL and raises its error.
pub(crate) fn run<T: Send>(py: Python<'_>, work: impl FnOnce() -> frazil_model::Result<T> + Send) -> PyResult<T> {
    py.detach(work).map_err(|error| raise(py, &error))
}

/// The exit code of the command line for an exception class of `frazil.exceptions`.
#[pyfunction]
pub(crate) fn exit_code(exception_name: &str) -> PyResult<u8> {
    ErrorKind::ALL
        .iter()
        .find(|kind| kind.name() == exception_name)
        .map(|kind| kind.exit_code())
        .ok_or_else(|| PyValueError::new_err(format!("no exception of frazil.exceptions is called {exception_name}")))
}
