//! The system tables of what waits for the destinations of sinks, and of what was given up.

use arrow::record_batch::RecordBatch;
use datafusion::error::Result;

use super::{Columns, batch};
use crate::session::tables::external;
use crate::sink::outbox::{DeadLetter, OutboxName, OutboxState, Outboxes};
use crate::types::ProcessingTime;

/// `headwater.outboxes`.
pub(super) fn outboxes(outboxes: &Outboxes) -> Result<RecordBatch> {
    let rows: Vec<(OutboxName, OutboxState)> = outboxes.states();
    let column = Columns { rows: &rows };
    let micros = |at: Option<ProcessingTime>| at.map(|ProcessingTime(at)| at);
    batch(vec![
        ("query", column.text(|(name, _)| Some(name.query.clone()))),
        (
            "sink",
            column.text(|(name, _)| Some(name.sink.clone().unwrap_or_else(|| name.query.clone()))),
        ),
        ("waiting", column.int8(|(_, state)| Some(state.waiting))),
        (
            "waiting_bytes",
            column.int8(|(_, state)| Some(state.waiting_bytes)),
        ),
        (
            "oldest_at",
            column.time(|(_, state)| micros(state.oldest_at)),
        ),
        ("delivered", column.int8(|(_, state)| Some(state.delivered))),
        ("retried", column.int8(|(_, state)| Some(state.retried))),
        ("dead", column.int8(|(_, state)| Some(state.dead))),
        (
            "last_error",
            column.text(|(_, state)| Some(state.last_error.as_ref()?.0.clone())),
        ),
        (
            "last_error_at",
            column.time(|(_, state)| micros(state.last_error.as_ref().map(|(_, at)| *at))),
        ),
    ])
}

/// `headwater.outbox_dead_letters`.
pub(super) fn dead_letters(outboxes: &Outboxes) -> Result<RecordBatch> {
    let rows: Vec<(OutboxName, DeadLetter)> = outboxes.dead_letters().map_err(external)?;
    let column = Columns { rows: &rows };
    batch(vec![
        ("query", column.text(|(name, _)| Some(name.query.clone()))),
        (
            "sink",
            column.text(|(name, _)| Some(name.sink.clone().unwrap_or_else(|| name.query.clone()))),
        ),
        (
            "key",
            column.text(|(_, letter)| Some(letter.message.key.clone())),
        ),
        (
            "epoch",
            column.int8(|(_, letter)| Some(letter.message.epoch)),
        ),
        (
            "row",
            column.text(|(_, letter)| {
                Some(String::from_utf8_lossy(&letter.message.payload).into_owned())
            }),
        ),
        (
            "status",
            column.int8(|(_, letter)| letter.status.map(u64::from)),
        ),
        (
            "attempts",
            column.int8(|(_, letter)| Some(u64::from(letter.attempts))),
        ),
        (
            "reason",
            column.text(|(_, letter)| Some(letter.reason.clone())),
        ),
        ("died_at", column.time(|(_, letter)| Some(letter.died_at.0))),
    ])
}
