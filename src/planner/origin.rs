//! Where a column comes from: followed down through projections and aliases.

use datafusion::common::Column;
use datafusion::logical_expr::{Expr, LogicalPlan};

/// What a column is at its origin.
#[derive(Debug)]
pub(super) enum Origin<'a> {
    /// A column of a scanned table.
    Scan(&'a str),
    /// Computed from the columns of a plan.
    Computed(&'a Expr, &'a LogicalPlan),
    /// Something else.
    Unknown,
}

/// Follows an expression over `plan`'s columns to where its value is made.
pub(super) fn origin<'a>(expr: &'a Expr, plan: &'a LogicalPlan) -> Origin<'a> {
    match expr {
        Expr::Alias(alias) => origin(&alias.expr, plan),
        Expr::Column(column) => of_column(column, plan),
        _ => Origin::Computed(expr, plan),
    }
}

fn of_column<'a>(column: &Column, plan: &'a LogicalPlan) -> Origin<'a> {
    let Some(index) = plan.schema().maybe_index_of_column(column) else {
        return Origin::Unknown;
    };
    at(index, plan)
}

fn at(index: usize, plan: &LogicalPlan) -> Origin<'_> {
    match plan {
        LogicalPlan::Projection(projection) => origin(&projection.expr[index], &projection.input),
        LogicalPlan::SubqueryAlias(alias) => at(index, &alias.input),
        LogicalPlan::Filter(filter) => at(index, &filter.input),
        LogicalPlan::TableScan(scan) => {
            Origin::Scan(scan.projected_schema.field(index).name().as_str())
        }
        _ => Origin::Unknown,
    }
}
