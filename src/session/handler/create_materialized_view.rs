//! CREATE MATERIALIZED VIEW: a query that runs, and whose rows are kept.

use std::sync::Arc;

use super::continuous::continuous;
use super::{is_there, mode};
use crate::catalog::{Created, Definition, MaterializedViewDefinition};
use crate::error::Result;
use crate::planner::Purpose;
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
    let state = session.state()?;
    let plan = continuous(&services, &state, &view.query, &view.columns, Purpose::View).await?;
    let name = view.name.clone();
    let created = services
        .catalog
        .create(Definition::MaterializedView(view), mode)?;
    if matches!(created, Created::New) {
        services.engine.drop_query(&name)?;
        services.engine.create_view(&name, plan)?;
    }
    Ok(Outcome::done(TAG))
}

/// Starts the query of a view that is defined.
pub(in crate::session) async fn start(
    services: &Arc<Services>,
    view: &MaterializedViewDefinition,
) -> Result<()> {
    let state = services.base_state()?;
    let plan = continuous(services, state, &view.query, &view.columns, Purpose::View).await?;
    services.engine.create_view(&view.name, plan)
}
