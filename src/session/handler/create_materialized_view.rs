//! CREATE MATERIALIZED VIEW: a query that runs, and whose rows are kept.

use std::sync::Arc;

use super::continuous::{Wanted, continuous};
use super::dependents::{TRIES_MAX, busy, check_columns, replaced, told};
use super::{define_among, is_there, mode, notice};
use crate::catalog::{Definition, MaterializedViewDefinition};
use crate::engine::Engine;
use crate::error::{Error, Result, SqlState};
use crate::session::{Outcome, Services, Session};
use crate::sql::{CreateMaterializedView, ObjectKind};

const TAG: &str = "CREATE MATERIALIZED VIEW";
const KIND: ObjectKind = ObjectKind::MaterializedView;

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
    let at = |error: Error| error.at(Some(clause.name.position));
    for _ in 0..TRIES_MAX {
        let definition = Definition::MaterializedView(Arc::clone(&view));
        let change = services.catalog.change(&definition, mode).map_err(at)?;
        let Some(change) = change else {
            return Ok(Outcome::done(TAG));
        };
        let state = session.state()?;
        let plan = continuous(&services, &state, Wanted::view(&view)).await?;
        check_columns(&services, &change.before, (&clause.name, &plan)).await?;
        let go_on = replaced(&services, &change, (KIND, &clause.name)).await?;
        let (name, lines) = (view.name.clone(), told(&go_on, KIND));
        let start = move |engine: &Engine| engine.create_view(&name, plan, true);
        if define_among(session, definition, (change, go_on), start).await? {
            for text in lines {
                notice(session, Error::user(SqlState::SuccessfulCompletion, text));
            }
            return Ok(Outcome::done(TAG));
        }
    }
    Err(busy(KIND, &clause.name))
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
