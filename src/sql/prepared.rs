//! Statements that carry a statement: `EXPLAIN`, `PREPARE`; and `EXECUTE`, `DEALLOCATE`.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::dialect::StatementDialect;
use super::grammar::Grammar;
use super::query::Source;
use super::statement::{Execute, Explain, ExplainTarget, Name, Prepare, Statement};
use super::{data_type, parser, syntax, tokens};
use crate::error::{Error, Result, SqlState};

/// Reads `EXPLAIN ..`; `all` starts with that word.
///
/// # Errors
/// Syntax errors, and statements without a plan, with their places.
pub(super) fn explain(all: Vec<TokenWithSpan>, source: Source<'_>) -> Result<Statement> {
    let dialect = StatementDialect::new(all.len(), false);
    let mut grammar = Grammar::new(&dialect, all, source);
    grammar.next();
    if grammar.at(&["PROGRESS"]) && !grammar.at_end() {
        grammar.next();
        let name = grammar.own_name()?;
        grammar.finish()?;
        let target = ExplainTarget::Progress(name);
        return Ok(Statement::Explain(Explain {
            analyze: false,
            verbose: false,
            target,
        }));
    }
    let (mut analyze, mut verbose) = (false, false);
    if grammar.peek().token == Token::LParen && !begins_query(&grammar.peek_nth(1).token) {
        explain_options(&mut grammar, &mut analyze, &mut verbose)?;
    } else {
        analyze = grammar.eat(&["ANALYZE"]);
        verbose = grammar.eat(&["VERBOSE"]);
    }
    let place = grammar.position();
    let statement = inner(grammar)?;
    match &statement {
        Statement::Query(_)
        | Statement::Insert(_)
        | Statement::CreateMaterializedView(_)
        | Statement::CreateSink(_)
        | Statement::CreateAlert(_)
        | Statement::Execute(_) => {}
        Statement::Declare(declare) => {
            let query = Statement::Query(declare.query.clone());
            let target = ExplainTarget::Statement(Box::new(query));
            return Ok(Statement::Explain(Explain {
                analyze,
                verbose,
                target,
            }));
        }
        _ => {
            return Err(
                Error::user(SqlState::SyntaxError, "this statement has no plan")
                    .hint("EXPLAIN takes SELECT, INSERT, and CREATE of a materialized view, sink or alert.")
                    .at(Some(place)),
            );
        }
    }
    let target = ExplainTarget::Statement(Box::new(statement));
    Ok(Statement::Explain(Explain {
        analyze,
        verbose,
        target,
    }))
}

fn begins_query(token: &Token) -> bool {
    *token == Token::LParen
        || ["SELECT", "WITH", "VALUES", "TABLE"]
            .iter()
            .any(|word| tokens::is_word(token, word))
}

/// `(ANALYZE, VERBOSE off, FORMAT text)`.
fn explain_options(
    grammar: &mut Grammar<'_>,
    analyze: &mut bool,
    verbose: &mut bool,
) -> Result<()> {
    grammar.expect_token(&Token::LParen)?;
    loop {
        let place = grammar.position();
        let name = grammar.identifier()?.name;
        let value = match &grammar.peek().token {
            Token::Comma | Token::RParen => None,
            _ => Some(grammar.next()),
        };
        let flag = || match value
            .as_ref()
            .map(|value| value.token.to_string().to_lowercase())
        {
            None => Ok(true),
            Some(text) if ["on", "true", "1"].contains(&text.as_str()) => Ok(true),
            Some(text) if ["off", "false", "0"].contains(&text.as_str()) => Ok(false),
            Some(_) => syntax::expected("on or off", value.as_ref().expect("it was given")),
        };
        match name.as_str() {
            "analyze" => *analyze = flag()?,
            "verbose" => *verbose = flag()?,
            "costs" | "buffers" | "timing" | "summary" | "settings" | "wal" | "generic_plan" => {
                flag()?;
            }
            "format" => match &value {
                Some(value) if tokens::is_word(&value.token, "TEXT") => {}
                _ => {
                    return Err(Error::user(
                        SqlState::FeatureNotSupported,
                        "EXPLAIN has the format text only",
                    )
                    .at(Some(place)));
                }
            },
            _ => {
                return Err(Error::user(
                    SqlState::SyntaxError,
                    format!("unknown EXPLAIN option \"{name}\""),
                )
                .hint("There are ANALYZE, VERBOSE and FORMAT.")
                .at(Some(place)));
            }
        }
        if !grammar.eat_token(&Token::Comma) {
            return grammar.expect_token(&Token::RParen);
        }
    }
}

/// Reads the statement after `PREPARE`.
///
/// # Errors
/// Syntax errors, with their places.
pub(super) fn prepare(mut grammar: Grammar<'_>) -> Result<Statement> {
    let name = name(&mut grammar)?;
    let types = if grammar.eat_token(&Token::LParen) {
        let types = grammar.list(data_type::data_type)?;
        grammar.expect_token(&Token::RParen)?;
        types
    } else {
        Vec::new()
    };
    grammar.expect(&["AS"])?;
    let source = grammar.source;
    let first = grammar.peek().clone();
    let place = grammar.position();
    let statement = inner(grammar)?;
    match statement {
        Statement::Query(_) | Statement::Insert(_) => {}
        _ => {
            return Err(
                Error::user(SqlState::SyntaxError, "this statement cannot be prepared")
                    .hint("PREPARE takes SELECT, VALUES and INSERT.")
                    .at(Some(place)),
            );
        }
    }
    let text = tokens::text_from(source.text, source.start, &first).to_owned();
    Ok(Statement::Prepare(Prepare {
        name,
        types,
        statement: Box::new(statement),
        text,
    }))
}

/// The rest of a statement as a statement. Those that carry one themselves are refused before they
/// are read, so that reading is not deep.
fn inner(grammar: Grammar<'_>) -> Result<Statement> {
    if grammar.at_end() || grammar.at(&["EXPLAIN"]) || grammar.at(&["PREPARE"]) {
        return grammar.expected("a query");
    }
    let source = grammar.source;
    parser::statement(grammar.rest(), source)
}

/// Reads the statement after `EXECUTE`.
pub(super) fn execute(grammar: &mut Grammar<'_>) -> Result<Statement> {
    let name = name(grammar)?;
    let mut arguments = Vec::new();
    if grammar.eat_token(&Token::LParen) && !grammar.eat_token(&Token::RParen) {
        arguments = grammar.list(Grammar::expr)?;
        grammar.expect_token(&Token::RParen)?;
    }
    Ok(Statement::Execute(Execute { name, arguments }))
}

/// Reads the statement after `DEALLOCATE`.
pub(super) fn deallocate(grammar: &mut Grammar<'_>) -> Result<Statement> {
    grammar.eat(&["PREPARE"]);
    if grammar.eat(&["ALL"]) {
        return Ok(Statement::Deallocate(None));
    }
    name(grammar).map(|name| Statement::Deallocate(Some(name)))
}

fn name(grammar: &mut Grammar<'_>) -> Result<Name> {
    let name = grammar.identifier()?;
    Ok(Name {
        schema: None,
        name: name.name,
        position: name.position,
    })
}
