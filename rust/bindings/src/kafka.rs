//! Sending to and looking into Kafka: for demos, tests and dead letters.

use std::collections::HashMap;
use std::time::Duration;

use frazil_model::Header;
use frazil_pipeline::{AvroRows, open_producer, send_avro};
use frazil_source::Message;
use parking_lot::Mutex;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use pyo3_arrow::PyRecordBatchReader;

use crate::errors::{raise, run};
use crate::released::Released;
use crate::stream::incoming;

/// librdkafka's mock cluster inside this process.
#[pyclass(frozen, module = "frazil._core")]
pub(crate) struct EmbeddedBroker(Mutex<Option<Released<frazil_source::EmbeddedBroker>>>);

#[pymethods]
impl EmbeddedBroker {
    #[new]
    fn new(py: Python<'_>, topics: HashMap<String, i32>) -> PyResult<Self> {
        run(py, move || {
            let topics: Vec<(&str, i32)> =
                topics.iter().map(|(topic, partitions)| (topic.as_str(), *partitions)).collect();
            frazil_source::EmbeddedBroker::start(&topics)
        })
        .map(|broker| EmbeddedBroker(Mutex::new(Some(Released::new(broker)))))
    }

    #[getter]
    fn bootstrap(&self) -> PyResult<String> {
        let broker = self.0.lock();
        broker.as_ref().map(|broker| broker.bootstrap()).ok_or_else(|| PyRuntimeError::new_err("the broker was closed"))
    }

    fn close(&self, py: Python<'_>) {
        let broker = py.detach(|| self.0.lock().take());
        drop(broker);
    }
}

/// Sends records to Kafka.
#[pyclass(frozen, module = "frazil._core")]
pub(crate) struct Producer(Released<frazil_source::Producer>);

#[pymethods]
impl Producer {
    #[new]
    #[pyo3(signature = (bootstrap, properties=None))]
    fn new(py: Python<'_>, bootstrap: String, properties: Option<HashMap<String, String>>) -> PyResult<Self> {
        run(py, move || open_producer(&bootstrap, &properties.unwrap_or_default()))
            .map(|producer| Producer(Released::new(producer)))
    }

    #[pyo3(signature = (topic, value, *, key=None, partition=None, headers=Vec::new(), timestamp_ms=None))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of the Python call")]
    fn send(
        &self,
        py: Python<'_>,
        topic: &str,
        value: Option<&[u8]>,
        key: Option<&[u8]>,
        partition: Option<i32>,
        headers: Vec<Header>,
        timestamp_ms: Option<i64>,
    ) -> PyResult<()> {
        let message = Message { topic, partition, key, value, headers: &headers, timestamp: timestamp_ms };
        run(py, || self.0.send(message))
    }

    #[pyo3(signature = (topic, rows, *, schema, schema_id, key_column=None, spoil_every=0))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of the Python call")]
    fn send_avro(
        &self,
        py: Python<'_>,
        topic: String,
        rows: PyRecordBatchReader,
        schema: String,
        schema_id: u32,
        key_column: Option<String>,
        spoil_every: u64,
    ) -> PyResult<u64> {
        let reader = rows.into_reader()?;
        let arrow_schema = reader.schema();
        let how = AvroRows { topic, schema, schema_id, key_column, spoil_every };
        run(py, || send_avro(&self.0, &arrow_schema, incoming(reader), &how))
    }

    #[pyo3(signature = (timeout=30.0))]
    fn flush(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        let timeout = Duration::try_from_secs_f64(timeout).unwrap_or_default();
        run(py, || self.0.flush(timeout))
    }
}

/// Reads a topic up to now.
#[pyfunction]
#[pyo3(signature = (bootstrap, topic, properties=None, limit=None))]
pub(crate) fn read_topic<'py>(
    py: Python<'py>,
    bootstrap: String,
    topic: String,
    properties: Option<HashMap<String, String>>,
    limit: Option<usize>,
) -> PyResult<Bound<'py, PyList>> {
    let records = py
        .detach(|| {
            frazil_pipeline::read_topic(
                &bootstrap,
                &topic,
                &properties.unwrap_or_default(),
                limit.unwrap_or(usize::MAX),
            )
        })
        .map_err(|error| raise(py, &error))?;
    let list = PyList::empty(py);
    for row in 0..records.len() {
        let record = PyDict::new(py);
        record.set_item("partition", records.run_of(row).partition)?;
        record.set_item("offset", records.offset(row))?;
        record.set_item("timestamp_ms", records.timestamp(row))?;
        record.set_item("key", records.key(row).map(|key| PyBytes::new(py, key)))?;
        record.set_item("value", records.value(row).map(|value| PyBytes::new(py, value)))?;
        let headers: Vec<_> = records
            .headers(row)
            .iter()
            .map(|(name, value)| (name, value.as_ref().map(|value| PyBytes::new(py, value))))
            .collect();
        record.set_item("headers", headers)?;
        list.append(record)?;
    }
    Ok(list)
}
