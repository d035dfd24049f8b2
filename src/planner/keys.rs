//! Which columns of a query's output tell its rows apart, so that a later form of a row finds the
//! earlier one.

use std::collections::BTreeMap;

use datafusion::logical_expr::{Expr, LogicalPlan};

use super::time_bucket::as_tumble;
use crate::plan::{AggregatePlan, GroupColumn, OutputStage};
use crate::types::{WindowBound, WindowKind};

/// The key of a query that changes its rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keys {
    /// The columns of the aggregate's keys, and one that tells the window. In order.
    pub columns: Vec<usize>,
    /// All columns that tell the window, any of which would do in `columns`.
    pub window: Vec<usize>,
}

/// The key of `plan`'s output.
///
/// # Errors
/// Unless all that it takes is there: the names of the GROUP BY columns that would have to be.
pub(super) fn keys(
    plan: &LogicalPlan,
    aggregate: Option<&AggregatePlan>,
    output: &[OutputStage],
) -> Result<Keys, Vec<String>> {
    let found = aggregate.and_then(|aggregate| complete(plan, aggregate, output));
    found.ok_or_else(|| aggregate.map_or_else(Vec::new, |aggregate| missing(plan, aggregate)))
}

fn complete(plan: &LogicalPlan, aggregate: &AggregatePlan, output: &[OutputStage]) -> Option<Keys> {
    if aggregate.sets.is_some() {
        return None;
    }
    let rows_only = |stage: &OutputStage| matches!(stage, OutputStage::Rows(_));
    if !output.iter().all(rows_only) {
        return None;
    }
    let found = found(plan);
    let keys = groups(aggregate, |group| matches!(group, GroupColumn::Key(_)));
    let mut columns: Vec<usize> = keys
        .iter()
        .map(|index| found.get(index).copied())
        .collect::<Option<_>>()?;
    let window = telling(plan, aggregate);
    if aggregate.window.is_some() {
        // The first in the order of GROUP BY; a column computed from one if there is none.
        let bounds = groups(aggregate, |group| tells(aggregate, *group));
        let plain = bounds.iter().find_map(|index| found.get(index));
        columns.push(*plain.or_else(|| window.first())?);
    }
    columns.sort_unstable();
    Some(Keys { columns, window })
}

fn missing(plan: &LogicalPlan, aggregate: &AggregatePlan) -> Vec<String> {
    let found = found(plan);
    let keys = groups(aggregate, |group| matches!(group, GroupColumn::Key(_)));
    let mut missing: Vec<usize> = keys
        .into_iter()
        .filter(|i| !found.contains_key(i))
        .collect();
    if aggregate.window.is_some() && telling(plan, aggregate).is_empty() {
        missing.extend(groups(aggregate, |group| tells(aggregate, *group)).first());
    }
    let name = |index: usize| aggregate.schema.field(index).name().clone();
    missing.into_iter().map(name).collect()
}

/// The group columns that are in the output, each with its first place there.
fn found(plan: &LogicalPlan) -> BTreeMap<usize, usize> {
    let mut found = BTreeMap::new();
    for column in 0..plan.schema().fields().len() {
        if let Some(Origin::Group(group)) = origin(column, plan) {
            found.entry(group).or_insert(column);
        }
    }
    found
}

fn groups(aggregate: &AggregatePlan, wanted: impl Fn(&GroupColumn) -> bool) -> Vec<usize> {
    let groups = aggregate.groups.iter().enumerate();
    let groups = groups.filter(|(_, group)| wanted(group));
    groups.map(|(index, _)| index).collect()
}

/// The columns of the output that tell the window.
fn telling(plan: &LogicalPlan, aggregate: &AggregatePlan) -> Vec<usize> {
    let tells_it = |column: &usize| match origin(*column, plan) {
        Some(Origin::Group(group)) => tells(aggregate, aggregate.groups[group]),
        Some(Origin::Truncated(group, unit)) => {
            aggregate.groups[group] == GroupColumn::Window(WindowBound::Start)
                && aggregate
                    .window
                    .as_ref()
                    .is_some_and(|window| keeps_starts(window.kind, unit))
        }
        None => false,
    };
    let columns = 0..plan.schema().fields().len();
    columns.filter(tells_it).collect()
}

/// True for a bound that no two windows share. Cumulating windows share their start.
fn tells(aggregate: &AggregatePlan, group: GroupColumn) -> bool {
    let grows = aggregate
        .window
        .as_ref()
        .is_some_and(|window| matches!(window.kind, WindowKind::Cumulate { .. }));
    match group {
        GroupColumn::Window(WindowBound::Start) => !grows,
        GroupColumn::Window(WindowBound::End | WindowBound::Time) => true,
        GroupColumn::Key(_) => false,
    }
}

/// True if every start of such a window is also the start of a `unit`, so that cutting it to the
/// unit changes nothing.
fn keeps_starts(kind: WindowKind, unit: WindowKind) -> bool {
    let (distance, offset) = match kind {
        WindowKind::Tumble { size, offset } => (size, offset),
        WindowKind::Hop { slide, offset, .. } => (slide, offset),
        WindowKind::Cumulate { .. } | WindowKind::Session { .. } => return false,
    };
    match unit {
        WindowKind::Tumble {
            size,
            offset: start,
        } => distance % size == 0 && offset.wrapping_sub(start) % size == 0,
        _ => false,
    }
}

/// What an output column is of the aggregate below.
enum Origin {
    /// This group column.
    Group(usize),
    /// This group column, a time, cut to the start of a window.
    Truncated(usize, WindowKind),
}

fn origin(column: usize, plan: &LogicalPlan) -> Option<Origin> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let below = |expr: &Expr| {
                let Expr::Column(inner) = expr else {
                    return None;
                };
                let index = projection.input.schema().maybe_index_of_column(inner)?;
                origin(index, &projection.input)
            };
            let mut expr = &projection.expr[column];
            while let Expr::Alias(alias) = expr {
                expr = &alias.expr;
            }
            match (below(expr), as_tumble(expr)) {
                (Some(found), _) => Some(found),
                (None, Some((unit, time))) => match below(time)? {
                    Origin::Group(group) => Some(Origin::Truncated(group, unit)),
                    Origin::Truncated(..) => None,
                },
                (None, None) => None,
            }
        }
        LogicalPlan::SubqueryAlias(alias) => origin(column, &alias.input),
        LogicalPlan::Filter(filter) => origin(column, &filter.input),
        LogicalPlan::Limit(limit) => origin(column, &limit.input),
        LogicalPlan::Aggregate(aggregate) => {
            (column < aggregate.group_expr.len()).then_some(Origin::Group(column))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::keeps_starts;
    use crate::types::WindowKind;

    const MINUTE: i64 = 60_000_000;

    #[test]
    fn a_start_cut_to_a_unit_is_itself_only_where_every_start_begins_one() {
        let tumble = |size, offset| WindowKind::Tumble { size, offset };
        let (minute, hour) = (tumble(MINUTE, 0), tumble(60 * MINUTE, 0));
        assert!(keeps_starts(minute, minute));
        assert!(keeps_starts(hour, minute));
        assert!(!keeps_starts(minute, hour), "sixty windows have one hour");
        assert!(!keeps_starts(tumble(MINUTE, 1_000_000), minute));
        let week = tumble(7 * 24 * 60 * MINUTE, 4 * 24 * 60 * MINUTE);
        assert!(keeps_starts(week, week));
        assert!(!keeps_starts(tumble(7 * 24 * 60 * MINUTE, 0), week));
        let (slide, size, offset) = (MINUTE, 5 * MINUTE, 0);
        let hop = WindowKind::Hop {
            slide,
            size,
            offset,
        };
        assert!(keeps_starts(hop, minute));
        assert!(!keeps_starts(WindowKind::Session { gap: MINUTE }, minute));
    }
}
