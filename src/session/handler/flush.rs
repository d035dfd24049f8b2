//! FLUSH: waits until every view and sink has taken in what the topics hold now.

use crate::error::Result;
use crate::session::{Outcome, Session};

pub(in crate::session) async fn run(session: &Session) -> Result<Outcome> {
    session.services().engine.flush().await?;
    Ok(Outcome::done("FLUSH"))
}
