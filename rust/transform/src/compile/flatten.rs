//! From an optimised logical plan to steps, the scan first.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::{Expr, LogicalPlan, Operator};
use datafusion::physical_expr::expressions::{BinaryExpr, Column};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr, split_conjunction};

use crate::step::{Filter, Step};

/// The steps of a plan that passed the checks.
pub(super) fn steps(plan: &LogicalPlan, props: &ExecutionProps) -> Result<Vec<Step>> {
    let mut steps = Vec::new();
    flatten(plan, props, &mut steps)?;
    Ok(steps)
}

fn flatten(plan: &LogicalPlan, props: &ExecutionProps, steps: &mut Vec<Step>) -> Result<()> {
    let schema = Arc::new(plan.schema().as_arrow().clone());
    match plan {
        LogicalPlan::TableScan(scan) if scan.fetch.is_none() && scan.filters.is_empty() => {
            if let Some(indices) = &scan.projection {
                let whole = indices.iter().copied().eq(0..scan.source.schema().fields().len());
                if !whole {
                    steps.push(Step::Columns { indices: indices.clone(), schema });
                }
            }
        }
        LogicalPlan::SubqueryAlias(alias) => flatten(&alias.input, props, steps)?,
        LogicalPlan::EmptyRelation(none) if !none.produce_one_row => steps.push(Step::Nothing { schema }),
        LogicalPlan::Filter(filter) => {
            flatten(&filter.input, props, steps)?;
            let predicate = physical(&filter.predicate, &filter.input, props)?;
            let conjuncts = split_conjunction(&predicate).into_iter().cloned().collect();
            steps.push(Step::Filter(Filter { predicate, conjuncts, keep: None }));
        }
        LogicalPlan::Projection(projection) => {
            flatten(&projection.input, props, steps)?;
            let exprs = projection
                .expr
                .iter()
                .map(|expr| physical(expr, &projection.input, props))
                .collect::<Result<Vec<_>>>()?;
            project(exprs, schema, projection.input.schema().as_arrow(), steps)?;
        }
        other => return Err(DataFusionError::NotImplemented(format!("{} in a transform", other.display()))),
    }
    Ok(())
}

fn physical(expr: &Expr, input: &LogicalPlan, props: &ExecutionProps) -> Result<Arc<dyn PhysicalExpr>> {
    strict(create_physical_expr(expr, input.schema(), props)?)
}

/// Integer arithmetic that fails on overflow instead of wrapping around, which DataFusion does by default.
fn strict(expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    let strict = expr.transform_up(|node| {
        let Some(binary) = node.as_any().downcast_ref::<BinaryExpr>() else { return Ok(Transformed::no(node)) };
        if !matches!(binary.op(), Operator::Plus | Operator::Minus | Operator::Multiply) {
            return Ok(Transformed::no(node));
        }
        Ok(Transformed::yes(Arc::new(binary.clone().with_fail_on_overflow(true)) as Arc<dyn PhysicalExpr>))
    })?;
    Ok(strict.data)
}

fn project(exprs: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef, input: &Schema, steps: &mut Vec<Step>) -> Result<()> {
    let columns: Option<Vec<usize>> =
        exprs.iter().map(|expr| Some(expr.as_any().downcast_ref::<Column>()?.index())).collect();
    if let Some(indices) = columns {
        if let Some(Step::Filter(filter)) = steps.last_mut() {
            filter.keep = Some((indices, schema));
        } else if !indices.iter().copied().eq(0..input.fields().len()) {
            steps.push(Step::Columns { indices, schema });
        }
        return Ok(());
    }
    let exprs = match steps.last_mut() {
        Some(Step::Filter(filter)) => narrow(filter, exprs, input)?,
        _ => exprs,
    };
    steps.push(Step::Project { exprs, schema });
    Ok(())
}

/// A filter copies the rows that it keeps: let it leave out the columns that only the filter itself needed.
fn narrow(
    filter: &mut Filter,
    exprs: Vec<Arc<dyn PhysicalExpr>>,
    input: &Schema,
) -> Result<Vec<Arc<dyn PhysicalExpr>>> {
    let mut used: Vec<usize> = exprs.iter().flat_map(collect_columns).map(|column| column.index()).collect();
    used.sort_unstable();
    used.dedup();
    if used.len() == input.fields().len() {
        return Ok(exprs);
    }
    filter.keep = Some((used.clone(), Arc::new(input.project(&used)?)));
    let renumber = |expr: Arc<dyn PhysicalExpr>| {
        let expr = expr.transform_up(|node| {
            let Some(column) = node.as_any().downcast_ref::<Column>() else { return Ok(Transformed::no(node)) };
            let at = used.binary_search(&column.index()).expect("every column was collected");
            Ok(Transformed::yes(Arc::new(Column::new(column.name(), at)) as Arc<dyn PhysicalExpr>))
        })?;
        Ok(expr.data)
    };
    exprs.into_iter().map(renumber).collect()
}
