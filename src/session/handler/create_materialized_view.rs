//! CREATE MATERIALIZED VIEW: a query that runs, and whose rows are kept.

use std::sync::Arc;

use super::continuous::{Wanted, continuous};
use super::{define, is_there, mode};
use crate::catalog::{Definition, MaterializedViewDefinition};
use crate::error::{Error, Result};
use crate::session::{Outcome, Services, Session};
use crate::sql::CreateMaterializedView;

const TAG: &str = "CREATE MATERIALIZED VIEW";

pub(in crate::session) async fn run(
    session: &mut Session,
    clause: CreateMaterializedView,
) -> Result<Outcome> {
    if clause.if_not_exists && is_there(session, &clause.name) {
        return Ok(Outcome::done(TAG));
    }
    let services = Arc::clone(session.services());
    let mode = mode(clause.if_not_exists, clause.or_replace);
    let view = Arc::new(MaterializedViewDefinition::try_new(&clause)?);
    let definition = Definition::MaterializedView(Arc::clone(&view));
    let at = |error: Error| error.at(Some(clause.name.position));
    services.catalog.check(&definition, mode).map_err(at)?;
    let state = session.state()?;
    let plan = continuous(&services, &state, Wanted::view(&view)).await?;
    let name = view.name.clone();
    define(session, definition, mode, move |engine| {
        engine.create_view(&name, plan, true)
    })
    .await?;
    Ok(Outcome::done(TAG))
}

/// Starts the query of a view that is defined.
pub(in crate::session) async fn start(
    services: &Arc<Services>,
    view: &MaterializedViewDefinition,
) -> Result<()> {
    let state = services.base_state()?;
    let plan = continuous(services, state, Wanted::view(view)).await?;
    services.engine.create_view(&view.name, plan, false)
}
