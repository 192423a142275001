//! Tables in SQL and as streams of Arrow batches, as they are now or were at a snapshot.
//!
//! DataFusion plans and runs; the tables are a provider of our own over the files that the `iceberg` crate plans, read
//! in as many partitions as there are cores. What is decided here: which snapshot, which files, what may be pushed into
//! the reader. Nothing here changes a table: statements that would are refused, with what to use instead.
//!
//! A query loads each table that it names once, before it is planned: it sees the newest snapshot of that moment, and
//! the same one throughout. Names are exact (`userId` is not `userid`), as in transforms.
//!
//! Known limits of the reader underneath: deletion vectors (format version 3) are refused, not ignored; a column that
//! was added after the last commit shows up with the next one.
//!
//! The next room is `pipeline`.

mod as_of;
mod predicate;
mod scan;
mod statement;
mod table;

#[cfg(test)]
mod tests;

use std::pin::Pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::{CatalogProvider, MemoryCatalogProvider, MemoryCatalogProviderList, MemorySchemaProvider};
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream;
use datafusion::sql::TableReference;
use frazil_catalog::{Lake, table_ident};
use frazil_model::{Error, ErrorKind, Result, Transform};
use frazil_transform::from_datafusion;
use futures::{Stream, StreamExt, TryStreamExt};
use iceberg::{NamespaceIdent, TableIdent};

pub use as_of::AsOf;

use statement::Ask;
use table::Provider;

/// How queries run.
#[derive(Debug, Clone, Default)]
pub struct QueryOptions {
    /// Bytes that all queries of an engine together may hold for sorting, joining and grouping; beyond that, what can
    /// be spilled goes to disk, and what cannot fails with `Memory`. No limit if not given.
    pub memory: Option<usize>,
    /// Rows of a batch; 8192 if not given.
    pub batch_rows: Option<usize>,
    /// How many partitions are read at once; as many as there are cores if not given.
    pub partitions: Option<usize>,
}

/// Runs queries over a lake. Cloning is cheap; clones share the memory limit.
#[derive(Clone)]
pub struct Engine {
    lake: Lake,
    runtime: Arc<RuntimeEnv>,
    options: QueryOptions,
}

/// What to read of one table.
#[derive(Debug, Clone, Default)]
pub struct Scan {
    /// `namespace.table`.
    pub table: String,
    /// The state of the table; the newest if not given.
    pub as_of: Option<AsOf>,
    /// New or replaced columns, name and SQL expression.
    pub with_columns: Vec<(String, String)>,
    /// Keep the rows for which this SQL expression is true.
    pub filter: Option<String>,
    /// Keep these columns or named SQL expressions; all if empty.
    pub select: Vec<String>,
    /// At most this many rows.
    pub limit: Option<usize>,
}

/// The rows of an answer, as they come.
pub struct Rows {
    /// The columns.
    pub schema: SchemaRef,
    /// The batches. Dropping the stream stops the query.
    pub stream: Pin<Box<dyn Stream<Item = Result<RecordBatch>> + Send>>,
}

impl Rows {
    /// All rows in memory.
    ///
    /// # Errors
    /// The first error of the stream.
    pub async fn collect(self) -> Result<Vec<RecordBatch>> {
        self.stream.try_collect().await
    }

    fn of(batch: RecordBatch) -> Rows {
        Rows { schema: batch.schema(), stream: futures::stream::iter([Ok(batch)]).boxed() }
    }
}

impl Engine {
    /// An engine over a lake.
    ///
    /// # Errors
    /// `Config` if `batch_rows` or `partitions` is zero.
    pub fn new(lake: Lake, options: QueryOptions) -> Result<Self> {
        for (name, value) in [("batch_rows", options.batch_rows), ("partitions", options.partitions)] {
            if value == Some(0) {
                return Err(Error::config(name, "expected at least 1, found 0"));
            }
        }
        let mut builder = RuntimeEnvBuilder::new();
        if let Some(bytes) = options.memory {
            builder = builder.with_memory_pool(Arc::new(FairSpillPool::new(bytes)));
        }
        let runtime = builder.build_arc().map_err(from_datafusion)?;
        Ok(Engine { lake, runtime, options })
    }

    /// Runs one read-only statement: `select`, `with`, `explain`, `describe`, `show tables`. Tables are named
    /// `namespace.table`, with the catalog's name in front or without.
    ///
    /// # Errors
    /// `Config` for SQL that cannot be parsed, `Schema` for columns and types that do not fit, `NotFound` for tables,
    /// `Unsupported` for statements that write. Errors of reading come with the rows.
    pub async fn sql(&self, query: &str) -> Result<Rows> {
        let state = self.state();
        let statement = match statement::parse(&state, query)? {
            Ask::ShowTables => return self.show_tables().await,
            Ask::Plan(statement) => *statement,
        };
        let mut loaded: Vec<(TableReference, Arc<Provider>)> = Vec::new();
        for reference in statement::tables(&state, &statement)? {
            let ident = self.ident(&reference)?;
            let provider = match loaded.iter().find(|(_, provider)| *provider.ident() == ident) {
                Some((_, provider)) => provider.clone(),
                None => Arc::new(self.provider(&ident, None).await?),
            };
            register(&state, &reference, provider.clone()).map_err(from_datafusion)?;
            loaded.push((reference, provider));
        }
        let plan = state.statement_to_plan(statement).await.map_err(from_datafusion)?;
        statement::verify(&plan)?;
        self.run(&state, plan).await
    }

    /// Reads one table.
    ///
    /// # Errors
    /// `NotFound` for the table or the snapshot, `Config` for expressions, naming which.
    pub async fn scan(&self, request: Scan) -> Result<Rows> {
        let Scan { table, as_of, with_columns, filter, select, limit } = request;
        let ident = table_ident(&table)?;
        let provider = self.provider(&ident, as_of.as_ref()).await?;
        let state = self.state();
        let plan =
            LogicalPlanBuilder::scan(TableReference::bare(ident.name()), provider_as_source(Arc::new(provider)), None);
        let clauses = Transform { sql: None, with_columns: with_columns.into_iter().collect(), filter, select };
        let mut plan = frazil_transform::clauses(&state, plan.map_err(from_datafusion)?, &clauses, "", false)?;
        if limit.is_some() {
            plan = plan.limit(0, limit).map_err(from_datafusion)?;
        }
        let plan = plan.build().map_err(from_datafusion)?;
        self.run(&state, plan).await
    }

    async fn run(&self, state: &SessionState, plan: LogicalPlan) -> Result<Rows> {
        let plan = state.create_physical_plan(&plan).await.map_err(from_datafusion)?;
        let schema = plan.schema();
        let stream = execute_stream(plan, state.task_ctx()).map_err(from_datafusion)?;
        Ok(Rows { schema, stream: stream.map_err(from_datafusion).boxed() })
    }

    async fn provider(&self, ident: &TableIdent, as_of: Option<&AsOf>) -> Result<Provider> {
        let table = self.lake.load_table(ident).await?;
        let snapshot = match as_of {
            Some(as_of) => Some(as_of::resolve(&table, as_of)?),
            None => table.metadata().current_snapshot_id(),
        };
        Provider::new(table, snapshot, self.options.batch_rows)
    }

    /// A session for one query: its own tables, the engine's memory.
    fn state(&self) -> SessionState {
        let mut config = frazil_transform::session_config().with_create_default_catalog_and_schema(false);
        config = config.with_default_catalog_and_schema(self.lake.name(), NO_NAMESPACE);
        if let Some(rows) = self.options.batch_rows {
            config = config.with_batch_size(rows);
        }
        if let Some(partitions) = self.options.partitions {
            config = config.with_target_partitions(partitions);
        }
        SessionStateBuilder::new()
            .with_config(config)
            .with_runtime_env(self.runtime.clone())
            .with_catalog_list(Arc::new(MemoryCatalogProviderList::new()))
            .with_default_features()
            .build()
    }

    /// `namespace.table`, `catalog.namespace.table`, or `outer.inner.table` for a namespace in a namespace.
    fn ident(&self, reference: &TableReference) -> Result<TableIdent> {
        match reference {
            TableReference::Bare { table } => {
                Err(Error::new(ErrorKind::NotFound, format!("no table '{table}': tables are named 'namespace.table'")))
            }
            TableReference::Partial { schema, table } => table_ident(&format!("{schema}.{table}")),
            TableReference::Full { catalog, schema, table } if **catalog == *self.lake.name() => {
                table_ident(&format!("{schema}.{table}"))
            }
            TableReference::Full { catalog, schema, table } => table_ident(&format!("{catalog}.{schema}.{table}")),
        }
    }

    async fn show_tables(&self) -> Result<Rows> {
        let mut names: Vec<(String, String)> = Vec::new();
        for namespace in self.lake.list_namespaces().await? {
            let tables = self.lake.list_tables(&namespace).await?;
            names.extend(tables.iter().map(|ident| (dotted(&namespace), ident.name().to_owned())));
        }
        statement::table_list(names).map(Rows::of)
    }
}

/// The default namespace of a session, where no table is: a table's name always says its namespace.
const NO_NAMESPACE: &str = "";

fn dotted(namespace: &NamespaceIdent) -> String {
    namespace.clone().inner().join(".")
}

fn register(state: &SessionState, reference: &TableReference, provider: Arc<Provider>) -> Result<(), DataFusionError> {
    let options = &state.config_options().catalog;
    let name = reference.clone().resolve(&options.default_catalog, &options.default_schema);
    let catalogs = state.catalog_list();
    let catalog = match catalogs.catalog(&name.catalog) {
        Some(catalog) => catalog,
        None => {
            let catalog: Arc<dyn CatalogProvider> = Arc::new(MemoryCatalogProvider::new());
            catalogs.register_catalog(name.catalog.to_string(), catalog.clone());
            catalog
        }
    };
    let schema = match catalog.schema(&name.schema) {
        Some(schema) => schema,
        None => {
            let schema = Arc::new(MemorySchemaProvider::new());
            catalog.register_schema(&name.schema, schema.clone())?;
            schema
        }
    };
    if !schema.table_exist(&name.table) {
        schema.register_table(name.table.to_string(), provider)?;
    }
    Ok(())
}
