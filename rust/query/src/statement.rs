//! What a statement may be: one that reads.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use datafusion::execution::context::SQLOptions;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::TableReference;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as Sql;
use frazil_model::{Error, ErrorKind, Result};
use frazil_transform::from_datafusion;

/// What is asked for.
pub(crate) enum Ask {
    /// Something to plan.
    Plan(Box<Statement>),
    /// The names of all tables.
    ShowTables,
}

pub(crate) fn parse(state: &SessionState, query: &str) -> Result<Ask> {
    let dialect = state.config().options().sql_parser.dialect;
    let statement = state.sql_to_statement(query, &dialect).map_err(from_datafusion)?;
    match &statement {
        Statement::Statement(inner) if matches!(**inner, Sql::ShowTables { .. }) => Ok(Ask::ShowTables),
        _ => {
            read_only(&statement)?;
            Ok(Ask::Plan(Box::new(statement)))
        }
    }
}

fn read_only(statement: &Statement) -> Result<()> {
    match statement {
        Statement::Explain(explain) => read_only(&explain.statement),
        Statement::Statement(inner) => match &**inner {
            Sql::Query(_) | Sql::ExplainTable { .. } => Ok(()),
            Sql::Insert(_) | Sql::Merge { .. } => {
                Err(refused("writing", "use lake.read(…).write(\"namespace.table\")"))
            }
            Sql::Update { .. } | Sql::Delete(_) | Sql::Truncate { .. } => {
                Err(refused("changing rows", "this version only appends"))
            }
            Sql::CreateTable(_) => {
                Err(refused("creating a table", "lake.read(…).write(\"namespace.table\") creates it"))
            }
            other => {
                let text = other.to_string();
                let first = text.split_whitespace().next().unwrap_or_default().to_lowercase();
                Err(refused(&format!("'{first}'"), INSTEAD))
            }
        },
        _ => Err(refused("this statement", INSTEAD)),
    }
}

/// A query can still hide a statement that writes: `select … into`, or an insert as its body.
pub(crate) fn verify(plan: &LogicalPlan) -> Result<()> {
    let options = SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false);
    options.verify_plan(plan).map_err(|_| refused("this statement", INSTEAD))
}

const INSTEAD: &str = "use select, with, explain, describe or show tables";

fn refused(what: &str, instead: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{what} is not possible in lake.sql(…), which only reads: {instead}"))
}

/// The tables that a statement names. Table functions, such as `generate_series`, are not tables.
pub(crate) fn tables(state: &SessionState, statement: &Statement) -> Result<Vec<TableReference>> {
    let mut tables = state.resolve_table_references(statement).map_err(from_datafusion)?;
    tables.retain(
        |table| !matches!(table, TableReference::Bare { table } if state.table_functions().contains_key(&**table)),
    );
    Ok(tables)
}

pub(crate) fn table_list(names: Vec<(String, String)>) -> Result<RecordBatch> {
    let (namespaces, tables): (Vec<String>, Vec<String>) = names.into_iter().unzip();
    let columns = [("namespace", namespaces), ("table", tables)];
    let columns = columns.map(|(name, values)| (name, Arc::new(StringArray::from(values)) as ArrayRef, false));
    RecordBatch::try_from_iter_with_nullable(columns)
        .map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))
}
