//! Queries: their tokens, with the streaming additions cut out or rewritten, to the parser library.

use sqlparser::ast::{self, SetExpr};
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::dialect::StatementDialect;
use super::statement::StreamQuery;
use super::{
    depth, emit, placement, row_fields, subscribe, syntax, tokens, window_clause, window_function,
};
use crate::error::{Error, Position, Result, SqlState};

/// A statement's text with its place, for the texts of its parts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    /// The statement's own text.
    pub(super) text: &'a str,
    /// Where it starts in the whole text.
    pub(super) start: Position,
    /// Where it ends.
    pub(super) end: Position,
}

/// More nesting than the tokens' own depth allows never gets here; this is the parser's own guard.
const RECURSION_MAX: usize = 8 * depth::HEIGHT_MAX;

/// Reads all of `query` as one query.
///
/// # Errors
/// Syntax errors, with their places.
pub(super) fn parse(mut query: Vec<TokenWithSpan>, source: Source<'_>) -> Result<StreamQuery> {
    if subscribe::begins(&query) {
        return subscribe::parse(query, source);
    }
    let end = end_token(source.end);
    let (Some(first), Some(last)) = (query.first(), query.last()) else {
        return syntax::expected("a query", &end);
    };
    let text = tokens::text_between(source.text, source.start, first, last).to_owned();
    let end = end_token(tokens::place(last.span.end));
    while query[0].token == Token::LParen
        && tokens::closing(&query, 0) == Some(query.len() - 1)
        && query.len() > 2
    {
        query.pop();
        query.remove(0);
    }
    let clause = emit::cut(&mut query)?;
    let query = window_clause::rewrite(query)?;
    let mut query = with_parser(query, end, |parser| parser.parse_query())?;
    refuse_changes(&query, source.start)?;
    placement::check(&query)?;
    window_function::canonicalize(&mut query)?;
    row_fields::respell(&mut query);
    Ok(StreamQuery {
        query,
        emit: clause.map(|clause| clause.emit),
        emit_position: clause.map(|clause| clause.position),
        text,
        subscription: None,
    })
}

/// Runs the parser library over all of `all`; nothing may be left over.
///
/// # Errors
/// Syntax errors, with their places.
pub(super) fn with_parser<T>(
    mut all: Vec<TokenWithSpan>,
    end: TokenWithSpan,
    parse: impl FnOnce(&mut Parser<'_>) -> std::result::Result<T, ParserError>,
) -> Result<T> {
    let shape = depth::measure(&all)?;
    let dialect = StatementDialect::new(all.len(), shape.long_chains);
    all.push(end);
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(RECURSION_MAX)
        .with_tokens_with_locations(all);
    let parsed = parse(&mut parser).and_then(|parsed| match &parser.peek_token_ref().token {
        Token::EOF => Ok(parsed),
        _ => parser.expected_ref("the end of the statement", parser.peek_token_ref()),
    });
    match parsed {
        Ok(parsed) => Ok(parsed),
        Err(error) => {
            let stopped = parser.index();
            Err(syntax::translate(&error, &parser.into_tokens(), stopped))
        }
    }
}

/// The token that stands for the end of a statement.
pub(super) fn end_token(position: Position) -> TokenWithSpan {
    let place = tokens::location(position);
    TokenWithSpan::at(Token::EOF, place, place)
}

/// `WITH .. INSERT` and the like parse as queries, and are none.
fn refuse_changes(query: &ast::Query, position: Position) -> Result<()> {
    let what = match query.body.as_ref() {
        SetExpr::Insert(_) => "INSERT",
        SetExpr::Update(_) => "UPDATE",
        SetExpr::Delete(_) => "DELETE",
        SetExpr::Merge(_) => "MERGE",
        SetExpr::Select(_)
        | SetExpr::Query(_)
        | SetExpr::SetOperation { .. }
        | SetExpr::Values(_)
        | SetExpr::Table(_) => return Ok(()),
    };
    Err(Error::user(
        SqlState::FeatureNotSupported,
        format!("{what} after WITH is not supported"),
    )
    .hint("Write INSERT INTO t WITH .. SELECT .. instead.")
    .at(Some(position)))
}

/// `SELECT * FROM name`, for statements that name a table where a query may stand. `name` is SQL.
///
/// # Errors
/// None for a name that was read before.
pub(super) fn of_table(name: &str, position: Position) -> Result<StreamQuery> {
    let text = format!("SELECT * FROM {name}");
    of_text(&text, position)
}

/// A query from a text of our own; everything in it has the one position.
pub(super) fn of_text(text: &str, position: Position) -> Result<StreamQuery> {
    let segments = super::scan::split(text)?;
    let mut all = tokens::tokenize(text, &segments[0])?;
    let place = tokens::location(position);
    for token in &mut all {
        token.span = sqlparser::tokenizer::Span::new(place, place);
    }
    let mut query = with_parser(all, end_token(position), |parser| parser.parse_query())?;
    window_function::canonicalize(&mut query)?;
    row_fields::respell(&mut query);
    Ok(StreamQuery {
        query,
        emit: None,
        emit_position: None,
        text: text.to_owned(),
        subscription: None,
    })
}
