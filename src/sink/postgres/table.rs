//! The table that rows go into: it is there, or made, and the rows fit into it.

use arrow::datatypes::{Field, Schema};
use postgres::Client;

use super::PostgresSinkOptions;
use super::errors::told;
use super::types::{fits, type_of};
use crate::error::{Error, Result, SqlState, nearest};

/// From here on a unique index can take two NULLs for the same.
const NULLS_NOT_DISTINCT_SINCE: i32 = 150_000;

/// A table of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresTable {
    /// Its schema; `None`: where the user's tables are.
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
}

impl PostgresTable {
    /// The name as SQL text.
    pub(super) fn sql(&self) -> String {
        self.beside(&self.name)
    }

    /// The name of another table of its schema as SQL text.
    pub(super) fn beside(&self, name: &str) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(name)),
            None => quoted(name),
        }
    }
}

/// A name as SQL text.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names as SQL text, with commas between.
pub(super) fn list<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| quoted(name)).collect();
    names.join(", ")
}

/// A column of a table.
struct Column {
    name: String,
    /// Its type's name in `pg_type`.
    type_name: String,
    /// Its type as people write it.
    shown: String,
}

/// Makes the table if it is not there; true if it was made. Otherwise looks whether rows of the schema
/// fit into it.
///
/// # Errors
/// When it is not there and is not to be made, or rows do not fit; what the database refuses.
pub(super) fn ready(
    client: &mut Client,
    options: &PostgresSinkOptions,
    schema: &Schema,
) -> Result<bool> {
    let table = options.table.sql();
    if !is_there(client, &table)? {
        if !options.create_table {
            let text = format!("table \"{}\" does not exist", options.table.name);
            return Err(Error::external(SqlState::UndefinedTable, false, text)
                .hint("Create it, or leave create_table = false out."));
        }
        make(client, options, schema)?;
        return Ok(true);
    }
    let columns = columns(client, &table)?;
    for field in schema.fields() {
        check_column(&options.table, &columns, field)?;
    }
    if !options.key_columns.is_empty() {
        check_key(client, options)?;
    }
    Ok(false)
}

/// Whether there is a table of that name.
pub(super) fn is_there(client: &mut Client, table: &str) -> Result<bool> {
    let row = client.query_one("SELECT to_regclass($1::text) IS NOT NULL", &[&table]);
    row.and_then(|row| row.try_get(0))
        .map_err(|error| told("cannot look for the table", &error))
}

fn make(client: &mut Client, options: &PostgresSinkOptions, schema: &Schema) -> Result<()> {
    let mut lines = Vec::with_capacity(schema.fields().len() + 1);
    for field in schema.fields() {
        lines.push(format!("{} {}", quoted(field.name()), type_of(field)?));
    }
    if !options.key_columns.is_empty() {
        let keys = list(&options.key_columns);
        lines.push(match takes_null_for_a_key(client)? {
            true => format!("UNIQUE NULLS NOT DISTINCT ({keys})"),
            false => format!("PRIMARY KEY ({keys})"),
        });
    }
    let (table, lines) = (options.table.sql(), lines.join(", "));
    let text = format!("CREATE TABLE IF NOT EXISTS {table} ({lines})");
    client
        .batch_execute(&text)
        .map_err(|error| told("cannot create the sink's table", &error))
}

fn takes_null_for_a_key(client: &mut Client) -> Result<bool> {
    let row = client.query_one("SELECT current_setting('server_version_num')::int", &[]);
    let version: i32 = row
        .and_then(|row| row.try_get(0))
        .map_err(|error| told("cannot ask for the server's version", &error))?;
    Ok(version >= NULLS_NOT_DISTINCT_SINCE)
}

fn columns(client: &mut Client, table: &str) -> Result<Vec<Column>> {
    const QUERY: &str = "SELECT a.attname::text, t.typname::text, format_type(a.atttypid, a.atttypmod) \
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid \
        WHERE a.attrelid = to_regclass($1::text) AND a.attnum > 0 AND NOT a.attisdropped \
        ORDER BY a.attnum";
    let column = |row: postgres::Row| {
        Ok(Column {
            name: row.try_get(0)?,
            type_name: row.try_get(1)?,
            shown: row.try_get(2)?,
        })
    };
    let rows = client.query(QUERY, &[&table]);
    rows.and_then(|rows| rows.into_iter().map(column).collect())
        .map_err(|error| told("cannot look at the table's columns", &error))
}

fn check_column(table: &PostgresTable, columns: &[Column], field: &Field) -> Result<()> {
    let (table, name) = (&table.name, field.name());
    let Some(column) = columns.iter().find(|column| column.name == *name) else {
        let text = format!("table \"{table}\" has no column \"{name}\"");
        let error = Error::external(SqlState::UndefinedColumn, false, text);
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        return Err(match nearest(name, &names) {
            Some(near) => error.hint(format!(
                "Perhaps you meant \"{near}\": give the query's column that name with AS."
            )),
            None => error.hint(format!("It has: {}.", names.join(", "))),
        });
    };
    if fits(field, &column.type_name) {
        return Ok(());
    }
    let own = type_of(field)?;
    let shown = &column.shown;
    let text =
        format!("column \"{name}\" of table \"{table}\" is {shown}, and the query's is {own}");
    Err(Error::external(SqlState::DatatypeMismatch, false, text)
        .hint("Cast it in the sink's query, or alter the table."))
}

/// Whether a row can take the place of the one with its key: only the planner says so.
fn check_key(client: &mut Client, options: &PostgresSinkOptions) -> Result<()> {
    let (table, keys) = (options.table.sql(), list(&options.key_columns));
    let text = format!(
        "EXPLAIN INSERT INTO {table} ({keys}) SELECT {keys} FROM {table} WHERE false \
         ON CONFLICT ({keys}) DO NOTHING"
    );
    let explained = client.simple_query(&text);
    explained
        .map(drop)
        .map_err(|error| told("rows cannot be told apart in the sink's table", &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_as_they_are() {
        let table = PostgresTable {
            schema: Some("a\"b".to_owned()),
            name: "Prices".to_owned(),
        };
        assert_eq!(table.sql(), "\"a\"\"b\".\"Prices\"");
        assert_eq!(table.beside("x"), "\"a\"\"b\".\"x\"");
        assert_eq!(list(&["a".to_owned(), "b".to_owned()]), "\"a\", \"b\"");
    }
}
