//! `SUBSCRIBE TO v | (query) [WITH (snapshot = .., progress = ..)]`: a live query whose rows show
//! what each does to the rows before it.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::dialect::StatementDialect;
use super::grammar::Grammar;
use super::query::{self, Source};
use super::statement::{Emit, OptionClause, StreamQuery, Subscription};
use super::{options, syntax, tokens};
use crate::error::{Error, Result, SqlState, nearest};

/// What `WITH (..)` may say.
const OPTIONS: [&str; 2] = ["snapshot", "progress"];

/// True if a query's tokens are a subscription.
pub(super) fn begins(all: &[TokenWithSpan]) -> bool {
    all.first()
        .is_some_and(|token| tokens::is_word(&token.token, "SUBSCRIBE"))
}

/// Reads a subscription; `all` starts with `SUBSCRIBE`.
///
/// # Errors
/// Syntax errors, unknown options, with their places.
pub(super) fn parse(mut all: Vec<TokenWithSpan>, source: Source<'_>) -> Result<StreamQuery> {
    let dialect = StatementDialect::new(all.len(), false);
    let end = query::end_token(source.end);
    let (first, last) = (all[0].clone(), all[all.len() - 1].clone());
    let text = tokens::text_between(source.text, source.start, &first, &last).to_owned();
    let start = 1 + usize::from(tokens::starts_with(&all[1..], &["TO"]));
    let mut rest = all.split_off(start);
    let parenthesised = rest
        .first()
        .is_some_and(|token| token.token == Token::LParen);
    let (mut query, relation, options) = if parenthesised {
        let Some(close) = tokens::closing(&rest, 0) else {
            return syntax::expected("a closing parenthesis", &end);
        };
        let after = rest.split_off(close + 1);
        let query = query::parse(rest, source)?;
        let mut grammar = Grammar::new(&dialect, after, source);
        let options = options::options(&mut grammar)?;
        grammar.finish()?;
        (query, None, options)
    } else {
        let mut grammar = Grammar::new(&dialect, rest, source);
        let name = grammar.name()?;
        let options = options::options(&mut grammar)?;
        grammar.finish()?;
        let query = query::of_table(&name.sql(), name.position)?;
        (query, Some(name), options)
    };
    if query.subscription.is_some() {
        return Err(Error::user(SqlState::SyntaxError, "SUBSCRIBE in SUBSCRIBE")
            .hint("Write SUBSCRIBE TO (SELECT ..).")
            .at(Some(tokens::position(&first))));
    }
    let [snapshot, progress] = flags(&options)?;
    query.emit.get_or_insert(Emit::Changes);
    query.subscription = Some(Subscription {
        relation,
        snapshot: snapshot.unwrap_or(true),
        progress: progress.unwrap_or(false),
    });
    query.text = text;
    Ok(query)
}

fn flags(options: &[OptionClause]) -> Result<[Option<bool>; 2]> {
    let mut found = [None; 2];
    for option in options {
        let Some(place) = OPTIONS.iter().position(|known| *known == option.name) else {
            let error = Error::user(
                SqlState::UndefinedObject,
                format!("SUBSCRIBE has no option \"{}\"", option.name),
            )
            .at(Some(option.position));
            return Err(match nearest(&option.name, &OPTIONS) {
                Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
                None => error.hint("It has snapshot and progress."),
            });
        };
        found[place] = match option.value.text().to_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => Some(true),
            "false" | "off" | "no" | "0" => Some(false),
            _ => {
                return Err(Error::user(
                    SqlState::InvalidParameterValue,
                    format!(
                        "invalid value for option \"{}\": \"{}\"",
                        option.name,
                        option.value.text()
                    ),
                )
                .hint("It takes true or false.")
                .at(Some(option.value_position)));
            }
        };
    }
    Ok(found)
}

/// Refuses a subscription where only a query may stand.
///
/// # Errors
/// Always, for a subscription.
pub(super) fn refuse(query: &StreamQuery, what: &str) -> Result<()> {
    if query.subscription.is_none() {
        return Ok(());
    }
    Err(Error::user(
        SqlState::SyntaxError,
        format!("{what} cannot be made of SUBSCRIBE"),
    )
    .hint("SUBSCRIBE goes to a client, a cursor or COPY .. TO STDOUT; write SELECT here."))
}
