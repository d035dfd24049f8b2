//! INSERT INTO a table: rows become messages of its topic.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast as cast_expr};
use datafusion::physical_plan::collect;
use datafusion::sql::parser::Statement as DataFusionStatement;
use sqlparser::ast;

use crate::catalog::{Column, ColumnOrigin, Definition, TableDefinition};
use crate::error::{Error, Result, SqlState, from_arrow, from_datafusion};
use crate::format::JsonEncoder;
use crate::session::{Outcome, Session};
use crate::sink::kafka::{Produced, produce};
use crate::task;
use crate::types::{MetadataColumn, PathStep};

pub(in crate::session) async fn run(session: &mut Session, insert: ast::Insert) -> Result<Outcome> {
    let table = target(session, &insert)?;
    let columns = columns(&table, &insert)?;
    let rows = rows(session, insert, &columns).await?;
    let messages = messages(&columns, &rows)?;
    let count = messages.len();
    if count > 0 {
        let (connection, topic) = (
            table.options.connection.clone(),
            table.options.topic.clone(),
        );
        task::spawn_blocking(move || produce(&connection, &topic, messages)).await?;
    }
    Ok(Outcome::done(format!("INSERT 0 {count}")))
}

fn target(session: &Session, insert: &ast::Insert) -> Result<Arc<TableDefinition>> {
    let ast::TableObject::TableName(name) = &insert.table else {
        return Err(Error::user(
            SqlState::SyntaxError,
            "INSERT INTO needs a table's name",
        ));
    };
    let name = match name.0.last().and_then(|part| part.as_ident()) {
        Some(ident) => crate::sql::fold(ident),
        None => {
            return Err(Error::user(
                SqlState::SyntaxError,
                "INSERT INTO needs a table's name",
            ));
        }
    };
    match session.services().catalog.snapshot().get(&name) {
        Some(Definition::Table(table)) => Ok(Arc::clone(table)),
        Some(other) => Err(Error::user(
            SqlState::WrongObjectType,
            format!("cannot insert into {} \"{name}\"", other.kind_name()),
        )
        .hint("INSERT produces messages to the topic of a table.")),
        None => Err(Error::user(
            SqlState::UndefinedTable,
            format!("relation \"{name}\" does not exist"),
        )),
    }
}

/// The table's columns that the statement gives, in its order.
fn columns(table: &TableDefinition, insert: &ast::Insert) -> Result<Vec<Column>> {
    let writable = |column: &Column| match &column.origin {
        ColumnOrigin::Payload(path) => path.len() == 1,
        ColumnOrigin::Metadata(metadata) => *metadata == MetadataColumn::Key,
        ColumnOrigin::Computed(_) => false,
    };
    if insert.columns.is_empty() {
        return Ok(table
            .columns
            .iter()
            .filter(|column| writable(column))
            .cloned()
            .collect());
    }
    insert
        .columns
        .iter()
        .map(|ident| {
            let name = ident
                .0
                .last()
                .and_then(|part| part.as_ident())
                .map(crate::sql::fold);
            let name = name.unwrap_or_default();
            match table
                .columns
                .iter()
                .find(|column| *column.field.name() == name)
            {
                Some(column) if writable(column) => Ok(column.clone()),
                Some(_) => Err(Error::user(
                    SqlState::InvalidColumnReference,
                    format!("column \"{name}\" cannot be inserted into"),
                )
                .hint("It is computed, or told by the broker.")),
                None => Err(Error::user(
                    SqlState::UndefinedColumn,
                    format!(
                        "column \"{name}\" of relation \"{}\" does not exist",
                        table.name
                    ),
                )),
            }
        })
        .collect()
}

/// Runs the statement's query; its columns have the types of the table's.
async fn rows(
    session: &mut Session,
    insert: ast::Insert,
    columns: &[Column],
) -> Result<Vec<RecordBatch>> {
    let source = insert
        .source
        .ok_or_else(|| Error::user(SqlState::SyntaxError, "INSERT needs VALUES or a SELECT"))?;
    let state = session.state()?;
    let statement = DataFusionStatement::Statement(Box::new(ast::Statement::Query(source)));
    let plan = state
        .statement_to_plan(statement)
        .await
        .map_err(from_datafusion)?;
    let plan = typed(plan, columns)?;
    let physical = state
        .create_physical_plan(&plan)
        .await
        .map_err(from_datafusion)?;
    let mut running = task::spawn_scoped("insert", collect(physical, state.task_ctx()));
    running.join().await?.map_err(from_datafusion)
}

fn typed(plan: LogicalPlan, columns: &[Column]) -> Result<LogicalPlan> {
    let given = plan.schema().columns();
    if given.len() != columns.len() {
        let more = if given.len() > columns.len() {
            "expressions"
        } else {
            "target columns"
        };
        return Err(Error::user(
            SqlState::SyntaxError,
            format!(
                "INSERT has more {more} than {}",
                if more == "expressions" {
                    "target columns"
                } else {
                    "expressions"
                }
            ),
        ));
    }
    let exprs: Vec<Expr> = given
        .into_iter()
        .zip(columns)
        .map(|(given, column)| {
            let data_type = column.field.data_type().clone();
            cast_expr(Expr::Column(given), data_type).alias(column.field.name())
        })
        .collect();
    LogicalPlanBuilder::from(plan)
        .project(exprs)
        .and_then(LogicalPlanBuilder::build)
        .map_err(from_datafusion)
}

/// One message a row: the payload's columns as JSON, the key's as it is.
fn messages(columns: &[Column], rows: &[RecordBatch]) -> Result<Vec<Produced>> {
    let payload: Vec<usize> = (0..columns.len())
        .filter(|index| matches!(columns[*index].origin, ColumnOrigin::Payload(_)))
        .collect();
    let key = (0..columns.len())
        .find(|index| matches!(columns[*index].origin, ColumnOrigin::Metadata(_)));
    let fields: Vec<FieldRef> = payload
        .iter()
        .map(|index| field(&columns[*index]))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let encoder = JsonEncoder::try_new(Arc::clone(&schema))?;
    let mut messages = Vec::new();
    for batch in rows {
        let arrays = payload
            .iter()
            .map(|index| Arc::clone(batch.column(*index)))
            .collect();
        let values = RecordBatch::try_new(Arc::clone(&schema), arrays).map_err(from_arrow)?;
        let keys = key.map(|index| bytes(batch.column(index))).transpose()?;
        for (row, value) in encoder.encode(&values)?.into_iter().enumerate() {
            let key = keys.as_ref().and_then(|keys| keys[row].clone());
            messages.push(Produced {
                key,
                value: Some(value),
                headers: Vec::new(),
            });
        }
    }
    Ok(messages)
}

/// The column under the name that its message has.
fn field(column: &Column) -> FieldRef {
    let ColumnOrigin::Payload(path) = &column.origin else {
        return Arc::clone(&column.field);
    };
    match path.as_slice() {
        [PathStep::Key(key)] if key != column.field.name() => {
            Arc::new(column.field.as_ref().clone().with_name(key))
        }
        _ => Arc::clone(&column.field),
    }
}

fn bytes(column: &ArrayRef) -> Result<Vec<Option<Vec<u8>>>> {
    let column = cast(column, &DataType::Binary).map_err(from_arrow)?;
    let column = column.as_binary::<i32>();
    Ok((0..column.len())
        .map(|row| column.is_valid(row).then(|| column.value(row).to_vec()))
        .collect())
}
