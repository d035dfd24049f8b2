//! `GROUP BY` as an aggregation of ours: which keys are a window's bounds, which are keys.

use std::sync::Arc;

use arrow::datatypes::{Field, FieldRef, Schema};
use datafusion::execution::SessionState;
use datafusion::logical_expr::logical_plan::Aggregate;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;

use super::lower::{physical, refuse_volatile};
use super::origin::{Origin, origin};
use crate::error::{Error, Result, SqlState, from_datafusion};
use crate::functions::as_window_bound;
use crate::plan::{AggregateCall, AggregatePlan, GroupColumn, WindowPlan};
use crate::types::{WindowBound, WindowKind};

/// Plans an aggregation over rows whose event time is the scan's column `event_time`.
pub(super) fn aggregate(
    node: &Aggregate,
    event_time: &str,
    state: &SessionState,
) -> Result<AggregatePlan> {
    let fields: Vec<FieldRef> = node.schema.fields().iter().map(nullable).collect();
    let mut plan = AggregatePlan {
        window: None,
        keys: Vec::new(),
        calls: Vec::new(),
        groups: Vec::new(),
        schema: Arc::new(Schema::new(fields.clone())),
    };
    for (expr, field) in node.group_expr.iter().zip(&fields) {
        if matches!(expr, Expr::GroupingSet(_)) {
            return Err(Error::user(
                SqlState::FeatureNotSupported,
                "GROUPING SETS, ROLLUP and CUBE are not supported yet in a continuous query",
            ));
        }
        refuse_volatile(expr, "GROUP BY")?;
        let value = physical(expr, node.input.schema(), state)?;
        match window_of(expr, &node.input, event_time)? {
            Some((kind, bound)) => {
                check_same_window(plan.window.as_ref(), kind)?;
                let window = WindowPlan {
                    kind,
                    bound: value,
                    bound_kind: bound,
                };
                // The start is the cheapest to work with.
                if plan.window.is_none() || bound == WindowBound::Start {
                    plan.window = Some(window);
                }
                plan.groups.push(GroupColumn::Window(bound));
            }
            None => {
                plan.groups.push(GroupColumn::Key(plan.keys.len()));
                plan.keys.push((value, Arc::clone(field)));
            }
        }
    }
    for expr in &node.aggr_expr {
        refuse_volatile(expr, "an aggregate")?;
        plan.calls.push(call(expr, &node.input, state)?);
    }
    Ok(plan)
}

fn nullable(field: &FieldRef) -> FieldRef {
    Arc::new(Field::clone(field).with_nullable(true))
}

fn check_same_window(known: Option<&WindowPlan>, kind: WindowKind) -> Result<()> {
    if known.is_some_and(|window| window.kind != kind) {
        return Err(Error::user(
            SqlState::WindowingError,
            "a continuous query groups by one window at a time",
        ));
    }
    Ok(())
}

/// The window whose bound a key is, if it is one.
fn window_of(
    expr: &Expr,
    input: &LogicalPlan,
    event_time: &str,
) -> Result<Option<(WindowKind, WindowBound)>> {
    let Origin::Computed(made, made_from) = origin(expr, input) else {
        return Ok(None);
    };
    let Some((kind, bound, time)) = as_window_bound(made) else {
        return Ok(None);
    };
    match origin(time, made_from) {
        Origin::Scan(column) if column == event_time => Ok(Some((kind, bound))),
        Origin::Scan(column) => Err(Error::user(
            SqlState::WindowingError,
            format!("a window over column \"{column}\", which has no watermark, never closes"),
        )
        .hint(format!(
            "Use the table's event-time column \"{event_time}\", or declare WATERMARK FOR \
             \"{column}\" when you create the table."
        ))),
        Origin::Computed(..) | Origin::Unknown => Err(Error::user(
            SqlState::WindowingError,
            "a window over a computed time never closes",
        )
        .hint("Make the time a column of the table and declare WATERMARK FOR it.")),
    }
}

fn call(expr: &Expr, input: &LogicalPlan, state: &SessionState) -> Result<AggregateCall> {
    let lowered = LoweredAggregateBuilder::new(
        expr,
        input.schema(),
        input.schema().as_arrow(),
        state.execution_props(),
        &PhysicalPlanningContext::default(),
    )
    .build()
    .map_err(from_datafusion)?;
    let mut arguments = lowered.aggregate.expressions();
    arguments.extend(
        lowered
            .aggregate
            .order_bys()
            .iter()
            .map(|sort| Arc::clone(&sort.expr)),
    );
    Ok(AggregateCall {
        function: lowered.aggregate,
        arguments,
        filter: lowered.filter,
    })
}
