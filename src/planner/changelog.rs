//! When a query's rows are emitted, and what their receiver must bear.

use std::time::Duration;

use super::window_relation::position;
use crate::error::{Error, Result, SqlState};
use crate::plan::{AggregatePlan, Emission, OutputStage, QueryOptions};
use crate::sql::{Emit, StreamQuery};

/// Who takes a query's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A client, who sees whatever comes.
    Client,
    /// A materialized view, which bears every change.
    View,
    /// An alert, which bears every change and decides by its rows.
    Alert,
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
/// `missing`: the GROUP BY columns that its output would need to have for a key, if it has none.
pub(super) fn check_updates(
    purpose: Purpose,
    query: &StreamQuery,
    updates: bool,
    missing: Option<&Vec<String>>,
) -> Result<()> {
    let place = query.emit_position.or_else(|| position(&*query.query));
    match purpose {
        Purpose::AppendSink if updates => Err(Error::user(
            SqlState::FeatureNotSupported,
            "the query changes rows that it has emitted, and this sink only adds rows",
        )
        .hint(
            "Use format = 'upsert' (of a postgres sink, mode = 'upsert') with key_columns, which \
             keeps the newest row of each key; or format = 'debezium', which tells each change; or a window and EMIT FINAL, so that each \
             row comes once.",
        )
        .at(place)),
        Purpose::UpsertSink if updates && missing.is_some() => {
            let hint = match missing.map_or(&[][..], Vec::as_slice) {
                [] => "Use format = 'debezium', or a window and EMIT FINAL.".to_owned(),
                [name] => format!("Select {name} as well, and name it in key_columns."),
                names => {
                    let names = names.join(", ");
                    format!("Select {names} as well, and name them in key_columns.")
                }
            };
            Err(Error::user(
                SqlState::FeatureNotSupported,
                "the query changes rows that it has emitted, and not all of its GROUP BY columns \
                 are in its output to be the key",
            )
            .hint(hint)
            .at(place))
        }
        Purpose::Client
        | Purpose::View
        | Purpose::Alert
        | Purpose::AppendSink
        | Purpose::UpsertSink
        | Purpose::ChangelogSink => Ok(()),
    }
}

/// True if an aggregate's rows are only added, although it has no window: it computes nothing, so
/// that DISTINCT and GROUP BY alone have nothing to change, and what it holds it holds for ever.
pub(super) fn only_adds(aggregate: &AggregatePlan, options: QueryOptions) -> bool {
    aggregate.window.is_none() && aggregate.calls.is_empty() && options.state_ttl.is_none()
}
