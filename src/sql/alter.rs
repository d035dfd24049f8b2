//! `ALTER QUERY | MATERIALIZED VIEW | SINK | ALERT`: what changes of a query while it is there.

use sqlparser::tokenizer::Token;

use super::grammar::Grammar;
use super::statement::{Name, ObjectKind, OptionClause, Statement};
use super::{alter_table, options, syntax, tokens};
use crate::error::{Error, Result, SqlState};

/// `ALTER kind [IF EXISTS] name PAUSE | RESUME | SET (..)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlterQuery {
    /// The kind written: a query, or a materialized view or sink, which have one.
    pub kind: ObjectKind,
    /// `IF EXISTS`.
    pub if_exists: bool,
    /// Which.
    pub name: Name,
    /// What changes.
    pub change: QueryChange,
}

/// What `ALTER QUERY` changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryChange {
    /// It stands still, and keeps what it holds.
    Pause,
    /// It goes on.
    Resume,
    /// Some of its options.
    Set(Vec<OptionClause>),
}

/// Reads the statement after `ALTER`.
///
/// # Errors
/// Syntax errors and kinds that cannot be altered, with their places.
pub(super) fn alter(grammar: &mut Grammar<'_>) -> Result<Statement> {
    if grammar.eat(&["TABLE"]) {
        return alter_table::alter_table(grammar);
    }
    let kind = kind(grammar)?;
    let if_exists = grammar.eat(&["IF", "EXISTS"]);
    let name = grammar.own_name()?;
    let change = match grammar.eat_one(&["PAUSE", "RESUME", "SET"]) {
        Some("PAUSE") => QueryChange::Pause,
        Some("RESUME") => QueryChange::Resume,
        Some(_) if grammar.peek().token == Token::LParen => {
            QueryChange::Set(options::in_parentheses(grammar)?)
        }
        Some(_) => return grammar.expected("options in parentheses, as (trigger = 'continuous')"),
        None => return unknown_change(grammar),
    };
    Ok(Statement::AlterQuery(AlterQuery {
        kind,
        if_exists,
        name,
        change,
    }))
}

fn kind(grammar: &mut Grammar<'_>) -> Result<ObjectKind> {
    for (words, kind) in [
        (&["QUERY"] as &[&str], ObjectKind::Query),
        (&["MATERIALIZED", "VIEW"], ObjectKind::MaterializedView),
        (&["SINK"], ObjectKind::Sink),
        (&["ALERT"], ObjectKind::Alert),
    ] {
        if grammar.eat(words) {
            return Ok(kind);
        }
    }
    let found = grammar.peek();
    let word = tokens::word(&found.token).unwrap_or_default();
    let others = [
        "VIEW", "INDEX", "SCHEMA", "DATABASE", "ROLE", "USER", "SYSTEM", "TYPE",
    ];
    if others.contains(&word.as_str()) {
        let text = format!("ALTER {word} is not supported");
        return Err(Error::user(SqlState::FeatureNotSupported, text)
            .hint("Drop the object and create it again; ALTER QUERY changes what runs, ALTER TABLE a table.")
            .at(Some(grammar.position())));
    }
    let expected = "Expected TABLE, QUERY, MATERIALIZED VIEW, SINK or ALERT.";
    let error = syntax::unexpected(found, Some(expected));
    Err(
        match syntax::meant(&word, &["table", "query", "materialized", "sink", "alert"]) {
            Some(meant) => error.hint(format!("Perhaps you meant ALTER {meant}.")),
            None => error,
        },
    )
}

fn unknown_change(grammar: &Grammar<'_>) -> Result<Statement> {
    let found = grammar.peek();
    let word = tokens::word(&found.token).unwrap_or_default();
    let error = syntax::unexpected(found, Some("Expected PAUSE, RESUME or SET (..)."));
    Err(match syntax::meant(&word, &["pause", "resume", "set"]) {
        Some(meant) => error.hint(format!("Perhaps you meant {meant}.")),
        None => error,
    })
}
