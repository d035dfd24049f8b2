//! When a query's rows are emitted, and what their receiver must bear.

use std::collections::BTreeMap;
use std::time::Duration;

use datafusion::logical_expr::{Expr, LogicalPlan};

use super::window_relation::position;
use crate::error::{Error, Result, SqlState};
use crate::plan::{AggregatePlan, Emission, GroupColumn, OutputStage};
use crate::sql::{Emit, StreamQuery};
use crate::types::{WindowBound, WindowKind};

/// Who takes a query's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A client, who sees whatever comes.
    Client,
    /// A materialized view, which bears every change.
    View,
    /// A sink that only adds.
    AppendSink,
    /// A sink that keeps the newest row of each key.
    UpsertSink,
    /// A sink that takes every change.
    ChangelogSink,
}

/// Decides when rows are emitted; refuses what never would be.
pub(super) fn emission(
    query: &StreamQuery,
    aggregate: Option<&AggregatePlan>,
    output: &[OutputStage],
) -> Result<Emission> {
    let windowed = aggregate.map(|aggregate| aggregate.window.is_some());
    let whole = |stage: &OutputStage| !matches!(stage, OutputStage::Rows(_));
    if matches!(query.emit, Some(Emit::Changes | Emit::Every(_))) && output.iter().any(whole) {
        return Err(Error::user(
            SqlState::FeatureNotSupported,
            "a window over a window, and ranks within one, are emitted when windows close",
        )
        .hint("Use EMIT FINAL.")
        .at(query.emit_position));
    }
    match (windowed, query.emit) {
        (None, Some(Emit::Every(_))) => Err(Error::user(
            SqlState::FeatureNotSupported,
            "EMIT EVERY needs an aggregate: without one every row is emitted as it comes",
        )
        .at(query.emit_position)),
        (None, _) | (Some(true), None | Some(Emit::Final)) => Ok(Emission::Final),
        (Some(false), Some(Emit::Final)) => Err(Error::user(
            SqlState::WindowingError,
            "an aggregate without a window never becomes final",
        )
        .hint(
            "Use EMIT CHANGES, or add a window: FROM TUMBLE(t, ts, INTERVAL '1 minute') .. \
             GROUP BY window_start, ..",
        )
        .at(query.emit_position)),
        (Some(_), Some(Emit::Changes)) | (Some(false), None) => Ok(Emission::Changes),
        (Some(_), Some(Emit::Every(micros))) => match u64::try_from(micros) {
            Ok(micros) if micros > 0 => Ok(Emission::Every(Duration::from_micros(micros))),
            _ => Err(Error::user(
                SqlState::InvalidParameterValue,
                "the interval of EMIT EVERY must be positive",
            )
            .at(query.emit_position)),
        },
    }
}

/// Checks that the receiver can bear rows that replace others, if the query `updates` its rows.
pub(super) fn check_updates(
    purpose: Purpose,
    query: &StreamQuery,
    updates: bool,
    key: Option<&Vec<usize>>,
) -> Result<()> {
    let place = query.emit_position.or_else(|| position(&*query.query));
    match purpose {
        Purpose::AppendSink if updates => Err(Error::user(
            SqlState::FeatureNotSupported,
            "the query changes rows that it has emitted, and this sink only adds rows",
        )
        .hint(
            "Use format = 'upsert' with key_columns, which keeps the newest row of each key; or a \
             window and EMIT FINAL, so that each row comes once.",
        )
        .at(place)),
        Purpose::UpsertSink if updates && key.is_none() => Err(Error::user(
            SqlState::FeatureNotSupported,
            "the query changes rows that it has emitted, and not all of its GROUP BY columns are \
             in its output to be the key",
        )
        .hint("Select every GROUP BY column, and name them in key_columns.")
        .at(place)),
        Purpose::Client
        | Purpose::View
        | Purpose::AppendSink
        | Purpose::UpsertSink
        | Purpose::ChangelogSink => Ok(()),
    }
}

/// The columns of `plan`'s output that tell its rows apart: those of the aggregate's keys, and one
/// that tells the window. `None` unless all of them are there.
pub(super) fn key_columns(
    plan: &LogicalPlan,
    aggregate: Option<&AggregatePlan>,
    output: &[OutputStage],
) -> Option<Vec<usize>> {
    let aggregate = aggregate.filter(|aggregate| aggregate.sets.is_none())?;
    let rows_only = |stage: &OutputStage| matches!(stage, OutputStage::Rows(_));
    if !output.iter().all(rows_only) {
        return None;
    }
    let mut found = BTreeMap::new();
    for column in 0..plan.schema().fields().len() {
        if let Some(group) = group_of(column, plan) {
            found.entry(group).or_insert(column);
        }
    }
    let groups = || aggregate.groups.iter().enumerate();
    let is_key = |group: &GroupColumn| matches!(group, GroupColumn::Key(_));
    let keys = groups().filter(|(_, group)| is_key(group));
    let mut columns: Vec<usize> = keys
        .map(|(index, _)| found.get(&index).copied())
        .collect::<Option<_>>()?;
    if let Some(window) = &aggregate.window {
        let grows = matches!(window.kind, WindowKind::Cumulate { .. });
        let tells = |group: &GroupColumn| match group {
            GroupColumn::Window(WindowBound::Start) => !grows,
            GroupColumn::Window(WindowBound::End | WindowBound::Time) => true,
            GroupColumn::Key(_) => false,
        };
        let bounds = groups().filter(|(_, group)| tells(group));
        let mut bounds = bounds.filter_map(|(index, _)| found.get(&index));
        columns.push(*bounds.next()?);
    }
    columns.sort_unstable();
    Some(columns)
}

/// Which group column of the aggregate below a column is.
fn group_of(column: usize, plan: &LogicalPlan) -> Option<usize> {
    match plan {
        LogicalPlan::Projection(projection) => {
            let mut expr = &projection.expr[column];
            while let Expr::Alias(alias) = expr {
                expr = &alias.expr;
            }
            let Expr::Column(inner) = expr else {
                return None;
            };
            let index = projection.input.schema().maybe_index_of_column(inner)?;
            group_of(index, &projection.input)
        }
        LogicalPlan::SubqueryAlias(alias) => group_of(column, &alias.input),
        LogicalPlan::Filter(filter) => group_of(column, &filter.input),
        LogicalPlan::Limit(limit) => group_of(column, &limit.input),
        LogicalPlan::Aggregate(aggregate) => {
            (column < aggregate.group_expr.len()).then_some(column)
        }
        _ => None,
    }
}
