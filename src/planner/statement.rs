//! A query's SQL, handed to DataFusion's planner.
//!
//! Before it plans, DataFusion looks up everything in FROM as a table, a function's name too. The
//! window functions are named in a schema of their own here, where no table can be: a view may be
//! called `hop` and read `HOP(..)`.

use std::ops::ControlFlow;

use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::sql::parser::Statement as DataFusionStatement;
use sqlparser::ast::{
    Ident, ObjectName, Query, Spanned, Statement, TableFactor, VisitMut, VisitorMut,
};

/// The schema of the window functions; no name that a user can write.
const SCHEMA: &str = "$window";

/// Plans a query whose windows are in the parser's canonical form.
///
/// # Errors
/// What DataFusion says, and what our windows say.
pub async fn plan_query(state: &SessionState, mut query: Box<Query>) -> Result<LogicalPlan> {
    let ControlFlow::Continue(()) = VisitMut::visit(query.as_mut(), &mut Qualifier);
    let statement = Statement::Query(query);
    state
        .statement_to_plan(DataFusionStatement::Statement(Box::new(statement)))
        .await
}

/// Which window function a relation's name is, in lower case.
pub(super) fn window_function(name: &ObjectName) -> Option<String> {
    let [schema, function] = name.0.as_slice() else {
        return None;
    };
    (schema.as_ident()?.value == SCHEMA).then(|| Some(function.as_ident()?.value.clone()))?
}

struct Qualifier;

impl VisitorMut for Qualifier {
    type Break = std::convert::Infallible;

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
