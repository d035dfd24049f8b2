//! `CREATE TABLE`: columns, the key, the watermark.

use sqlparser::ast;
use sqlparser::tokenizer::Token;

use super::create::Head;
use super::grammar::Grammar;
use super::statement::{
    ColumnClause, ColumnKind, CreateTable, Identifier, Statement, WatermarkClause,
};
use super::{data_type, options};
use crate::error::{Error, Position, Result, SqlState, nearest};

/// Reads the statement after `CREATE [OR REPLACE] TABLE`.
///
/// # Errors
/// Syntax errors and clauses that we do not have, with their places.
pub(super) fn create_table(mut grammar: Grammar<'_>, head: Head) -> Result<Statement> {
    let if_not_exists = grammar.if_not_exists();
    let name = grammar.own_name()?;
    let mut elements = Elements::default();
    if grammar.eat_token(&Token::LParen) && !grammar.eat_token(&Token::RParen) {
        loop {
            elements.read_one(&mut grammar)?;
            if !grammar.eat_token(&Token::Comma) {
                break;
            }
        }
        if !grammar.eat_token(&Token::RParen) {
            return grammar.expected("a comma or a closing parenthesis");
        }
    }
    refuse_after_columns(&grammar)?;
    let options = options::options(&mut grammar)?;
    refuse_after_columns(&grammar)?;
    grammar.finish()?;
    elements.check()?;
    Ok(Statement::CreateTable(CreateTable {
        name,
        if_not_exists,
        or_replace: head.or_replace,
        columns: elements.columns,
        primary_key: elements.primary_key,
        watermark: elements.watermark,
        options,
        text: grammar.source.text.to_owned(),
    }))
}

/// One column, as `ALTER TABLE .. ADD COLUMN` has it.
///
/// # Errors
/// Syntax errors and clauses that such a column cannot have, with their places.
pub(super) fn added_column(grammar: &mut Grammar<'_>) -> Result<ColumnClause> {
    let mut elements = Elements::default();
    elements.column(grammar)?;
    if let Some(key) = elements.primary_key.first() {
        let hint = "The primary key is declared when the table is created.";
        return Err(not_supported(
            "ADD COLUMN .. PRIMARY KEY",
            hint,
            key.position,
        ));
    }
    let column = elements.columns.pop();
    column.ok_or_else(|| Error::internal("a column was read and is not there"))
}

fn refuse_after_columns(grammar: &Grammar<'_>) -> Result<()> {
    let hint = if grammar.at(&["AS"]) {
        "To keep a query's result, use CREATE MATERIALIZED VIEW .. AS SELECT."
    } else if grammar.at(&["PARTITION", "BY"]) || grammar.at(&["INHERITS"]) {
        "A table's partitions are those of its topic."
    } else {
        return Ok(());
    };
    let word = &grammar.peek().token;
    Err(not_supported(
        &format!("CREATE TABLE .. {word}"),
        hint,
        grammar.position(),
    ))
}

fn not_supported(what: &str, hint: &str, position: Position) -> Error {
    Error::user(
        SqlState::FeatureNotSupported,
        format!("{what} is not supported"),
    )
    .hint(hint)
    .at(Some(position))
}

/// What stands between the parentheses.
#[derive(Default)]
struct Elements {
    columns: Vec<ColumnClause>,
    primary_key: Vec<Identifier>,
    watermark: Option<WatermarkClause>,
}

impl Elements {
    fn read_one(&mut self, grammar: &mut Grammar<'_>) -> Result<()> {
        if grammar.at(&["WATERMARK", "FOR"]) {
            return self.watermark(grammar);
        }
        if grammar.at(&["PRIMARY", "KEY"]) || grammar.at(&["CONSTRAINT"]) {
            return self.constraint(grammar);
        }
        for (words, hint) in [
            (
                &["UNIQUE"][..],
                "Rows of a stream cannot be checked against each other.",
            ),
            (
                &["FOREIGN", "KEY"],
                "Rows of a stream cannot be checked against a table.",
            ),
            (
                &["CHECK"],
                "Filter the rows in a view: CREATE VIEW v AS SELECT .. WHERE ..",
            ),
            (
                &["EXCLUDE"],
                "Rows of a stream cannot be checked against each other.",
            ),
            (&["LIKE"], "Name the columns."),
        ] {
            let followed = matches!(grammar.peek_nth(words.len()).token, Token::LParen);
            if grammar.at(words) && (followed || words[0] == "LIKE") {
                return Err(not_supported(&words.join(" "), hint, grammar.position()));
            }
        }
        self.column(grammar)
    }

    fn watermark(&mut self, grammar: &mut Grammar<'_>) -> Result<()> {
        let place = grammar.position();
        grammar.expect(&["WATERMARK", "FOR"])?;
        let column = grammar.identifier()?;
        grammar.expect(&["AS"])?;
        let expr = Box::new(grammar.expr()?);
        if self.watermark.is_some() {
            return Err(Error::user(
                SqlState::InvalidTableDefinition,
                "a table has one WATERMARK clause at most",
            )
            .at(Some(place)));
        }
        let position = column.position;
        self.watermark = Some(WatermarkClause {
            column: column.name,
            expr,
            position,
        });
        Ok(())
    }

    fn constraint(&mut self, grammar: &mut Grammar<'_>) -> Result<()> {
        if grammar.eat(&["CONSTRAINT"]) {
            grammar.identifier()?;
        }
        let place = grammar.position();
        grammar.expect(&["PRIMARY", "KEY"])?;
        let key = grammar.identifiers()?;
        grammar.eat(&["NOT", "ENFORCED"]);
        self.set_key(key, place)
    }

    fn set_key(&mut self, key: Vec<Identifier>, place: Position) -> Result<()> {
        if !self.primary_key.is_empty() {
            return Err(Error::user(
                SqlState::InvalidTableDefinition,
                "a table has one primary key at most",
            )
            .at(Some(place)));
        }
        self.primary_key = key;
        Ok(())
    }

    fn column(&mut self, grammar: &mut Grammar<'_>) -> Result<()> {
        let name = grammar.identifier()?;
        let type_position = grammar.position();
        if grammar.at(&["AS"]) || grammar.at(&["METADATA"]) {
            return Err(Error::user(
                SqlState::SyntaxError,
                format!("column \"{}\" needs a type", name.name),
            )
            .hint("Write the type after the name: total numeric AS (price * volume).")
            .at(Some(type_position)));
        }
        let data_type = data_type::data_type(grammar)?;
        let mut column = ColumnClause {
            name: name.name,
            data_type,
            not_null: false,
            kind: ColumnKind::Plain,
            position: name.position,
            type_position,
        };
        while !matches!(
            grammar.peek().token,
            Token::Comma | Token::RParen | Token::EOF
        ) {
            self.column_clause(grammar, &mut column)?;
        }
        self.columns.push(column);
        Ok(())
    }

    fn column_clause(
        &mut self,
        grammar: &mut Grammar<'_>,
        column: &mut ColumnClause,
    ) -> Result<()> {
        let place = grammar.position();
        if grammar.eat(&["NOT", "NULL"]) {
            column.not_null = true;
        } else if grammar.eat(&["NULL"]) {
            column.not_null = false;
        } else if grammar.eat(&["PRIMARY", "KEY"]) {
            grammar.eat(&["NOT", "ENFORCED"]);
            let key = Identifier {
                name: column.name.clone(),
                position: column.position,
            };
            self.set_key(vec![key], place)?;
        } else if grammar.eat(&["METADATA"]) {
            let key = match grammar.eat(&["FROM"]) {
                true => grammar.string()?,
                false => column.name.clone(),
            };
            grammar.eat(&["VIRTUAL"]);
            set_kind(column, ColumnKind::Metadata(key), place)?;
        } else if grammar.at(&["AS"]) || grammar.at(&["GENERATED", "ALWAYS", "AS"]) {
            let expr = computed(grammar)?;
            set_kind(column, ColumnKind::Computed(Box::new(expr)), place)?;
        } else if grammar.at(&["DEFAULT"]) {
            let hint = "A missing field is NULL; use coalesce(..) in a view.";
            return Err(not_supported("DEFAULT", hint, place));
        } else if grammar.at(&["REFERENCES"]) || grammar.at(&["UNIQUE"]) || grammar.at(&["CHECK"]) {
            let what = grammar.peek().token.to_string().to_ascii_uppercase();
            let hint = "Rows of a stream cannot be checked against each other.";
            return Err(not_supported(&what, hint, place));
        } else {
            return grammar.expected("NOT NULL, METADATA, AS (..), PRIMARY KEY or a comma");
        }
        Ok(())
    }

    /// Names must differ and the clauses must name columns that there are.
    fn check(&self) -> Result<()> {
        let mut seen = std::collections::BTreeSet::new();
        for column in &self.columns {
            if !seen.insert(column.name.as_str()) {
                return Err(Error::user(
                    SqlState::DuplicateColumn,
                    format!("column \"{}\" is given twice", column.name),
                )
                .at(Some(column.position)));
            }
        }
        if self.columns.is_empty() {
            // The columns are to be inferred: nothing is known yet.
            return Ok(());
        }
        let watermark = self
            .watermark
            .as_ref()
            .map(|clause| (&clause.column, clause.position));
        let key = self
            .primary_key
            .iter()
            .map(|column| (&column.name, column.position));
        for (name, position) in watermark.into_iter().chain(key) {
            if !seen.contains(name.as_str()) {
                let error = Error::user(
                    SqlState::UndefinedColumn,
                    format!("column \"{name}\" does not exist"),
                );
                let names: Vec<&str> = seen.iter().copied().collect();
                let error = match nearest(name, &names) {
                    Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
                    None => error,
                };
                return Err(error.at(Some(position)));
            }
        }
        Ok(())
    }
}

fn set_kind(column: &mut ColumnClause, kind: ColumnKind, place: Position) -> Result<()> {
    if column.kind != ColumnKind::Plain {
        return Err(Error::user(
            SqlState::InvalidTableDefinition,
            format!("column \"{}\" can come from one place only", column.name),
        )
        .at(Some(place)));
    }
    column.kind = kind;
    Ok(())
}

/// `AS (expression)`, `GENERATED ALWAYS AS (expression) STORED`.
fn computed(grammar: &mut Grammar<'_>) -> Result<ast::Expr> {
    grammar.eat(&["GENERATED", "ALWAYS"]);
    grammar.expect(&["AS"])?;
    grammar.expect_token(&Token::LParen)?;
    let expr = grammar.expr()?;
    grammar.expect_token(&Token::RParen)?;
    grammar.eat_one(&["STORED", "VIRTUAL"]);
    Ok(expr)
}
