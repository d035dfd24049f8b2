//! FLUSH: waits until every view and sink that is not paused has taken in what the topics hold now.

use super::notice;
use crate::error::{Error, Result, SqlState};
use crate::session::{Outcome, Session};
use crate::sql;

pub(in crate::session) async fn run(session: &mut Session) -> Result<Outcome> {
    for name in session.services().engine.flush().await? {
        let text = format!("query \"{name}\" is paused, skipping");
        let hint = format!("ALTER QUERY {} RESUME lets it go on.", sql::quote(&name));
        notice(
            session,
            Error::user(SqlState::SuccessfulCompletion, text).hint(hint),
        );
    }
    Ok(Outcome::done("FLUSH"))
}
