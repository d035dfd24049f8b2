//! A query's SQL as an optimised DataFusion plan, fit to be run row by row for ever.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::{Optimizer, OptimizerRule};
use datafusion::sql::parser::Statement as DataFusionStatement;
use sqlparser::ast::{Query, Statement};

use super::now::replace_now;
use crate::plan::BatchTime;

/// Rules of DataFusion's optimizer that do not hold for a query that never ends, or that give a
/// form which only a finite plan can run.
const LEFT_OUT: [&str; 5] = [
    "single_distinct_aggregation_to_group_by",
    "push_down_limit",
    "eliminate_limit",
    "unions_to_filter",
    "scalar_subquery_to_join",
];

/// Plans and optimises a query. `now()` becomes the time of the micro-batch.
pub(super) async fn optimised(
    state: &SessionState,
    query: &Query,
    time: &BatchTime,
) -> Result<LogicalPlan> {
    let statement = Statement::Query(Box::new(query.clone()));
    let statement = DataFusionStatement::Statement(Box::new(statement));
    let plan = state.statement_to_plan(statement).await?;
    let plan = replace_now(plan, time)?;
    let options = state.config_options();
    let plan = state
        .analyzer()
        .execute_and_check(plan, options, |_, _| {})?;
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = Optimizer::new()
        .rules
        .into_iter()
        .filter(|rule| !LEFT_OUT.contains(&rule.name()))
        .collect();
    Optimizer::with_rules(rules).optimize(plan, state, |_, _| {})
}
