//! Row stages, one after the other, on a batch at once.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{FilterBuilder, concat_batches, prep_null_mask_filter, take};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::physical_expr::PhysicalExpr;

use super::refusal::{RefusedRow, by_halves};
use super::short_text;
use super::windows::{a_row_for_each, with_row_time};
use crate::error::{Error, Result, from_arrow, from_datafusion};
use crate::plan::{RowStage, WindowColumns};

/// Rows, and where in the decoded batch each came from.
#[derive(Debug, Clone)]
pub struct Rows {
    /// The columns.
    pub batch: RecordBatch,
    /// For each row its number in the batch that came in; `None`: all rows are still there.
    pub origin: Option<UInt32Array>,
}

impl Rows {
    /// A whole batch.
    pub fn all(batch: RecordBatch) -> Self {
        Self {
            batch,
            origin: None,
        }
    }

    /// Some of the rows.
    pub(super) fn slice(&self, rows: &Range<usize>) -> Self {
        let origin = self.origin.as_ref();
        Self {
            batch: self.batch.slice(rows.start, rows.len()),
            origin: origin.map(|origin| origin.slice(rows.start, rows.len())),
        }
    }

    /// Rows of a part of a batch that began at its row `first`, numbered in the whole of it.
    fn behind(mut self, first: usize) -> Self {
        let number = |row: usize| u32::try_from(first + row).expect("a batch has < 2^32 rows");
        let numbers = (0..self.batch.num_rows()).map(|row| number(self.origin_of(row)));
        self.origin = Some(numbers.collect());
        self
    }

    /// The number of a row in the batch that came in.
    pub fn origin_of(&self, row: usize) -> usize {
        self.origin
            .as_ref()
            .map_or(row, |origin| origin.value(row) as usize)
    }
}

/// Filters and projections in their order.
#[derive(Debug, Clone)]
pub struct RowPipeline {
    stages: Arc<[RowStage]>,
    /// No rows, as the stages make them; `None`: as they come in.
    nothing: Option<RecordBatch>,
}

impl RowPipeline {
    /// A pipeline of compiled stages.
    pub fn new(stages: &[RowStage]) -> Self {
        let last = stages.iter().rev().find_map(|stage| match stage {
            RowStage::Filter(_) => None,
            RowStage::Project { schema, .. } | RowStage::Windows { schema, .. } => Some(schema),
        });
        Self {
            stages: stages.into(),
            nothing: last.map(|schema| RecordBatch::new_empty(Arc::clone(schema))),
        }
    }

    /// The stages.
    pub fn stages(&self) -> &[RowStage] {
        &self.stages
    }

    /// The same for rows that have passed the first condition already.
    pub fn behind_first_condition(&self) -> Option<Self> {
        let (_, left) = self.stages.first()?.first_condition()?;
        let stages = left.into_iter().chain(self.stages[1..].iter().cloned());
        Some(Self::new(&stages.collect::<Vec<_>>()))
    }

    /// Runs a batch through all stages.
    ///
    /// # Errors
    /// When an expression refuses a value: division by zero, a cast that fails.
    pub fn process(&self, batch: RecordBatch) -> Result<Rows> {
        self.process_rows(Rows::all(batch))
    }

    /// Runs some rows of a batch through all stages.
    ///
    /// # Errors
    /// As [`Self::process`].
    pub fn process_rows(&self, mut rows: Rows) -> Result<Rows> {
        for stage in self.stages.iter() {
            if rows.batch.num_rows() == 0 {
                return Ok(Rows::all(self.nothing_of(&rows.batch)));
            }
            rows = match stage {
                RowStage::Filter(predicate) => filter(&rows, predicate)?,
                RowStage::Project { exprs, schema } => project(rows, exprs, schema)?,
                RowStage::Windows {
                    kind,
                    time,
                    form,
                    schema,
                } => {
                    let times = evaluate(time, &rows.batch)?;
                    let times = timestamps(&times)?;
                    match form {
                        WindowColumns::Bounds => a_row_for_each(&rows, (*kind, times), schema)?,
                        WindowColumns::RowTime => with_row_time(rows, times, schema)?,
                    }
                }
            };
        }
        Ok(rows)
    }

    /// The same, but a row with which an expression cannot be computed is set aside.
    ///
    /// # Errors
    /// When an expression fails and no row is at fault.
    pub fn process_each(&self, batch: &RecordBatch) -> Result<(Rows, Vec<RefusedRow>)> {
        match self.process(batch.clone()) {
            Err(error) if error.is_of_data() => self.process_parts(batch),
            whole => Ok((whole?, Vec::new())),
        }
    }

    fn process_parts(&self, batch: &RecordBatch) -> Result<(Rows, Vec<RefusedRow>)> {
        let (mut parts, mut refused) = (Vec::new(), Vec::new());
        let mut process = |rows: Range<usize>| {
            let part = batch.slice(rows.start, rows.len());
            Ok(self.process(part)?.behind(rows.start))
        };
        by_halves(0..batch.num_rows(), &mut process, &mut parts, &mut refused)?;
        let schema = match parts.first() {
            Some(part) => part.batch.schema(),
            None => self.nothing_of(batch).schema(),
        };
        let batches = parts.iter().map(|part| &part.batch);
        let origins = parts.iter().filter_map(|part| part.origin.as_ref());
        let rows = Rows {
            batch: concat_batches(&schema, batches).map_err(from_arrow)?,
            origin: Some(origins.flatten().collect()),
        };
        Ok((rows, refused))
    }

    /// What becomes of no row of a batch, given that only filters are left where nothing else follows.
    fn nothing_of(&self, batch: &RecordBatch) -> RecordBatch {
        match &self.nothing {
            Some(nothing) => nothing.clone(),
            None => batch.slice(0, 0),
        }
    }
}

/// Evaluates an expression to one value a row.
pub(super) fn evaluate(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<ArrayRef> {
    expr.evaluate(batch)
        .and_then(|value| value.into_array(batch.num_rows()))
        .map_err(from_datafusion)
}

/// Evaluates a condition; NULL counts as false.
pub(super) fn condition(expr: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<BooleanArray> {
    if let Some(mask) = short_text::equal(expr, batch) {
        return Ok(mask);
    }
    let value = evaluate(expr, batch)?;
    let mask = value
        .as_boolean_opt()
        .ok_or_else(|| Error::internal(format!("the condition {expr} is not boolean")))?;
    Ok(if mask.null_count() == 0 {
        mask.clone()
    } else {
        prep_null_mask_filter(mask)
    })
}

/// The microseconds of a timestamp column.
pub(super) fn timestamps(array: &ArrayRef) -> Result<&TimestampMicrosecondArray> {
    array
        .as_primitive_opt::<TimestampMicrosecondType>()
        .ok_or_else(|| {
            Error::internal(format!(
                "a time in microseconds came as {}",
                array.data_type()
            ))
        })
}

fn filter(rows: &Rows, predicate: &Arc<dyn PhysicalExpr>) -> Result<Rows> {
    let mask = condition(predicate, &rows.batch)?;
    let count = mask.true_count();
    if count == rows.batch.num_rows() {
        return Ok(rows.clone());
    }
    if count == 0 {
        return Ok(rows.slice(&(0..0)));
    }
    if count > rows.batch.num_rows() / 2 {
        return most(rows, &mask);
    }
    let numbers = numbers(&mask, count);
    let columns = rows.batch.columns().iter();
    let columns = columns.map(|column| take(column, &numbers, None));
    let columns = columns.collect::<Result<_, _>>().map_err(from_arrow)?;
    let origin = match &rows.origin {
        Some(origin) => take(origin, &numbers, None)
            .map_err(from_arrow)?
            .as_primitive()
            .clone(),
        None => numbers,
    };
    Ok(Rows {
        batch: batch(rows.batch.schema_ref(), columns, count)?,
        origin: Some(origin),
    })
}

/// The numbers of the rows that pass a condition.
///
/// # Errors
/// When it refuses a value.
pub fn passing(predicate: &Arc<dyn PhysicalExpr>, batch: &RecordBatch) -> Result<UInt32Array> {
    let mask = condition(predicate, batch)?;
    Ok(numbers(&mask, mask.true_count()))
}

/// The numbers of the rows that a mask lets through, so many.
fn numbers(mask: &BooleanArray, count: usize) -> UInt32Array {
    let mut numbers = Vec::with_capacity(count);
    numbers.extend(mask.values().set_indices_u32());
    UInt32Array::from(numbers)
}

/// The rows that a mask lets through: many, which are copied by stretches.
fn most(rows: &Rows, mask: &BooleanArray) -> Result<Rows> {
    let filter = FilterBuilder::new(mask).optimize().build();
    let batch = filter
        .filter_record_batch(&rows.batch)
        .map_err(from_arrow)?;
    let origin = match &rows.origin {
        Some(origin) => filter
            .filter(origin)
            .map_err(from_arrow)?
            .as_primitive()
            .clone(),
        None => numbers(mask, mask.true_count()),
    };
    Ok(Rows {
        batch,
        origin: Some(origin),
    })
}

fn project(rows: Rows, exprs: &[Arc<dyn PhysicalExpr>], schema: &SchemaRef) -> Result<Rows> {
    let columns = exprs
        .iter()
        .map(|e| evaluate(e, &rows.batch))
        .collect::<Result<Vec<_>>>()?;
    let batch = batch(schema, columns, rows.batch.num_rows())?;
    Ok(Rows {
        batch,
        origin: rows.origin,
    })
}

/// A batch of some columns; works for no column at all.
pub(super) fn batch(
    schema: &SchemaRef,
    columns: Vec<ArrayRef>,
    rows: usize,
) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options).map_err(from_arrow)
}
