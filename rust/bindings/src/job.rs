//! Jobs and job documents.

use std::time::Duration;

use frazil_model::{Source, check_part, yaml};
use frazil_pipeline::JobHandle;
use pyo3::prelude::*;

use crate::convert::{plain, to_python};
use crate::errors::{raise, run};
use crate::stream::ArrowStream;

/// A job that runs in the background.
#[pyclass(frozen, module = "frazil._core")]
pub(crate) struct Job(JobHandle);

#[pymethods]
impl Job {
    #[staticmethod]
    fn start(py: Python<'_>, document: &Bound<'_, PyAny>) -> PyResult<Self> {
        let value = crate::convert::document(py, document)?;
        run(py, move || JobHandle::start(frazil_model::Job::from_document(value)?)).map(Job)
    }

    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let status = py.detach(|| self.0.status());
        to_python(py, &status)
    }

    fn stop(&self) {
        self.0.stop();
    }

    #[pyo3(signature = (timeout=None))]
    fn wait<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let timeout = timeout.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
        match py.detach(|| self.0.wait(timeout)) {
            None => Ok(None),
            Some(Ok(status)) => to_python(py, &status).map(Some),
            Some(Err(error)) => Err(raise(py, &error)),
        }
    }
}

/// Checks a job document and returns it with defaults filled in and secrets masked.
#[pyfunction]
pub(crate) fn validate_job<'py>(py: Python<'py>, document: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let value = crate::convert::document(py, document)?;
    let job = frazil_model::Job::from_document(value).map_err(|error| raise(py, &error))?;
    to_python(py, &job)
}

/// Checks one part of a job document.
#[pyfunction]
pub(crate) fn validate_part<'py>(
    py: Python<'py>,
    part: &str,
    path: &str,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let checked = check_part(part, path, plain(value)?).map_err(|error| raise(py, &error))?;
    to_python(py, &checked)
}

/// YAML (or JSON) as plain values.
#[pyfunction]
pub(crate) fn parse_yaml<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    let value = yaml(text).map_err(|error| raise(py, &error))?;
    to_python(py, &value)
}

/// The JSON Schema of the job document.
#[pyfunction]
pub(crate) fn job_schema(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    to_python(py, &frazil_model::Job::json_schema())
}

/// Reads what is in the source up to now (a job document without `sink`), without a table.
#[pyfunction]
pub(crate) fn read_source(py: Python<'_>, document: &Bound<'_, PyAny>) -> PyResult<ArrowStream> {
    let value = crate::convert::document(py, document)?;
    let stream = run(py, move || {
        let reading = frazil_model::Reading::from_document(value)?;
        let Source::Kafka(kafka) = &reading.source;
        frazil_pipeline::read_source(kafka, &reading.decode, &reading.transform, &reading.errors)
    })?;
    Ok(ArrowStream::new(stream.schema(), Box::new(stream)))
}
