//! A table at one snapshot, as DataFusion sees it: which files, in which partitions.

use std::any::Any;
use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result as DfResult};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use frazil_catalog::from_iceberg;
use frazil_model::{Error, ErrorKind, Result};
use futures::TryStreamExt;
use iceberg::TableIdent;
use iceberg::arrow::schema_to_arrow_schema;
use iceberg::expr::{Bind, Predicate};
use iceberg::scan::FileScanTask;
use iceberg::spec::{SchemaRef as IcebergSchemaRef, Transform};
use iceberg::table::Table;

use crate::predicate;
use crate::scan::{FileScan, Work};

/// A table at a snapshot. A table without a snapshot has no rows.
#[derive(Debug)]
pub(crate) struct Provider {
    table: Table,
    snapshot: Option<i64>,
    batch_rows: Option<usize>,
    iceberg_schema: IcebergSchemaRef,
    schema: SchemaRef,
    /// Columns whose values may be missing in the files though they are not null: the reader gets them right, its row
    /// filter does not, so filters on them may choose files but not rows.
    not_in_files: HashSet<String>,
}

impl Provider {
    pub(crate) fn new(table: Table, snapshot: Option<i64>, batch_rows: Option<usize>) -> Result<Self> {
        let metadata = table.metadata();
        let iceberg_schema = match snapshot.and_then(|id| metadata.snapshot_by_id(id)) {
            Some(snapshot) => snapshot.schema(metadata).map_err(from_iceberg)?,
            None => metadata.current_schema().clone(),
        };
        let schema = Arc::new(schema_to_arrow_schema(&iceberg_schema).map_err(from_iceberg)?);
        let identity = metadata
            .partition_specs_iter()
            .flat_map(|spec| spec.fields())
            .filter(|field| field.transform == Transform::Identity)
            .filter_map(|field| iceberg_schema.name_by_field_id(field.source_id).map(str::to_owned));
        let defaults = iceberg_schema
            .as_struct()
            .fields()
            .iter()
            .filter(|field| field.initial_default.is_some())
            .map(|field| field.name.clone());
        let not_in_files = identity.chain(defaults).collect();
        Ok(Provider { table, snapshot, batch_rows, iceberg_schema, schema, not_in_files })
    }

    pub(crate) fn ident(&self) -> &TableIdent {
        self.table.identifier()
    }

    /// The files that may hold rows for these filters.
    async fn plan(&self, columns: &[String], filters: &[Expr]) -> Result<Vec<FileScanTask>> {
        let Some(snapshot) = self.snapshot else { return Ok(Vec::new()) };
        let wrap = |error| from_iceberg(error).with("table", self.ident());
        let all = |filters: &mut dyn Iterator<Item = &Expr>| {
            filters.filter_map(|filter| predicate::convert(filter, &self.schema)).reduce(Predicate::and)
        };
        let mut scan = self.table.scan().snapshot_id(snapshot).select(columns);
        let by_file = all(&mut filters.iter());
        let by_row = all(&mut filters.iter().filter(|filter| !predicate::touches(filter, &self.not_in_files)));
        if let Some(predicate) = by_file {
            scan = scan.with_filter(predicate);
        }
        let tasks = scan.build().map_err(wrap)?.plan_files().await.map_err(wrap)?;
        let mut tasks: Vec<FileScanTask> = tasks.try_collect().await.map_err(wrap)?;
        let by_row = by_row
            .map(|predicate| predicate.rewrite_not().bind(self.iceberg_schema.clone(), true))
            .transpose()
            .map_err(wrap)?;
        for task in &mut tasks {
            task.predicate = by_row.clone();
            if task.deletes.iter().any(|delete| delete.file_path.ends_with(".puffin")) {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "the table has deletion vectors, which this version does not read",
                )
                .with("table", self.ident()));
            }
        }
        Ok(tasks)
    }
}

#[async_trait]
impl TableProvider for Provider {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DfResult<Vec<TableProviderFilterPushDown>> {
        let push = |filter: &&Expr| match predicate::convert(filter, &self.schema) {
            Some(_) => TableProviderFilterPushDown::Inexact,
            None => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(push).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let schema = match projection {
            Some(indices) => Arc::new(self.schema.project(indices)?),
            None => self.schema.clone(),
        };
        let columns: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        let tasks = self.plan(&columns, filters).await.map_err(|error| DataFusionError::External(Box::new(error)))?;
        let work = Work::divide(tasks, filters.is_empty(), limit, state.config().target_partitions());
        let mut reader = self.table.reader_builder().with_data_file_concurrency_limit(FILES_AT_ONCE);
        if let Some(rows) = self.batch_rows {
            reader = reader.with_batch_size(rows);
        } else {
            reader = reader.with_batch_size(state.config().batch_size());
        }
        Ok(Arc::new(FileScan::new(self.ident().to_string(), schema, reader.build(), work)))
    }
}

/// Files that one partition has open: the next one is opened while one is read.
const FILES_AT_ONCE: usize = 2;
