//! What a user is told when a text does not parse: near what, expected what, meant what.
//!
//! Invariant: every error has a place. Texts follow PostgreSQL's: `syntax error at or near ".."`.

use sqlparser::parser::ParserError;
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::tokens;
use crate::error::{Error, Position, Result, SqlState, nearest};

/// Words that users misspell where the parser only sees a name.
const CLAUSES: [&str; 26] = [
    "select",
    "from",
    "where",
    "group",
    "order",
    "having",
    "limit",
    "offset",
    "union",
    "join",
    "interval",
    "values",
    "insert",
    "emit",
    "window",
    "watermark",
    "metadata",
    "primary",
    "with",
    "between",
    "distinct",
    "tumbling",
    "hopping",
    "session",
    "partition",
    "changes",
];

/// A syntax error at a token: what was expected instead.
pub(super) fn expected<T>(what: &str, found: &TokenWithSpan) -> Result<T> {
    Err(unexpected(found, Some(&format!("Expected {what}."))))
}

/// A syntax error at a token.
pub(super) fn unexpected(found: &TokenWithSpan, detail: Option<&str>) -> Error {
    let message = match &found.token {
        Token::EOF => "syntax error at end of input".to_owned(),
        token => format!(
            "syntax error at or near \"{}\"",
            shortened(&token.to_string())
        ),
    };
    let mut error = Error::user(SqlState::SyntaxError, message).at(Some(tokens::position(found)));
    if let Some(detail) = detail {
        error = error.detail(detail);
    }
    error
}

/// The parser library's error in our words. `all` are the tokens that it was given; `stopped` is
/// the index of the one at which it stood.
pub(super) fn translate(error: &ParserError, all: &[TokenWithSpan], stopped: usize) -> Error {
    let text = match error {
        ParserError::RecursionLimitExceeded => return too_complex(all, stopped),
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
    };
    let (text, place) = located(text);
    let at = place.and_then(|place| all.iter().position(|t| tokens::position(t) == place));
    let token = &all[at.unwrap_or(stopped).min(all.len() - 1)];
    let expectation = text
        .strip_prefix("Expected: ")
        .map(|rest| rest.rsplit_once(", found: ").map_or(rest, |(what, _)| what));
    let error = match expectation {
        Some(what) => unexpected(token, Some(&format!("Expected {}.", what.trim()))),
        None => Error::user(SqlState::SyntaxError, tokens::lower_first(text.trim()))
            .at(Some(place.unwrap_or_else(|| tokens::position(token)))),
    };
    match at.or(Some(stopped)).and_then(|at| misspelt(all, at)) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

fn too_complex(all: &[TokenWithSpan], stopped: usize) -> Error {
    let token = &all[stopped.min(all.len() - 1)];
    Error::user(
        SqlState::StatementTooComplex,
        "statement is too complex to be read",
    )
    .hint("Split it with views or common table expressions.")
    .at(Some(tokens::position(token)))
}

/// Takes ` at Line: 1, Column: 2` off a message.
fn located(text: &str) -> (&str, Option<Position>) {
    let Some((message, place)) = text.rsplit_once(" at Line: ") else {
        return (text, None);
    };
    let position = place.split_once(", Column: ").and_then(|(line, column)| {
        Some(Position {
            line: line.parse().ok()?,
            column: column.trim().parse().ok()?,
        })
    });
    (message, position)
}

/// Looks at the token in error and the one before for a misspelt word.
fn misspelt(all: &[TokenWithSpan], at: usize) -> Option<String> {
    let from = at.saturating_sub(1);
    let mut near = all[from..all.len().min(at + 1)].iter().rev();
    near.find_map(|token| {
        let word = tokens::word(&token.token)?;
        let meant = meant(&word, &CLAUSES)?;
        (meant != word)
            .then(|| format!("Perhaps you meant {meant} instead of \"{}\".", token.token))
    })
}

/// The word in capitals that was meant, if one of `known` (in lower case) is near enough.
pub(super) fn meant(word: &str, known: &[&str]) -> Option<String> {
    const SHORTEST: usize = 3;
    if word.chars().count() < SHORTEST {
        return None;
    }
    nearest(&word.to_lowercase(), known).map(str::to_uppercase)
}

fn shortened(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}..", &text[..end]),
        None => text.to_owned(),
    }
}
