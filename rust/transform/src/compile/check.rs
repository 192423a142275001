//! Refuses what is not row by row, or not the same each time.

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use frazil_model::{Error, Result};

const INSTEAD: &str = "a transform works row by row; aggregate afterwards with lake.sql(…)";

/// Checks a plan as it was written, before the optimiser changes it.
pub(super) fn plan(path: &str, plan: &LogicalPlan) -> Result<()> {
    first(|refuse| {
        plan.apply(|node| {
            if let Some(what) = not_row_wise(node) {
                return refuse(Error::config(path, format!("{what} is not possible: {INSTEAD}")));
            }
            if matches!(node, LogicalPlan::EmptyRelation(_)) {
                return refuse(Error::config(
                    path,
                    "expected 'select … from input …', found a select without 'from input'",
                ));
            }
            let mut found = Ok(());
            node.apply_expressions(|root| {
                found = expr(path, root, true);
                Ok(if found.is_ok() { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
            })?;
            found.map_or_else(refuse, |()| Ok(TreeNodeRecursion::Continue))
        })
    })
}

/// Checks an expression; `repeatable`: it must give the same answer each time.
pub(super) fn expr(path: &str, root: &Expr, repeatable: bool) -> Result<()> {
    first(|refuse| {
        root.apply(|node| {
            let what = match node {
                Expr::AggregateFunction(call) => format!("the aggregate {}()", call.func.name()),
                Expr::WindowFunction(call) => format!("the window function {}()", call.fun.name()),
                Expr::ScalarSubquery(_) | Expr::InSubquery(_) | Expr::Exists(_) | Expr::SetComparison(_) => "a subquery in an expression".to_owned(),
                Expr::Unnest(_) => "unnest() (one row into many)".to_owned(),
                Expr::Placeholder(parameter) => {
                    return refuse(Error::config(path, format!("the parameter {} has no value: write the value itself", parameter.id)));
                }
                Expr::ScalarFunction(call) if repeatable && call.func.signature().volatility != Volatility::Immutable => {
                    let name = call.func.name();
                    return refuse(Error::config(
                        path,
                        format!(
                            "{name}() gives another answer each time, so a task that runs again would not write the same rows: \
                             use a column of the record, such as its timestamp, offset or key"
                        ),
                    ));
                }
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            refuse(Error::config(path, format!("{what} is not possible: {INSTEAD}")))
        })
    })
}

fn not_row_wise(node: &LogicalPlan) -> Option<&'static str> {
    Some(match node {
        LogicalPlan::Projection(_) | LogicalPlan::Filter(_) | LogicalPlan::SubqueryAlias(_) => return None,
        LogicalPlan::TableScan(_) | LogicalPlan::EmptyRelation(_) => return None,
        LogicalPlan::Aggregate(_) => "grouping or aggregating",
        LogicalPlan::Window(_) => "a window function",
        LogicalPlan::Sort(_) => "'order by'",
        LogicalPlan::Limit(_) => "'limit'",
        LogicalPlan::Distinct(_) => "'distinct'",
        LogicalPlan::Join(_) => "a join",
        LogicalPlan::Union(_) => "'union'",
        LogicalPlan::Unnest(_) => "unnest() (one row into many)",
        LogicalPlan::Subquery(_) => "a subquery in an expression",
        LogicalPlan::RecursiveQuery(_) => "a recursive query",
        LogicalPlan::Values(_) => "'values'",
        _ => "this statement",
    })
}

type Visit = datafusion::error::Result<TreeNodeRecursion>;

/// Runs a visitor that may refuse; gives what it refused with.
fn first(visit: impl FnOnce(&dyn Fn(Error) -> Visit) -> Visit) -> Result<()> {
    match visit(&|error| Err(DataFusionError::External(Box::new(error)))) {
        Ok(_) => Ok(()),
        Err(error) => Err(crate::from_datafusion(error)),
    }
}
