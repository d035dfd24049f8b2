//! INSERT INTO a table: rows become messages of its topic.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, FieldRef, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, cast as cast_expr};
use datafusion::physical_plan::collect;
use sqlparser::ast;

use crate::catalog::{Column, ColumnOrigin, Definition, TableDefinition};
use crate::error::{Error, Position, Result, SqlState, from_arrow, from_datafusion, nearest};
use crate::format::JsonEncoder;
use crate::planner::plan_query;
use crate::session::{Outcome, Session, parameters};
use crate::sink::kafka::{Produced, produce};
use crate::sql::fold;
use crate::task;
use crate::types::{MetadataColumn, PathStep};

pub(in crate::session) async fn run(session: &mut Session, insert: ast::Insert) -> Result<Outcome> {
    refuse_clauses(&insert)?;
    let table = target(session, &insert)?;
    let columns = columns(&table, &insert)?;
    let rows = rows(session, insert, &columns).await?;
    check_nulls(&table, &columns, &rows)?;
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

/// Refuses what INSERT has elsewhere and a topic does not.
fn refuse_clauses(insert: &ast::Insert) -> Result<()> {
    let clause = if insert.on.is_some() {
        "ON CONFLICT"
    } else if insert.returning.is_some() {
        "RETURNING"
    } else if insert.overwrite || insert.replace_into || insert.or.is_some() || insert.ignore {
        "replacing rows"
    } else if insert.partitioned.is_some() || !insert.after_columns.is_empty() {
        "PARTITION"
    } else {
        return Ok(());
    };
    Err(Error::user(
        SqlState::FeatureNotSupported,
        format!("INSERT with {clause} is not supported"),
    )
    .hint("INSERT produces new messages; the topic does not look at the ones it holds."))
}

/// The types of the parameters that stand for whole values: those of the columns they go to.
pub(in crate::session) fn parameter_types(
    session: &Session,
    insert: &ast::Insert,
    mut types: Vec<Option<FieldRef>>,
) -> Vec<Option<FieldRef>> {
    let columns = target(session, insert).and_then(|table| columns(&table, insert));
    let (Ok(columns), Some(source)) = (columns, &insert.source) else {
        return types;
    };
    let ast::SetExpr::Values(values) = source.body.as_ref() else {
        return types;
    };
    for row in &values.rows {
        for (value, column) in row.content.iter().zip(&columns) {
            let known = parameters::index(value).and_then(|index| types.get_mut(index));
            if let Some(open @ None) = known {
                *open = Some(Arc::clone(&column.field));
            }
        }
    }
    types
}

fn target(session: &Session, insert: &ast::Insert) -> Result<Arc<TableDefinition>> {
    let ast::TableObject::TableName(name) = &insert.table else {
        return Err(Error::user(
            SqlState::SyntaxError,
            "INSERT INTO needs a table's name",
        ));
    };
    let parts: Vec<&ast::Ident> = name.0.iter().filter_map(|part| part.as_ident()).collect();
    let place = parts.last().and_then(|ident| place(ident));
    let schema = parts.iter().rev().nth(1).map(|ident| fold(ident));
    let name = parts.last().map(|ident| fold(ident)).unwrap_or_default();
    let definitions = session.services().catalog.snapshot();
    let found = match schema.as_deref() {
        None | Some("public") => definitions.get(&name),
        Some(schema) => {
            return Err(Error::user(
                SqlState::WrongObjectType,
                format!("nothing can be inserted into schema \"{schema}\""),
            )
            .at(place));
        }
    };
    match found {
        Some(Definition::Table(table)) => Ok(Arc::clone(table)),
        Some(other) => Err(Error::user(
            SqlState::WrongObjectType,
            format!("cannot insert into {} \"{name}\"", other.kind_name()),
        )
        .hint("INSERT produces messages to the topic of a table.")
        .at(place)),
        None => {
            let error = Error::user(
                SqlState::UndefinedTable,
                format!("relation \"{name}\" does not exist"),
            )
            .at(place);
            let names: Vec<&str> = definitions.all().map(Definition::name).collect();
            Err(match nearest(&name, &names) {
                Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
                None => error,
            })
        }
    }
}

/// Where a name stands in the statement.
fn place(ident: &ast::Ident) -> Option<Position> {
    let start = ident.span.start;
    (start.line > 0).then_some(Position {
        line: start.line,
        column: start.column,
    })
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
    let mut chosen: Vec<Column> = Vec::with_capacity(insert.columns.len());
    for written in &insert.columns {
        let ident = written.0.last().and_then(|part| part.as_ident());
        let name = ident.map(fold).unwrap_or_default();
        let at = ident.and_then(place);
        let found = table
            .columns
            .iter()
            .find(|column| *column.field.name() == name);
        let Some(column) = found else {
            return Err(no_column(table, &name).at(at));
        };
        if !writable(column) {
            return Err(Error::user(
                SqlState::InvalidColumnReference,
                format!("column \"{name}\" cannot be inserted into"),
            )
            .hint("It is computed, or told by the broker.")
            .at(at));
        }
        if chosen.iter().any(|column| *column.field.name() == name) {
            return Err(Error::user(
                SqlState::DuplicateColumn,
                format!("column \"{name}\" specified more than once"),
            )
            .at(at));
        }
        chosen.push(column.clone());
    }
    Ok(chosen)
}

fn no_column(table: &TableDefinition, name: &str) -> Error {
    let error = Error::user(
        SqlState::UndefinedColumn,
        format!(
            "column \"{name}\" of relation \"{}\" does not exist",
            table.name
        ),
    );
    let names: Vec<&str> = table
        .columns
        .iter()
        .map(|c| c.field.name().as_str())
        .collect();
    match nearest(name, &names) {
        Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
        None => error,
    }
}

/// Checks the statement without running it.
///
/// # Errors
/// What running it would report before the first row.
pub(super) async fn check(session: &mut Session, insert: ast::Insert) -> Result<()> {
    refuse_clauses(&insert)?;
    let table = target(session, &insert)?;
    let columns = columns(&table, &insert)?;
    planned(session, insert, &columns).await.map(|_| ())
}

/// Runs the statement's query; its columns have the types of the table's.
async fn rows(
    session: &mut Session,
    insert: ast::Insert,
    columns: &[Column],
) -> Result<Vec<RecordBatch>> {
    let plan = planned(session, insert, columns).await?;
    let mut state = SessionState::clone(&*session.state()?);
    // now() is the time of this statement.
    state.mark_start_execution();
    let physical = state
        .create_physical_plan(&plan)
        .await
        .map_err(from_datafusion)?;
    let mut running = task::spawn_scoped("insert", collect(physical, state.task_ctx()));
    running.join().await?.map_err(from_datafusion)
}

async fn planned(
    session: &mut Session,
    insert: ast::Insert,
    columns: &[Column],
) -> Result<LogicalPlan> {
    let mut source = insert
        .source
        .ok_or_else(|| Error::user(SqlState::SyntaxError, "INSERT needs VALUES or a SELECT"))?;
    exact_numbers(&mut source, columns);
    let state = session.state()?;
    let plan = plan_query(&state, source).await.map_err(from_datafusion)?;
    typed(plan, columns)
}

/// Takes numbers for numeric columns as they are written: as a float they would lose digits.
fn exact_numbers(source: &mut ast::Query, columns: &[Column]) {
    let ast::SetExpr::Values(values) = source.body.as_mut() else {
        return;
    };
    for row in &mut values.rows {
        for (value, column) in row.content.iter_mut().zip(columns) {
            let DataType::Decimal128(precision, scale) = column.field.data_type() else {
                continue;
            };
            let digits =
                ast::ExactNumberInfo::PrecisionAndScale(u64::from(*precision), i64::from(*scale));
            if let Some(text) = written_number(value) {
                *value = ast::Expr::Cast {
                    kind: ast::CastKind::Cast,
                    expr: Box::new(ast::Expr::value(ast::Value::SingleQuotedString(text))),
                    data_type: ast::DataType::Numeric(digits),
                    array: false,
                    format: None,
                };
            }
        }
    }
}

/// The digits of a literal, perhaps with a sign.
fn written_number(value: &ast::Expr) -> Option<String> {
    match value {
        ast::Expr::Value(literal) => match &literal.value {
            ast::Value::Number(text, _) => Some(text.clone()),
            _ => None,
        },
        ast::Expr::UnaryOp {
            op: ast::UnaryOperator::Minus,
            expr,
        } => written_number(expr).map(|text| format!("-{text}")),
        _ => None,
    }
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

/// A message without a column that is NOT NULL would be rejected by whoever reads it.
fn check_nulls(table: &TableDefinition, columns: &[Column], rows: &[RecordBatch]) -> Result<()> {
    let produced = rows.iter().any(|batch| batch.num_rows() > 0);
    let is_null = |name: &str| match columns.iter().position(|c| c.field.name() == name) {
        Some(index) => rows
            .iter()
            .any(|batch| batch.column(index).null_count() > 0),
        None => produced,
    };
    let payload = |column: &&Column| match &column.origin {
        ColumnOrigin::Payload(_) => true,
        ColumnOrigin::Metadata(from) => *from == MetadataColumn::Key,
        ColumnOrigin::Computed(_) => false,
    };
    let mut not_null = table.columns.iter().filter(payload);
    let missing = not_null.find(|c| !c.field.is_nullable() && is_null(c.field.name()));
    missing.map_or(Ok(()), |column| {
        let (name, table) = (column.field.name(), &table.name);
        Err(Error::user(
            SqlState::NotNullViolation,
            format!("null value in column \"{name}\" of relation \"{table}\" violates not-null constraint"),
        ))
    })
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
