//! A statement's text without the values of options that are secret.

use sqlparser::tokenizer::Location;

use super::statement::{OptionClause, OptionValue, Statement};
use super::{names, scan, tokens};
use crate::error::Result;

/// What stands for a value that is not shown.
const MASK: &str = "********";

/// The text of a CREATE statement with the values of the options that `is_secret` names masked,
/// however they were quoted. The rest is as written, the name of a `SECRET` too.
///
/// # Errors
/// When the text is not one statement.
pub fn mask_options(text: &str, is_secret: impl Fn(&str) -> bool) -> Result<String> {
    let statement = super::parse(text)?.pop().map(|parsed| parsed.statement);
    let options: &[OptionClause] = match &statement {
        Some(Statement::CreateTable(create)) => &create.options,
        Some(Statement::CreateMaterializedView(create)) => &create.options,
        Some(Statement::CreateSink(create)) => &create.options,
        _ => &[],
    };
    let places: Vec<Location> = options
        .iter()
        .filter(|option| is_secret(&option.name) && !matches!(option.value, OptionValue::Secret(_)))
        .map(|option| tokens::location(option.value_position))
        .collect();
    if places.is_empty() {
        return Ok(text.to_owned());
    }
    let mut masked = String::with_capacity(text.len());
    let segments = scan::split(text)?;
    let (mut place, mut rest) = (scan::START, text);
    for token in tokens::tokenize(text, &segments[0])? {
        if !places.contains(&token.span.start) {
            continue;
        }
        let from = tokens::offset(rest, place, tokens::place(token.span.start));
        let to = tokens::offset(rest, place, tokens::place(token.span.end));
        masked.push_str(&rest[..from]);
        masked.push_str(&names::literal(MASK));
        (place, rest) = (tokens::place(token.span.end), &rest[to..]);
    }
    masked.push_str(rest);
    Ok(masked)
}
