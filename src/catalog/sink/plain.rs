//! The options of sinks that have none of their own: `blackhole` and `print`.

use super::SinkTarget;
use crate::error::{Error, Result, SqlState};
use crate::sql::CreateSink;

/// The target, unless the clause asks for a key.
pub(super) fn target(clause: &CreateSink, target: SinkTarget) -> Result<SinkTarget> {
    let Some(first) = clause.primary_key.first() else {
        return Ok(target);
    };
    let text = format!("a {} sink has no key", target.connector());
    Err(Error::user(SqlState::InvalidTableDefinition, text)
        .hint("Leave PRIMARY KEY out.")
        .at(Some(first.position)))
}
