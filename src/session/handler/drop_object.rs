//! DROP TABLE, VIEW, MATERIALIZED VIEW, SINK, SECRET, ALERT, QUERY.

use super::create_sink::given_up;
use super::{notice, transactional_id};
use crate::catalog::Definition;
use crate::error::{Error, Result, SqlState};
use crate::session::{Outcome, Session};
use crate::sql::{Drop, Name, ObjectKind};
use crate::task;

pub(in crate::session) async fn run(session: &mut Session, drop: Drop) -> Result<Outcome> {
    let tag = format!("DROP {}", word(drop.kind));
    if drop.kind == ObjectKind::Query {
        for name in &drop.names {
            cancel(session, name, drop.if_exists)?;
        }
    } else {
        definitions(session, &drop).await?;
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
        ObjectKind::Secret => "SECRET",
        ObjectKind::Alert => "ALERT",
        ObjectKind::Query => "QUERY",
    }
}

/// Drops all that are named, or none.
async fn definitions(session: &mut Session, drop: &Drop) -> Result<()> {
    let services = std::sync::Arc::clone(session.services());
    let mut names = Vec::with_capacity(drop.names.len());
    for name in &drop.names {
        match services.catalog.find(drop.kind, &name.name) {
            Ok(_) => names.push(name.name.as_str()),
            Err(error) if drop.if_exists && is_missing(&error) => {
                let kind = word(drop.kind).to_lowercase();
                let text = format!("{kind} \"{}\" does not exist, skipping", name.name);
                notice(session, Error::user(SqlState::SuccessfulCompletion, text));
            }
            Err(error) => return Err(error.at(Some(name.position))),
        }
    }
    let queries = services.engine.queries();
    let dropped = services.catalog.drop(drop.kind, &names, drop.cascade)?;
    for definition in dropped {
        if !names.contains(&definition.name()) {
            let text = format!(
                "drop cascades to {} {}",
                definition.kind_name(),
                definition.name()
            );
            notice(session, Error::user(SqlState::SuccessfulCompletion, text));
        }
        let waiting = forget(session, &definition).await?;
        match &definition {
            Definition::Sink(sink) => {
                let query = queries.iter().find(|query| query.name == sink.name);
                let status = query.map(|query| query.status());
                transactional_id::drop_sink(session, sink, status.as_ref()).await;
            }
            Definition::Alert(_)
            | Definition::Table(_)
            | Definition::View(_)
            | Definition::MaterializedView(_)
            | Definition::Secret(_) => {}
        }
        if waiting > 0 {
            notice(session, given_up(&definition, waiting));
        }
    }
    Ok(())
}

fn is_missing(error: &Error) -> bool {
    matches!(
        error.state(),
        SqlState::UndefinedTable | SqlState::UndefinedObject
    )
}

/// Ends what a definition had running; gives how many rows waited for their destination.
async fn forget(session: &Session, definition: &Definition) -> Result<u64> {
    let engine = session.services().engine.clone();
    let outboxes = std::sync::Arc::clone(&session.services().outboxes);
    let name = definition.name().to_owned();
    match definition {
        Definition::MaterializedView(_) | Definition::Sink(_) | Definition::Alert(_) => {
            task::spawn_blocking(move || {
                engine.drop_query(&name)?;
                outboxes.remove(&name)
            })
            .await
        }
        Definition::Table(_) => {
            let forget = move || engine.set_aside().retain_tables(|table| table != name);
            task::spawn_blocking(forget).await.map(|()| 0)
        }
        Definition::View(_) | Definition::Secret(_) => Ok(0),
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
