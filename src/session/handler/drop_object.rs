//! DROP TABLE, VIEW, MATERIALIZED VIEW, SINK, QUERY.

use super::notice;
use crate::catalog::Definition;
use crate::error::{Error, Result, SqlState};
use crate::session::{Outcome, Session};
use crate::sql::{Drop, Name, ObjectKind};
use crate::task;

pub(in crate::session) async fn run(session: &mut Session, drop: Drop) -> Result<Outcome> {
    let tag = format!("DROP {}", word(drop.kind));
    for name in &drop.names {
        if drop.kind == ObjectKind::Query {
            cancel(session, name, drop.if_exists)?;
        } else {
            one(session, &drop, name).await?;
        }
    }
    Ok(Outcome::done(tag))
}

/// The kind as SQL says it.
pub(super) fn word(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Table => "TABLE",
        ObjectKind::View => "VIEW",
        ObjectKind::MaterializedView => "MATERIALIZED VIEW",
        ObjectKind::Sink => "SINK",
        ObjectKind::Query => "QUERY",
    }
}

async fn one(session: &mut Session, drop: &Drop, name: &Name) -> Result<()> {
    let services = std::sync::Arc::clone(session.services());
    let dropped = match services.catalog.drop(drop.kind, &name.name, drop.cascade) {
        Ok(dropped) => dropped,
        Err(error) if drop.if_exists && error.state() == SqlState::UndefinedTable => {
            let text = format!(
                "{} \"{}\" does not exist, skipping",
                word(drop.kind).to_lowercase(),
                name.name
            );
            notice(session, Error::user(SqlState::SuccessfulCompletion, text));
            return Ok(());
        }
        Err(error) => return Err(error.at(Some(name.position))),
    };
    for definition in dropped {
        if definition.name() != name.name {
            let text = format!(
                "drop cascades to {} {}",
                definition.kind_name(),
                definition.name()
            );
            notice(session, Error::user(SqlState::SuccessfulCompletion, text));
        }
        forget(session, &definition).await?;
    }
    Ok(())
}

/// Ends what a definition had running.
async fn forget(session: &Session, definition: &Definition) -> Result<()> {
    let engine = session.services().engine.clone();
    let name = definition.name().to_owned();
    match definition {
        Definition::MaterializedView(_) | Definition::Sink(_) => {
            task::spawn_blocking(move || engine.drop_query(&name)).await
        }
        Definition::Table(_) => {
            engine.set_aside().forget_table(&name);
            Ok(())
        }
        Definition::View(_) => Ok(()),
    }
}

/// `DROP QUERY` and `CANCEL QUERY`: ends a live query of any session.
pub(in crate::session) fn cancel(session: &Session, name: &Name, if_exists: bool) -> Result<()> {
    let engine = &session.services().engine;
    let found = engine
        .queries()
        .into_iter()
        .find(|query| query.name == name.name);
    match found {
        Some(query) if engine.cancel(query.id) => Ok(()),
        Some(query) => Err(Error::user(
            SqlState::WrongObjectType,
            format!("\"{}\" is the query of a {}", name.name, query.kind.name()),
        )
        .hint(format!(
            "Use DROP {} {}.",
            query.kind.name().to_uppercase(),
            name.name
        ))
        .at(Some(name.position))),
        None if if_exists => Ok(()),
        None => Err(Error::user(
            SqlState::UndefinedObject,
            format!("query \"{}\" does not exist", name.name),
        )
        .hint("SHOW QUERIES lists what runs.")
        .at(Some(name.position))),
    }
}
