//! What `ALTER TABLE` changes of a table, durably: in the text of its CREATE statement.
//!
//! ```text
//! altered_table (what would be; nothing is changed) → who depends on it is asked → Catalog::put (durable)
//! ```
//! Invariant: the statement in the file says what the table is; columns that were not named are as before.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use sqlparser::ast::Expr;

use super::data_type::to_arrow;
use super::options::value_text;
use super::{
    Catalog, ColumnOrigin, Definition, Definitions, DefinitionsChange, TableDefinition,
    with_article,
};
use crate::error::{Error, Position, Result, SqlState, nearest};
use crate::sql::{
    self, AlterTable, ColumnEdit, ColumnKind, CreateTable, Identifier, ObjectKind, OptionClause,
    Statement, TableChange, edit_column, fold, walk,
};
use crate::types::KafkaConnection;

/// Options of tables that stay as they were when these were created.
const FIXED: [&str; 8] = [
    "connector",
    "topic",
    "bootstrap_servers",
    "format",
    "schema",
    "isolation_level",
    "create_topic",
    "partitions",
];
const CAN_CHANGE: &str = "on_error, dead_letter_topic, late_topic, idle_timeout, max_future, \
    scan_startup, on_data_loss, max_rows_per_second, group_id, fetch";

/// A table as it would be, among everything else.
#[derive(Debug, Clone)]
pub struct AlteredTable {
    /// The table before.
    pub old: Arc<TableDefinition>,
    /// The table after.
    pub table: Arc<TableDefinition>,
    /// The table's statement; what was altered stands where the ALTER statement has it.
    pub clause: CreateTable,
    /// All definitions, without and with it.
    pub change: DefinitionsChange,
    /// What IF EXISTS and IF NOT EXISTS left out.
    pub skipped: Vec<String>,
}

impl Catalog {
    /// The table as it would be after a change.
    ///
    /// # Errors
    /// An unknown table, column or option; what a table cannot be; a column that the table itself needs.
    pub fn altered_table(
        &self,
        alter: &AlterTable,
        defaults: Option<&KafkaConnection>,
    ) -> Result<AlteredTable> {
        let before = self.snapshot();
        let old = find(alter, &before)?;
        let (mut clause, text, skipped) = apply(alter, &old)?;
        before.fill_secrets(&mut clause.options)?;
        let at = |error: Error| match error.position() {
            Some(_) => error,
            None => error.at(Some(alter.name.position)),
        };
        TableDefinition::try_new(&clause, defaults).map_err(at)?;
        let definition = Definition::parse(&text, defaults, &before).map_err(at)?;
        let Definition::Table(table) = &definition else {
            return Err(Error::internal("a table's statement defines a table"));
        };
        let table = Arc::clone(table);
        check_others(alter, &old, &table)?;
        Ok(AlteredTable {
            old,
            table,
            clause,
            change: DefinitionsChange::with(before, definition),
            skipped,
        })
    }
}

fn find(alter: &AlterTable, current: &Definitions) -> Result<Arc<TableDefinition>> {
    let name = &alter.name.name;
    match current.get(name) {
        Some(Definition::Table(table)) => Ok(Arc::clone(table)),
        Some(other) => {
            let text = format!("\"{name}\" is not a table");
            let error = Error::user(SqlState::WrongObjectType, text);
            let hint = match other.kind() {
                ObjectKind::MaterializedView | ObjectKind::Sink | ObjectKind::Alert => {
                    let (what, keyword) = (with_article(other.kind_name()), other.kind().keyword());
                    format!("It is {what}: use ALTER {keyword} {name}.")
                }
                _ => format!("It is {}.", with_article(other.kind_name())),
            };
            Err(error.hint(hint).at(Some(alter.name.position)))
        }
        None => {
            let text = format!("table \"{name}\" does not exist");
            let error = Error::user(SqlState::UndefinedTable, text).at(Some(alter.name.position));
            let tables = current.all().filter(|d| d.kind() == ObjectKind::Table);
            let names: Vec<&str> = tables.map(Definition::name).collect();
            Err(with_nearest(error, name, &names))
        }
    }
}

fn with_nearest(error: Error, name: &str, names: &[&str]) -> Error {
    match nearest(name, names) {
        Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
        None => error,
    }
}

/// The statement after the changes, as a clause and as a text, and what was left out.
fn apply(alter: &AlterTable, old: &TableDefinition) -> Result<(CreateTable, String, Vec<String>)> {
    let parsed = sql::parse(&old.statement)?.pop();
    let Some(Statement::CreateTable(mut clause)) = parsed.map(|parsed| parsed.statement) else {
        return Err(Error::internal("a table's statement creates a table"));
    };
    move_to(&mut clause, alter.name.position);
    let mut change = Change {
        clause,
        text: old.statement.clone(),
        skipped: Vec::new(),
    };
    for one in &alter.changes {
        change.one(one)?;
    }
    Ok((change.clause, change.text, change.skipped))
}

/// An error in what was not altered has the place of the table's name.
fn move_to(clause: &mut CreateTable, place: Position) {
    for column in &mut clause.columns {
        (column.position, column.type_position) = (place, place);
    }
    for option in &mut clause.options {
        (option.position, option.value_position) = (place, place);
    }
    for key in &mut clause.primary_key {
        key.position = place;
    }
    if let Some(watermark) = &mut clause.watermark {
        watermark.position = place;
    }
}

/// A statement on its way.
struct Change {
    clause: CreateTable,
    text: String,
    skipped: Vec<String>,
}

impl Change {
    fn one(&mut self, change: &TableChange) -> Result<()> {
        match change {
            TableChange::Add {
                if_not_exists,
                column,
                text,
            } => {
                if self.index(&column.name).is_some() {
                    return self.is_there(*if_not_exists, &column.name, column.position);
                }
                self.edit(ColumnEdit::Add(text))?;
                self.clause.columns.push((**column).clone());
            }
            TableChange::Drop { if_exists, column } => {
                if *if_exists && self.index(&column.name).is_none() {
                    let table = &self.clause.name.name;
                    let text = format!(
                        "column \"{}\" of relation \"{table}\" does not exist, skipping",
                        column.name
                    );
                    self.skipped.push(text);
                    return Ok(());
                }
                self.drop(column)?;
            }
            TableChange::Type {
                column,
                data_type,
                text,
                position,
            } => {
                let index = self.found(column)?;
                to_arrow(&column.name, data_type).map_err(|error| error.at(Some(*position)))?;
                self.edit(ColumnEdit::Type(&column.name, text))?;
                let clause = &mut self.clause.columns[index];
                (clause.data_type, clause.type_position) = (data_type.clone(), *position);
                if let Some(watermark) = &mut self.clause.watermark
                    && watermark.column == column.name
                {
                    watermark.position = *position;
                }
            }
            TableChange::NotNull { column, not_null } => {
                let index = self.found(column)?;
                if let ColumnKind::Computed(_) = self.clause.columns[index].kind
                    && *not_null
                {
                    let text = format!("column \"{}\" is computed", column.name);
                    return Err(Error::user(SqlState::FeatureNotSupported, text)
                        .hint("NOT NULL rejects messages: set it for what the column is made of.")
                        .at(Some(column.position)));
                }
                self.edit(ColumnEdit::NotNull(&column.name, *not_null))?;
                self.clause.columns[index].not_null = *not_null;
            }
            TableChange::Set(options) => options.iter().try_for_each(|option| self.set(option))?,
        }
        Ok(())
    }

    fn edit(&mut self, edit: ColumnEdit<'_>) -> Result<()> {
        self.text = edit_column(&self.text, edit)?;
        Ok(())
    }

    fn index(&self, name: &str) -> Option<usize> {
        let mut columns = self.clause.columns.iter();
        columns.position(|column| column.name == name)
    }

    fn found(&self, column: &Identifier) -> Result<usize> {
        self.index(&column.name).ok_or_else(|| {
            let (name, table) = (&column.name, &self.clause.name.name);
            let text = format!("column \"{name}\" of relation \"{table}\" does not exist");
            let error = Error::user(SqlState::UndefinedColumn, text).at(Some(column.position));
            let names = self
                .clause
                .columns
                .iter()
                .map(|column| column.name.as_str());
            with_nearest(error, name, &names.collect::<Vec<_>>())
        })
    }

    fn is_there(&mut self, may_be: bool, name: &str, place: Position) -> Result<()> {
        let table = &self.clause.name.name;
        let text = format!("column \"{name}\" of relation \"{table}\" already exists");
        if may_be {
            self.skipped.push(format!("{text}, skipping"));
            return Ok(());
        }
        Err(Error::user(SqlState::DuplicateColumn, text).at(Some(place)))
    }

    fn drop(&mut self, column: &Identifier) -> Result<()> {
        let index = self.found(column)?;
        let needs = needs_in(&self.clause, &column.name);
        if !needs.is_empty() {
            return Err(
                needed(&column.name, &self.clause.name.name, &needs).at(Some(column.position))
            );
        }
        if self.clause.columns.len() == 1 {
            let text = format!("table \"{}\" would have no columns", self.clause.name.name);
            let error = Error::user(SqlState::InvalidTableDefinition, text);
            return Err(error.at(Some(column.position)));
        }
        self.edit(ColumnEdit::Drop(&column.name))?;
        self.clause.columns.remove(index);
        Ok(())
    }

    fn set(&mut self, option: &OptionClause) -> Result<()> {
        if FIXED.contains(&option.name.as_str()) || option.name.starts_with("kafka.") {
            let text = format!("option \"{}\" cannot be changed", option.name);
            return Err(Error::user(SqlState::FeatureNotSupported, text)
                .hint(format!(
                    "These can: {CAN_CHANGE}. For others, drop the table and create it again."
                ))
                .at(Some(option.position)));
        }
        self.text = sql::set_option(&self.text, &option.name, &value_text(option))?;
        self.clause
            .options
            .retain(|given| given.name != option.name);
        self.clause.options.push(option.clone());
        Ok(())
    }
}

/// What of the table itself needs a column.
fn needs_in(clause: &CreateTable, name: &str) -> Vec<String> {
    let mut needs = Vec::new();
    let others = clause.columns.iter().filter(|column| column.name != name);
    for column in others {
        if let ColumnKind::Computed(expr) = &column.kind
            && mentions(expr, name)
        {
            needs.push(format!("column {}", column.name));
        }
    }
    if clause.primary_key.iter().any(|key| key.name == name) {
        needs.push("the primary key".to_owned());
    }
    if let Some(watermark) = &clause.watermark
        && (watermark.column == name || mentions(&watermark.expr, name))
    {
        needs.push("the watermark".to_owned());
    }
    needs
}

fn mentions(expr: &Expr, name: &str) -> bool {
    let found = walk::expressions(expr, |expr| {
        let head = match expr {
            Expr::Identifier(ident) => Some(ident),
            Expr::CompoundIdentifier(parts) => parts.first(),
            _ => None,
        };
        match head.is_some_and(|head| fold(head) == name) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    found.is_break()
}

/// The error of a column that cannot go because of these.
pub fn needed(column: &str, table: &str, needs: &[String]) -> Error {
    let lines: Vec<String> = needs
        .iter()
        .map(|need| format!("{need} depends on column {column} of table {table}."))
        .collect();
    Error::user(
        SqlState::DependentObjectsStillExist,
        format!("cannot drop column {column} of table {table} because other objects depend on it"),
    )
    .detail(lines.join("\n"))
    .hint("Drop what depends on it first.")
}

/// A name that comes or goes must not change what the columns mean that were not named.
fn check_others(alter: &AlterTable, old: &TableDefinition, table: &TableDefinition) -> Result<()> {
    let named: BTreeSet<&str> = alter.changes.iter().filter_map(column_of).collect();
    for column in &table.columns {
        let name = column.field.name();
        let before = old
            .columns
            .iter()
            .find(|before| before.field.name() == name);
        let Some(before) = before.filter(|_| !named.contains(name.as_str())) else {
            continue;
        };
        let same = match (&before.origin, &column.origin) {
            (ColumnOrigin::Payload(before), ColumnOrigin::Payload(after)) => before == after,
            (ColumnOrigin::Metadata(before), ColumnOrigin::Metadata(after)) => before == after,
            (ColumnOrigin::Computed(before), ColumnOrigin::Computed(after)) => before == after,
            _ => false,
        };
        if !same {
            let text = format!("column \"{name}\" would be read from another column");
            return Err(Error::user(SqlState::InvalidTableDefinition, text)
                .detail("It is a place in the messages whose name the new column would take.")
                .hint("Choose another name: new_name type AS (old_name).")
                .at(Some(alter.name.position)));
        }
    }
    Ok(())
}

fn column_of(change: &TableChange) -> Option<&str> {
    match change {
        TableChange::Add { column, .. } => Some(&column.name),
        TableChange::Drop { column, .. }
        | TableChange::Type { column, .. }
        | TableChange::NotNull { column, .. } => Some(&column.name),
        TableChange::Set(_) => None,
    }
}
