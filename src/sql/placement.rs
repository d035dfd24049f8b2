//! Aggregates and window functions where they cannot be: told here, while their places are known.
//!
//! Only the usual aggregates are known by name; whatever gets past, the planner refuses.

use std::ops::ControlFlow;

use sqlparser::ast::{Expr, Query, Select, Visitor};

use super::{walk, window_function};
use crate::error::{Error, Position, Result, SqlState};

/// Aggregates that SQL is full of.
const AGGREGATES: &[&str] = &[
    "array_agg",
    "avg",
    "bool_and",
    "bool_or",
    "count",
    "first_value",
    "last_value",
    "max",
    "median",
    "min",
    "stddev",
    "string_agg",
    "sum",
    "variance",
];

/// Looks at all queries in `query`.
///
/// # Errors
/// 42803 for an aggregate in an aggregate or in WHERE, 42P20 for a window function in WHERE.
pub(super) fn check(query: &Query) -> Result<()> {
    match walk::visit(query, &mut Checker::default()) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(error),
    }
}

#[derive(Default)]
struct Checker {
    /// The queries that we are in, the innermost last.
    levels: Vec<Level>,
}

/// Where in a query we are.
#[derive(Default)]
struct Level {
    /// In how many aggregates.
    aggregates: usize,
    /// The address of the WHERE condition.
    condition: Option<usize>,
    in_where: bool,
}

enum Call {
    Aggregate(Position),
    Window(Position),
}

fn call(expr: &Expr) -> Option<Call> {
    let Expr::Function(function) = expr else {
        return None;
    };
    let place = window_function::position_of(&function.name);
    if function.over.is_some() {
        return Some(Call::Window(place));
    }
    let [name] = function.name.0.as_slice() else {
        return None;
    };
    let name = name.as_ident()?.value.to_ascii_lowercase();
    AGGREGATES
        .contains(&name.as_str())
        .then_some(Call::Aggregate(place))
}

fn address(expr: &Expr) -> usize {
    std::ptr::from_ref(expr).addr()
}

impl Visitor for Checker {
    type Break = Error;

    fn pre_visit_query(&mut self, _query: &Query) -> ControlFlow<Error> {
        self.levels.push(Level::default());
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, _query: &Query) -> ControlFlow<Error> {
        self.levels.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Error> {
        self.levels.push(Level {
            condition: select.selection.as_ref().map(address),
            ..Level::default()
        });
        ControlFlow::Continue(())
    }

    fn post_visit_select(&mut self, _select: &Select) -> ControlFlow<Error> {
        self.levels.pop();
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        let Some(level) = self.levels.last_mut() else {
            return ControlFlow::Continue(());
        };
        if level.condition == Some(address(expr)) {
            level.in_where = true;
        }
        match call(expr) {
            Some(Call::Aggregate(place)) if level.in_where => {
                ControlFlow::Break(aggregate_in_where(place))
            }
            Some(Call::Window(place)) if level.in_where => {
                ControlFlow::Break(window_in_where(place))
            }
            Some(Call::Aggregate(place)) if level.aggregates > 0 => {
                ControlFlow::Break(nested(place))
            }
            Some(Call::Aggregate(_)) => {
                level.aggregates += 1;
                ControlFlow::Continue(())
            }
            Some(Call::Window(_)) | None => ControlFlow::Continue(()),
        }
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<Error> {
        let Some(level) = self.levels.last_mut() else {
            return ControlFlow::Continue(());
        };
        if level.condition == Some(address(expr)) {
            level.in_where = false;
        }
        if let Some(Call::Aggregate(_)) = call(expr) {
            level.aggregates -= 1;
        }
        ControlFlow::Continue(())
    }
}

fn aggregate_in_where(place: Position) -> Error {
    Error::user(
        SqlState::GroupingError,
        "aggregate functions are not allowed in WHERE",
    )
    .hint("Conditions on aggregates belong into HAVING.")
    .at(Some(place))
}

fn window_in_where(place: Position) -> Error {
    Error::user(
        SqlState::WindowingError,
        "window functions are not allowed in WHERE",
    )
    .hint("Compute it in a sub-query, and filter outside: SELECT .. FROM (SELECT .., f() OVER (..) AS x FROM ..) WHERE x ..")
    .at(Some(place))
}

fn nested(place: Position) -> Error {
    Error::user(
        SqlState::GroupingError,
        "aggregate function calls cannot be nested",
    )
    .hint("Compute the inner one in a sub-query with a GROUP BY of its own.")
    .at(Some(place))
}
