//! What is done with an aggregate's rows, once those of the lanes are put together.
//!
//! Rows come a closed window at a time, with the watermark that closed it; a window over windows
//! hands the watermark on, later by as much as its rows' times may lie behind it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{AsArray, UInt32Array};
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::aggregate::{Aggregate, Closed};
use super::placement::Lateness;
use super::rank;
use super::refusal::{Refusals, by_halves};
use super::row_pipeline::{RowPipeline, Rows, batch};
use crate::error::{Error, Result, from_arrow};
use crate::plan::{OutputStage, RankPlan, RowStage, TopPlan};
use crate::state::TableUse;
use crate::types::{EventTime, Watermark};

/// The steps after the first aggregate.
pub struct Tail {
    stages: Vec<Stage>,
}

enum Stage {
    Rows(RowPipeline),
    Aggregate {
        aggregate: Box<Aggregate>,
        delay: i64,
    },
    Repeat(SchemaRef),
    Rank(RankPlan),
    Top(TopPlan),
}

impl Tail {
    /// Compiled steps; durable ones give images of their state.
    ///
    /// # Errors
    /// When an aggregate has no accumulator.
    pub fn try_new(stages: &[OutputStage], durable: bool) -> Result<Self> {
        let wanted = TableUse {
            readable: false,
            durable,
        };
        let mut made: Vec<Stage> = Vec::new();
        let mut rows: Vec<RowStage> = Vec::new();
        for stage in stages {
            if let OutputStage::Rows(stage) = stage {
                rows.push(stage.clone());
                continue;
            }
            if !rows.is_empty() {
                made.push(Stage::Rows(RowPipeline::new(&std::mem::take(&mut rows))));
            }
            made.push(match stage {
                OutputStage::Rows(_) => unreachable!("taken above"),
                OutputStage::Aggregate(plan) => Stage::Aggregate {
                    delay: plan.window.as_ref().map_or(0, |window| window.delay),
                    aggregate: Box::new(Aggregate::try_new(Arc::new(plan.clone()), wanted, None)?),
                },
                OutputStage::Repeat(schema) => Stage::Repeat(SchemaRef::clone(schema)),
                OutputStage::Rank(plan) => Stage::Rank(plan.clone()),
                OutputStage::Top(plan) => Stage::Top(plan.clone()),
            });
        }
        if !rows.is_empty() {
            made.push(Stage::Rows(RowPipeline::new(&rows)));
        }
        Ok(Self { stages: made })
    }

    /// The rows of closed windows, one batch a window, after all steps. Those that cannot be computed
    /// are left out, and noted.
    ///
    /// # Errors
    /// When an expression or an aggregate fails and no row is at fault.
    pub fn process(
        &mut self,
        mut windows: Vec<RecordBatch>,
        watermark: Watermark,
        refusals: &mut Refusals,
    ) -> Result<Vec<RecordBatch>> {
        for stage in &mut self.stages {
            windows = match stage {
                Stage::Rows(pipeline) => windows
                    .iter()
                    .map(|window| through(pipeline, window, refusals))
                    .collect::<Result<_>>()?,
                Stage::Repeat(schema) => windows
                    .iter()
                    .map(|window| repeated(window, schema))
                    .collect::<Result<_>>()?,
                Stage::Rank(plan) => windows
                    .iter()
                    .map(|window| ordered(window, |rows| rank::number(plan, rows), refusals))
                    .collect::<Result<_>>()?,
                Stage::Top(plan) => windows
                    .iter()
                    .map(|window| ordered(window, |rows| rank::top(plan, rows), refusals))
                    .collect::<Result<_>>()?,
                Stage::Aggregate { aggregate, delay } => {
                    let reached = EventTime(watermark.0.0.saturating_sub(*delay));
                    again(aggregate, &windows, Watermark(reached), refusals)?
                }
            };
        }
        Ok(windows)
    }

    /// The later aggregates.
    pub fn aggregates(&self) -> impl Iterator<Item = &Aggregate> {
        self.stages.iter().filter_map(|stage| match stage {
            Stage::Aggregate { aggregate, .. } => Some(&**aggregate),
            Stage::Rows(_) | Stage::Repeat(_) | Stage::Rank(_) | Stage::Top(_) => None,
        })
    }

    /// The same, to take down or take in their state.
    pub fn aggregates_mut(&mut self) -> impl Iterator<Item = &mut Aggregate> {
        self.stages.iter_mut().filter_map(|stage| match stage {
            Stage::Aggregate { aggregate, .. } => Some(&mut **aggregate),
            Stage::Rows(_) | Stage::Repeat(_) | Stage::Rank(_) | Stage::Top(_) => None,
        })
    }

    /// The last of the later aggregates.
    pub fn last_aggregate(&mut self) -> Option<&mut Aggregate> {
        self.stages.iter_mut().rev().find_map(|stage| match stage {
            Stage::Aggregate { aggregate, .. } => Some(&mut **aggregate),
            Stage::Rows(_) | Stage::Repeat(_) | Stage::Rank(_) | Stage::Top(_) => None,
        })
    }
}

/// A window's rows after filters and projections.
fn through(
    pipeline: &RowPipeline,
    window: &RecordBatch,
    refusals: &mut Refusals,
) -> Result<RecordBatch> {
    let (rows, refused) = pipeline.process_each(window)?;
    for refused in refused {
        refusals.note(window, refused.row, refused.error);
    }
    Ok(rows.batch)
}

/// Each row as often as its last column says, without that column.
fn repeated(window: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let (copies, columns) = window
        .columns()
        .split_last()
        .ok_or_else(|| Error::internal("rows that are repeated have no number"))?;
    let copies = copies
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(|| Error::internal("the number of rows is no bigint"))?;
    let mut rows = Vec::with_capacity(window.num_rows());
    for (row, copies) in (0u32..).zip(copies.values()) {
        rows.extend(std::iter::repeat_n(
            row,
            usize::try_from(*copies).unwrap_or(0),
        ));
    }
    let count = rows.len();
    let rows = UInt32Array::from(rows);
    let columns = columns.iter().map(|column| take(column, &rows, None));
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(from_arrow)?;
    batch(schema, columns, count)
}

/// A window's rows in an order; those whose place in it cannot be computed are left out.
fn ordered(
    window: &RecordBatch,
    order: impl Fn(&RecordBatch) -> Result<RecordBatch>,
    refusals: &mut Refusals,
) -> Result<RecordBatch> {
    match order(window) {
        Err(error) if error.is_of_data() => {}
        ordered => return ordered,
    }
    let mut refused = Vec::new();
    let mut try_part = |rows: Range<usize>| order(&window.slice(rows.start, rows.len()));
    let all = 0..window.num_rows();
    by_halves(all.clone(), &mut try_part, &mut Vec::new(), &mut refused)?;
    let refused: BTreeMap<usize, Error> = refused.into_iter().map(|r| (r.row, r.error)).collect();
    let kept = all.map(|row| Some(!refused.contains_key(&row))).collect();
    let kept = filter_record_batch(window, &kept).map_err(from_arrow)?;
    for (row, error) in refused {
        refusals.note(window, row, error);
    }
    order(&kept)
}

/// A window over windows.
fn again(
    aggregate: &mut Aggregate,
    windows: &[RecordBatch],
    watermark: Watermark,
    refusals: &mut Refusals,
) -> Result<Vec<RecordBatch>> {
    for window in windows {
        let taken = aggregate.process(&Rows::all(window.clone()), Lateness::NONE)?;
        for refused in taken.refused {
            refusals.note(window, refused.row, refused.error);
        }
    }
    let closed = match aggregate.close(watermark)? {
        Closed::Rows(rows, refused) => {
            refusals.absorb(refused);
            return Ok(vec![rows]);
        }
        Closed::Windows(closed) => closed,
    };
    let mut made = Vec::with_capacity(closed.len());
    for window in closed {
        let (rows, refused) = aggregate.rows_of(window)?;
        refusals.absorb(refused);
        made.push(rows);
    }
    Ok(made)
}
