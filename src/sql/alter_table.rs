//! `ALTER TABLE`: what changes of a table's declaration.

use sqlparser::ast;
use sqlparser::tokenizer::Token;

use super::grammar::Grammar;
use super::statement::{ColumnClause, Identifier, Name, OptionClause, Statement};
use super::{data_type, options, syntax, table, tokens};
use crate::error::{Error, Position, Result, SqlState};

/// `ALTER TABLE [IF EXISTS] name change, ..`.
#[derive(Debug, Clone, PartialEq)]
pub struct AlterTable {
    /// `IF EXISTS`.
    pub if_exists: bool,
    /// Which.
    pub name: Name,
    /// What changes, one after the other. Never empty.
    pub changes: Vec<TableChange>,
}

/// One change of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum TableChange {
    /// `ADD COLUMN`.
    Add {
        /// `IF NOT EXISTS`.
        if_not_exists: bool,
        /// The column.
        column: Box<ColumnClause>,
        /// As it was written.
        text: String,
    },
    /// `DROP COLUMN`.
    Drop {
        /// `IF EXISTS`.
        if_exists: bool,
        /// Which.
        column: Identifier,
    },
    /// `ALTER COLUMN .. TYPE`.
    Type {
        /// Which.
        column: Identifier,
        /// Its new type.
        data_type: ast::DataType,
        /// As it was written.
        text: String,
        /// Where that stands.
        position: Position,
    },
    /// `ALTER COLUMN .. SET NOT NULL` and `.. DROP NOT NULL`.
    NotNull {
        /// Which.
        column: Identifier,
        /// Whether it is to be NOT NULL.
        not_null: bool,
    },
    /// `SET (option = value, ..)`.
    Set(Vec<OptionClause>),
}

/// Reads the statement after `ALTER TABLE`.
///
/// # Errors
/// Syntax errors and changes that there are not, with their places.
pub(super) fn alter_table(grammar: &mut Grammar<'_>) -> Result<Statement> {
    let if_exists = grammar.eat(&["IF", "EXISTS"]);
    let name = grammar.own_name()?;
    let changes = grammar.list(change)?;
    Ok(Statement::AlterTable(AlterTable {
        if_exists,
        name,
        changes,
    }))
}

fn change(grammar: &mut Grammar<'_>) -> Result<TableChange> {
    refuse(grammar)?;
    match grammar.eat_one(&["ADD", "DROP", "ALTER", "SET"]) {
        Some("ADD") => add(grammar),
        Some("DROP") => drop(grammar),
        Some("ALTER") => column(grammar),
        Some(_) if grammar.peek().token == Token::LParen => {
            options::in_parentheses(grammar).map(TableChange::Set)
        }
        Some(_) => grammar.expected("options in parentheses, as (on_error = 'skip')"),
        None => unknown(grammar),
    }
}

fn add(grammar: &mut Grammar<'_>) -> Result<TableChange> {
    grammar.eat(&["COLUMN"]);
    let if_not_exists = grammar.if_not_exists();
    let position = grammar.position();
    let column = Box::new(table::added_column(grammar)?);
    Ok(TableChange::Add {
        if_not_exists,
        column,
        text: grammar.text_since(position).to_owned(),
    })
}

fn drop(grammar: &mut Grammar<'_>) -> Result<TableChange> {
    grammar.eat(&["COLUMN"]);
    let if_exists = grammar.eat(&["IF", "EXISTS"]);
    let column = grammar.identifier()?;
    if grammar.at(&["CASCADE"]) {
        return Err(not_supported("DROP COLUMN .. CASCADE")
            .hint("Drop what depends on the column first.")
            .at(Some(grammar.position())));
    }
    grammar.eat(&["RESTRICT"]);
    Ok(TableChange::Drop { if_exists, column })
}

fn column(grammar: &mut Grammar<'_>) -> Result<TableChange> {
    grammar.eat(&["COLUMN"]);
    let column = grammar.identifier()?;
    if grammar.eat(&["TYPE"]) || grammar.eat(&["SET", "DATA", "TYPE"]) {
        let position = grammar.position();
        let data_type = data_type::data_type(grammar)?;
        let text = grammar.text_since(position).to_owned();
        if grammar.at(&["USING"]) {
            return Err(not_supported("ALTER COLUMN .. TYPE .. USING")
                .hint("Messages are read anew with the new type.")
                .at(Some(grammar.position())));
        }
        return Ok(TableChange::Type {
            column,
            data_type,
            text,
            position,
        });
    }
    for (words, not_null) in [
        (["SET", "NOT", "NULL"], true),
        (["DROP", "NOT", "NULL"], false),
    ] {
        if grammar.eat(&words) {
            return Ok(TableChange::NotNull { column, not_null });
        }
    }
    if grammar.at(&["SET", "DEFAULT"]) || grammar.at(&["DROP", "DEFAULT"]) {
        return Err(not_supported("DEFAULT")
            .hint("A missing field is NULL; use coalesce(..) in a view.")
            .at(Some(grammar.position())));
    }
    grammar.expected("TYPE, SET NOT NULL or DROP NOT NULL")
}

/// What PostgreSQL has and a topic has not.
fn refuse(grammar: &Grammar<'_>) -> Result<()> {
    let constraint = |word| grammar.at(&[word, "CONSTRAINT"]) || grammar.at(&[word, "PRIMARY"]);
    let (what, hint) = if grammar.at(&["RENAME"]) {
        (
            "ALTER TABLE .. RENAME",
            "Add a column that reads the old place: new_name text AS (old_name).",
        )
    } else if grammar.at(&["OWNER"]) {
        ("ALTER TABLE .. OWNER", "There are no owners.")
    } else if constraint("ADD") || constraint("DROP") {
        (
            "a constraint",
            "Rows of a stream cannot be checked against each other.",
        )
    } else {
        return Ok(());
    };
    let error = not_supported(what).hint(hint);
    Err(error.at(Some(grammar.position())))
}

fn not_supported(what: &str) -> Error {
    Error::user(
        SqlState::FeatureNotSupported,
        format!("{what} is not supported"),
    )
}

fn unknown<T>(grammar: &Grammar<'_>) -> Result<T> {
    let found = grammar.peek();
    let word = tokens::word(&found.token).unwrap_or_default();
    let expected = "Expected ADD COLUMN, DROP COLUMN, ALTER COLUMN or SET (..).";
    let error = syntax::unexpected(found, Some(expected));
    Err(
        match syntax::meant(&word, &["add", "drop", "alter", "set"]) {
            Some(meant) => error.hint(format!("Perhaps you meant {meant}.")),
            None => error,
        },
    )
}
