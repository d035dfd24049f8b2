//! Tokens of one statement: from its text, without white space, with places in the whole text.
//!
//! Owns the walk over tokens that comes before parsing: words, parentheses, slices.

use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::dialect::StatementDialect;
use super::scan::{self, Segment};
use crate::error::{Error, Position, Result, SqlState};

/// The most parameters that a statement can have: the protocol counts them in 16 bits.
const PARAMETERS_MAX: u64 = 65_535;

/// The tokens of a statement.
///
/// # Errors
/// What cannot be a token, or a parameter whose number is out of range, with its place.
pub(super) fn tokenize(text: &str, segment: &Segment) -> Result<Vec<TokenWithSpan>> {
    let clean = scan::without_comments(text, segment);
    let dialect = StatementDialect::new(0, false);
    let mut tokens = Vec::new();
    let origin = segment.position;
    Tokenizer::new(&dialect, &clean)
        .tokenize_with_location_into_buf_with_mapper(&mut tokens, |token| TokenWithSpan {
            span: Span::new(
                moved(token.span.start, origin),
                moved(token.span.end, origin),
            ),
            ..token
        })
        .map_err(|error| {
            Error::user(SqlState::SyntaxError, lower_first(&error.message))
                .at(Some(place(moved(error.location, origin))))
        })?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    tokens.iter().try_for_each(check_parameter)?;
    Ok(tokens)
}

fn check_parameter(token: &TokenWithSpan) -> Result<()> {
    let Token::Placeholder(name) = &token.token else {
        return Ok(());
    };
    let Some(number) = name.strip_prefix('$') else {
        return Ok(());
    };
    let all_digits = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit());
    let in_range = number
        .parse()
        .is_ok_and(|n: u64| (1..=PARAMETERS_MAX).contains(&n));
    if !all_digits || in_range {
        return Ok(());
    }
    let message = format!("there is no parameter ${number}");
    Err(Error::user(SqlState::UndefinedParameter, message).at(Some(position(token))))
}

/// A place in a statement, as a place in the whole text.
fn moved(location: Location, origin: Position) -> Location {
    if location.line <= 1 {
        Location::new(origin.line, origin.column + location.column - 1)
    } else {
        Location::new(origin.line + location.line - 1, location.column)
    }
}

/// The parser library's place as ours.
pub(super) fn place(location: Location) -> Position {
    Position {
        line: location.line,
        column: location.column,
    }
}

/// Our place as the parser library's.
pub(super) fn location(position: Position) -> Location {
    Location::new(position.line, position.column)
}

/// Where a token starts.
pub(super) fn position(token: &TokenWithSpan) -> Position {
    place(token.span.start)
}

/// True for this word without quotes, in any case.
pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

/// A word without quotes, in capitals.
pub(super) fn word(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
        _ => None,
    }
}

/// True if `tokens` start with these words.
pub(super) fn starts_with(tokens: &[TokenWithSpan], words: &[&str]) -> bool {
    tokens.len() >= words.len()
        && words
            .iter()
            .zip(tokens)
            .all(|(word, token)| is_word(&token.token, word))
}

/// The index of the parenthesis that closes the one at `open`.
pub(super) fn closing(tokens: &[TokenWithSpan], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// A token that was not written, at the place of one that was.
pub(super) fn made(token: Token, like: &TokenWithSpan) -> TokenWithSpan {
    TokenWithSpan::new(token, like.span)
}

/// The part of a statement's text from one token to another, both included.
pub(super) fn text_between<'a>(
    statement: &'a str,
    start: Position,
    first: &TokenWithSpan,
    last: &TokenWithSpan,
) -> &'a str {
    let from = offset(statement, start, place(first.span.start));
    let to = offset(statement, start, place(last.span.end));
    &statement[from..to]
}

/// The part of a statement's text from a token to its end.
pub(super) fn text_from<'a>(statement: &'a str, start: Position, first: &TokenWithSpan) -> &'a str {
    &statement[offset(statement, start, place(first.span.start))..]
}

/// How many bytes after `start` a place lies, if `text` starts at `start`.
pub(super) fn offset(text: &str, start: Position, place: Position) -> usize {
    let mut here = start;
    for (byte, character) in text.char_indices() {
        if here == place {
            return byte;
        }
        here = scan::advance(here, character.encode_utf8(&mut [0; 4]));
    }
    text.len()
}

/// Messages start in lower case.
pub(super) fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some(first) => first.to_lowercase().chain(characters).collect(),
        None => String::new(),
    }
}
