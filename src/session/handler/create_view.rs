//! CREATE VIEW: a name for a query, which is put in its place.

use std::sync::Arc;

use super::continuous::logical_of;
use super::{is_there, mode};
use crate::catalog::{Definition, ViewDefinition};
use crate::error::Result;
use crate::session::{Outcome, Session};
use crate::sql::CreateView;

const TAG: &str = "CREATE VIEW";

pub(in crate::session) async fn run(session: &mut Session, clause: CreateView) -> Result<Outcome> {
    if clause.if_not_exists && is_there(session, &clause.name) {
        return Ok(Outcome::done(TAG));
    }
    let mode = mode(clause.if_not_exists, clause.or_replace);
    let view = ViewDefinition::try_new(&clause)?;
    // Planned once now, so that a view that cannot be read is never made.
    logical_of(session, &view.query).await?;
    session
        .services()
        .catalog
        .create(Definition::View(Arc::new(view)), mode)?;
    Ok(Outcome::done(TAG))
}
