//! `GROUP BY` as an aggregation of ours: which keys are a window's bounds, which are keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::execution::SessionState;
use datafusion::logical_expr::logical_plan::Aggregate;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{Expr, GroupingSet, LogicalPlan};
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;
use datafusion::scalar::ScalarValue;

use super::lower::physical;
use super::refused::refuse_volatile;
use super::window::{EventTimeOf, Group, Groups, groups};
use crate::error::{Culprit, Error, Result, SqlState, from_datafusion};
use crate::plan::{
    AggregateCall, AggregatePlan, GroupColumn, GroupingSets, WindowColumns, WindowPlan, WindowRows,
};
use crate::types::{WindowBound, WindowKind};

/// The group columns of an aggregation and what they are.
///
/// # Errors
/// A window that cannot be, a volatile key.
pub(super) fn groups_of(
    node: &Aggregate,
    event_time: EventTimeOf<'_>,
    changes: bool,
) -> Result<Groups> {
    let exprs = grouping_set_to_exprlist(&node.group_expr).map_err(from_datafusion)?;
    for expr in &exprs {
        refuse_volatile(expr, "GROUP BY")?;
    }
    groups(node, &exprs, event_time, changes)
}

/// Plans an aggregation whose groups are known.
///
/// # Errors
/// An expression that cannot be compiled; sets that leave the window out.
pub(super) fn aggregate(
    node: &Aggregate,
    groups: &Groups,
    state: &SessionState,
) -> Result<AggregatePlan> {
    let exprs = grouping_set_to_exprlist(&node.group_expr).map_err(from_datafusion)?;
    let fields: Vec<FieldRef> = node.schema.fields().iter().map(nullable).collect();
    let mut plan = AggregatePlan {
        window: None,
        keys: Vec::new(),
        sets: None,
        calls: Vec::new(),
        groups: Vec::new(),
        schema: Arc::new(Schema::new(fields.clone())),
    };
    for (index, (expr, field)) in exprs.iter().zip(&fields).enumerate() {
        let value = physical(expr, node.input.schema(), state)?;
        match groups.columns[index] {
            Group::Bound(bound) => plan.groups.push(GroupColumn::Window(bound)),
            Group::Key => {
                plan.groups.push(GroupColumn::Key(plan.keys.len()));
                plan.keys.push((Arc::clone(&value), Arc::clone(field)));
            }
        }
        if let Some(window) = &groups.window
            && window.by.0 == index
        {
            plan.window = Some(WindowPlan {
                kind: window.kind,
                rows: match (window.form, window.by.1, window.kind) {
                    (WindowColumns::RowTime, ..) if window.by_time => WindowRows::Time(value),
                    (_, WindowBound::Start, WindowKind::Tumble { .. }) => WindowRows::Time(value),
                    (_, bound, _) => WindowRows::Bound(bound, value),
                },
                grace: window.grace,
                delay: window.delay,
            });
        }
    }
    if let [Expr::GroupingSet(set)] = node.group_expr.as_slice() {
        plan.groups.push(GroupColumn::Key(plan.keys.len()));
        plan.sets = Some(sets(set, &exprs, &fields[exprs.len()], groups)?);
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

/// The sets of GROUPING SETS, ROLLUP or CUBE, each with the number that DataFusion's `GROUPING`
/// reads: a bit a group column, from the last one on, and above them which occurrence of an equal
/// set it is.
fn sets(
    set: &GroupingSet,
    exprs: &[&Expr],
    id: &FieldRef,
    groups: &Groups,
) -> Result<GroupingSets> {
    let mut seen: BTreeMap<Vec<bool>, u64> = BTreeMap::new();
    let mut sets = Vec::new();
    for members in expanded(set) {
        let is_null: Vec<bool> = exprs.iter().map(|e| !members.contains(e)).collect();
        let nulls = is_null.iter().zip(&groups.columns);
        if nulls
            .clone()
            .any(|(is_null, column)| *is_null && *column != Group::Key)
        {
            return Err(Error::user(
                SqlState::WindowingError,
                "every grouping set of a continuous query must contain the window's columns",
            )
            .hint("Write GROUP BY window_start, window_end, ROLLUP (a, b)."));
        }
        let bits = is_null
            .iter()
            .fold(0u64, |bits, is_null| (bits << 1) | u64::from(*is_null));
        let keys = nulls.filter(|(_, column)| **column == Group::Key);
        let keys = keys.map(|(is_null, _)| *is_null).collect();
        let occurrence = seen.entry(is_null).or_default();
        let number = bits | (*occurrence << exprs.len());
        *occurrence += 1;
        sets.push((keys, scalar(number, id.data_type())?));
    }
    let id = Arc::clone(id);
    Ok(GroupingSets { id, sets })
}

fn scalar(number: u64, data_type: &DataType) -> Result<ScalarValue> {
    let number = ScalarValue::UInt64(Some(number));
    number.cast_to(data_type).map_err(from_datafusion)
}

/// The group columns of each set.
fn expanded(set: &GroupingSet) -> Vec<Vec<&Expr>> {
    match set {
        GroupingSet::GroupingSets(sets) => sets.iter().map(|set| set.iter().collect()).collect(),
        GroupingSet::Rollup(exprs) => (0..=exprs.len())
            .rev()
            .map(|len| exprs[..len].iter().collect())
            .collect(),
        GroupingSet::Cube(exprs) => (0..1usize << exprs.len())
            .rev()
            .map(|mask| {
                let members = exprs.iter().enumerate();
                members
                    .filter(|(index, _)| mask & (1 << (exprs.len() - 1 - index)) != 0)
                    .map(|(_, expr)| expr)
                    .collect()
            })
            .collect(),
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
    // Arguments that must be constants are looked at when an accumulator is made.
    let made = lowered.aggregate.create_accumulator();
    let name = lowered.aggregate.fun().name().to_owned();
    made.map_err(|error| from_datafusion(error).about(Culprit::Function(name)))?;
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
