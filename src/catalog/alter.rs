//! What `ALTER QUERY` changes of a definition, durably.
//!
//! Options go into the CREATE statement's own text, so that SHOW CREATE shows them. That a query
//! stands still is no part of how it was declared: it is a statement of its own in the file.

use std::sync::Arc;

use super::{Catalog, Definition, Definitions, query_options, with_article};
use crate::error::{Error, Result, SqlState, nearest};
use crate::sql::{self, AlterQuery, ObjectKind, QueryChange, Statement};
use crate::types::KafkaConnection;

impl Catalog {
    /// Changes how a view's or sink's query runs, and tells `apply` the new definition while no
    /// other change can come between. It lasts when this returns.
    ///
    /// # Errors
    /// An unknown name, another kind, an option that cannot be changed, a value that it does not
    /// take, a disk that refuses.
    pub fn alter(
        &self,
        alter: &AlterQuery,
        defaults: Option<&KafkaConnection>,
        apply: impl FnOnce(&Definition) -> Result<()>,
    ) -> Result<()> {
        let mut current = self.lock();
        let found = find(alter, &current)?;
        let altered = match &alter.change {
            QueryChange::Pause => found.clone().with_paused(true),
            QueryChange::Resume => found.clone().with_paused(false),
            QueryChange::Set(clauses) => {
                if let Definition::Alert(alert) = found {
                    Definition::Alert(Arc::new(alert.altered(clauses)?))
                        .with_paused(found.is_paused())
                } else {
                    let mut text = found.statement().to_owned();
                    for (name, value) in query_options::changes(clauses, &[])? {
                        text = sql::set_option(&text, name, &value)?;
                    }
                    Definition::parse(&text, defaults, &current)?.with_paused(found.is_paused())
                }
            }
        };
        let mut next = current.by_name().clone();
        next.insert(altered.name().to_owned(), altered.clone());
        self.replace(&mut current, next)?;
        apply(&altered)
    }

    /// Says whether a query could be altered now.
    ///
    /// # Errors
    /// As [`Self::alter`].
    pub fn check_alter(&self, alter: &AlterQuery) -> Result<Definition> {
        let current = self.snapshot();
        let found = find(alter, &current)?;
        if let QueryChange::Set(clauses) = &alter.change {
            match found {
                Definition::Alert(alert) => drop(alert.altered(clauses)?),
                _ => drop(query_options::changes(clauses, &[])?),
            }
        }
        Ok(found.clone())
    }
}

/// The definition whose query is meant.
fn find<'a>(alter: &AlterQuery, current: &'a Definitions) -> Result<&'a Definition> {
    let name = &alter.name.name;
    let at = |error: Error| error.at(Some(alter.name.position));
    let wrong = |text: String| at(Error::user(SqlState::WrongObjectType, text));
    let Some(found) = current.get(name) else {
        let text = format!("{} \"{name}\" does not exist", alter.kind.noun());
        let error = at(Error::user(SqlState::UndefinedObject, text));
        let meant = |d: &&Definition| d.query_options().is_some() && is_of(d, alter.kind);
        let names: Vec<&str> = current.all().filter(meant).map(Definition::name).collect();
        return Err(match nearest(name, &names) {
            Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
            None => error.hint("SHOW QUERIES lists what runs."),
        });
    };
    let what = found.kind_name();
    if found.query_options().is_none() {
        let error = wrong(format!("\"{name}\" is a {what} and has no query"));
        return Err(error
            .hint("Materialized views and alerts have one, and sinks that were created with AS."));
    }
    if !is_of(found, alter.kind) {
        let error = wrong(format!(
            "\"{name}\" is not {}",
            with_article(alter.kind.noun())
        ));
        let keyword = found.kind().keyword();
        return Err(error.hint(format!(
            "It is {}: use ALTER {keyword} {name}.",
            with_article(what)
        )));
    }
    Ok(found)
}

fn is_of(definition: &Definition, kind: ObjectKind) -> bool {
    kind == ObjectKind::Query || definition.kind() == kind
}

/// What is written for a query that stands still.
pub(super) fn pause_statement(definition: &Definition) -> Option<String> {
    let name = sql::quote(definition.name());
    definition
        .is_paused()
        .then(|| format!("ALTER QUERY {name} PAUSE"))
}

/// The definition as such a statement has it; `None` when the text is another statement.
pub(super) fn paused(text: &str, before: &Definitions) -> Option<Definition> {
    let statement = sql::parse(text).ok()?.pop()?.statement;
    let Statement::AlterQuery(alter) = statement else {
        return None;
    };
    let found = before.get(&alter.name.name)?;
    Some(found.clone().with_paused(true))
}
