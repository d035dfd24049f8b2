//! `REPLAY DEAD LETTERS`: kept messages are run again.

use sqlparser::ast::{BinaryOperator, Expr, SetExpr};

use super::grammar::Grammar;
use super::statement::{Name, Statement, StreamQuery};
use super::{names, query, syntax, tokens};
use crate::error::{Error, Result, SqlState};

/// `REPLAY DEAD LETTERS FROM table [WHERE condition]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// The table.
    pub table: Name,
    /// Partition and offset of the messages that are meant.
    pub query: StreamQuery,
}

/// Reads the statement after `REPLAY`.
///
/// # Errors
/// Syntax errors, with their places.
pub(super) fn replay(grammar: &mut Grammar<'_>) -> Result<Statement> {
    if grammar.at(&["LATE", "ROWS"]) {
        let text = "REPLAY LATE ROWS is not supported";
        return Err(Error::user(SqlState::FeatureNotSupported, text)
            .detail("The windows of late rows have closed, and stay so for the query that has met them.")
            .hint("Drop the view and create it again with a greater allowed_lateness: it reads the topic anew.")
            .at(Some(grammar.position())));
    }
    if !grammar.eat(&["DEAD", "LETTERS"]) {
        return unknown(grammar);
    }
    grammar.expect(&["FROM"])?;
    let table = grammar.own_name()?;
    let text = format!(
        "SELECT \"partition\", \"offset\" FROM headwater.dead_letters WHERE table_name = {}",
        names::literal(&table.name)
    );
    let mut query = query::of_text(&text, table.position)?;
    if grammar.eat(&["WHERE"]) {
        restrict(&mut query, grammar.expr()?)?;
    }
    Ok(Statement::Replay(Replay { table, query }))
}

fn restrict(query: &mut StreamQuery, condition: Expr) -> Result<()> {
    let SetExpr::Select(select) = query.query.body.as_mut() else {
        return Err(Error::internal("SELECT is a select"));
    };
    let own = select.selection.take();
    let own = own.ok_or_else(|| Error::internal("a WHERE clause of ours is gone"))?;
    select.selection = Some(Expr::BinaryOp {
        left: Box::new(own),
        op: BinaryOperator::And,
        right: Box::new(Expr::Nested(Box::new(condition))),
    });
    Ok(())
}

fn unknown(grammar: &Grammar<'_>) -> Result<Statement> {
    let found = grammar.peek();
    let word = tokens::word(&found.token).unwrap_or_default();
    let error = syntax::unexpected(found, Some("Expected DEAD LETTERS FROM a table."));
    Err(match syntax::meant(&word, &["dead"]) {
        Some(_) => error.hint("Perhaps you meant REPLAY DEAD LETTERS FROM."),
        None => error,
    })
}
