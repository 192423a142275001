//! An open lake: its tables, queries and audits.

use frazil_catalog::table_ident;
use frazil_model::{JobName, Lake as LakeSetting, Result, read};
use frazil_pipeline::runtime;
use frazil_query::{AsOf, Engine, QueryOptions, Rows, Scan};
use iceberg::NamespaceIdent;
use indexmap::IndexMap;
use pyo3::prelude::*;

use crate::convert::{plain, to_python};
use crate::errors::run;
use crate::stream::ArrowStream;

/// An open catalog and its storage.
#[pyclass(frozen, module = "frazil._core")]
pub(crate) struct Lake(frazil_catalog::Lake);

fn arrow(rows: Rows) -> ArrowStream {
    ArrowStream::of_stream(rows.schema, rows.stream)
}

#[pymethods]
impl Lake {
    #[staticmethod]
    fn open(py: Python<'_>, settings: &Bound<'_, PyAny>) -> PyResult<Self> {
        let value = plain(settings)?;
        run(py, move || {
            let setting: LakeSetting = read("lake", value)?;
            runtime().block_on(frazil_catalog::Lake::open(&setting.settings()))
        })
        .map(Lake)
    }

    fn describe(&self) -> String {
        self.0.describe()
    }

    fn namespaces(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        run(py, || {
            let names = runtime().block_on(self.0.list_namespaces())?;
            Ok(names.into_iter().map(|name| name.inner().join(".")).collect())
        })
    }

    #[pyo3(signature = (namespace=None))]
    fn tables(&self, py: Python<'_>, namespace: Option<String>) -> PyResult<Vec<String>> {
        run(py, || runtime().block_on(self.table_names(namespace)))
    }

    fn table_info<'py>(&self, py: Python<'py>, table: &str) -> PyResult<Bound<'py, PyAny>> {
        let info = run(py, || {
            let table = runtime().block_on(self.0.load_table(&table_ident(table)?))?;
            frazil_catalog::table_info(&table)
        })?;
        to_python(py, &info)
    }

    fn drop_table(&self, py: Python<'_>, table: &str) -> PyResult<()> {
        run(py, || runtime().block_on(self.0.drop_table(&table_ident(table)?)))
    }

    #[pyo3(signature = (query, memory=None))]
    fn sql(&self, py: Python<'_>, query: &str, memory: Option<usize>) -> PyResult<ArrowStream> {
        run(py, || {
            let engine = Engine::new(self.0.clone(), QueryOptions { memory, ..QueryOptions::default() })?;
            runtime().block_on(engine.sql(query)).map(arrow)
        })
    }

    #[pyo3(signature = (table, *, select=Vec::new(), with_columns=None, filter=None, limit=None, snapshot_id=None, timestamp_ms=None, r#ref=None))]
    #[allow(clippy::too_many_arguments, reason = "keyword arguments of the Python call")]
    fn scan(
        &self,
        py: Python<'_>,
        table: String,
        select: Vec<String>,
        with_columns: Option<IndexMap<String, String>>,
        filter: Option<String>,
        limit: Option<usize>,
        snapshot_id: Option<i64>,
        timestamp_ms: Option<i64>,
        r#ref: Option<String>,
    ) -> PyResult<ArrowStream> {
        let as_of = snapshot_id.map(AsOf::Snapshot).or(timestamp_ms.map(AsOf::Timestamp)).or(r#ref.map(AsOf::Ref));
        let with_columns = with_columns.unwrap_or_default().into_iter().collect();
        run(py, || {
            let engine = Engine::new(self.0.clone(), QueryOptions::default())?;
            runtime().block_on(engine.scan(Scan { table, as_of, filter, select, with_columns, limit })).map(arrow)
        })
    }

    #[pyo3(signature = (table, job=None))]
    fn audit<'py>(&self, py: Python<'py>, table: &str, job: Option<&str>) -> PyResult<Bound<'py, PyAny>> {
        let reports = run(py, || {
            let job = job.map(str::parse::<JobName>).transpose()?;
            runtime().block_on(async {
                let table = self.0.load_table(&table_ident(table)?).await?;
                frazil_commit::audit(&table, job.as_ref()).await
            })
        })?;
        to_python(py, &reports)
    }
}

impl Lake {
    async fn table_names(&self, namespace: Option<String>) -> Result<Vec<String>> {
        let namespaces = match namespace {
            Some(name) => vec![NamespaceIdent::from_strs(name.split('.')).map_err(frazil_catalog::from_iceberg)?],
            None => self.0.list_namespaces().await?,
        };
        let mut names = Vec::new();
        for namespace in namespaces {
            for ident in self.0.list_tables(&namespace).await? {
                names.push(format!("{}.{}", ident.namespace().as_ref().join("."), ident.name()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }
}
