//! A condition on the rows of a session's window.
//!
//! ```text
//! aggregate(sum(v)) ← filter(c) ← session      filter(n > 0) ← aggregate(sum(v) FILTER c, count FILTER c as n) ← session
//! ```
//! The rows that it leaves out belong to their session all the same: they hold it together. So it
//! becomes each aggregate's FILTER, and a session that has none of its rows is left out afterwards.

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::logical_plan::{Aggregate, Projection, SubqueryAlias};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, col, lit};

use super::window_node::WindowNode;
use crate::types::WindowKind;

/// The condition as a column of the rows.
const CONDITION: &str = "$condition";
/// How many rows of a session the condition lets through.
const ROWS: &str = "$rows";

/// Moves the conditions between sessions and their aggregates into these.
pub(super) fn into_aggregates(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up(|node| match &node {
        LogicalPlan::Aggregate(aggregate) if is_over_session(&aggregate.input) => {
            let (input, condition) = lift(&aggregate.input)?;
            condition.map_or_else(
                || Ok(Transformed::no(node.clone())),
                |condition| Ok(Transformed::yes(conditional(aggregate, input, &condition)?)),
            )
        }
        _ => Ok(Transformed::no(node)),
    })
    .map(|transformed| transformed.data)
}

fn is_over_session(plan: &LogicalPlan) -> bool {
    if let Some(window) = WindowNode::of(plan) {
        return matches!(window.kind, WindowKind::Session { .. });
    }
    match plan {
        LogicalPlan::Filter(filter) => is_over_session(&filter.input),
        LogicalPlan::Projection(projection) => is_over_session(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => is_over_session(&alias.input),
        _ => false,
    }
}

/// The plan without the conditions above its session, and these over its columns.
fn lift(plan: &LogicalPlan) -> Result<(LogicalPlan, Option<Expr>)> {
    match plan {
        LogicalPlan::Filter(filter) => {
            let (input, below) = lift(&filter.input)?;
            let own = filter.predicate.clone();
            let condition = match below {
                Some(below) => below.and(own),
                None => own,
            };
            Ok((input, Some(condition)))
        }
        LogicalPlan::Projection(projection) => {
            let (input, Some(condition)) = lift(&projection.input)? else {
                return Ok((plan.clone(), None));
            };
            let input = with_condition(input, projection.expr.clone(), condition)?;
            Ok((input, Some(col(Column::new_unqualified(CONDITION)))))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let (input, Some(condition)) = lift(&alias.input)? else {
                return Ok((plan.clone(), None));
            };
            let columns = alias.input.schema().columns();
            let columns = columns.into_iter().map(Expr::Column).collect();
            let input = with_condition(input, columns, condition)?;
            let name = alias.alias.clone();
            let input = SubqueryAlias::try_new(Arc::new(input), name.clone())?;
            let condition = col(Column::new(Some(name), CONDITION));
            Ok((LogicalPlan::SubqueryAlias(input), Some(condition)))
        }
        _ => Ok((plan.clone(), None)),
    }
}

fn with_condition(
    input: LogicalPlan,
    mut columns: Vec<Expr>,
    condition: Expr,
) -> Result<LogicalPlan> {
    columns.push(condition.alias(CONDITION));
    let projection = Projection::try_new(columns, Arc::new(input))?;
    Ok(LogicalPlan::Projection(projection))
}

/// The aggregate over the rows that the condition lets through, in sessions of all rows.
fn conditional(node: &Aggregate, input: LogicalPlan, condition: &Expr) -> Result<LogicalPlan> {
    let calls = node.aggr_expr.iter().cloned();
    let mut calls: Vec<Expr> = calls.map(|call| filtered(call, condition)).collect();
    calls.push(filtered(count(lit(1_i64)), condition).alias(ROWS));
    let aggregate = Aggregate::try_new(Arc::new(input), node.group_expr.clone(), calls)?;
    let aggregate = LogicalPlan::Aggregate(aggregate);
    let made = aggregate.schema().columns().into_iter();
    let columns: Vec<Expr> = made
        .zip(node.schema.columns())
        .map(|(made, known)| match made == known {
            true => Expr::Column(made),
            false => Expr::Column(made).alias_qualified(known.relation, known.name),
        })
        .collect();
    LogicalPlanBuilder::from(aggregate)
        .filter(col(Column::new_unqualified(ROWS)).gt(lit(0_i64)))?
        .project(columns)?
        .build()
}

fn filtered(call: Expr, condition: &Expr) -> Expr {
    match call {
        Expr::Alias(mut alias) => {
            alias.expr = Box::new(filtered(*alias.expr, condition));
            Expr::Alias(alias)
        }
        Expr::AggregateFunction(mut call) => {
            let filter = match call.params.filter.take() {
                Some(own) => own.and(condition.clone()),
                None => condition.clone(),
            };
            call.params.filter = Some(Box::new(filter));
            Expr::AggregateFunction(call)
        }
        other => other,
    }
}
