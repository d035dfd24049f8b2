//! What of the lanes' state goes out at the end of a micro-batch, and what is done with it on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;

use super::lane::Lane;
use super::pace::Pace;
use crate::error::Result;
use crate::operator::{Aggregate, Closed, ClosedWindow, RowPipeline, Tail};
use crate::plan::{AggregatePlan, Emission, OutputStage, RowStage, StreamPlan};
use crate::types::{ChangeBatch, EventTime, Watermark, WindowKind, WindowSpan};

/// The end of a query's plan.
pub(super) struct Emitter {
    plan: Arc<StreamPlan>,
    tail: Tail,
    /// The output's stages for rows that change: they look at one row at a time.
    rows: RowPipeline,
    /// When rows may be emitted again (`EMIT EVERY`).
    pace: Pace,
    /// Rows of windows that have closed, before HAVING, since that was last asked.
    closed: u64,
}

impl Emitter {
    pub(super) fn try_new(plan: &Arc<StreamPlan>, now: Duration) -> Result<Self> {
        let rows = plan.output.iter().filter_map(|stage| match stage {
            OutputStage::Rows(stage) => Some(stage.clone()),
            OutputStage::Aggregate(_) | OutputStage::Rank(_) | OutputStage::Top(_) => None,
        });
        let rows: Vec<RowStage> = rows.collect();
        Ok(Self {
            tail: Tail::try_new(&plan.output)?,
            rows: RowPipeline::new(&rows),
            pace: Pace::of_emission(plan.emission, now),
            closed: 0,
            plan: Arc::clone(plan),
        })
    }

    /// When rows may be emitted again.
    pub(super) fn next(&self, now: Duration) -> Duration {
        self.pace.next(now)
    }

    /// Takes the lanes' rows (of a query without an aggregate), or what their state has to give.
    pub(super) fn emit(
        &mut self,
        lanes: &mut [Lane],
        rows: Vec<RecordBatch>,
        watermark: Watermark,
        now: Duration,
    ) -> Result<Vec<ChangeBatch>> {
        if self.plan.aggregate.is_none() {
            return Ok(rows.into_iter().map(ChangeBatch::inserts).collect());
        }
        match self.plan.emission {
            Emission::Final => {
                debug_assert!(
                    self.plan.aggregates().all(|a| a.window.is_some()),
                    "the planner refuses what never closes"
                );
                let closed = close(lanes, watermark)?;
                self.closed += closed.iter().map(|b| b.num_rows() as u64).sum::<u64>();
                let rows = self.tail.process(closed, watermark)?;
                Ok(rows.into_iter().map(ChangeBatch::inserts).collect())
            }
            Emission::Changes | Emission::Every(_) => {
                let aggregate = only(lanes);
                let mut changes = Vec::new();
                if self.pace.is_due(now) || aggregate.may_close(watermark) {
                    self.pace.done(now);
                    for changed in aggregate.emit_changes()? {
                        let key = self.plan.key.as_deref();
                        changes.extend(changed.into_changes(&self.rows, key)?);
                    }
                }
                if let Some(gone) = aggregate.expire(watermark)? {
                    changes.extend(gone.into_changes(&self.rows, self.plan.key.as_deref())?);
                }
                drop(aggregate.close(watermark)?);
                Ok(changes)
            }
        }
    }

    /// Passes over windows that end at or before `until`, and sessions that start before `from`.
    pub(super) fn ignore(&mut self, lanes: &mut [Lane], until: EventTime, from: EventTime) {
        if let Some(last) = self.tail.last_aggregate() {
            last.ignore(until, from);
            return;
        }
        for lane in lanes {
            if let Some(aggregate) = &mut lane.aggregate {
                aggregate.ignore(until, from);
            }
        }
    }

    /// Windows that end at or before this have been emitted.
    pub(super) fn emitted_until(&self, watermark: Watermark) -> i64 {
        let last = self.plan.aggregates().last();
        let window = last.and_then(|last| last.window.as_ref());
        let behind = window.map_or(0, |window| window.delay.saturating_add(window.grace));
        watermark.0.0.saturating_sub(behind)
    }

    /// No row before this event time is needed for the windows that are open.
    pub(super) fn needed_from(&self, lanes: &[Lane]) -> Option<EventTime> {
        let open = lanes.iter().filter_map(|lane| lane.aggregate.as_ref());
        let first = open.filter_map(Aggregate::first_open).min();
        // A window over windows needs the rows of those that lie in it.
        let mut reach = 0i64;
        let below = self.plan.aggregates();
        let later = self
            .tail
            .aggregates()
            .zip(below)
            .filter_map(|(aggregate, below)| {
                reach = reach.saturating_add(length_of(below));
                let start = aggregate.first_open()?.0;
                Some(EventTime(start.saturating_sub(reach)))
            });
        first.into_iter().chain(later).min()
    }

    /// Rows of windows that have closed, before HAVING, since the last call.
    pub(super) fn take_closed(&mut self) -> u64 {
        std::mem::take(&mut self.closed)
    }

    /// The window that closes next, and the watermark at which it does.
    pub(super) fn next_close(&self, lanes: &[Lane]) -> Option<(WindowSpan, EventTime)> {
        let first = self.plan.aggregate.iter();
        let lanes = lanes.iter().filter_map(|lane| lane.aggregate.as_ref());
        let lanes = first.flat_map(|plan| lanes.clone().map(move |state| (plan, state)));
        let later = self.plan.aggregates().skip(1).zip(self.tail.aggregates());
        let next = lanes.chain(later).filter_map(|(plan, state)| {
            let (window, span) = (plan.window.as_ref()?, state.next_close()?);
            let behind = window.delay.saturating_add(window.grace);
            Some((span, EventTime(span.end.saturating_add(behind))))
        });
        next.min_by_key(|(_, at)| *at)
    }

    /// All aggregates' states.
    pub(super) fn aggregates<'a>(
        &'a self,
        lanes: &'a [Lane],
    ) -> impl Iterator<Item = &'a Aggregate> {
        let lanes = lanes.iter().filter_map(|lane| lane.aggregate.as_ref());
        lanes.chain(self.tail.aggregates())
    }
}

/// How far a window's rows may lie before its last instant; a session's start is not bounded.
fn length_of(plan: &AggregatePlan) -> i64 {
    match plan.window.as_ref().map(|window| window.kind) {
        Some(WindowKind::Session { .. }) => i64::MAX,
        Some(kind) => kind.size(),
        None => 0,
    }
}

/// The lane of a query that has only one.
fn only(lanes: &mut [Lane]) -> &mut Aggregate {
    let [lane] = lanes else {
        unreachable!("a query that emits changes has one lane")
    };
    lane.aggregate.as_mut().expect("the plan has an aggregate")
}

/// The rows of the windows that have closed, earliest first; the lanes' shares put together.
fn close(lanes: &mut [Lane], watermark: Watermark) -> Result<Vec<RecordBatch>> {
    let mut windows: BTreeMap<WindowSpan, ClosedWindow> = BTreeMap::new();
    let mut rows = Vec::new();
    for lane in lanes.iter_mut() {
        let Some(aggregate) = &mut lane.aggregate else {
            continue;
        };
        match aggregate.close(watermark)? {
            Closed::Rows(closed) => rows.push(closed),
            Closed::Windows(closed) => {
                for window in closed {
                    match windows.remove(&window.span) {
                        Some(mut first) => {
                            let span = window.span;
                            first.merge(window)?;
                            windows.insert(span, first);
                        }
                        None => drop(windows.insert(window.span, window)),
                    }
                }
            }
        }
    }
    let aggregate = lanes[0].aggregate.as_ref();
    let aggregate = aggregate.expect("the plan has an aggregate");
    for window in windows.into_values() {
        rows.push(aggregate.rows_of(window)?);
    }
    rows.retain(|rows| rows.num_rows() > 0);
    Ok(rows)
}
