//! Arrow batches on their way to Python, by the Arrow PyCapsule interface.

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchReader, StructArray};
use arrow::datatypes::{DataType, Field, SchemaRef};
use arrow::error::ArrowError;
use frazil_model::{Error, Result};
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use pyo3_arrow::ffi::{ArrayIterator, to_schema_pycapsule, to_stream_pycapsule};

use crate::errors::raise;

type Batches = Box<dyn Iterator<Item = Result<RecordBatch>> + Send>;

/// Arrow record batches, produced while they are read. Can be consumed once.
#[pyclass(frozen, module = "frazil._core")]
pub(crate) struct ArrowStream {
    schema: SchemaRef,
    batches: Mutex<Option<Batches>>,
    /// What ended the stream: Arrow's stream interface hands on its text only.
    failure: Arc<Mutex<Option<Error>>>,
}

impl ArrowStream {
    /// Batches of an iterator.
    pub(crate) fn new(schema: SchemaRef, batches: Batches) -> Self {
        ArrowStream { schema, batches: Mutex::new(Some(batches)), failure: Arc::default() }
    }

    /// Batches of an asynchronous stream, polled on the runtime a little ahead of their reader.
    pub(crate) fn of_stream(
        schema: SchemaRef,
        mut stream: Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>,
    ) -> Self {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
        frazil_pipeline::runtime().spawn(async move {
            while let Some(batch) = stream.next().await {
                let failed = batch.is_err();
                if sender.send(batch).await.is_err() || failed {
                    break;
                }
            }
        });
        Self::new(schema, Box::new(std::iter::from_fn(move || receiver.blocking_recv())))
    }
}

#[pymethods]
impl ArrowStream {
    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyCapsule>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let batches =
            self.batches.lock().take().ok_or_else(|| {
                PyRuntimeError::new_err("this stream was consumed before; read again for another one")
            })?;
        let field = Arc::new(
            Field::new_struct("", self.schema.fields().clone(), false).with_metadata(self.schema.metadata().clone()),
        );
        let failure = self.failure.clone();
        let arrays = batches.map(move |batch| match batch {
            Ok(batch) => Ok(Arc::new(StructArray::from(batch)) as ArrayRef),
            Err(error) => {
                let text = error.to_string();
                *failure.lock() = Some(error);
                Err(ArrowError::ExternalError(text.into()))
            }
        });
        Ok(to_stream_pycapsule(py, Box::new(ArrayIterator::new(arrays, field)), requested_schema)?)
    }

    /// Raises the error that ended the stream, if one did.
    fn raise_error(&self, py: Python<'_>) -> PyResult<()> {
        self.failure.lock().take().map_or(Ok(()), |error| Err(raise(py, &error)))
    }

    fn __arrow_c_schema__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        let fields = DataType::Struct(self.schema.fields().clone());
        Ok(to_schema_pycapsule(py, Field::new("", fields, false).with_metadata(self.schema.metadata().clone()))?)
    }
}

/// Batches that come from Python.
pub(crate) fn incoming(reader: Box<dyn RecordBatchReader + Send>) -> impl Iterator<Item = Result<RecordBatch>> + Send {
    reader.map(|batch| {
        batch.map_err(|error| {
            Error::new(frazil_model::ErrorKind::Schema, "the Arrow rows could not be read").caused_by(error)
        })
    })
}
