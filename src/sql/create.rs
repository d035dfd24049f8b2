//! `CREATE ..`: what is made, and what is made of a query.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::grammar::Grammar;
use super::statement::{
    CreateMaterializedView, CreateSink, CreateView, Identifier, OptionClause, Statement,
    StreamQuery,
};
use super::{alert, options, query, secret, subscribe, syntax, table, tokens};
use crate::error::{Error, Result, SqlState};

/// What stands before the kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    pub(super) or_replace: bool,
}

/// Reads the statement after `CREATE`.
///
/// # Errors
/// Syntax errors and kinds that we do not have, with their places.
pub(super) fn create(mut grammar: Grammar<'_>) -> Result<Statement> {
    let head = head(&mut grammar);
    let place = grammar.position();
    if let Some(word) = grammar.eat_one(&["TEMPORARY", "TEMP", "UNLOGGED", "GLOBAL", "LOCAL"]) {
        return Err(Error::user(
            SqlState::FeatureNotSupported,
            format!("CREATE {word} is not supported"),
        )
        .hint("Tables, views and sinks are durable and seen by every session.")
        .at(Some(place)));
    }
    if grammar.eat(&["TABLE"]) {
        return table::create_table(grammar, head);
    }
    if grammar.eat(&["VIEW"]) {
        return view(grammar, head);
    }
    if grammar.eat(&["MATERIALIZED", "VIEW"]) {
        return materialized_view(grammar, head);
    }
    if grammar.eat(&["SINK"]) {
        return sink(grammar, head);
    }
    if grammar.eat(&["SECRET"]) {
        return secret::create(grammar, head);
    }
    if grammar.eat(&["ALERT"]) {
        return alert::create_alert(grammar, head);
    }
    Err(unknown_kind(grammar.peek()))
}

/// What stands before the kind.
pub(super) fn head(grammar: &mut Grammar<'_>) -> Head {
    let or_replace = grammar.eat(&["OR", "REPLACE"]);
    Head { or_replace }
}

fn view(mut grammar: Grammar<'_>, head: Head) -> Result<Statement> {
    let text = grammar.source.text.to_owned();
    let if_not_exists = grammar.if_not_exists();
    let name = grammar.own_name()?;
    let columns = column_names(&mut grammar)?;
    if grammar.at(&["WITH"]) {
        return Err(Error::user(SqlState::SyntaxError, "a view has no options")
            .hint("Options belong to CREATE MATERIALIZED VIEW.")
            .at(Some(grammar.position())));
    }
    grammar.expect(&["AS"])?;
    let query = grammar.query()?;
    subscribe::refuse(&query, "a view")?;
    if query.emit.is_some() {
        return Err(Error::user(SqlState::SyntaxError, "EMIT in a view")
            .hint("A view is put into the query that reads it; write EMIT there.")
            .at(query.emit_position));
    }
    let or_replace = head.or_replace;
    Ok(Statement::CreateView(CreateView {
        name,
        if_not_exists,
        or_replace,
        columns,
        query,
        text,
    }))
}

fn materialized_view(mut grammar: Grammar<'_>, head: Head) -> Result<Statement> {
    let text = grammar.source.text.to_owned();
    let if_not_exists = grammar.if_not_exists();
    let name = grammar.own_name()?;
    let columns = column_names(&mut grammar)?;
    let options = options::options(&mut grammar)?;
    let (query, options) = query_and_options(grammar, options)?;
    Ok(Statement::CreateMaterializedView(CreateMaterializedView {
        name,
        if_not_exists,
        or_replace: head.or_replace,
        columns,
        options,
        query,
        text,
    }))
}

fn sink(mut grammar: Grammar<'_>, head: Head) -> Result<Statement> {
    let text = grammar.source.text.to_owned();
    let if_not_exists = grammar.if_not_exists();
    let name = grammar.own_name()?;
    let primary_key = match grammar.eat(&["PRIMARY", "KEY"]) {
        true => grammar.identifiers()?,
        false => Vec::new(),
    };
    let has_options = grammar.at(&["WITH"]);
    let options = options::options(&mut grammar)?;
    let (query, options) = if grammar.eat(&["FROM"]) {
        let start = grammar.position();
        let source = grammar.name()?;
        let after = options::options(&mut grammar)?;
        grammar.finish()?;
        (
            Some(query::of_table(&source.sql(), start)?),
            one_of(options, after)?,
        )
    } else if has_options && grammar.at_end() {
        (None, options)
    } else {
        let (query, options) = query_and_options(grammar, options)?;
        (Some(query), options)
    };
    Ok(Statement::CreateSink(CreateSink {
        name,
        if_not_exists,
        or_replace: head.or_replace,
        primary_key,
        options,
        query,
        text,
    }))
}

fn column_names(grammar: &mut Grammar<'_>) -> Result<Vec<Identifier>> {
    if grammar.peek().token == Token::LParen {
        grammar.identifiers()
    } else {
        Ok(Vec::new())
    }
}

/// `AS query`, with the options before it or behind it.
fn query_and_options(
    mut grammar: Grammar<'_>,
    before: Vec<OptionClause>,
) -> Result<(StreamQuery, Vec<OptionClause>)> {
    if !grammar.eat(&["AS"]) {
        return grammar.expected("WITH (..) or AS");
    }
    let source = grammar.source;
    let mut all = grammar.rest();
    cut_with_data(&mut all)?;
    let after = cut_options(&mut all, source)?;
    let query = query::parse(all, source)?;
    subscribe::refuse(&query, "a view or sink")?;
    Ok((query, one_of(before, after)?))
}

fn one_of(before: Vec<OptionClause>, after: Vec<OptionClause>) -> Result<Vec<OptionClause>> {
    match (before.is_empty(), after.first()) {
        (_, None) => Ok(before),
        (true, Some(_)) => Ok(after),
        (false, Some(option)) => Err(
            Error::user(SqlState::SyntaxError, "options are given twice").at(Some(option.position)),
        ),
    }
}

/// `WITH DATA` is how it always is; `WITH NO DATA` is not.
fn cut_with_data(all: &mut Vec<TokenWithSpan>) -> Result<()> {
    let count = all.len();
    if count > 2 && tokens::starts_with(&all[count - 2..], &["WITH", "DATA"]) {
        all.truncate(count - 2);
    } else if count > 3 && tokens::starts_with(&all[count - 3..], &["WITH", "NO", "DATA"]) {
        return Err(Error::user(
            SqlState::FeatureNotSupported,
            "WITH NO DATA is not supported",
        )
        .at(Some(tokens::position(&all[count - 3]))));
    }
    Ok(())
}

/// Takes `WITH (..)` off the end of a query.
fn cut_options(
    all: &mut Vec<TokenWithSpan>,
    source: query::Source<'_>,
) -> Result<Vec<OptionClause>> {
    if all.last().is_none_or(|last| last.token != Token::RParen) {
        return Ok(Vec::new());
    }
    let mut depth = 0_usize;
    let open = all.iter().rposition(|token| {
        match token.token {
            Token::RParen => depth += 1,
            Token::LParen => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0
    });
    let with = open.and_then(|open| open.checked_sub(1));
    let Some(with) = with.filter(|with| tokens::is_word(&all[*with].token, "WITH") && *with > 0)
    else {
        return Ok(Vec::new());
    };
    let clause = all.split_off(with);
    let dialect = super::dialect::StatementDialect::new(clause.len(), false);
    let mut grammar = Grammar::new(&dialect, clause, source);
    let found = options::options(&mut grammar)?;
    grammar.finish()?;
    Ok(found)
}

fn unknown_kind(found: &TokenWithSpan) -> Error {
    let word = tokens::word(&found.token).unwrap_or_default();
    let unsupported = |hint: &str| {
        Error::user(
            SqlState::FeatureNotSupported,
            format!("CREATE {word} is not supported"),
        )
        .hint(hint)
        .at(Some(tokens::position(found)))
    };
    match word.as_str() {
        "SOURCE" | "STREAM" | "EXTERNAL" | "FOREIGN" => unsupported(
            "A topic is a table: CREATE TABLE t (..) WITH (connector = 'kafka', topic = '..').",
        ),
        "INDEX" | "UNIQUE" => unsupported("A stream has no indexes; use a MATERIALIZED VIEW."),
        "ROLE" | "USER" | "GROUP" | "SCHEMA" | "DATABASE" | "FUNCTION" | "PROCEDURE"
        | "TRIGGER" | "EXTENSION" | "SEQUENCE" | "TYPE" | "DOMAIN" | "RULE" | "POLICY"
        | "SERVER" | "OPERATOR" | "AGGREGATE" | "CAST" | "COLLATION" | "PUBLICATION"
        | "SUBSCRIPTION" => {
            unsupported("There are TABLE, VIEW, MATERIALIZED VIEW, SINK, SECRET and ALERT.")
        }
        _ => {
            let error = syntax::unexpected(
                found,
                Some("Expected TABLE, VIEW, MATERIALIZED VIEW, SINK, SECRET or ALERT."),
            );
            match syntax::meant(
                &word,
                &["table", "view", "materialized", "sink", "secret", "alert"],
            ) {
                Some(meant) => error.hint(format!("Perhaps you meant CREATE {meant}.")),
                None => error,
            }
        }
    }
}
