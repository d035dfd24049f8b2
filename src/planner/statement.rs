//! A query's SQL, handed to DataFusion's planner.
//!
//! Before it plans, DataFusion looks up everything in FROM as a table, a function's name too. The
//! window functions are named in a schema of their own here, where no table can be: a view may be
//! called `hop` and read `HOP(..)`.

use std::ops::ControlFlow;

use super::arguments;
use super::literals::typed_lists;
use super::place::{calls, leave_out, placed};
use crate::error::{Culprit, Error, Position, from_datafusion};
use crate::sql::walk;
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DataFusionStatement;
use sqlparser::ast::{
    Expr, Ident, LimitClause, ObjectName, Query, Spanned, Statement, TableFactor, Value, VisitorMut,
};

/// How many calls of a function are looked at for the one that an error is about.
const CALLS_TRIED_MAX: usize = 32;

/// The schema of the window functions; no name that a user can write.
const SCHEMA: &str = "$window";

/// Plans a query whose windows are in the parser's canonical form.
///
/// # Errors
/// What DataFusion says, and what our windows say; with the place of a call that cannot be.
pub async fn plan_query(state: &SessionState, query: Box<Query>) -> Result<LogicalPlan> {
    match plan_once(state, query.clone()).await {
        Ok(plan) => Ok(plan),
        Err(error) => Err(blamed(state, &query, from_datafusion(error)).await.into()),
    }
}

/// Gives an error about a function the place of the call that it is about. Which one of several it
/// is, shows when the others are left out.
async fn blamed(state: &SessionState, query: &Query, error: Error) -> Error {
    let Some(Culprit::Function(name)) = error.culprit().filter(|_| error.position().is_none())
    else {
        return placed(error, query);
    };
    let calls = calls(query, |called| is_function(state, called, name));
    let places: Vec<Position> = calls.iter().map(|(place, _)| *place).collect();
    let mut culprit = calls.first();
    for call in calls.iter().take(CALLS_TRIED_MAX) {
        let mut alone = Box::new(query.clone());
        let others = places.iter().copied().filter(|other| *other != call.0);
        leave_out(&mut alone, &others.collect::<Vec<_>>(), call.0);
        let tried = plan_once(state, alone).await.map_err(from_datafusion);
        if tried.is_err_and(|tried| tried.message() == error.message()) {
            culprit = Some(call);
            break;
        }
    }
    match culprit {
        Some((place, written)) => {
            let own = name.clone();
            error.called(&own, written).at(Some(*place))
        }
        None => error,
    }
}

/// True if a name means the function that calls itself `name`.
fn is_function(state: &SessionState, called: &str, name: &str) -> bool {
    let aggregate = state.aggregate_functions().get(called);
    let scalar = state.scalar_functions().get(called);
    called == name
        || aggregate.is_some_and(|function| function.name() == name)
        || scalar.is_some_and(|function| function.name() == name)
}

async fn plan_once(state: &SessionState, mut query: Box<Query>) -> Result<LogicalPlan> {
    let ControlFlow::Continue(()) = walk::visit_mut(query.as_mut(), &mut Qualifier);
    let statement = Statement::Query(query);
    let plan = state
        .statement_to_plan(DataFusionStatement::Statement(Box::new(statement)))
        .await?;
    let plan = typed_lists(plan)?;
    arguments::check(&plan)?;
    Ok(plan)
}

/// Which window function a relation's name is, in lower case.
pub(super) fn window_function(name: &ObjectName) -> Option<String> {
    let [schema, function] = name.0.as_slice() else {
        return None;
    };
    (schema.as_ident()?.value == SCHEMA).then(|| Some(function.as_ident()?.value.clone()))?
}

/// `LIMIT '10'` is `LIMIT 10`.
fn number_of_rows(count: &mut Expr) {
    if let Expr::Value(value) = count
        && let Value::SingleQuotedString(text) = &value.value
        && let Ok(number) = text.trim().parse::<u64>()
    {
        value.value = Value::Number(number.to_string(), false);
    }
}

/// Writes what DataFusion takes for what PostgreSQL takes.
struct Qualifier;

impl VisitorMut for Qualifier {
    type Break = std::convert::Infallible;

    fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<Self::Break> {
        if let Some(LimitClause::LimitOffset { limit, offset, .. }) = &mut query.limit_clause {
            let offset = offset.as_mut().map(|offset| &mut offset.value);
            for count in limit.iter_mut().chain(offset) {
                number_of_rows(count);
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &mut TableFactor) -> ControlFlow<Self::Break> {
        if let TableFactor::Table {
            name,
            args: Some(_),
            ..
        } = factor
            && let [function] = name.0.as_slice()
            && let Some(function) = function.as_ident().cloned()
            && ["tumble", "hop", "cumulate", "session"].contains(&function.value.as_str())
        {
            let schema = Ident::with_span(name.span(), SCHEMA);
            *name = ObjectName::from(vec![schema, function]);
        }
        ControlFlow::Continue(())
    }
}
