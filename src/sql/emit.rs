//! The `EMIT` clause, cut out of a query's tokens before the parser library sees them.
//!
//! Invariant: `emit` as the name of a column, of a table or as an alias stays what it is.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::statement::Emit;
use super::{interval, tokens};
use crate::error::{Error, Position, Result, SqlState};

const WAYS: &str = "Write EMIT FINAL (each window once, when it has closed), EMIT CHANGES, or \
    EMIT EVERY INTERVAL '1 second'.";

/// A clause that was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EmitClause {
    pub(super) emit: Emit,
    pub(super) position: Position,
}

/// Cuts the `EMIT` clause out of a query.
///
/// # Errors
/// Two clauses, one inside a sub-query, one that says nothing known.
pub(super) fn cut(query: &mut Vec<TokenWithSpan>) -> Result<Option<EmitClause>> {
    let mut found: Option<(EmitClause, std::ops::Range<usize>)> = None;
    let mut depth = 0_usize;
    let mut has_source = false;
    for at in 0..query.len() {
        match query[at].token {
            Token::LParen => depth += 1,
            Token::RParen => depth = depth.saturating_sub(1),
            _ => has_source |= depth == 0 && tokens::is_word(&query[at].token, "FROM"),
        }
        if !tokens::is_word(&query[at].token, "EMIT") || !ends_operand(&query[..at]) {
            continue;
        }
        if at + 1 == query.len() && depth == 0 && has_source {
            return Err(alone(&query[at]));
        }
        let Some((emit, length)) = clause(&query[at..])? else {
            continue;
        };
        let position = tokens::position(&query[at]);
        if depth > 0 {
            return Err(inside(position));
        }
        if found.is_some() {
            return Err(
                Error::user(SqlState::SyntaxError, "more than one EMIT clause")
                    .hint("Leave one out: EMIT FINAL gives each window once, EMIT CHANGES what changes.")
                    .at(Some(position)),
            );
        }
        found = Some((EmitClause { emit, position }, at..at + length));
    }
    Ok(found.map(|(clause, range)| {
        query.drain(range);
        clause
    }))
}

/// Reads a clause at the start of `rest`: what it says and how many tokens it has.
fn clause(rest: &[TokenWithSpan]) -> Result<Option<(Emit, usize)>> {
    let (emit, length) = if tokens::starts_with(&rest[1..], &["CHANGES"]) {
        (Emit::Changes, 2)
    } else if tokens::starts_with(&rest[1..], &["FINAL"]) {
        (Emit::Final, 2)
    } else if tokens::starts_with(&rest[1..], &["ON", "WINDOW", "CLOSE"]) {
        (Emit::Final, 4)
    } else if tokens::starts_with(&rest[1..], &["EVERY"]) {
        match length_of_time(&rest[2..]) {
            Some((length, used)) => (Emit::Every(pace(length, rest)?), 2 + used),
            None if ends_query(&rest[2..]) => return Err(without_pace(rest)),
            None => return Ok(None),
        }
    } else {
        return match unknown(rest) {
            Some(error) => Err(error),
            None => Ok(None),
        };
    };
    let after = &rest[length..];
    if ["UNION", "INTERSECT", "EXCEPT"]
        .iter()
        .any(|word| tokens::starts_with(after, &[word]))
    {
        return Err(inside(tokens::position(&rest[0])));
    }
    Ok(ends_query(after).then_some((emit, length)))
}

fn inside(position: Position) -> Error {
    Error::user(SqlState::SyntaxError, "EMIT inside a query")
        .hint("EMIT belongs to the whole query: write it at the end of the outermost one.")
        .at(Some(position))
}

/// `FROM t EMIT` could name the table `emit`, to no end.
fn alone(emit: &TokenWithSpan) -> Error {
    Error::user(SqlState::SyntaxError, "EMIT without saying when")
        .hint(WAYS)
        .at(Some(tokens::position(emit)))
}

fn pace(length: Result<i64>, rest: &[TokenWithSpan]) -> Result<i64> {
    let position = rest.get(2).map(tokens::position);
    let micros = length.map_err(|error| error.at(position))?;
    if micros <= 0 {
        return Err(Error::user(
            SqlState::InvalidParameterValue,
            "the interval of EMIT EVERY must be greater than zero",
        )
        .hint("Write EMIT EVERY INTERVAL '1 second', or EMIT CHANGES for every change.")
        .at(position));
    }
    Ok(micros)
}

fn without_pace(rest: &[TokenWithSpan]) -> Error {
    Error::user(SqlState::SyntaxError, "EMIT EVERY without an interval")
        .hint("Write EMIT EVERY INTERVAL '1 second'.")
        .at(Some(tokens::position(&rest[0])))
}

/// `FROM t EMIT CHANGE`: two words after a source that end the query cannot be anything else.
fn unknown(rest: &[TokenWithSpan]) -> Option<Error> {
    let word = rest.get(1)?;
    tokens::word(&word.token)?;
    if !ends_query(&rest[2..]) || begins_clause(&word.token) {
        return None;
    }
    Some(
        Error::user(
            SqlState::SyntaxError,
            format!("unknown emission \"{}\"", word.token),
        )
        .hint(WAYS)
        .at(Some(tokens::position(word))),
    )
}

/// A length of time at the start of `rest`: `INTERVAL '1' MINUTE`, `'1 minute'`, `1 MINUTE`.
/// `None` if there is none.
pub(super) fn length_of_time(rest: &[TokenWithSpan]) -> Option<(Result<i64>, usize)> {
    let skipped = usize::from(tokens::starts_with(rest, &["INTERVAL"]));
    let number = match &rest.get(skipped)?.token {
        Token::SingleQuotedString(text) | Token::Number(text, _) => text,
        _ => return None,
    };
    let unit = rest.get(skipped + 1).and_then(|token| match &token.token {
        token if begins_clause(token) => None,
        Token::Word(word) if word.quote_style.is_none() => Some(&word.value),
        _ => None,
    });
    let has_unit = number.chars().any(|c| c.is_alphabetic() || c == ':');
    match unit {
        Some(unit) if !has_unit => {
            Some((interval::parse(&format!("{number} {unit}")), skipped + 2))
        }
        _ => Some((interval::parse(number), skipped + 1)),
    }
}

/// True if what stands before can be the end of a query's last part.
fn ends_operand(before: &[TokenWithSpan]) -> bool {
    const OPEN_WORDS: [&str; 38] = [
        "ALL",
        "AND",
        "AS",
        "BETWEEN",
        "BY",
        "CASE",
        "DISTINCT",
        "ELSE",
        "EXCEPT",
        "EXISTS",
        "FETCH",
        "FROM",
        "GROUP",
        "HAVING",
        "ILIKE",
        "IN",
        "INTERSECT",
        "INTO",
        "IS",
        "JOIN",
        "LATERAL",
        "LIKE",
        "LIMIT",
        "NOT",
        "OFFSET",
        "ON",
        "OR",
        "ORDER",
        "RETURNING",
        "SELECT",
        "SET",
        "THEN",
        "UNION",
        "USING",
        "VALUES",
        "WHEN",
        "WHERE",
        "WITH",
    ];
    let Some(last) = before.last() else {
        return false;
    };
    match &last.token {
        Token::Word(word) => {
            word.quote_style.is_some()
                || !OPEN_WORDS
                    .iter()
                    .any(|open| word.value.eq_ignore_ascii_case(open))
        }
        Token::RParen
        | Token::RBracket
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::EscapedStringLiteral(_)
        | Token::DollarQuotedString(_)
        | Token::Placeholder(_) => true,
        Token::Mul => {
            matches!(
                before
                    .get(before.len().wrapping_sub(2))
                    .map(|token| &token.token),
                Some(Token::Period | Token::Comma)
            ) || before.len() >= 2 && tokens::is_word(&before[before.len() - 2].token, "SELECT")
        }
        _ => false,
    }
}

/// True if what follows can follow a whole query.
fn ends_query(rest: &[TokenWithSpan]) -> bool {
    match rest.first() {
        None => true,
        Some(token) => match &token.token {
            Token::RParen | Token::EOF => true,
            token => begins_clause(token),
        },
    }
}

/// Words that follow an `EMIT` clause, or end an expression before it.
fn begins_clause(token: &Token) -> bool {
    [
        "LIMIT", "OFFSET", "FETCH", "ORDER", "WITH", "WINDOW", "WHERE", "GROUP", "HAVING", "EMIT",
    ]
    .iter()
    .any(|word| tokens::is_word(token, word))
}
