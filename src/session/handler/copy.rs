//! COPY (query) TO STDOUT.

use super::query;
use crate::error::{Error, Result, SqlState};
use crate::session::{CopyOut, Outcome, Session};
use crate::sql;

pub(in crate::session) async fn run(session: &mut Session, copy: sql::CopyOut) -> Result<Outcome> {
    let rows = query::rows(session, copy.query).await?;
    Ok(Outcome::CopyOut(CopyOut {
        rows,
        options: copy.options,
    }))
}

/// COPY .. FROM STDIN is not a way into a topic.
pub(in crate::session) fn refuse_in() -> Error {
    Error::user(SqlState::FeatureNotSupported, "COPY FROM is not supported")
        .hint("INSERT INTO .. VALUES writes messages to a table's topic.")
}
