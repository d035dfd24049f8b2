//! What the query and the conditions of an alert cannot be, beyond what no continuous query can be.
//!
//! Invariant: whether an alert fires follows from its rows alone, so that a replay tells the same.

use std::ops::ControlFlow;

use datafusion::common::Column;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};
use sqlparser::ast::{self, Query, Visitor};

use super::changelog::Purpose;
use super::now::is_now_name;
use super::place::called;
use super::window_node::WindowNode;
use super::window_relation::position;
use crate::catalog::EVENT_TIME_MARK;
use crate::error::{Culprit, Error, Result, SqlState, from_datafusion};
use crate::sql::{CLEAR_COLUMN, Identifier, WHEN_COLUMN, walk};

/// What decides when a row was.
const EVENT_TIME: &str = "the event time";

/// Looks at the calls in a condition, which is that of the clause `clause`.
///
/// # Errors
/// An aggregate or a window function, and a function whose value differs from call to call; each with its place.
pub fn check_condition(state: &SessionState, condition: &ast::Expr, clause: &str) -> Result<()> {
    let mut calls = Calls {
        state,
        clause,
        queries: 0,
    };
    match walk::visit(condition, &mut calls) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

/// The calls that belong to a condition itself, not to a query in it.
struct Calls<'a> {
    state: &'a SessionState,
    clause: &'a str,
    /// How many queries are around the place that is looked at.
    queries: usize,
}

impl Calls<'_> {
    fn refused(&self, call: &ast::Expr) -> Option<Error> {
        let name = called(call)?;
        let ast::Expr::Function(function) = call else {
            return None;
        };
        let clause = self.clause;
        let scalar = self.state.scalar_functions().get(&name);
        let error = if function.over.is_some() {
            let text = format!("window functions are not allowed in {clause}");
            Error::user(SqlState::WindowingError, text).hint(format!(
                "A condition looks at one row: compute {name}(..) in the alert's query, and compare it by its name."
            ))
        } else if self.state.aggregate_functions().contains_key(&name) {
            let text = format!("aggregate functions are not allowed in {clause}");
            Error::user(SqlState::GroupingError, text).hint(format!(
                "A condition looks at one row: compute {name}(..) in the alert's query, as in ON (SELECT .., \
                 {name}(..) AS x FROM .. GROUP BY ..), and write {clause} x > 1."
            ))
        } else if is_now_name(&name)
            || scalar.is_some_and(|f| f.signature().volatility == Volatility::Volatile)
        {
            varying("a condition")
        } else {
            return None;
        };
        Some(error.at(position(call)))
    }
}

impl Visitor for Calls<'_> {
    type Break = Error;

    fn pre_visit_query(&mut self, _: &Query) -> ControlFlow<Error> {
        self.queries += 1;
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _: &Query) -> ControlFlow<Error> {
        self.queries -= 1;
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &ast::Expr) -> ControlFlow<Error> {
        let looks = self.queries == 0;
        match looks.then(|| self.refused(expr)).flatten() {
            Some(error) => ControlFlow::Break(error),
            None => ControlFlow::Continue(()),
        }
    }
}

fn varying(place: &str) -> Error {
    Error::user(
        SqlState::FeatureNotSupported,
        format!("now() and other volatile functions cannot be used in {place} of an alert"),
    )
    .hint(
        "Whether it fires must not depend on when rows are looked at: compare what the rows hold. \
         FOR and WHEN no data FOR '5 minutes' tell how long something lasts.",
    )
}

/// Refuses an alert in which a value that differs from call to call decides: which rows there are, when they were,
/// what their key is, and whether a condition holds. What is only shown may be such a value.
pub(super) fn refuse_volatile_alert(
    purpose: Purpose,
    key: &[Identifier],
    plan: &LogicalPlan,
) -> Result<()> {
    if purpose != Purpose::Alert {
        return Ok(());
    }
    let refused = |function: String, place: &str| {
        let detail = format!("A value of {function}() decides there.");
        let error = varying(place).detail(detail);
        error.about(Culprit::Function(function))
    };
    if let Some((function, place)) = volatile_rows(plan).map_err(from_datafusion)? {
        return Err(refused(function, place));
    }
    for (index, field) in plan.schema().fields().iter().enumerate() {
        let named = key.iter().find(|column| column.name == *field.name());
        let place = match field.name().as_str() {
            WHEN_COLUMN | CLEAR_COLUMN => "a condition",
            _ if named.is_some() => "KEY",
            _ if field.metadata().contains_key(EVENT_TIME_MARK) => EVENT_TIME,
            _ => continue,
        };
        if let Some(function) = volatile_behind(plan, index).map_err(from_datafusion)? {
            return Err(refused(function, place).at(named.map(|column| column.position)));
        }
    }
    Ok(())
}

/// A volatile function by which a plan tells which rows there are, and where it does.
fn volatile_rows(plan: &LogicalPlan) -> datafusion::error::Result<Option<(String, &'static str)>> {
    let mut found = None;
    plan.apply(|node| {
        let (exprs, place) = deciding(node);
        for (expr, input) in exprs.iter().zip(node.inputs().into_iter().cycle()) {
            found = found
                .take()
                .or(volatile_in(expr, input)?.map(|name| (name, place)));
        }
        Ok(match found {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

/// What of a node with one input decides which rows come out of it, and what a user calls that.
fn deciding(node: &LogicalPlan) -> (Vec<&Expr>, &'static str) {
    if let Some(window) = WindowNode::of(node) {
        return (vec![&window.time], EVENT_TIME);
    }
    match node {
        LogicalPlan::Filter(filter) => (vec![&filter.predicate], "a condition"),
        LogicalPlan::Aggregate(node) => (node.group_expr.iter().collect(), "GROUP BY"),
        LogicalPlan::Sort(sort) => (sort.expr.iter().map(|by| &by.expr).collect(), "ORDER BY"),
        _ => (Vec::new(), ""),
    }
}

/// Refuses an alert's query that ends by itself: nobody would hear that the alert has.
pub(super) fn refuse_limit(purpose: Purpose, limit: Option<u64>) -> Result<()> {
    match limit.filter(|_| purpose == Purpose::Alert) {
        None => Ok(()),
        Some(_) => Err(Error::user(
            SqlState::FeatureNotSupported,
            "LIMIT is not supported in an alert",
        )
        .hint("The alert would end after so many rows; leave LIMIT out.")
        .about(Culprit::Limit)),
    }
}

/// The volatile function that the values of a plan's column come of, if there is one.
fn volatile_behind(plan: &LogicalPlan, index: usize) -> datafusion::error::Result<Option<String>> {
    let below = |input: &LogicalPlan| {
        let (qualifier, field) = plan.schema().qualified_field(index);
        let column = Column::new(qualifier.cloned(), field.name());
        let place = input.schema().maybe_index_of_column(&column);
        place.map_or(Ok(None), |place| volatile_behind(input, place))
    };
    match plan {
        LogicalPlan::Projection(node) => volatile_in(&node.expr[index], &node.input),
        LogicalPlan::SubqueryAlias(node) => volatile_behind(&node.input, index),
        LogicalPlan::Aggregate(node) => {
            let own = node.group_expr.iter().chain(&node.aggr_expr).nth(index);
            own.map_or(Ok(None), |expr| volatile_in(expr, &node.input))
        }
        LogicalPlan::Window(node) => {
            let own = index.checked_sub(node.input.schema().fields().len());
            match own.and_then(|own| node.window_expr.get(own)) {
                Some(expr) => volatile_in(expr, &node.input),
                None => volatile_behind(&node.input, index),
            }
        }
        LogicalPlan::Union(node) => {
            for input in &node.inputs {
                if let Some(found) = volatile_behind(input, index)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
        other => {
            for input in other.inputs() {
                if let Some(found) = below(input)? {
                    return Ok(Some(found));
                }
            }
            Ok(None)
        }
    }
}

/// The same for an expression over a plan's columns.
fn volatile_in(expr: &Expr, input: &LogicalPlan) -> datafusion::error::Result<Option<String>> {
    let mut found = None;
    expr.apply(|part| {
        found = match part {
            Expr::ScalarFunction(call) if part.is_volatile_node() => Some(call.name().to_owned()),
            Expr::Column(column) => match input.schema().maybe_index_of_column(column) {
                Some(place) => volatile_behind(input, place)?,
                None => None,
            },
            _ => None,
        };
        Ok(match found {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}
