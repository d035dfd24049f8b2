//! `COPY .. TO STDOUT` and `COPY .. FROM STDIN`, with the options of both of PostgreSQL's spellings.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::dialect::StatementDialect;
use super::grammar::{self, Grammar};
use super::query::{self, Source};
use super::statement::{
    CopyFormat, CopyIn, CopyOptions, CopyOut, ForceQuote, Identifier, Name, Statement, StreamQuery,
};
use super::{names, syntax, tokens};
use crate::error::{Error, Position, Result, SqlState, nearest};

/// Reads `COPY ..`; `all` starts with that word.
///
/// # Errors
/// Syntax errors, files and programs as the other end, options that do not fit together; with
/// their places.
pub(super) fn copy(mut all: Vec<TokenWithSpan>, source: Source<'_>) -> Result<Statement> {
    let dialect = StatementDialect::new(all.len(), false);
    if all.get(1).is_some_and(|token| token.token == Token::LParen) {
        let Some(close) = tokens::closing(&all, 1) else {
            return syntax::expected("a closing parenthesis", &query::end_token(source.end));
        };
        let rest = all.split_off(close + 1);
        all.pop();
        let copied = query::parse(all.split_off(2), source)?;
        let mut grammar = Grammar::new(&dialect, rest, source);
        grammar.expect(&["TO"])?;
        return copy_out(grammar, copied);
    }
    let mut grammar = Grammar::new(&dialect, all, source);
    grammar.next();
    let table = grammar.name()?;
    let columns = match grammar.peek().token {
        Token::LParen => grammar.identifiers()?,
        _ => Vec::new(),
    };
    if grammar.eat(&["FROM"]) {
        stream(&mut grammar, "STDIN")?;
        let options = options(&mut grammar)?;
        return Ok(Statement::CopyIn(CopyIn {
            table,
            columns,
            options,
        }));
    }
    grammar.expect(&["TO"])?;
    let copied = of_table(&table, &columns)?;
    copy_out(grammar, copied)
}

fn of_table(table: &Name, columns: &[Identifier]) -> Result<StreamQuery> {
    if columns.is_empty() {
        return query::of_table(&table.sql(), table.position);
    }
    let columns: Vec<String> = columns
        .iter()
        .map(|column| names::quote(&column.name))
        .collect();
    let text = format!("SELECT {} FROM {}", columns.join(", "), table.sql());
    query::of_text(&text, table.position)
}

fn copy_out(mut grammar: Grammar<'_>, query: StreamQuery) -> Result<Statement> {
    stream(&mut grammar, "STDOUT")?;
    let options = options(&mut grammar)?;
    Ok(Statement::CopyOut(CopyOut { query, options }))
}

/// `STDIN` or `STDOUT`; nothing else reaches the server's files.
fn stream(grammar: &mut Grammar<'_>, word: &str) -> Result<()> {
    if grammar.eat(&[word]) {
        return Ok(());
    }
    let program = grammar.at(&["PROGRAM"]);
    if !program && grammar::string_value(&grammar.peek().token).is_none() {
        return grammar.expected(word);
    }
    let what = if program {
        "a program"
    } else {
        "a file of the server"
    };
    Err(Error::user(
        SqlState::FeatureNotSupported,
        format!("COPY with {what} is not supported"),
    )
    .hint(format!(
        "Use {word}; psql's \\copy reads and writes files of the client."
    ))
    .at(Some(grammar.position())))
}

/// What was said, before it is checked against the format.
#[derive(Default)]
struct Said {
    format: Option<CopyFormat>,
    delimiter: Option<(char, Position)>,
    null: Option<(String, Position)>,
    header: Option<(bool, Position)>,
    quote: Option<(char, Position)>,
    escape: Option<(char, Position)>,
    force_quote: Option<(ForceQuote, Position)>,
}

fn options(grammar: &mut Grammar<'_>) -> Result<CopyOptions> {
    let mut said = Said::default();
    grammar.eat(&["WITH"]);
    if grammar.eat_token(&Token::LParen) {
        loop {
            option(grammar, &mut said)?;
            if !grammar.eat_token(&Token::Comma) {
                break;
            }
        }
        grammar.expect_token(&Token::RParen)?;
    } else {
        while !grammar.at_end() {
            old_option(grammar, &mut said)?;
        }
    }
    grammar.finish()?;
    checked(said)
}

/// `FORMAT csv`, `HEADER true`, `DELIMITER ','`.
fn option(grammar: &mut Grammar<'_>, said: &mut Said) -> Result<()> {
    let place = grammar.position();
    let name = grammar.identifier()?.name;
    match name.as_str() {
        "format" => said.format = Some(format(grammar)?),
        "delimiter" => said.delimiter = Some((one_byte(grammar, "DELIMITER")?, place)),
        "null" => said.null = Some((grammar.string()?, place)),
        "header" => said.header = Some((flag(grammar)?, place)),
        "quote" => said.quote = Some((one_byte(grammar, "QUOTE")?, place)),
        "escape" => said.escape = Some((one_byte(grammar, "ESCAPE")?, place)),
        "force_quote" => said.force_quote = Some((force_quote(grammar)?, place)),
        "encoding" => encoding(grammar)?,
        _ => {
            let known = [
                "format",
                "delimiter",
                "null",
                "header",
                "quote",
                "escape",
                "force_quote",
                "encoding",
            ];
            let error = Error::user(
                SqlState::SyntaxError,
                format!("option \"{name}\" not recognized"),
            )
            .at(Some(place));
            return Err(match nearest(&name, &known) {
                Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
                None => error,
            });
        }
    }
    Ok(())
}

/// `CSV HEADER DELIMITER AS ','`: the spelling without parentheses.
fn old_option(grammar: &mut Grammar<'_>, said: &mut Said) -> Result<()> {
    let place = grammar.position();
    let Some(word) = grammar.eat_one(&[
        "BINARY",
        "CSV",
        "HEADER",
        "DELIMITER",
        "NULL",
        "QUOTE",
        "ESCAPE",
        "FORCE",
    ]) else {
        return grammar.expected("an option of COPY");
    };
    match word {
        "BINARY" => said.format = Some(CopyFormat::Binary),
        "CSV" => said.format = Some(CopyFormat::Csv),
        "HEADER" => said.header = Some((true, place)),
        "FORCE" => {
            grammar.expect(&["QUOTE"])?;
            said.force_quote = Some((force_quote(grammar)?, place));
        }
        word => {
            grammar.eat(&["AS"]);
            match word {
                "NULL" => said.null = Some((grammar.string()?, place)),
                "DELIMITER" => said.delimiter = Some((one_byte(grammar, word)?, place)),
                "QUOTE" => said.quote = Some((one_byte(grammar, word)?, place)),
                _ => said.escape = Some((one_byte(grammar, word)?, place)),
            }
        }
    }
    Ok(())
}

fn format(grammar: &mut Grammar<'_>) -> Result<CopyFormat> {
    let place = grammar.position();
    let text = match grammar::string_value(&grammar.peek().token) {
        Some(_) => grammar.string()?,
        None => grammar.identifier()?.name,
    };
    match text.as_str() {
        "text" => Ok(CopyFormat::Text),
        "csv" => Ok(CopyFormat::Csv),
        "binary" => Ok(CopyFormat::Binary),
        _ => Err(Error::user(
            SqlState::InvalidParameterValue,
            format!("COPY format \"{text}\" not recognized"),
        )
        .hint("There are text, csv and binary.")
        .at(Some(place))),
    }
}

fn flag(grammar: &mut Grammar<'_>) -> Result<bool> {
    if matches!(grammar.peek().token, Token::Comma | Token::RParen) {
        return Ok(true);
    }
    let token = grammar.peek().clone();
    let text = grammar::string_value(&token.token).unwrap_or_else(|| token.token.to_string());
    let value = match text.to_lowercase().as_str() {
        "true" | "on" | "1" | "match" => true,
        "false" | "off" | "0" => false,
        _ => return grammar.expected("true or false"),
    };
    grammar.next();
    Ok(value)
}

fn one_byte(grammar: &mut Grammar<'_>, what: &str) -> Result<char> {
    let place = grammar.position();
    let text = grammar.string()?;
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None)
            if character.is_ascii() && !matches!(character, '\n' | '\r' | '\0') =>
        {
            Ok(character)
        }
        _ => Err(Error::user(
            SqlState::InvalidParameterValue,
            format!("COPY {what} must be a single one-byte character, not a line's end"),
        )
        .at(Some(place))),
    }
}

fn force_quote(grammar: &mut Grammar<'_>) -> Result<ForceQuote> {
    if grammar.eat_token(&Token::Mul) {
        return Ok(ForceQuote::All);
    }
    let columns = match grammar.peek().token {
        Token::LParen => grammar.identifiers()?,
        _ => grammar.list(Grammar::identifier)?,
    };
    Ok(ForceQuote::Columns(
        columns.into_iter().map(|column| column.name).collect(),
    ))
}

fn encoding(grammar: &mut Grammar<'_>) -> Result<()> {
    let place = grammar.position();
    let text = grammar.string()?;
    if ["utf8", "utf-8", "unicode"].contains(&text.to_lowercase().as_str()) {
        return Ok(());
    }
    Err(Error::user(
        SqlState::FeatureNotSupported,
        format!("encoding \"{text}\" is not supported"),
    )
    .hint("There is UTF8.")
    .at(Some(place)))
}

/// Options that fit together, the rest at their format's defaults.
fn checked(said: Said) -> Result<CopyOptions> {
    let format = said.format.unwrap_or(CopyFormat::Text);
    let csv = format == CopyFormat::Csv;
    let conflict = |what: &str, format: &str, place: Position| {
        Err(Error::user(SqlState::SyntaxError, format!("COPY {what} {format}")).at(Some(place)))
    };
    if format == CopyFormat::Binary {
        for (what, place) in [
            (
                "DELIMITER",
                said.delimiter.as_ref().map(|(_, place)| *place),
            ),
            ("NULL", said.null.as_ref().map(|(_, place)| *place)),
            (
                "HEADER",
                said.header.filter(|(on, _)| *on).map(|(_, place)| place),
            ),
        ] {
            if let Some(place) = place {
                return conflict(what, "is not available in binary format", place);
            }
        }
    }
    if !csv {
        for (what, place) in [
            ("QUOTE", said.quote.map(|(_, place)| place)),
            ("ESCAPE", said.escape.map(|(_, place)| place)),
            (
                "FORCE_QUOTE",
                said.force_quote.as_ref().map(|(_, place)| *place),
            ),
        ] {
            if let Some(place) = place {
                return conflict(what, "is available in csv format only", place);
            }
        }
    }
    let quote = said.quote.map_or('"', |(quote, _)| quote);
    let delimiter = match said.delimiter {
        Some((delimiter, place)) if csv && delimiter == quote => {
            return conflict("DELIMITER", "and QUOTE must be different", place);
        }
        Some((delimiter, _)) => delimiter,
        None if csv => ',',
        None => '\t',
    };
    let default_null = if csv { "" } else { "\\N" };
    Ok(CopyOptions {
        format,
        delimiter,
        null: said
            .null
            .map_or_else(|| default_null.to_owned(), |(null, _)| null),
        header: said.header.is_some_and(|(on, _)| on),
        quote,
        escape: said.escape.map_or(quote, |(escape, _)| escape),
        force_quote: said
            .force_quote
            .map_or(ForceQuote::None, |(columns, _)| columns),
    })
}
