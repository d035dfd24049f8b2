//! FLUSH: waits until every view and sink that is not paused has taken in what the topics hold now.
//!
//! One that has failed, or whose rows find no room since their destination takes none, takes nothing from the
//! others: it is told in a warning. One that is in trouble and tries again is waited for, and that is told meanwhile.

use std::sync::Arc;
use std::time::Duration;

use super::{notice, outbox_text};
use crate::engine::Watcher;
use crate::error::{Error, Result, SqlState};
use crate::session::{Notice, Outcome, Session, Severity};
use crate::sql;

/// For so long a destination may take nothing before a query is not waited for any more.
const PATIENCE: Duration = Duration::from_secs(3);

pub(in crate::session) async fn run(session: &mut Session) -> Result<Outcome> {
    let services = Arc::clone(session.services());
    let is_stuck = |query: &str| {
        let now = services.clock.now();
        let outboxes = services.outboxes.of_query(query);
        outboxes
            .iter()
            .any(|(_, state)| state.is_stuck(now, PATIENCE))
    };
    let notices = session.notices();
    let waits = |query: &str, why: &str| {
        notices.add(Notice {
            severity: Severity::Warning,
            content: waits(query, why),
        });
    };
    let watcher = Watcher {
        is_stuck: &is_stuck,
        waits: &waits,
    };
    let flushed = services.engine.flush(watcher).await?;
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
    for name in flushed.stuck {
        let outboxes = services.outboxes.of_query(&name);
        session.notice(Notice {
            severity: Severity::Warning,
            content: stuck(&name, outbox_text::full(&outboxes)),
        });
    }
    Ok(Outcome::done("FLUSH"))
}

fn waits(name: &str, why: &str) -> Error {
    let text = format!("FLUSH waits for query \"{name}\": {why}");
    Error::user(SqlState::ObjectNotInPrerequisiteState, text).hint(format!(
        "It goes on by itself when that is over; EXPLAIN PROGRESS {0} tells more, and ALTER QUERY {0} PAUSE lets FLUSH skip it.",
        sql::quote(name)
    ))
}

fn stuck(name: &str, why: Option<String>) -> Error {
    let text = format!("query \"{name}\" waits for its sink, skipping");
    Error::user(SqlState::ObjectNotInPrerequisiteState, text)
        .detail(why.unwrap_or_default())
        .hint(format!(
            "It goes on by itself when the destination takes rows; EXPLAIN PROGRESS {} tells more.",
            sql::quote(name)
        ))
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
