//! ALTER TABLE: columns come, go or get another type, options change. Whoever depends on what would
//! change is asked before anything is kept; queries that read the table go on from their checkpoints.

use std::sync::Arc;

use super::dependents::{Change, GoesOn, Meaning, Refused, TRIES_MAX, busy, restart};
use super::{create_table, notice};
use crate::catalog::{AlteredTable, needed};
use crate::error::{Error, Position, Result, SqlState};
use crate::planner::check_table;
use crate::session::{Outcome, Services, Session};
use crate::sql::{AlterTable, ObjectKind, TableChange};
use crate::task;

const TAG: &str = "ALTER TABLE";

pub(in crate::session) async fn run(session: &mut Session, alter: AlterTable) -> Result<Outcome> {
    for _ in 0..TRIES_MAX {
        let altered = match altered(session.services(), &alter) {
            Err(error) if alter.if_exists && error.state() == SqlState::UndefinedTable => {
                let text = format!("table \"{}\" does not exist, skipping", alter.name.name);
                notice(session, Error::user(SqlState::SuccessfulCompletion, text));
                return Ok(Outcome::done(TAG));
            }
            altered => altered?,
        };
        let go_on = dependents(session.services(), &alter, &altered).await?;
        create_table::find_topic(&altered.table, &altered.clause).await?;
        create_table::make_other_topics(session, &altered.table).await?;
        let skipped = altered.skipped.clone();
        if keep(session.services(), altered, go_on).await? {
            session.services().engine.views_there().await;
            for text in skipped {
                notice(session, Error::user(SqlState::SuccessfulCompletion, text));
            }
            return Ok(Outcome::done(TAG));
        }
    }
    Err(busy(ObjectKind::Table, &alter.name))
}

fn altered(services: &Services, alter: &AlterTable) -> Result<AlteredTable> {
    let defaults = services.config.kafka.connection();
    services.catalog.altered_table(alter, defaults.as_ref())
}

/// Checks the statement alone, as far as that goes without what runs, and keeps it for those after it.
pub(super) async fn check(session: &mut Session, alter: &AlterTable) -> Result<()> {
    let services = Arc::clone(session.services());
    let altered = match altered(&services, alter) {
        Err(error) if alter.if_exists && error.state() == SqlState::UndefinedTable => return Ok(()),
        altered => altered?,
    };
    dependents(&services, alter, &altered).await?;
    services.catalog.put(&altered.change).map(drop)
}

/// Keeps the table, and lets the queries go on; false if something else was changed meanwhile. It goes
/// to its end although the client goes away.
async fn keep(services: &Arc<Services>, altered: AlteredTable, go_on: Vec<GoesOn>) -> Result<bool> {
    let services = Arc::clone(services);
    task::spawn_blocking(move || {
        let _one = services.one_at_a_time();
        match services.catalog.put(&altered.change)? {
            true => restart(&services, go_on).map(|()| true),
            false => Ok(false),
        }
    })
    .await
}

/// Plans everything that reads the table as it would be; gives the queries whose plans differ.
///
/// # Errors
/// What cannot be any more, or cannot go on, by name.
async fn dependents(
    services: &Arc<Services>,
    alter: &AlterTable,
    altered: &AlteredTable,
) -> Result<Vec<GoesOn>> {
    let change = Change {
        name: &altered.table.name,
        definitions: &altered.change,
        meaning: Meaning::Same,
    };
    let trial = change.trial(services);
    let at = |error: Error| error.at(Some(alter.name.position));
    check_table(&altered.table, trial.base_state()?).map_err(at)?;
    let asked = change.ask(services, &trial).await?;
    match asked.refused.is_empty() {
        true => Ok(asked.go_on),
        false => Err(refuse(alter, &asked.refused).at(Some(place(alter)))),
    }
}

/// Where the column stands that changes, if it is one.
fn place(alter: &AlterTable) -> Position {
    match alter.changes.as_slice() {
        [TableChange::Add { column, .. }] => column.position,
        [
            TableChange::Drop { column, .. }
            | TableChange::Type { column, .. }
            | TableChange::NotNull { column, .. },
        ] => column.position,
        _ => alter.name.position,
    }
}

/// The error that names whoever cannot go on, and why.
fn refuse(alter: &AlterTable, refused: &[Refused]) -> Error {
    let table = &alter.name.name;
    if let [TableChange::Drop { column, .. }] = alter.changes.as_slice() {
        let needs: Vec<String> = refused.iter().map(|refused| refused.who.clone()).collect();
        return needed(&column.name, table, &needs);
    }
    Error::user(
        SqlState::DependentObjectsStillExist,
        format!("cannot alter table {table} because other objects depend on it"),
    )
    .detail(Refused::lines(refused))
    .hint("Drop what depends on it, alter the table, and create it again.")
}
