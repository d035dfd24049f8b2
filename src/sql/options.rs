//! `WITH (name = value, ..)`: names with and without quotes and dots, values of a few kinds.

use sqlparser::tokenizer::Token;

use super::grammar::{self, Grammar};
use super::statement::{OptionClause, OptionValue};
use super::{interval, secret, tokens};
use crate::error::{Error, Result, SqlState};

/// What the connection's own properties start with; their names keep their dots.
const KAFKA_PREFIX: &str = "kafka.";

/// What the names of HTTP headers start with, which keep their hyphens.
const HEADER_PREFIX: &str = "header.";

/// Flink's prefix for the same.
const FLINK_PREFIX: &str = "properties.";

/// The options, if `WITH (` comes next; none if it does not.
///
/// # Errors
/// Syntax errors and an option that is given twice, with their places.
pub(super) fn options(grammar: &mut Grammar<'_>) -> Result<Vec<OptionClause>> {
    if !grammar.eat(&["WITH"]) {
        return Ok(Vec::new());
    }
    if grammar.peek_nth(1).token == Token::RParen && grammar.eat_token(&Token::LParen) {
        grammar.next();
        return Ok(Vec::new());
    }
    in_parentheses(grammar)
}

/// `(name = value, ..)`: one option at least.
///
/// # Errors
/// Syntax errors and an option that is given twice, with their places.
pub(super) fn in_parentheses(grammar: &mut Grammar<'_>) -> Result<Vec<OptionClause>> {
    grammar.expect_token(&Token::LParen)?;
    let found = grammar.list(option)?;
    grammar.expect_token(&Token::RParen)?;
    let mut seen = std::collections::BTreeSet::new();
    for option in &found {
        if !seen.insert(option.name.as_str()) {
            return Err(Error::user(
                SqlState::SyntaxError,
                format!("option \"{}\" is given twice", option.name),
            )
            .at(Some(option.position)));
        }
    }
    Ok(found)
}

fn option(grammar: &mut Grammar<'_>) -> Result<OptionClause> {
    let position = grammar.position();
    let written = name(grammar)?;
    grammar.expect_token(&Token::Eq)?;
    let value_position = grammar.position();
    let value = value(grammar)?;
    Ok(OptionClause {
        name: normalized(&written),
        value,
        position,
        value_position,
    })
}

/// `'a.b'`, `"a.b"`, `a.b`, `a_b`, with hyphens between words too.
fn name(grammar: &mut Grammar<'_>) -> Result<String> {
    if let Some(text) = grammar::string_value(&grammar.peek().token) {
        grammar.next();
        return Ok(text);
    }
    let mut name = String::new();
    loop {
        match &grammar.peek().token {
            Token::Word(word) => name.push_str(&word.value),
            Token::Number(digits, _) if !name.is_empty() => name.push_str(digits),
            _ => return grammar.expected("the name of an option"),
        }
        grammar.next();
        if grammar.eat_token(&Token::Period) {
            name.push('.');
        } else if grammar.eat_token(&Token::Minus) {
            name.push('-');
        } else {
            return Ok(name);
        }
    }
}

/// The one spelling of an option's name.
fn normalized(written: &str) -> String {
    let lower = written.trim().to_ascii_lowercase();
    if lower.starts_with(KAFKA_PREFIX) || lower.starts_with(HEADER_PREFIX) {
        return lower;
    }
    match lower.strip_prefix(FLINK_PREFIX) {
        Some("bootstrap.servers") => "bootstrap_servers".to_owned(),
        Some("group.id") => "group_id".to_owned(),
        Some(property) => format!("{KAFKA_PREFIX}{property}"),
        None => lower.replace(['.', '-'], "_"),
    }
}

fn value(grammar: &mut Grammar<'_>) -> Result<OptionValue> {
    if let Some(text) = grammar::string_value(&grammar.peek().token) {
        grammar.next();
        return Ok(OptionValue::Text(text));
    }
    if grammar.at(&["SECRET"]) && matches!(grammar.peek_nth(1).token, Token::Word(_)) {
        grammar.next();
        return secret::named(grammar).map(OptionValue::Secret);
    }
    if grammar.at(&["INTERVAL"]) {
        return interval_value(grammar);
    }
    let negative = grammar.eat_token(&Token::Minus);
    let token = grammar.peek().token.clone();
    let value = match token {
        Token::Number(digits, _) if negative => OptionValue::Number(format!("-{digits}")),
        Token::Number(digits, _) => OptionValue::Number(digits),
        Token::Word(word) if !negative => OptionValue::Word(word.value.to_ascii_lowercase()),
        _ => return grammar.expected("a string, a number, a word or an INTERVAL"),
    };
    grammar.next();
    Ok(value)
}

fn interval_value(grammar: &mut Grammar<'_>) -> Result<OptionValue> {
    let place = tokens::position(grammar.peek_nth(1));
    let expr = grammar.library(sqlparser::parser::Parser::parse_prefix)?;
    match interval::of_expr(&expr) {
        Some(Ok(micros)) => Ok(OptionValue::Interval(micros)),
        Some(Err(error)) => Err(error.at(Some(place))),
        None => Err(Error::user(
            SqlState::SyntaxError,
            "an option's interval must be a literal",
        )
        .hint("Write INTERVAL '10 seconds'.")
        .at(Some(place))),
    }
}
