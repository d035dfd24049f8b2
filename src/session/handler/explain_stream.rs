//! EXPLAIN of a continuous query, and EXPLAIN PROGRESS of a running one.

use std::sync::Arc;

use super::continuous::{Wanted, continuous};
use super::explain_progress;
use crate::engine::QueryKind;
use crate::error::{Error, Result, SqlState};
use crate::session::Session;
use crate::sql::Name;

/// The streaming plan of a query.
pub(in crate::session) async fn plan(session: &mut Session, wanted: Wanted<'_>) -> Result<String> {
    let services = Arc::clone(session.services());
    let state = session.state()?;
    let plan = continuous(&services, &state, wanted).await?;
    Ok(plan.describe())
}

/// What a subscription to a materialized view does.
pub(in crate::session) fn followed(session: &Session, view: &str) -> Result<String> {
    let queries = session.services().engine.queries();
    let query = queries
        .iter()
        .find(|query| query.kind == QueryKind::MaterializedView && query.name == view)
        .ok_or_else(|| Error::internal("the view's query is gone"))?;
    let inner: String = query
        .plan
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    Ok(format!("subscribe\n  materialized view: {view}\n{inner}"))
}

/// Why a query has, or has not, emitted.
pub(in crate::session) fn progress(session: &Session, name: &Name) -> Result<String> {
    let query = session
        .services()
        .engine
        .queries()
        .into_iter()
        .find(|query| query.name == name.name)
        .ok_or_else(|| {
            Error::user(
                SqlState::UndefinedObject,
                format!("query \"{}\" does not exist", name.name),
            )
            .hint("SHOW QUERIES lists what runs.")
            .at(Some(name.position))
        })?;
    let now = session.services().clock.now();
    Ok(explain_progress::tell(&query, &query.status(), now))
}
