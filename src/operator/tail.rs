//! What is done with an aggregate's rows, once those of the lanes are put together.
//!
//! Rows come a closed window at a time, with the watermark that closed it; a window over windows
//! hands the watermark on, later by as much as its rows' times may lie behind it.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::aggregate::{Aggregate, Closed};
use super::placement::Lateness;
use super::rank;
use super::row_pipeline::{RowPipeline, Rows};
use crate::error::Result;
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
                OutputStage::Rank(plan) => Stage::Rank(plan.clone()),
                OutputStage::Top(plan) => Stage::Top(plan.clone()),
            });
        }
        if !rows.is_empty() {
            made.push(Stage::Rows(RowPipeline::new(&rows)));
        }
        Ok(Self { stages: made })
    }

    /// The rows of closed windows, one batch a window, after all steps.
    ///
    /// # Errors
    /// When an expression or an aggregate refuses a value.
    pub fn process(
        &mut self,
        mut windows: Vec<RecordBatch>,
        watermark: Watermark,
    ) -> Result<Vec<RecordBatch>> {
        for stage in &mut self.stages {
            windows = match stage {
                Stage::Rows(pipeline) => windows
                    .into_iter()
                    .map(|window| Ok(pipeline.process(window)?.batch))
                    .collect::<Result<_>>()?,
                Stage::Rank(plan) => windows
                    .iter()
                    .map(|window| rank::number(plan, window))
                    .collect::<Result<_>>()?,
                Stage::Top(plan) => windows
                    .iter()
                    .map(|window| rank::top(plan, window))
                    .collect::<Result<_>>()?,
                Stage::Aggregate { aggregate, delay } => {
                    let reached = EventTime(watermark.0.0.saturating_sub(*delay));
                    again(aggregate, windows, Watermark(reached))?
                }
            };
        }
        Ok(windows)
    }

    /// The later aggregates.
    pub fn aggregates(&self) -> impl Iterator<Item = &Aggregate> {
        self.stages.iter().filter_map(|stage| match stage {
            Stage::Aggregate { aggregate, .. } => Some(&**aggregate),
            Stage::Rows(_) | Stage::Rank(_) | Stage::Top(_) => None,
        })
    }

    /// The same, to take down or take in their state.
    pub fn aggregates_mut(&mut self) -> impl Iterator<Item = &mut Aggregate> {
        self.stages.iter_mut().filter_map(|stage| match stage {
            Stage::Aggregate { aggregate, .. } => Some(&mut **aggregate),
            Stage::Rows(_) | Stage::Rank(_) | Stage::Top(_) => None,
        })
    }

    /// The last of the later aggregates.
    pub fn last_aggregate(&mut self) -> Option<&mut Aggregate> {
        self.stages.iter_mut().rev().find_map(|stage| match stage {
            Stage::Aggregate { aggregate, .. } => Some(&mut **aggregate),
            Stage::Rows(_) | Stage::Rank(_) | Stage::Top(_) => None,
        })
    }
}

/// A window over windows.
fn again(
    aggregate: &mut Aggregate,
    windows: Vec<RecordBatch>,
    watermark: Watermark,
) -> Result<Vec<RecordBatch>> {
    for window in windows {
        aggregate.process(&Rows::all(window), Lateness::NONE)?;
    }
    match aggregate.close(watermark)? {
        Closed::Rows(rows) => Ok(vec![rows]),
        Closed::Windows(closed) => closed
            .into_iter()
            .map(|closed| aggregate.rows_of(closed))
            .collect(),
    }
}
