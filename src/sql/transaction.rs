//! `BEGIN`, `COMMIT`, `ROLLBACK` and save points.

use sqlparser::tokenizer::Token;

use super::grammar::Grammar;
use super::statement::{EndTransaction, Name, Statement, TransactionModes};
use crate::error::{Error, Result, SqlState};

/// Reads the statement after `BEGIN`.
pub(super) fn begin(grammar: &mut Grammar<'_>) -> Result<Statement> {
    noise(grammar);
    modes(grammar).map(Statement::Begin)
}

/// Reads the statement after `START`.
pub(super) fn start(grammar: &mut Grammar<'_>) -> Result<Statement> {
    grammar.expect(&["TRANSACTION"])?;
    modes(grammar).map(Statement::Begin)
}

/// Reads the statement after `COMMIT` or `END`.
pub(super) fn commit(grammar: &mut Grammar<'_>) -> Result<Statement> {
    refuse_prepared(grammar)?;
    noise(grammar);
    chain(grammar).map(Statement::Commit)
}

/// Reads the statement after `ROLLBACK` or `ABORT`.
pub(super) fn rollback(grammar: &mut Grammar<'_>) -> Result<Statement> {
    refuse_prepared(grammar)?;
    noise(grammar);
    if grammar.eat(&["TO"]) {
        grammar.eat(&["SAVEPOINT"]);
        return savepoint(grammar).map(Statement::RollbackToSavepoint);
    }
    chain(grammar).map(Statement::Rollback)
}

/// The name of a save point.
pub(super) fn savepoint(grammar: &mut Grammar<'_>) -> Result<Name> {
    let name = grammar.identifier()?;
    Ok(Name {
        schema: None,
        name: name.name,
        position: name.position,
    })
}

/// Reads the statement after `RELEASE`.
pub(super) fn release(grammar: &mut Grammar<'_>) -> Result<Statement> {
    grammar.eat(&["SAVEPOINT"]);
    savepoint(grammar).map(Statement::ReleaseSavepoint)
}

/// The modes of a transaction, with commas or without.
pub(super) fn modes(grammar: &mut Grammar<'_>) -> Result<TransactionModes> {
    let mut modes = TransactionModes::default();
    let mut after_comma = false;
    while !grammar.at_end() {
        if grammar.eat(&["ISOLATION", "LEVEL"]) {
            modes.isolation = Some(isolation(grammar)?);
        } else if grammar.eat(&["READ", "ONLY"]) {
            modes.read_only = Some(true);
        } else if grammar.eat(&["READ", "WRITE"]) {
            modes.read_only = Some(false);
        } else if grammar.eat(&["NOT", "DEFERRABLE"]) {
            modes.deferrable = Some(false);
        } else if grammar.eat(&["DEFERRABLE"]) {
            modes.deferrable = Some(true);
        } else {
            return grammar.expected("ISOLATION LEVEL, READ ONLY, READ WRITE or DEFERRABLE");
        }
        after_comma = grammar.eat_token(&Token::Comma);
    }
    if after_comma {
        grammar.expected("a transaction mode")
    } else {
        Ok(modes)
    }
}

fn isolation(grammar: &mut Grammar<'_>) -> Result<String> {
    for (words, level) in [
        (&["READ", "COMMITTED"][..], "read committed"),
        (&["READ", "UNCOMMITTED"], "read uncommitted"),
        (&["REPEATABLE", "READ"], "repeatable read"),
        (&["SERIALIZABLE"], "serializable"),
    ] {
        if grammar.eat(words) {
            return Ok(level.to_owned());
        }
    }
    grammar.expected("an isolation level")
}

fn noise(grammar: &mut Grammar<'_>) {
    grammar.eat_one(&["WORK", "TRANSACTION"]);
}

fn chain(grammar: &mut Grammar<'_>) -> Result<EndTransaction> {
    let chain = if grammar.eat(&["AND"]) {
        let chain = !grammar.eat(&["NO"]);
        grammar.expect(&["CHAIN"])?;
        chain
    } else {
        false
    };
    Ok(EndTransaction { chain })
}

fn refuse_prepared(grammar: &Grammar<'_>) -> Result<()> {
    if !grammar.at(&["PREPARED"]) {
        return Ok(());
    }
    Err(Error::user(
        SqlState::FeatureNotSupported,
        "two-phase commit is not supported",
    )
    .at(Some(grammar.position())))
}
