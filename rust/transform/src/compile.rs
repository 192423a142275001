//! From the job's text to steps: parse, refuse what is not row by row, optimise, flatten.

mod check;
mod flatten;

use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::DFSchema;
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::provider_as_source;
use datafusion::error::DataFusionError;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::prelude::SessionConfig;
use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast::Statement as SqlStatement;
use frazil_model::{Error, Result, Transform};
use futures::FutureExt;

use crate::step::Step;
use crate::{from_datafusion, near};

const INPUT: &str = "input";

/// Steps and the columns that they leave.
pub(crate) struct Compiled {
    pub(crate) steps: Vec<Step>,
    pub(crate) schema: SchemaRef,
    /// The part of the job document that an error about the whole belongs to.
    pub(crate) path: &'static str,
}

/// DataFusion's settings wherever Frazil reads SQL: names are exact, strings are `Utf8`.
pub fn session_config() -> SessionConfig {
    let mut config = SessionConfig::new().with_information_schema(false);
    let options = config.options_mut();
    options.sql_parser.enable_ident_normalization = false;
    options.sql_parser.map_string_types_to_utf8view = false;
    config
}

pub(crate) fn compile(transform: &Transform, input: &SchemaRef) -> Result<Compiled> {
    let path = if transform.sql.is_some() { "transform.sql" } else { "transform" };
    if transform.is_empty() {
        return Ok(Compiled { steps: Vec::new(), schema: input.clone(), path });
    }
    let table: Arc<dyn TableProvider> = Arc::new(EmptyTable::new(input.clone()));
    let compiler =
        Compiler { state: SessionStateBuilder::new().with_config(session_config()).with_default_features().build() };
    let plan = match &transform.sql {
        Some(sql) => compiler.sql(sql, table)?,
        None => {
            let scan =
                LogicalPlanBuilder::scan(INPUT, provider_as_source(table), None).map_err(|error| at(path, error))?;
            clauses(&compiler.state, scan, transform, path, true)?.build().map_err(|error| at(path, error))?
        }
    };
    let names = output_names(path, &plan)?;
    let plan = compiler.state.optimize(&plan).map_err(|error| at(path, error))?;
    let schema = Schema::new_with_metadata(
        plan.schema()
            .as_arrow()
            .fields()
            .iter()
            .zip(names)
            .map(|(field, name)| Field::clone(field).with_name(name))
            .collect::<Vec<_>>(),
        input.metadata().clone(),
    );
    let steps = flatten::steps(&plan, compiler.state.execution_props()).map_err(|error| at(path, error))?;
    // A transform that selects everything must cost what an empty one costs.
    let schema = if *input.as_ref() == schema { input.clone() } else { Arc::new(schema) };
    Ok(Compiled { steps, schema, path })
}

/// Any error while compiling is a mistake in the document, at this path.
fn at(path: &str, error: DataFusionError) -> Error {
    Error::config(path, from_datafusion(error).message())
}

struct Compiler {
    state: SessionState,
}

impl Compiler {
    fn sql(&self, sql: &str, table: Arc<dyn TableProvider>) -> Result<LogicalPlan> {
        const PATH: &str = "transform.sql";
        let dialect = self.state.config().options().sql_parser.dialect;
        let statement = self.state.sql_to_statement(sql, &dialect).map_err(|error| at(PATH, error))?;
        if !matches!(&statement, Statement::Statement(inner) if matches!(**inner, SqlStatement::Query(_))) {
            return Err(Error::config(PATH, "expected one 'select … from input …'"));
        }
        let tables = self.state.resolve_table_references(&statement).map_err(|error| at(PATH, error))?;
        if let Some(other) = tables.iter().find(|table| table.to_string() != INPUT) {
            return Err(Error::config(
                PATH,
                format!("no table '{other}'{} the only table here is '{INPUT}'", near(other.table(), &[INPUT])),
            ));
        }
        let schema = self.state.schema_for_ref(INPUT).map_err(|error| at(PATH, error))?;
        schema.register_table(INPUT.to_owned(), table).map_err(|error| at(PATH, error))?;
        let plan = self.state.statement_to_plan(statement).now_or_never();
        let plan = plan.expect("a table in memory is there at once").map_err(|error| at(PATH, error))?;
        check::plan(PATH, &plan)?;
        Ok(plan)
    }
}

/// Adds `with_columns`, `where` and `select` to a plan, in this order; `sql` is not looked at. Errors name the path under
/// `root`. `repeatable` refuses functions that answer differently each time. `query` reads tables with the same words.
///
/// # Errors
/// `Config`, as for [`crate::Transformer::compile`].
pub fn clauses(
    state: &SessionState,
    mut builder: LogicalPlanBuilder,
    transform: &Transform,
    root: &str,
    repeatable: bool,
) -> Result<LogicalPlanBuilder> {
    let under = |key: &str| if root.is_empty() { key.to_owned() } else { format!("{root}.{key}") };
    let parse = |path: &str, text: &str, schema: &DFSchema| {
        let expr = state.create_logical_expr(text, schema).map_err(|error| at(path, error))?;
        check::expr(path, &expr, repeatable)?;
        // Types are checked here, where the path is still known.
        state.create_physical_expr(expr.clone(), schema).map_err(|error| at(path, error))?;
        Ok(expr)
    };
    if !transform.with_columns.is_empty() {
        let schema = builder.schema().clone();
        let mut columns = all(&schema);
        for (name, text) in &transform.with_columns {
            let new = parse(&under(&format!("with_columns.{name}")), text, &schema)?.alias(name);
            match schema.fields().iter().position(|field| field.name() == name) {
                Some(old) => columns[old] = new,
                None => columns.push(new),
            }
        }
        builder = builder.project(columns).map_err(|error| at(&under("with_columns"), error))?;
    }
    if let Some(text) = &transform.filter {
        let path = under("where");
        let predicate = parse(&path, text, builder.schema())?;
        builder = builder.filter(predicate).map_err(|error| at(&path, error))?;
    }
    if !transform.select.is_empty() {
        let schema = builder.schema().clone();
        let mut columns: Vec<Expr> = Vec::new();
        for (index, text) in transform.select.iter().enumerate() {
            match text.trim() {
                "*" => columns.extend(all(&schema)),
                text => {
                    let path = under(&format!("select[{index}]"));
                    let expr = parse(&path, text, &schema)?;
                    // A cast column keeps its name.
                    let name = name_of(&expr).ok_or_else(|| unnamed(&path, text))?.to_owned();
                    columns.push(if matches!(expr, Expr::Column(_) | Expr::Alias(_)) {
                        expr
                    } else {
                        expr.alias(name)
                    });
                }
            }
        }
        unique(&under("select"), columns.iter().filter_map(name_of))?;
        builder = builder.project(columns).map_err(|error| at(&under("select"), error))?;
    }
    Ok(builder)
}

fn all(schema: &DFSchema) -> Vec<Expr> {
    schema.columns().into_iter().map(Expr::Column).collect()
}

/// The names of the output, from the outermost projection.
fn output_names(path: &str, plan: &LogicalPlan) -> Result<Vec<String>> {
    let mut node = plan;
    let names: Vec<String> = loop {
        match node {
            LogicalPlan::Projection(projection) => {
                break projection
                    .expr
                    .iter()
                    .map(|expr| {
                        name_of(expr).map(str::to_owned).ok_or_else(|| unnamed(path, &expr.human_display().to_string()))
                    })
                    .collect::<Result<_>>()?;
            }
            LogicalPlan::SubqueryAlias(alias) => node = &alias.input,
            LogicalPlan::Filter(filter) => node = &filter.input,
            other => break other.schema().fields().iter().map(|field| field.name().clone()).collect(),
        }
    };
    unique(path, names.iter().map(String::as_str))?;
    Ok(names)
}

/// The name that a person would expect: of a column, an alias, or a column that is only cast.
fn name_of(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Column(column) => Some(&column.name),
        Expr::Alias(alias) => Some(&alias.name),
        Expr::Cast(cast) => name_of(&cast.expr),
        Expr::TryCast(cast) => name_of(&cast.expr),
        _ => None,
    }
}

fn unnamed(path: &str, text: &str) -> Error {
    Error::config(path, format!("'{text}' has no name: give it one with 'as', as in '{text} as name'"))
}

fn unique<'a>(path: &str, names: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen = std::collections::HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(Error::config(
                path,
                format!("two columns have the name '{name}': give one of them another name with 'as'"),
            ));
        }
    }
    Ok(())
}
