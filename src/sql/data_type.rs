//! Types: the parser library's, with row types in both spellings and nested arrays.

use sqlparser::ast::{ArrayElemTypeDef, DataType, StructBracketKind, StructField};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::grammar::Grammar;
use crate::error::{Error, Result, SqlState};

/// How deep row and array types may nest.
const NESTING_MAX: usize = 32;

/// A type.
///
/// # Errors
/// Syntax errors, with their places.
pub(super) fn data_type(grammar: &mut Grammar<'_>) -> Result<DataType> {
    let mut closing = Closing::default();
    let found = nested(grammar, &mut closing, 0)?;
    if closing.spare > 0 {
        grammar.expected("a type with fewer \">\"")
    } else {
        Ok(found)
    }
}

/// `>>` and longer are one token and close several types.
#[derive(Default)]
struct Closing {
    spare: usize,
}

impl Closing {
    fn close(&mut self, grammar: &mut Grammar<'_>) -> Result<()> {
        if self.spare == 0 {
            let sign = grammar.peek().token.to_string();
            if !sign.starts_with('>') || !sign.trim_start_matches('>').is_empty() {
                return grammar.expected("\">\"");
            }
            grammar.next();
            self.spare = sign.len();
        }
        self.spare -= 1;
        Ok(())
    }
}

fn nested(grammar: &mut Grammar<'_>, closing: &mut Closing, depth: usize) -> Result<DataType> {
    if depth > NESTING_MAX {
        return Err(
            Error::user(SqlState::StatementTooComplex, "type is nested too deeply")
                .at(Some(grammar.position())),
        );
    }
    let second = grammar.peek_nth(1).token.clone();
    let row = grammar.at(&["ROW"]) || grammar.at(&["STRUCT"]);
    let mut found = if row && matches!(second, Token::LParen | Token::Lt) {
        grammar.next();
        fields(grammar, closing, depth)?
    } else if grammar.at(&["ARRAY"]) && second == Token::Lt {
        grammar.next();
        grammar.next();
        let item = nested(grammar, closing, depth + 1)?;
        closing.close(grammar)?;
        DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(item), None))
    } else {
        grammar.library(Parser::parse_data_type)?
    };
    let mut dimensions = 0;
    while closing.spare == 0 && grammar.eat_token(&Token::LBracket) {
        if !grammar.eat_token(&Token::RBracket) {
            grammar.count()?;
            grammar.expect_token(&Token::RBracket)?;
        }
        dimensions += 1;
        if depth + dimensions > NESTING_MAX {
            return Err(
                Error::user(SqlState::StatementTooComplex, "type is nested too deeply")
                    .at(Some(grammar.position())),
            );
        }
        found = DataType::Array(ArrayElemTypeDef::SquareBracket(Box::new(found), None));
    }
    Ok(found)
}

/// `(a int, b text)` or `<a int, b text>`; Flink's `<a: int>` too.
fn fields(grammar: &mut Grammar<'_>, closing: &mut Closing, depth: usize) -> Result<DataType> {
    let angle = grammar.eat_token(&Token::Lt);
    if !angle {
        grammar.expect_token(&Token::LParen)?;
    }
    let mut fields = Vec::new();
    loop {
        if closing.spare > 0 {
            return grammar.expected("a field");
        }
        let name = grammar.library(Parser::parse_identifier)?;
        grammar.eat_token(&Token::Colon);
        let field_type = nested(grammar, closing, depth + 1)?;
        fields.push(StructField {
            field_name: Some(name),
            field_type,
            options: None,
        });
        if closing.spare > 0 || !grammar.eat_token(&Token::Comma) {
            break;
        }
    }
    if angle {
        closing.close(grammar)?;
        Ok(DataType::Struct(fields, StructBracketKind::AngleBrackets))
    } else if closing.spare > 0 {
        grammar.expected("a field")
    } else {
        grammar.expect_token(&Token::RParen)?;
        Ok(DataType::Struct(fields, StructBracketKind::Parentheses))
    }
}
