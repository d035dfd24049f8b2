//! A table as a query reads it: the columns that are needed, and how its rows' time is told.

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, TimeUnit};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column as ColumnRef, DFSchema};
use datafusion::execution::SessionState;
use datafusion::logical_expr::{Expr, ExprSchemable, cast};
use sqlparser::ast::{Expr as SqlExpr, ExprWithAlias};

use super::fixed_length::fixed_lengths;
use super::watermark_rule;
use super::window_relation::position;
use crate::catalog::{Column, ColumnOrigin, TableDefinition};
use crate::error::{Error, Result, SqlState, from_datafusion};
use crate::plan::{
    EventTimePlan, MaxFuture, RECORD_TIME, ScanColumn, ScanOrigin, ScanSpec, SourcePlan,
};
use crate::types::MetadataColumn;

/// Checks that a table's computed columns and watermark can be planned.
///
/// # Errors
/// What is wrong with the first that cannot.
pub fn check_table(table: &TableDefinition, state: &SessionState) -> Result<()> {
    let all = declared(table)?;
    for column in &table.columns {
        if let ColumnOrigin::Computed(sql) = &column.origin {
            let expr = declared_expr(sql, &all, state).map_err(from_datafusion)?;
            refuse_aggregate(&expr, sql)?;
            for used in expr.column_refs() {
                refuse_computed(table, used.name(), column.field.name())?;
            }
            let expr = cast(expr, column.field.data_type().clone());
            state
                .create_physical_expr(expr, &all)
                .map_err(from_datafusion)?;
        }
    }
    if let Some(watermark) = &table.watermark {
        watermark_rule::check_text(watermark)?;
        let at = |error: Error| match error.position() {
            Some(_) => error,
            None => error.at(position(&watermark.expr)),
        };
        let rule = declared_expr(&watermark.expr, &all, state).map_err(from_datafusion);
        let rule = rule.and_then(|rule| inline_computed(rule, table, &all, state));
        watermark_rule::check(watermark, &rule.map_err(at)?, &all).map_err(at)?;
    }
    source(table, &[], state).map(drop)
}

/// A computed column looks at its own row alone.
fn refuse_aggregate(expr: &Expr, sql: &SqlExpr) -> Result<()> {
    let several = |e: &Expr| matches!(e, Expr::AggregateFunction(_) | Expr::WindowFunction(_));
    if !expr.exists(|e| Ok(several(e))).map_err(from_datafusion)? {
        return Ok(());
    }
    Err(Error::user(
        SqlState::GroupingError,
        "aggregate functions and OVER are not allowed in a computed column",
    )
    .hint("A computed column is computed from its own row; write aggregates into a query.")
    .at(position(sql)))
}

/// A table's columns that are scanned, for snapshots: all but the computed ones.
///
/// # Errors
/// When the table lost a column, which is a mistake of ours.
pub fn table_scan(table: &TableDefinition) -> Result<ScanSpec> {
    let scanned = |column: &&Column| !matches!(column.origin, ColumnOrigin::Computed(_));
    let columns: Vec<ScanColumn> = table
        .columns
        .iter()
        .filter(scanned)
        .map(|column| scan_column(table, column.field.name()))
        .collect::<Result<_>>()?;
    let event_time = table
        .watermark
        .as_ref()
        .map(|watermark| watermark.column.as_str());
    Ok(scan_spec(table, columns, event_time))
}

fn scan_spec(
    table: &TableDefinition,
    columns: Vec<ScanColumn>,
    event_time: Option<&str>,
) -> ScanSpec {
    let fields: Vec<FieldRef> = columns.iter().map(|c| Arc::clone(&c.field)).collect();
    // Without a bound a row must have an event time all the same.
    let bound = table.options.max_future.unwrap_or(Duration::MAX);
    let event_time = columns
        .iter()
        .position(|c| Some(c.field.name().as_str()) == event_time);
    let max_future = event_time.and_then(|column| {
        matches!(columns[column].origin, ScanOrigin::Payload { .. })
            .then_some(MaxFuture { column, bound })
    });
    ScanSpec {
        table: table.name.clone(),
        topic: table.options.topic.clone(),
        connection: table.options.connection.clone(),
        columns,
        schema: Arc::new(Schema::new(fields)),
        read_committed: table.options.read_committed,
        fetch: table.options.fetch,
        max_future,
    }
}

fn refuse_computed(table: &TableDefinition, used: &str, by: &str) -> Result<()> {
    let found = table
        .columns
        .iter()
        .find(|column| column.field.name() == used);
    if found.is_some_and(|column| matches!(column.origin, ColumnOrigin::Computed(_))) {
        return Err(Error::user(
            SqlState::InvalidTableDefinition,
            format!("computed column \"{by}\" cannot use computed column \"{used}\""),
        ));
    }
    Ok(())
}

/// The source of a query that needs `columns` of a table.
pub(super) fn source(
    table: &TableDefinition,
    columns: &[&str],
    state: &SessionState,
) -> Result<SourcePlan> {
    let all = declared(table)?;
    let (name, time, watermark) = event_time(table, &all, state)?;
    let mut needed: Vec<ScanColumn> = columns
        .iter()
        .map(|column| scan_column(table, column))
        .collect::<Result<_>>()?;
    let visible_columns = needed.len();
    for expr in [&time, &watermark] {
        for column in expr.column_refs() {
            if !needed
                .iter()
                .any(|known| known.field.name() == column.name())
            {
                needed.push(scan_column(table, column.name())?);
            }
        }
    }
    let scan = scan_spec(table, needed, Some(&name));
    let names = DFSchema::try_from(Arc::clone(&scan.schema)).map_err(from_datafusion)?;
    let compile = |expr: Expr| {
        let expr = state.create_physical_expr(expr, &names);
        fixed_lengths(expr.map_err(from_datafusion)?, &scan.schema)
    };
    let (time, watermark) = (compile(time)?, compile(watermark)?);
    Ok(SourcePlan {
        scan,
        visible_columns,
        event_time: EventTimePlan {
            column: name,
            time,
            watermark,
        },
        idle_timeout: table.options.idle_timeout,
        dead_letter_topic: table.options.dead_letter_topic.clone(),
        late_topic: table.options.late_topic.clone(),
        startup: table.options.scan_startup.clone(),
        group_id: table.options.group_id.clone(),
        on_error: table.options.on_error,
        fails_on_data_loss: table.options.fails_on_data_loss,
        max_rows_per_second: table.options.max_rows_per_second,
    })
}

/// All declared columns, under their bare names.
fn declared(table: &TableDefinition) -> Result<DFSchema> {
    let fields: Vec<FieldRef> = table.columns.iter().map(|c| Arc::clone(&c.field)).collect();
    DFSchema::try_from(Arc::new(Schema::new(fields))).map_err(from_datafusion)
}

/// The name of a table's event-time column; a hidden one if none is declared.
pub(super) fn event_time_column(table: &TableDefinition) -> &str {
    if let Some(watermark) = &table.watermark {
        return &watermark.column;
    }
    let timestamp =
        |c: &&Column| matches!(c.origin, ColumnOrigin::Metadata(MetadataColumn::Timestamp));
    let declared = table.columns.iter().find(timestamp);
    declared.map_or(RECORD_TIME, |column| column.field.name())
}

/// The event time's column, its expression and the watermark's, over columns that can be scanned.
fn event_time(
    table: &TableDefinition,
    all: &DFSchema,
    state: &SessionState,
) -> Result<(String, Expr, Expr)> {
    let Some(watermark) = &table.watermark else {
        let name = event_time_column(table);
        let time = Expr::Column(ColumnRef::from_name(name));
        return Ok((name.to_owned(), time.clone(), time));
    };
    let time = Expr::Column(ColumnRef::from_name(&watermark.column));
    let rule = declared_expr(&watermark.expr, all, state).map_err(from_datafusion)?;
    let time_type = time.get_type(all).map_err(from_datafusion)?;
    let DataType::Timestamp(_, zone) = &time_type else {
        return Err(Error::user(
            SqlState::DatatypeMismatch,
            format!(
                "the event-time column \"{}\" is not a timestamp",
                watermark.column
            ),
        ));
    };
    let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
    let time = inline_computed(time, table, all, state)?;
    let rule = inline_computed(rule, table, all, state)?;
    Ok((
        watermark.column.clone(),
        cast(time, micros.clone()),
        cast(rule, micros),
    ))
}

/// An expression of a CREATE TABLE; its places are those in the statement's text.
fn declared_expr(
    sql: &SqlExpr,
    all: &DFSchema,
    state: &SessionState,
) -> datafusion::error::Result<Expr> {
    let sql = ExprWithAlias {
        expr: sql.clone(),
        alias: None,
    };
    state.create_logical_expr_from_sql_expr(sql, all)
}

/// Puts a computed column's expression where its name stands.
fn inline_computed(
    expr: Expr,
    table: &TableDefinition,
    all: &DFSchema,
    state: &SessionState,
) -> Result<Expr> {
    expr.transform_up(|inner| {
        let Expr::Column(column) = &inner else {
            return Ok(Transformed::no(inner));
        };
        let found = table
            .columns
            .iter()
            .find(|c| c.field.name() == column.name());
        match found.map(|c| (&c.field, &c.origin)) {
            Some((field, ColumnOrigin::Computed(sql))) => {
                let expr = declared_expr(sql, all, state)?;
                Ok(Transformed::yes(cast(expr, field.data_type().clone())))
            }
            _ => Ok(Transformed::no(Expr::Column(ColumnRef::from_name(
                column.name(),
            )))),
        }
    })
    .map(|transformed| transformed.data)
    .map_err(from_datafusion)
}

/// A column as the scan makes it.
fn scan_column(table: &TableDefinition, name: &str) -> Result<ScanColumn> {
    if name == RECORD_TIME {
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        let field = Arc::new(Field::new(RECORD_TIME, time, true));
        let origin = ScanOrigin::Metadata(MetadataColumn::Timestamp);
        return Ok(ScanColumn { field, origin });
    }
    let column = table
        .columns
        .iter()
        .find(|column| column.field.name() == name)
        .ok_or_else(|| {
            Error::internal(format!("table \"{}\" lost column \"{name}\"", table.name))
        })?;
    let origin = match &column.origin {
        ColumnOrigin::Payload(path) => ScanOrigin::Payload {
            path: path.clone(),
            raw_json: is_json(&column.field),
        },
        ColumnOrigin::Metadata(metadata) => ScanOrigin::Metadata(*metadata),
        ColumnOrigin::Computed(_) => {
            return Err(Error::internal(format!(
                "computed column \"{name}\" reached a scan"
            )));
        }
    };
    Ok(ScanColumn {
        field: Arc::clone(&column.field),
        origin,
    })
}

fn is_json(field: &Field) -> bool {
    field
        .metadata()
        .get("ARROW:extension:name")
        .is_some_and(|name| name == "arrow.json")
}
