//! ALTER QUERY, MATERIALIZED VIEW, SINK, ALERT: a query stands still, goes on, or runs at another pace.

use std::sync::Arc;

use super::{alert, create_alert, notice};
use crate::catalog::Definition;
use crate::engine::QueryKind;
use crate::error::{Error, Result, SqlState};
use crate::session::{Outcome, Session};
use crate::sql::{AlterQuery, QueryChange};
use crate::task;

pub(in crate::session) async fn run(session: &mut Session, alter: AlterQuery) -> Result<Outcome> {
    let tag = format!("ALTER {}", alter.kind.keyword());
    let services = Arc::clone(session.services());
    let name = alter.name.name.clone();
    if let Some(error) = live(session, &alter) {
        return Err(error);
    }
    let found = match services.catalog.check_alter(&alter) {
        Ok(found) => found,
        Err(error) if alter.if_exists && error.state() == SqlState::UndefinedObject => {
            let text = format!("{} \"{name}\" does not exist, skipping", alter.kind.noun());
            notice(session, Error::user(SqlState::SuccessfulCompletion, text));
            return Ok(Outcome::done(tag));
        }
        Err(error) => return Err(error),
    };
    let is_paused = found.query_options().is_some_and(|options| options.paused);
    let text = match &alter.change {
        QueryChange::Pause if is_paused => Some(format!("query \"{name}\" is paused already")),
        QueryChange::Set(_) if is_paused => {
            Some(format!("query \"{name}\" is paused and stays so"))
        }
        QueryChange::Pause | QueryChange::Resume | QueryChange::Set(_) => None,
    };
    if let Some(text) = text {
        notice(session, Error::user(SqlState::SuccessfulCompletion, text));
    }
    if alter.change != QueryChange::Pause {
        let at = |error: Error| error.at(Some(alter.name.position));
        services.engine.check_runs(&name).map_err(at)?;
    }
    if let QueryChange::Set(set) = &alter.change {
        alert::check_set(session, &name, set)?;
    }
    let pauses = alter.change == QueryChange::Pause;
    change(session, alter).await?;
    if pauses {
        services.engine.stands_still(&name).await;
    }
    Ok(Outcome::done(tag))
}

/// Goes to its end although the client goes away.
async fn change(session: &Session, alter: AlterQuery) -> Result<()> {
    let services = Arc::clone(session.services());
    let defaults = services.config.kafka.connection();
    let again = match &alter.change {
        QueryChange::Pause => false,
        QueryChange::Resume => true,
        QueryChange::Set(options) => options.iter().any(|option| option.name == "trigger"),
    };
    task::spawn_blocking(move || {
        let _one = services.one_at_a_time();
        services
            .catalog
            .alter(&alter, defaults.as_ref(), |altered| {
                if let Some(options) = altered.query_options() {
                    services.engine.tune(altered.name(), &options, again);
                }
                if let Definition::Alert(alert) = altered {
                    let rules = create_alert::rules(alert);
                    services.engine.set_alert_rules(altered.name(), rules);
                }
                Ok(())
            })
    })
    .await
}

/// The error for a query that belongs to a client, if that name is one.
fn live(session: &Session, alter: &AlterQuery) -> Option<Error> {
    let name = &alter.name.name;
    let mut queries = session.services().engine.queries().into_iter();
    let is_live = queries.any(|query| query.kind == QueryKind::Live && query.name == *name);
    if !is_live || session.services().catalog.snapshot().get(name).is_some() {
        return None;
    }
    let text = format!("\"{name}\" is a live query");
    let hint = format!("It runs as its client takes its rows; CANCEL QUERY {name} ends it.");
    let error = Error::user(SqlState::WrongObjectType, text).hint(hint);
    Some(error.at(Some(alter.name.position)))
}

/// Checks the statement alone, as far as that goes without what runs.
pub(super) fn check(session: &Session, alter: &AlterQuery) -> Result<()> {
    let kept = session.services().catalog.check_alter(alter);
    match kept {
        // A materialized view is kept as a view there.
        Err(error) if error.state() == SqlState::WrongObjectType => Ok(()),
        Err(error) if alter.if_exists && error.state() == SqlState::UndefinedObject => Ok(()),
        kept => kept.map(drop),
    }
}
