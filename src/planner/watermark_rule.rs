//! What `WATERMARK FOR ts AS ..` may say: a time that follows from the row, and no other.

use std::ops::ControlFlow;

use arrow::datatypes::{DataType, Field};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::logical_expr::{Expr, ExprSchemable};
use sqlparser::ast::Expr as SqlExpr;

use super::now::is_now;
use super::place::places;
use super::window_relation::position;
use crate::catalog::{WatermarkDefinition, sql_type_name};
use crate::error::{Culprit, Error, Position, Result, SqlState, from_datafusion};
use crate::sql::{interval, walk};

/// Refuses what cannot be seen by its text alone: sub-queries, and lengths that are not fixed.
///
/// # Errors
/// With the place of the part that cannot be.
pub(super) fn check_text(watermark: &WatermarkDefinition) -> Result<()> {
    let example = example(watermark);
    let checked = walk::expressions(&watermark.expr, |expr| match expr {
        SqlExpr::Subquery(_) | SqlExpr::Exists { .. } | SqlExpr::InSubquery { .. } => {
            let error = Error::user(
                SqlState::FeatureNotSupported,
                "a sub-query cannot be used in a watermark",
            );
            ControlFlow::Break(error.hint(example.clone()).at(position(expr)))
        }
        SqlExpr::Interval(length) => match interval::of_expr(expr) {
            Some(Err(error)) => ControlFlow::Break(error.at(position(&*length.value))),
            _ => ControlFlow::Continue(()),
        },
        _ => ControlFlow::Continue(()),
    });
    match checked {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// Refuses what is no time, or is not the row's own. `rule` is the planned expression, over the
/// columns `names`.
///
/// # Errors
/// With the place of the part that cannot be.
pub(super) fn check(watermark: &WatermarkDefinition, rule: &Expr, names: &DFSchema) -> Result<()> {
    rule.apply(|part| {
        check_part(watermark, part)?;
        Ok(TreeNodeRecursion::Continue)
    })
    .map_err(from_datafusion)?;
    let start = position(&watermark.expr);
    if rule.column_refs().is_empty() {
        return Err(Error::user(
            SqlState::InvalidTableDefinition,
            "a watermark that names no column of the table never moves",
        )
        .hint(example(watermark))
        .at(start));
    }
    let data_type = rule.get_type(names).map_err(from_datafusion)?;
    if matches!(data_type, DataType::Timestamp(..)) {
        return Ok(());
    }
    Err(Error::user(
        SqlState::DatatypeMismatch,
        format!(
            "the watermark of column \"{}\" must be a timestamp, not {}",
            watermark.column,
            sql_type_name(&Field::new("", data_type, true))
        ),
    )
    .hint(example(watermark))
    .at(start))
}

fn check_part(watermark: &WatermarkDefinition, part: &Expr) -> Result<()> {
    let (state, what, name) = match part {
        Expr::AggregateFunction(call) => (
            SqlState::GroupingError,
            "aggregate functions are not allowed in a watermark".to_owned(),
            call.func.name().to_owned(),
        ),
        Expr::WindowFunction(call) => (
            SqlState::WindowingError,
            "window functions are not allowed in a watermark".to_owned(),
            call.fun.name().to_owned(),
        ),
        Expr::ScalarFunction(call) if is_now(call) || part.is_volatile_node() => (
            SqlState::InvalidTableDefinition,
            format!(
                "a watermark must follow from its row, and {}() is another value each time",
                call.func.name()
            ),
            call.func.name().to_owned(),
        ),
        _ => return Ok(()),
    };
    Err(Error::user(state, what)
        .hint(example(watermark))
        .at(place_of(watermark, name)))
}

/// Where the function is called; the whole expression if that is not found.
fn place_of(watermark: &WatermarkDefinition, name: String) -> Option<Position> {
    let found = places(&Culprit::Function(name), &watermark.expr);
    let start = || position(&watermark.expr);
    found.first().copied().or_else(start)
}

fn example(watermark: &WatermarkDefinition) -> String {
    let column = crate::sql::quote(&watermark.column);
    format!("Each row tells a watermark by itself, such as {column} - INTERVAL '5 seconds'.")
}
