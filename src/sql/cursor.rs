//! Cursors: `DECLARE`, `FETCH`, `MOVE`, `CLOSE`.

use sqlparser::tokenizer::Token;

use super::grammar::Grammar;
use super::statement::{Close, Declare, Fetch, FetchCount, Name, Statement};
use super::{interval, options};
use crate::error::{Error, Position, Result, SqlState};

/// Reads the statement after `DECLARE`.
pub(super) fn declare(mut grammar: Grammar<'_>) -> Result<Statement> {
    let name = cursor(&mut grammar)?;
    let (mut binary, mut scroll, mut hold) = (false, false, false);
    loop {
        if grammar.eat(&["BINARY"]) {
            binary = true;
        } else if grammar.eat(&["NO", "SCROLL"]) {
            scroll = false;
        } else if grammar.eat(&["SCROLL"]) {
            scroll = true;
        } else if grammar.eat_one(&["INSENSITIVE", "ASENSITIVE"]).is_none() {
            break;
        }
    }
    grammar.expect(&["CURSOR"])?;
    if grammar.eat(&["WITH", "HOLD"]) {
        hold = true;
    } else {
        grammar.eat(&["WITHOUT", "HOLD"]);
    }
    grammar.expect(&["FOR"])?;
    let query = grammar.query()?;
    Ok(Statement::Declare(Declare {
        name,
        binary,
        hold,
        scroll,
        query,
    }))
}

/// Reads the statement after `FETCH` or `MOVE`.
pub(super) fn fetch(grammar: &mut Grammar<'_>) -> Result<Fetch> {
    let count = count(grammar)?;
    grammar.eat_one(&["FROM", "IN"]);
    let name = cursor(grammar)?;
    let timeout = timeout(grammar)?;
    Ok(Fetch {
        name,
        count,
        timeout,
    })
}

/// Reads the statement after `CLOSE`.
pub(super) fn close(grammar: &mut Grammar<'_>) -> Result<Statement> {
    if grammar.eat(&["ALL"]) {
        return Ok(Statement::Close(Close::All));
    }
    cursor(grammar).map(|name| Statement::Close(Close::Cursor(name)))
}

fn cursor(grammar: &mut Grammar<'_>) -> Result<Name> {
    let name = grammar.identifier()?;
    Ok(Name {
        schema: None,
        name: name.name,
        position: name.position,
    })
}

/// `[NEXT | FORWARD] [n | ALL]`; a word that is not followed by anything is the cursor's name.
fn count(grammar: &mut Grammar<'_>) -> Result<FetchCount> {
    let place = grammar.position();
    let names_cursor = grammar.peek_nth(1).token == Token::EOF;
    if names_cursor {
        return Ok(FetchCount::Rows(1));
    }
    if let Some(backward) =
        grammar.eat_one(&["PRIOR", "FIRST", "LAST", "ABSOLUTE", "RELATIVE", "BACKWARD"])
    {
        return Err(forward_only(&format!("FETCH {backward}"), place));
    }
    if grammar.eat(&["NEXT"]) {
        return Ok(FetchCount::Rows(1));
    }
    grammar.eat(&["FORWARD"]);
    if grammar.eat(&["ALL"]) {
        return Ok(FetchCount::All);
    }
    match &grammar.peek().token {
        Token::Number(..) => grammar.count().map(FetchCount::Rows),
        Token::Minus => Err(forward_only("a negative count", place)),
        _ => Ok(FetchCount::Rows(1)),
    }
}

fn forward_only(what: &str, place: Position) -> Error {
    Error::user(
        SqlState::ObjectNotInPrerequisiteState,
        format!("cursor can only go forward: {what} is not supported"),
    )
    .hint("A stream has passed; declare the cursor again to read from the start.")
    .at(Some(place))
}

/// `WITH (timeout = '1 second')`.
fn timeout(grammar: &mut Grammar<'_>) -> Result<Option<i64>> {
    let mut timeout = None;
    for option in options::options(grammar)? {
        if option.name != "timeout" {
            return Err(Error::user(
                SqlState::UndefinedObject,
                format!("unknown option \"{}\"", option.name),
            )
            .hint("FETCH has the option timeout.")
            .at(Some(option.position)));
        }
        let at = Some(option.value_position);
        let micros = interval::parse(&option.value.text()).map_err(|error| error.at(at))?;
        if micros < 0 {
            return Err(Error::user(
                SqlState::InvalidParameterValue,
                "a timeout must not be negative",
            )
            .at(at));
        }
        timeout = Some(micros);
    }
    Ok(timeout)
}
