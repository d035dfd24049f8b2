//! Rows that tell when they happened, beside their own columns.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::functions_aggregate::min_max::max_udaf;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::{Column, cast};

use super::{AggregateCall, AggregatePlan, Emission, InputPlan, OutputStage, RowStage, StreamPlan};
use crate::error::{Result, from_datafusion};

/// The column's name, which nobody sees.
const ROW_TIME: &str = "row time";

/// What a row's time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowTime {
    /// The column.
    pub column: usize,
    /// It is the greatest event time of the messages of a group, not that of one message.
    pub is_of_group: bool,
}

impl StreamPlan {
    /// Lets each row tell its event time in one more column, the last one. `None`: a row is made of a window that has
    /// closed, of several groups, or of one message for several windows.
    ///
    /// # Errors
    /// When the event time is none, which is a mistake of ours.
    pub fn tell_row_times(&mut self) -> Result<Option<RowTime>> {
        let is_of_group = self.aggregate.is_some();
        let can_tell = match is_of_group {
            true => self.emission != Emission::Final && self.output.iter().all(is_row_stage),
            false => self.output.is_empty() && !self.inputs.iter().any(has_windows),
        };
        if !can_tell {
            return Ok(None);
        }
        self.inputs.iter_mut().try_for_each(tell)?;
        if let (Some(aggregate), [input, ..]) = (&mut self.aggregate, self.inputs.as_slice()) {
            tell_greatest(aggregate, &rows_of(input))?;
            let stages = self.output.iter_mut().filter_map(|stage| match stage {
                OutputStage::Rows(stage) => Some(stage),
                _ => None,
            });
            pass_on(stages, aggregate.schema.fields().len());
        }
        self.schema = with_time(self.schema.fields().iter().cloned());
        Ok(Some(RowTime {
            column: self.schema.fields().len() - 1,
            is_of_group,
        }))
    }
}

fn is_row_stage(stage: &OutputStage) -> bool {
    matches!(stage, OutputStage::Rows(_))
}

fn has_windows(input: &InputPlan) -> bool {
    let is_windows = |stage: &RowStage| matches!(stage, RowStage::Windows { .. });
    input.rows.iter().any(is_windows)
}

/// Lets the rows of one input tell it. What queries may have in common, their first conditions, stays first.
fn tell(input: &mut InputPlan) -> Result<()> {
    let (place, fields, time) = match windows_of(input)? {
        Some(told) => told,
        None => scanned(input)?,
    };
    let width = fields.len();
    let stage = RowStage::Project {
        exprs: columns(&fields).chain([time]).collect(),
        schema: with_time(fields.into_iter()),
    };
    pass_on(&mut input.rows[place..], width + 1);
    input.rows.insert(place, stage);
    Ok(())
}

/// Where the time is told, beside which columns, and what it is.
type Told = (usize, Vec<FieldRef>, Arc<dyn PhysicalExpr>);

/// Behind the windows: by their time, which is made of the columns before them.
fn windows_of(input: &InputPlan) -> Result<Option<Told>> {
    for (place, stage) in input.rows.iter().enumerate().rev() {
        if let RowStage::Windows { time, schema, .. } = stage {
            let time = cast(Arc::clone(time), schema, time_type()).map_err(from_datafusion)?;
            return Ok(Some((place + 1, schema.fields().to_vec(), time)));
        }
    }
    Ok(None)
}

/// Behind the first conditions, by the event time of the source.
fn scanned(input: &mut InputPlan) -> Result<Told> {
    let source = &mut input.source;
    let scanned = Arc::clone(&source.scan.schema);
    let visible: Vec<FieldRef> = scanned.fields()[..source.visible_columns].to_vec();
    // The event time may be made of columns that the query itself does not see.
    source.visible_columns = scanned.fields().len();
    let time = Arc::clone(&source.event_time.time);
    let time = cast(time, &scanned, time_type()).map_err(from_datafusion)?;
    let is_filter = |stage: &&RowStage| matches!(stage, RowStage::Filter(_));
    let first = input.rows.iter().take_while(is_filter).count();
    Ok((first, visible, time))
}

/// Lets steps that compute columns keep the time, which is the last one of `width` columns.
fn pass_on<'a>(stages: impl IntoIterator<Item = &'a mut RowStage>, mut width: usize) {
    for stage in stages {
        if let RowStage::Project { exprs, schema } = stage {
            exprs.push(Arc::new(Column::new(ROW_TIME, width - 1)));
            *schema = with_time(schema.fields().iter().cloned());
            width = schema.fields().len();
        }
    }
}

/// The columns of the rows that come out of an input's steps.
fn rows_of(input: &InputPlan) -> SchemaRef {
    let made = |stage: &RowStage| match stage {
        RowStage::Project { schema, .. } | RowStage::Windows { schema, .. } => {
            Some(Arc::clone(schema))
        }
        RowStage::Filter(_) => None,
    };
    let scanned = || Arc::clone(&input.source.scan.schema);
    input
        .rows
        .iter()
        .rev()
        .find_map(made)
        .unwrap_or_else(scanned)
}

/// Lets each group tell the greatest time of its rows, whose last column it is.
fn tell_greatest(aggregate: &mut AggregatePlan, rows: &SchemaRef) -> Result<()> {
    let time: Arc<dyn PhysicalExpr> = Arc::new(Column::new(ROW_TIME, rows.fields().len() - 1));
    let function = AggregateExprBuilder::new(max_udaf(), vec![Arc::clone(&time)])
        .schema(Arc::clone(rows))
        .alias(ROW_TIME)
        .build()
        .map_err(from_datafusion)?;
    aggregate.calls.push(AggregateCall {
        function: Arc::new(function),
        arguments: vec![time],
        filter: None,
    });
    aggregate.schema = with_time(aggregate.schema.fields().iter().cloned());
    Ok(())
}

fn columns(fields: &[FieldRef]) -> impl Iterator<Item = Arc<dyn PhysicalExpr>> + '_ {
    let fields = fields.iter().enumerate();
    fields.map(|(index, field)| Arc::new(Column::new(field.name(), index)) as Arc<dyn PhysicalExpr>)
}

fn with_time(fields: impl Iterator<Item = FieldRef>) -> SchemaRef {
    let time = Arc::new(Field::new(ROW_TIME, time_type(), true));
    Arc::new(Schema::new(fields.chain([time]).collect::<Vec<_>>()))
}

fn time_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, None)
}
