//! Rows that tell when they happened, beside their own columns.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, cast};

use super::{InputPlan, RowStage, StreamPlan};
use crate::error::{Result, from_datafusion};

/// The column's name, which nobody sees.
const ROW_TIME: &str = "row time";

impl StreamPlan {
    /// Lets each row tell its event time in one more column, the last one; gives its number. `None`: the
    /// rows are made of several messages, or of one message for several windows.
    ///
    /// # Errors
    /// When the event time is none, which is a mistake of ours.
    pub fn tell_row_times(&mut self) -> Result<Option<usize>> {
        let is_windows = |stage: &RowStage| matches!(stage, RowStage::Windows { .. });
        let has_windows = |input: &InputPlan| input.rows.iter().any(is_windows);
        let is_plain = self.aggregate.is_none() && self.output.is_empty();
        if !is_plain || self.inputs.iter().any(has_windows) {
            return Ok(None);
        }
        self.inputs.iter_mut().try_for_each(tell)?;
        self.schema = with_time(self.schema.fields().iter().cloned());
        Ok(Some(self.schema.fields().len() - 1))
    }
}

/// Lets the rows of one input tell it. What queries may have in common, their first conditions, stays first.
fn tell(input: &mut InputPlan) -> Result<()> {
    let source = &mut input.source;
    let scanned = Arc::clone(&source.scan.schema);
    let visible: Vec<FieldRef> = scanned.fields()[..source.visible_columns].to_vec();
    // The event time may be made of columns that the query itself does not see.
    source.visible_columns = scanned.fields().len();
    let time = Arc::clone(&source.event_time.time);
    let time = cast(time, &scanned, time_type()).map_err(from_datafusion)?;
    let schema = with_time(visible.iter().cloned());
    let stage = RowStage::Project {
        exprs: columns(&visible).chain([time]).collect(),
        schema,
    };
    let is_filter = |stage: &&RowStage| matches!(stage, RowStage::Filter(_));
    let first = input.rows.iter().take_while(is_filter).count();
    let mut width = visible.len();
    for stage in &mut input.rows[first..] {
        if let RowStage::Project { exprs, schema } = stage {
            exprs.push(Arc::new(Column::new(ROW_TIME, width)));
            width = schema.fields().len();
            *schema = with_time(schema.fields().iter().cloned());
        }
    }
    input.rows.insert(first, stage);
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
