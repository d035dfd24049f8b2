//! CREATE VIEW: a name for a query, which is put in its place.

use std::sync::Arc;

use super::continuous::logical_of;
use super::{define, is_there, mode};
use crate::catalog::{Definition, ViewDefinition};
use crate::error::{Error, Result, SqlState};
use crate::session::{Outcome, Session};
use crate::sql::CreateView;

const TAG: &str = "CREATE VIEW";

pub(in crate::session) async fn run(session: &mut Session, clause: CreateView) -> Result<Outcome> {
    if clause.if_not_exists && is_there(session, &clause.name) {
        return Ok(Outcome::done(TAG));
    }
    let mode = mode(clause.if_not_exists, clause.or_replace);
    let view = Arc::new(ViewDefinition::try_new(&clause)?);
    let definition = Definition::View(Arc::clone(&view));
    let at = |error: Error| error.at(Some(clause.name.position));
    session
        .services()
        .catalog
        .check(&definition, mode)
        .map_err(at)?;
    // Planned once now, so that a view that cannot be read is never made.
    let plan = logical_of(session, &view.query).await?;
    let columns = plan.schema().fields().len();
    if let Some(extra) = clause.columns.get(columns) {
        return Err(Error::user(
            SqlState::InvalidTableDefinition,
            format!(
                "{} column names for {columns} columns",
                clause.columns.len()
            ),
        )
        .at(Some(extra.position)));
    }
    define(session, definition, mode, |_| Ok(())).await?;
    Ok(Outcome::done(TAG))
}
