//! A CREATE statement's text with another value of one of its options.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::statement::{OptionClause, Statement};
use super::{names, scan, tokens};
use crate::error::{Error, Result};

/// The text of a CREATE statement in which an option has this value; the rest is as written.
///
/// # Errors
/// When the text is not one statement that can have options.
pub fn set_option(text: &str, name: &str, value: &str) -> Result<String> {
    let statement = super::parse(text)?.pop().map(|parsed| parsed.statement);
    let options: &[OptionClause] = match &statement {
        Some(Statement::CreateTable(create)) => &create.options,
        Some(Statement::CreateMaterializedView(create)) => &create.options,
        Some(Statement::CreateSink(create)) => &create.options,
        _ => return Err(Error::internal("a statement without options")),
    };
    let segments = scan::split(text)?;
    let all = tokens::tokenize(text, &segments[0])?;
    let value = names::literal(value);
    let given = options.iter().find(|option| option.name == name);
    Ok(match (given, options.last()) {
        (Some(option), _) => {
            let (from, to) = value_of(option, text, &all);
            format!("{}{value}{}", &text[..from], &text[to..])
        }
        (None, Some(last)) => {
            let (_, to) = value_of(last, text, &all);
            format!("{}, {name} = {value}{}", &text[..to], &text[to..])
        }
        (None, None) => {
            let (from, to) = place_of_options(text, &all)?;
            let (before, after) = (&text[..from], &text[to..]);
            format!("{before} WITH ({name} = {value}){after}")
        }
    })
}

/// From where to where an option's value goes.
fn value_of(option: &OptionClause, text: &str, all: &[TokenWithSpan]) -> (usize, usize) {
    let ends = |token: &&TokenWithSpan| matches!(token.token, Token::Comma | Token::RParen);
    let own = all
        .iter()
        .skip_while(|token| tokens::position(token) != option.value_position)
        .take_while(|token| !ends(token));
    let from = tokens::offset(text, scan::START, option.value_position);
    (from, own.last().map_or(from, |last| end(last, text)))
}

/// The gap before the `AS` of a view without options; an empty `WITH ()` is part of it.
fn place_of_options(text: &str, all: &[TokenWithSpan]) -> Result<(usize, usize)> {
    let word = |at: usize, word: &str| all.get(at).is_some_and(|t| tokens::is_word(&t.token, word));
    let mut at = all.iter().position(|t| tokens::is_word(&t.token, "VIEW"));
    if let Some(at) = &mut at {
        *at += 1;
        if word(*at, "IF") && word(*at + 1, "NOT") && word(*at + 2, "EXISTS") {
            *at += 3;
        }
        while all.get(*at + 1).is_some_and(|t| t.token == Token::Period) {
            *at += 2;
        }
    }
    // `at` is the name's last part; the columns may follow.
    let columns = at.filter(|at| all.get(at + 1).is_some_and(|t| t.token == Token::LParen));
    let last = columns.and_then(|at| tokens::closing(all, at + 1)).or(at);
    let gap = last.and_then(|last| {
        let empty = if word(last + 1, "WITH") { 3 } else { 0 };
        word(last + empty + 1, "AS").then_some((end(&all[last], text), last + empty))
    });
    match gap {
        Some((from, before)) => Ok((from, end(&all[before], text))),
        None => Err(Error::internal("no place for options")),
    }
}

fn end(token: &TokenWithSpan, text: &str) -> usize {
    tokens::offset(text, scan::START, tokens::place(token.span.end))
}

#[cfg(test)]
mod tests {
    use super::set_option;

    #[test]
    fn an_option_gets_its_new_value_and_the_rest_stays() {
        for (before, after) in [
            (
                "CREATE MATERIALIZED VIEW v AS SELECT 1",
                "CREATE MATERIALIZED VIEW v WITH (trigger = 'x') AS SELECT 1",
            ),
            (
                "create materialized view if not exists public.\"AS\"(a) -- why\n as select 1",
                "create materialized view if not exists public.\"AS\"(a) WITH (trigger = 'x') -- why\n as select 1",
            ),
            (
                "CREATE MATERIALIZED VIEW v WITH () AS SELECT 1",
                "CREATE MATERIALIZED VIEW v WITH (trigger = 'x') AS SELECT 1",
            ),
            (
                "CREATE SINK s WITH (topic = 'é', trigger=INTERVAL '1' SECOND, format = json) FROM t",
                "CREATE SINK s WITH (topic = 'é', trigger='x', format = json) FROM t",
            ),
            (
                "CREATE SINK s AS SELECT a FROM t\nEMIT CHANGES WITH (topic = 'a')",
                "CREATE SINK s AS SELECT a FROM t\nEMIT CHANGES WITH (topic = 'a', trigger = 'x')",
            ),
        ] {
            assert_eq!(set_option(before, "trigger", "x").unwrap(), after);
        }
    }
}
