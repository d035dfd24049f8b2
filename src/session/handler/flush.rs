//! FLUSH: waits until every view and sink that is not paused has taken in what the topics hold now.
//!
//! One that has failed takes nothing from the others: it is told in a warning.

use super::notice;
use crate::error::{Error, Result, SqlState};
use crate::session::{Notice, Outcome, Session, Severity};
use crate::sql;

pub(in crate::session) async fn run(session: &mut Session) -> Result<Outcome> {
    let flushed = session.services().engine.flush().await?;
    for name in flushed.paused {
        let text = format!("query \"{name}\" is paused, skipping");
        let hint = format!("ALTER QUERY {} RESUME lets it go on.", sql::quote(&name));
        notice(
            session,
            Error::user(SqlState::SuccessfulCompletion, text).hint(hint),
        );
    }
    for name in flushed.finished {
        let text = format!("query \"{name}\" has ended, and messages have come since");
        let hint = format!(
            "ALTER QUERY {} RESUME lets it run again.",
            sql::quote(&name)
        );
        notice(
            session,
            Error::user(SqlState::SuccessfulCompletion, text).hint(hint),
        );
    }
    for (name, error) in flushed.failed {
        session.notice(Notice {
            severity: Severity::Warning,
            content: failed(&name, error.as_ref()),
        });
    }
    Ok(Outcome::done("FLUSH"))
}

fn failed(name: &str, error: Option<&Error>) -> Error {
    let text = format!("query \"{name}\" has failed, skipping");
    let cause = error.map_or_else(String::new, |error| format!("Its error: {error}."));
    let quoted = sql::quote(name);
    Error::user(SqlState::ObjectNotInPrerequisiteState, text)
        .detail(cause)
        .hint(format!(
            "EXPLAIN PROGRESS {quoted} tells more; ALTER QUERY {quoted} RESUME tries it again."
        ))
}
