//! `SET`, `RESET`, `DISCARD` and the names of variables.

use sqlparser::tokenizer::Token;

use super::grammar::{self, Grammar};
use super::statement::{Discard, Identifier, Reset, Set, SetTransaction, Statement};
use super::transaction;
use crate::error::{Error, Result, SqlState};

/// Reads the statement after `SET`.
pub(super) fn set(grammar: &mut Grammar<'_>) -> Result<Statement> {
    let position = grammar.position();
    if grammar.eat(&["SESSION", "CHARACTERISTICS", "AS", "TRANSACTION"]) {
        let modes = transaction::modes(grammar)?;
        return Ok(Statement::SetTransaction(SetTransaction {
            session: true,
            modes,
        }));
    }
    if grammar.eat(&["TRANSACTION"]) {
        let modes = transaction::modes(grammar)?;
        return Ok(Statement::SetTransaction(SetTransaction {
            session: false,
            modes,
        }));
    }
    let local = match grammar.eat_one(&["LOCAL", "SESSION"]) {
        Some("SESSION") if grammar.at(&["AUTHORIZATION"]) => {
            return not_supported("SET SESSION AUTHORIZATION", position);
        }
        scope => scope == Some("LOCAL"),
    };
    if grammar.at(&["ROLE"]) {
        return not_supported("SET ROLE", position);
    }
    let position = grammar.position();
    if grammar.eat(&["TIME", "ZONE"]) {
        let name = Identifier {
            name: "timezone".to_owned(),
            position,
        };
        let value = time_zone(grammar)?;
        return Ok(Statement::Set(Set { name, local, value }));
    }
    if grammar.eat(&["NAMES"]) {
        let name = Identifier {
            name: "client_encoding".to_owned(),
            position,
        };
        let value = if grammar.at_end() {
            None
        } else {
            values(grammar)?
        };
        return Ok(Statement::Set(Set { name, local, value }));
    }
    let name = variable(grammar)?;
    if !grammar.eat_token(&Token::Eq) && !grammar.eat(&["TO"]) {
        return grammar.expected("\"=\" or TO");
    }
    let value = values(grammar)?;
    Ok(Statement::Set(Set { name, local, value }))
}

/// Reads the statement after `RESET`.
pub(super) fn reset(grammar: &mut Grammar<'_>) -> Result<Statement> {
    if grammar.eat(&["ALL"]) {
        return Ok(Statement::Reset(Reset::All));
    }
    variable(grammar).map(|name| Statement::Reset(Reset::Variable(name)))
}

/// Reads the statement after `DISCARD`.
pub(super) fn discard(grammar: &mut Grammar<'_>) -> Result<Statement> {
    let what = match grammar.eat_one(&["ALL", "PLANS", "SEQUENCES", "TEMPORARY", "TEMP"]) {
        Some("ALL") => Discard::All,
        Some("PLANS") => Discard::Plans,
        Some("SEQUENCES") => Discard::Sequences,
        Some(_) => Discard::Temporary,
        None => return grammar.expected("ALL, PLANS, SEQUENCES or TEMPORARY"),
    };
    Ok(Statement::Discard(what))
}

/// The name of a variable: `a`, `a.b`, `TIME ZONE`, `TRANSACTION ISOLATION LEVEL`.
pub(super) fn variable(grammar: &mut Grammar<'_>) -> Result<Identifier> {
    let position = grammar.position();
    for (words, name) in [
        (&["TIME", "ZONE"][..], "timezone"),
        (
            &["TRANSACTION", "ISOLATION", "LEVEL"],
            "transaction_isolation",
        ),
        (&["SESSION", "AUTHORIZATION"], "session_authorization"),
    ] {
        if grammar.eat(words) {
            return Ok(Identifier {
                name: name.to_owned(),
                position,
            });
        }
    }
    let mut name = grammar.identifier()?.name;
    while grammar.eat_token(&Token::Period) {
        name = format!("{name}.{}", grammar.identifier()?.name);
    }
    Ok(Identifier {
        name: name.to_ascii_lowercase(),
        position,
    })
}

fn time_zone(grammar: &mut Grammar<'_>) -> Result<Option<String>> {
    if grammar.eat_one(&["LOCAL", "DEFAULT"]).is_some() {
        return Ok(None);
    }
    if grammar.eat(&["INTERVAL"]) {
        let offset = grammar.string()?;
        grammar.eat(&["HOUR", "TO", "MINUTE"]);
        return Ok(Some(offset));
    }
    values(grammar)
}

/// One value or several, joined by `, `; `None` is `DEFAULT`.
fn values(grammar: &mut Grammar<'_>) -> Result<Option<String>> {
    if grammar.eat(&["DEFAULT"]) {
        return Ok(None);
    }
    grammar.list(value).map(|values| Some(values.join(", ")))
}

fn value(grammar: &mut Grammar<'_>) -> Result<String> {
    let sign = if grammar.eat_token(&Token::Minus) {
        "-"
    } else {
        grammar.eat_token(&Token::Plus);
        ""
    };
    let token = grammar.peek().token.clone();
    let text = match &token {
        Token::Number(digits, _) => format!("{sign}{digits}"),
        _ if !sign.is_empty() => return grammar.expected("a number"),
        Token::Word(word) => word.value.clone(),
        token => match grammar::string_value(token) {
            Some(text) => text,
            None => return grammar.expected("a value"),
        },
    };
    grammar.next();
    Ok(text)
}

fn not_supported(what: &str, position: crate::error::Position) -> Result<Statement> {
    Err(Error::user(
        SqlState::FeatureNotSupported,
        format!("{what} is not supported"),
    )
    .at(Some(position)))
}
