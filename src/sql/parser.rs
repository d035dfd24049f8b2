//! One statement: its first words say which grammar reads it.

use sqlparser::ast;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::dialect::StatementDialect;
use super::grammar::Grammar;
use super::query::{self, Source};
use super::statement::{Notify, Statement};
use super::{
    alert, alter, copy, create, cursor, emit, objects, prepared, replay, row_fields, settings,
    syntax, tokens, transaction, window_clause, window_function,
};
use crate::error::{Error, Result, SqlState};

/// What a statement can start with, for misspelt first words.
const HEADS: [&str; 43] = [
    "abort",
    "ack",
    "backtest",
    "begin",
    "cancel",
    "close",
    "commit",
    "copy",
    "create",
    "deallocate",
    "declare",
    "delete",
    "describe",
    "discard",
    "drop",
    "end",
    "execute",
    "explain",
    "fetch",
    "flush",
    "insert",
    "listen",
    "move",
    "notify",
    "prepare",
    "release",
    "replay",
    "reset",
    "rollback",
    "savepoint",
    "select",
    "set",
    "show",
    "silence",
    "start",
    "subscribe",
    "table",
    "unlisten",
    "unsilence",
    "update",
    "values",
    "with",
    "alter",
];

/// Reads one statement; `all` has at least one token and is not too deep.
///
/// # Errors
/// Syntax errors and statements that we do not have, with their places.
pub(super) fn statement(all: Vec<TokenWithSpan>, source: Source<'_>) -> Result<Statement> {
    let first = &all[0];
    if first.token == Token::LParen {
        return query::parse(all, source).map(Statement::Query);
    }
    let head = tokens::word(&first.token).unwrap_or_default();
    match head.as_str() {
        "SELECT" | "WITH" | "VALUES" | "TABLE" | "SUBSCRIBE" => {
            query::parse(all, source).map(Statement::Query)
        }
        "INSERT" => insert(all, source),
        "EXPLAIN" => prepared::explain(all, source),
        "COPY" => copy::copy(all, source),
        _ => {
            let dialect = StatementDialect::new(all.len(), false);
            let error = unknown(first, &head);
            let mut grammar = Grammar::new(&dialect, all, source);
            grammar.next();
            by_head(&head, grammar).unwrap_or(Err(error))
        }
    }
}

/// The grammar for a statement whose first word was taken; `None` if there is none.
fn by_head(head: &str, mut grammar: Grammar<'_>) -> Option<Result<Statement>> {
    let whole = |grammar: Grammar<'_>, statement: Result<Statement>| {
        statement.and_then(|statement| grammar.finish().map(|()| statement))
    };
    let read: fn(&mut Grammar<'_>) -> Result<Statement> = match head {
        // These end in a query or in a statement and take the grammar with them.
        "CREATE" => return Some(create::create(grammar)),
        "DECLARE" => return Some(cursor::declare(grammar)),
        "PREPARE" => return Some(prepared::prepare(grammar)),
        "DROP" => objects::drop,
        "ALTER" => alter::alter,
        "SHOW" => objects::show,
        "DESCRIBE" | "DESC" => objects::describe,
        "FLUSH" => |_| Ok(Statement::Flush),
        "REPLAY" => replay::replay,
        "CANCEL" => objects::cancel,
        "ACK" => alert::ack,
        "SILENCE" => alert::silence,
        "UNSILENCE" => alert::unsilence,
        "BACKTEST" => alert::backtest,
        "FETCH" => |grammar| cursor::fetch(grammar).map(Statement::Fetch),
        "MOVE" => |grammar| cursor::fetch(grammar).map(Statement::Move),
        "CLOSE" => cursor::close,
        "SET" => settings::set,
        "RESET" => settings::reset,
        "DISCARD" => settings::discard,
        "BEGIN" => transaction::begin,
        "START" => transaction::start,
        "COMMIT" | "END" => transaction::commit,
        "ROLLBACK" | "ABORT" => transaction::rollback,
        "SAVEPOINT" => |grammar| transaction::savepoint(grammar).map(Statement::Savepoint),
        "RELEASE" => transaction::release,
        "EXECUTE" => prepared::execute,
        "DEALLOCATE" => prepared::deallocate,
        "LISTEN" => |grammar| grammar.name().map(Statement::Listen),
        "UNLISTEN" => unlisten,
        "NOTIFY" => notify,
        _ => return None,
    };
    let statement = read(&mut grammar);
    Some(whole(grammar, statement))
}

/// `INSERT INTO t ..`: the library's grammar, its query's windows in the canonical form.
fn insert(mut all: Vec<TokenWithSpan>, source: Source<'_>) -> Result<Statement> {
    let end = query::end_token(source.end);
    if let Some(clause) = emit::cut(&mut all)? {
        return Err(Error::user(
            SqlState::FeatureNotSupported,
            "INSERT with an EMIT clause is not supported",
        )
        .hint("INSERT ends; to write a live query's rows for good, use CREATE SINK.")
        .at(Some(clause.position)));
    }
    let place = tokens::position(&all[0]);
    let all = window_clause::rewrite(all)?;
    let parsed = query::with_parser(all, end, |parser| {
        let token = parser.next_token();
        parser.parse_insert(token)
    })?;
    let ast::Statement::Insert(mut insert) = parsed else {
        return Err(
            Error::user(SqlState::SyntaxError, "INSERT of an unknown form").at(Some(place)),
        );
    };
    window_function::canonicalize(&mut insert)?;
    row_fields::respell(&mut insert);
    Ok(Statement::Insert(Box::new(insert)))
}

fn unlisten(grammar: &mut Grammar<'_>) -> Result<Statement> {
    if grammar.eat_token(&Token::Mul) {
        return Ok(Statement::Unlisten(None));
    }
    grammar.name().map(|name| Statement::Unlisten(Some(name)))
}

fn notify(grammar: &mut Grammar<'_>) -> Result<Statement> {
    let channel = grammar.name()?;
    let payload = match grammar.eat_token(&Token::Comma) {
        true => grammar.string()?,
        false => String::new(),
    };
    Ok(Statement::Notify(Notify { channel, payload }))
}

/// A first word that no grammar of ours begins with.
fn unknown(first: &TokenWithSpan, head: &str) -> Error {
    let unsupported = |hint: &str| {
        Error::user(
            SqlState::FeatureNotSupported,
            format!("{head} is not supported"),
        )
        .hint(hint)
        .at(Some(tokens::position(first)))
    };
    match head {
        "UPDATE" | "DELETE" | "MERGE" | "TRUNCATE" | "REPLACE" => unsupported(
            "A table is a Kafka topic: its messages cannot be changed, only new ones added with \
             INSERT.",
        ),
        "GRANT" | "REVOKE" | "COMMENT" | "LOCK" | "VACUUM" | "ANALYZE" | "CALL" | "DO"
        | "REINDEX" | "CLUSTER" | "REFRESH" | "REASSIGN" | "SECURITY" | "IMPORT" | "LOAD"
        | "CHECKPOINT" | "USE" | "KILL" | "PRAGMA" | "ATTACH" | "DETACH" => {
            unsupported("The documentation lists the statements that there are.")
        }
        _ => {
            let error = syntax::unexpected(first, Some("Expected a statement."));
            match syntax::meant(head, &HEADS) {
                Some(meant) => error.hint(format!("Perhaps you meant {meant}.")),
                None => error,
            }
        }
    }
}
