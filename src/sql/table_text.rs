//! A CREATE TABLE statement's text with one column more, less, or another.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::statement::{ColumnClause, CreateTable, Statement};
use super::{scan, tokens};
use crate::error::{Error, Result};

/// What ends a column's type.
const AFTER_TYPE: [&str; 6] = ["NOT", "NULL", "PRIMARY", "METADATA", "AS", "GENERATED"];

/// A change of one column's declaration.
#[derive(Debug, Clone, Copy)]
pub enum ColumnEdit<'a> {
    /// A column after the others, as it is written.
    Add(&'a str),
    /// This one is left out.
    Drop(&'a str),
    /// This one has a type, as it is written.
    Type(&'a str, &'a str),
    /// This one is NOT NULL, or is not.
    NotNull(&'a str, bool),
}

/// The text of a CREATE TABLE statement after a change; the rest is as written.
///
/// # Errors
/// When the text is not one such statement, or has no such column.
pub fn edit_column(text: &str, edit: ColumnEdit<'_>) -> Result<String> {
    let statement = super::parse(text)?.pop().map(|parsed| parsed.statement);
    let Some(Statement::CreateTable(create)) = statement else {
        return Err(Error::internal("a statement without columns"));
    };
    let segments = scan::split(text)?;
    let all = tokens::tokenize(text, &segments[0])?;
    let of = |name: &str| Element::find(&create, name, &all);
    let replaced =
        |from: usize, to: usize, with: &str| format!("{}{with}{}", &text[..from], &text[to..]);
    Ok(match edit {
        ColumnEdit::Add(column) => {
            let last = create.columns.last().map(|last| last.name.as_str());
            let end = end(of(last.unwrap_or_default())?.last(), text);
            replaced(end, end, &format!(", {column}"))
        }
        ColumnEdit::Drop(name) => {
            let (from, to) = of(name)?.with_comma(text);
            replaced(from, to, "")
        }
        ColumnEdit::Type(name, written) => {
            let element = of(name)?;
            let (first, last) = element.data_type();
            replaced(start(first, text), end(last, text), written)
        }
        ColumnEdit::NotNull(name, not_null) => of(name)?.with_not_null(text, not_null),
    })
}

/// One column of the statement.
struct Element<'a> {
    all: &'a [TokenWithSpan],
    clause: &'a ColumnClause,
    /// Its name's token, its type's first, and the comma or parenthesis after it.
    first: usize,
    type_first: usize,
    after: usize,
}

impl<'a> Element<'a> {
    fn find(create: &'a CreateTable, name: &str, all: &'a [TokenWithSpan]) -> Result<Self> {
        let clause = create.columns.iter().find(|column| column.name == name);
        let clause = clause.ok_or_else(|| Error::internal("no such column in the statement"))?;
        let at = |position| {
            let found = all.iter().position(|t| tokens::position(t) == position);
            found.ok_or_else(|| Error::internal("no token at a column's place"))
        };
        let (first, type_first) = (at(clause.position)?, at(clause.type_position)?);
        let mut depth = Depth::default();
        let ends = |token: &Token| matches!(token, Token::Comma | Token::RParen);
        let after = (first..all.len()).find(|at| {
            let outside = depth.is_outside();
            depth.pass(&all[*at].token);
            outside && ends(&all[*at].token)
        });
        Ok(Self {
            all,
            clause,
            first,
            type_first,
            after: after.unwrap_or(all.len()),
        })
    }

    fn last(&self) -> &'a TokenWithSpan {
        &self.all[self.after - 1]
    }

    /// The first and last token of its type.
    fn data_type(&self) -> (&'a TokenWithSpan, &'a TokenWithSpan) {
        let mut depth = Depth::default();
        let is_after = |token: &Token| AFTER_TYPE.iter().any(|word| tokens::is_word(token, word));
        let end = (self.type_first..self.after).find(|at| {
            let outside = depth.is_outside();
            depth.pass(&self.all[*at].token);
            outside && is_after(&self.all[*at].token)
        });
        let end = end.unwrap_or(self.after);
        (&self.all[self.type_first], &self.all[end - 1])
    }

    /// From where to where it goes with the comma after it, or before it if it is the last.
    fn with_comma(&self, text: &str) -> (usize, usize) {
        let comma = |at: usize| self.all.get(at).is_some_and(|t| t.token == Token::Comma);
        if comma(self.after) {
            let next = self.all.get(self.after + 1);
            let to = next.map_or(text.len(), |next| start(next, text));
            return (start(&self.all[self.first], text), to);
        }
        let before = self.first.checked_sub(1).filter(|at| comma(*at));
        let from = before.unwrap_or(self.first);
        (start(&self.all[from], text), end(self.last(), text))
    }

    fn with_not_null(&self, text: &str, not_null: bool) -> String {
        let (_, type_last) = self.data_type();
        let (from, to) = match (self.written_not_null(), not_null) {
            (Some(_), true) | (None, false) => return text.to_owned(),
            (None, true) => {
                let at = end(type_last, text);
                return format!("{} NOT NULL{}", &text[..at], &text[at..]);
            }
            (Some(at), false) => (end(&self.all[at - 1], text), end(&self.all[at + 1], text)),
        };
        format!("{}{}", &text[..from], &text[to..])
    }

    /// Where its `NOT NULL` stands, outside of its type and expression.
    fn written_not_null(&self) -> Option<usize> {
        let mut depth = Depth::default();
        let word = |at: usize, word| tokens::is_word(&self.all[at].token, word);
        let found = (self.type_first..self.after - 1).find(|at| {
            let outside = depth.is_outside();
            depth.pass(&self.all[*at].token);
            outside && word(*at, "NOT") && word(*at + 1, "NULL")
        });
        found.filter(|_| self.clause.not_null)
    }
}

/// How deep in parentheses, and in the angle brackets of types.
#[derive(Default)]
struct Depth {
    round: i32,
    angle: i32,
}

impl Depth {
    fn is_outside(&self) -> bool {
        self.round <= 0 && self.angle <= 0
    }

    fn pass(&mut self, token: &Token) {
        match token {
            Token::LParen => self.round += 1,
            Token::RParen => self.round -= 1,
            // Elsewhere than in a type they stand in parentheses.
            Token::Lt if self.round == 0 => self.angle += 1,
            Token::Gt if self.round == 0 => self.angle -= 1,
            Token::ShiftRight if self.round == 0 => self.angle -= 2,
            _ => {}
        }
    }
}

fn start(token: &TokenWithSpan, text: &str) -> usize {
    tokens::offset(text, scan::START, tokens::position(token))
}

fn end(token: &TokenWithSpan, text: &str) -> usize {
    tokens::offset(text, scan::START, tokens::place(token.span.end))
}

#[cfg(test)]
mod tests {
    use super::{ColumnEdit, edit_column};

    const TEXT: &str = "create table t (a int, -- the first, one\n  \"B\" row(x int, y text) NOT NULL, \
        c struct<x int, y array<int>>, d int AS (a.b), PRIMARY KEY (e), \
        WATERMARK FOR e AS e - INTERVAL '1 s', e timestamp with time zone METADATA FROM 'timestamp' not null) \
        WITH (topic = 'a, b int')";

    #[track_caller]
    fn check(edit: ColumnEdit<'_>, from: &str, to: &str) {
        assert_eq!(TEXT.matches(from).count(), 1, "{from:?} is one place");
        let expected = TEXT.replace(from, to);
        assert_eq!(edit_column(TEXT, edit).unwrap(), expected);
        assert!(crate::sql::parse(&expected).is_ok(), "{expected}");
    }

    #[test]
    fn a_column_comes_after_the_others() {
        let to = "not null, f int NOT NULL) ";
        check(ColumnEdit::Add("f int NOT NULL"), "not null) ", to);
    }

    #[test]
    fn a_column_goes_with_its_comma() {
        check(ColumnEdit::Drop("c"), "c struct<x int, y array<int>>, ", "");
        check(
            ColumnEdit::Drop("B"),
            "\"B\" row(x int, y text) NOT NULL, ",
            "",
        );
        check(ColumnEdit::Drop("a"), "a int, -- the first, one\n  ", "");
        let last = "CREATE TABLE t (a int, b int) WITH (topic = 'a')";
        let left = edit_column(last, ColumnEdit::Drop("b")).unwrap();
        assert_eq!(left, "CREATE TABLE t (a int) WITH (topic = 'a')");
    }

    #[test]
    fn a_type_is_replaced_whatever_it_is() {
        check(ColumnEdit::Type("a", "bigint"), "(a int,", "(a bigint,");
        check(ColumnEdit::Type("B", "json"), "row(x int, y text)", "json");
        let from = "struct<x int, y array<int>>";
        check(ColumnEdit::Type("c", "text[]"), from, "text[]");
        check(ColumnEdit::Type("d", "text"), "d int AS", "d text AS");
        let from = "timestamp with time zone METADATA";
        check(
            ColumnEdit::Type("e", "timestamptz"),
            from,
            "timestamptz METADATA",
        );
    }

    #[test]
    fn not_null_comes_and_goes() {
        check(
            ColumnEdit::NotNull("a", true),
            "(a int,",
            "(a int NOT NULL,",
        );
        check(
            ColumnEdit::NotNull("d", true),
            "d int AS",
            "d int NOT NULL AS",
        );
        check(
            ColumnEdit::NotNull("B", false),
            "y text) NOT NULL,",
            "y text),",
        );
        check(
            ColumnEdit::NotNull("e", false),
            "'timestamp' not null)",
            "'timestamp')",
        );
        check(ColumnEdit::NotNull("e", true), "(a int,", "(a int,");
    }
}
