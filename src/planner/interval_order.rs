//! Intervals are compared and sorted by their lengths, as in PostgreSQL: Arrow compares months, then days, then the
//! rest, and takes 100 hours for less than a day.

use arrow::datatypes::DataType;
use datafusion::common::DFSchema;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::error::Result;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{Between, BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator};
use datafusion::optimizer::AnalyzerRule;

use super::rewriting::rewrite_expressions;
use crate::functions::interval_length;

/// Compares lengths in the place of intervals. Runs after the types have been made equal.
#[derive(Debug)]
pub(super) struct IntervalOrder;

impl AnalyzerRule for IntervalOrder {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let compared =
            plan.transform_up_with_subqueries(|node| rewrite_expressions(node, compare))?;
        let sorted = compared.data.transform_up_with_subqueries(sort)?;
        Ok(sorted.data)
    }

    fn name(&self) -> &str {
        "interval_order"
    }
}

fn compare(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let compares = match &expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            is_comparison(*op) && is_interval(left, schema) && is_interval(right, schema)
        }
        Expr::Between(Between { expr, .. }) | Expr::InList(InList { expr, .. }) => {
            is_interval(expr, schema)
        }
        _ => false,
    };
    if !compares {
        return Ok(Transformed::no(expr));
    }
    let length = |expr: Box<Expr>| Box::new(interval_length(*expr));
    Ok(Transformed::yes(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            Expr::BinaryExpr(BinaryExpr::new(length(left), op, length(right)))
        }
        Expr::Between(Between {
            expr,
            negated,
            low,
            high,
        }) => Expr::Between(Between::new(
            length(expr),
            negated,
            length(low),
            length(high),
        )),
        Expr::InList(InList {
            expr,
            list,
            negated,
        }) => {
            let list = list.into_iter().map(interval_length).collect();
            Expr::InList(InList::new(length(expr), list, negated))
        }
        other => other,
    }))
}

fn sort(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let LogicalPlan::Sort(mut sort) = node else {
        return Ok(Transformed::no(node));
    };
    let schema = sort.input.schema();
    let mut changed = false;
    for key in &mut sort.expr {
        if is_interval(&key.expr, schema) {
            key.expr = interval_length(key.expr.clone());
            changed = true;
        }
    }
    let sort = LogicalPlan::Sort(sort);
    Ok(match changed {
        true => Transformed::yes(sort),
        false => Transformed::no(sort),
    })
}

fn is_comparison(operator: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    matches!(
        operator,
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom
    )
}

fn is_interval(expr: &Expr, schema: &DFSchema) -> bool {
    let of = expr.get_type(schema);
    of.is_ok_and(|of| matches!(of, DataType::Interval(_) | DataType::Duration(_)))
}
