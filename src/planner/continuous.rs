//! A query's SQL as an optimised DataFusion plan, fit to be run row by row for ever.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::optimizer::{Optimizer, OptimizerRule};
use sqlparser::ast::Query;

use super::now::replace_now;
use super::session_condition;
use super::statement::plan_query;
use crate::catalog::{Definition, Definitions, MaterializedViewDefinition};
use crate::plan::BatchTime;
use crate::sql::Emit;

/// Rules of DataFusion's optimizer that do not hold for a query that never ends, or that give a
/// form which only a finite plan can run.
const LEFT_OUT: [&str; 5] = [
    "single_distinct_aggregation_to_group_by",
    "push_down_limit",
    "eliminate_limit",
    "unions_to_filter",
    "scalar_subquery_to_join",
];

/// A query's plan.
pub(super) struct Planned {
    /// The optimised plan; the queries of materialized views stand in the place of their names.
    pub plan: LogicalPlan,
    /// When the rows of the innermost materialized view are emitted, if the query reads one.
    pub view_emit: Option<Option<Emit>>,
}

/// Plans and optimises a query. `now()` becomes the time of the micro-batch.
pub(super) async fn optimised(
    state: &SessionState,
    query: &Query,
    definitions: &Definitions,
    time: &BatchTime,
) -> Result<Planned> {
    let mut plan = plan_query(state, Box::new(query.clone())).await?;
    let mut view_emit = None;
    while let Some(view) = materialized_view(&plan, definitions)? {
        let inner = plan_query(state, view.query.query.clone()).await?;
        view_emit = Some(view.query.emit);
        plan = put_in(plan, view, &inner)?;
    }
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
    let plan = Optimizer::with_rules(rules).optimize(plan, state, |_, _| {})?;
    let plan = session_condition::into_aggregates(plan)?;
    Ok(Planned { plan, view_emit })
}

/// A materialized view that the plan scans, if there is one.
fn materialized_view<'a>(
    plan: &LogicalPlan,
    definitions: &'a Definitions,
) -> Result<Option<&'a MaterializedViewDefinition>> {
    let mut found = None;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(Definition::MaterializedView(view)) =
                definitions.get(scan.table_name.table())
        {
            found = Some(&**view);
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// Puts a materialized view's query in the place of its name: the rows that change are its own, and
/// a reader sees each change.
fn put_in(
    plan: LogicalPlan,
    view: &MaterializedViewDefinition,
    inner: &LogicalPlan,
) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = &node else {
            return Ok(Transformed::no(node));
        };
        if scan.table_name.table() != view.name {
            return Ok(Transformed::no(node));
        }
        let fields = scan.source.schema();
        let columns = inner.schema().columns().into_iter().zip(fields.fields());
        let columns: Vec<Expr> = columns
            .map(|(column, field)| Expr::Column(column).alias(field.name()))
            .collect();
        let replaced = LogicalPlanBuilder::from(inner.clone())
            .project(columns)?
            .alias(scan.table_name.clone())?
            .build()?;
        Ok(Transformed::yes(replaced))
    })
    .and_then(|transformed| transformed.data.recompute_schema())
}
