//! DROP TABLE, VIEW, MATERIALIZED VIEW, SINK, SECRET, ALERT, QUERY.

use std::sync::Arc;

use super::create_sink::given_up;
use super::{notice, transactional_id};
use crate::catalog::Definition;
use crate::error::{Error, Result, SqlState};
use crate::session::{Outcome, Services, Session};
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
    let services = Arc::clone(session.services());
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
    let given: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let (kind, cascade) = (drop.kind, drop.cascade);
    let dropping = Arc::clone(&services);
    let dropped = task::spawn_blocking(move || {
        let _one = dropping.one_at_a_time();
        let given: Vec<&str> = given.iter().map(String::as_str).collect();
        let dropped = dropping.catalog.drop(kind, &given, cascade)?.into_iter();
        let forgotten = dropped.map(|gone| forget(&dropping, &gone).map(|waiting| (gone, waiting)));
        forgotten.collect::<Result<Vec<_>>>()
    });
    for (definition, waiting) in dropped.await? {
        if !names.contains(&definition.name()) {
            let text = format!(
                "drop cascades to {} {}",
                definition.kind_name(),
                definition.name()
            );
            notice(session, Error::user(SqlState::SuccessfulCompletion, text));
        }
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
fn forget(services: &Services, definition: &Definition) -> Result<u64> {
    let name = definition.name();
    match definition {
        Definition::MaterializedView(_) | Definition::Sink(_) | Definition::Alert(_) => {
            services.engine.drop_query(name)?;
            services.outboxes.remove(name)
        }
        Definition::Table(_) => {
            let aside = services.engine.set_aside();
            aside.retain_tables(|table| table != name).map(|()| 0)
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
