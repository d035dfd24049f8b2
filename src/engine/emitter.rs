//! What of the lanes' state goes out at the end of a micro-batch, and what is done with it on the way.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;

use super::lane::Lane;
use super::pace::Pace;
use crate::error::Result;
use crate::operator::{
    Aggregate, Closed, ClosedWindow, Having, Imaging, Refusals, RowPipeline, Tail,
};
use crate::plan::{Emission, OutputStage, RowStage, StreamPlan};
use crate::task;
use crate::types::{ChangeBatch, EventTime, StateImage, Watermark, WindowSpan};

/// The end of a query's plan.
pub(super) struct Emitter {
    plan: Arc<StreamPlan>,
    tail: Tail,
    /// The output's stages for rows that change: they look at one row at a time.
    rows: RowPipeline,
    /// HAVING, where changes are emitted.
    having: Option<Having>,
    /// When rows may be emitted again (`EMIT EVERY`).
    pace: Pace,
    /// Rows of windows that have closed, before HAVING, since that was last asked.
    closed: u64,
    /// Rows of the result that are none, since that was last asked.
    refusals: Refusals,
}

impl Emitter {
    pub(super) fn try_new(plan: &Arc<StreamPlan>, durable: bool, now: Duration) -> Result<Self> {
        let rows = plan.output.iter().filter_map(|stage| match stage {
            OutputStage::Rows(stage) => Some(stage.clone()),
            OutputStage::Repeat(_)
            | OutputStage::Aggregate(_)
            | OutputStage::Rank(_)
            | OutputStage::Top(_) => None,
        });
        let rows: Vec<RowStage> = rows.collect();
        Ok(Self {
            tail: Tail::try_new(&plan.output, durable)?,
            rows: RowPipeline::new(&rows),
            having: Having::of(&rows),
            pace: Pace::of_emission(plan.emission, now),
            closed: 0,
            refusals: Refusals::default(),
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
                let closed = close(lanes, watermark, &mut self.refusals)?;
                self.closed += closed.iter().map(|b| b.num_rows() as u64).sum::<u64>();
                let rows = self.tail.process(closed, watermark, &mut self.refusals)?;
                Ok(rows.into_iter().map(ChangeBatch::inserts).collect())
            }
            Emission::Changes | Emission::Every(_) => {
                let aggregate = only(lanes);
                let (key, refusals) = (self.plan.key.as_deref(), &mut self.refusals);
                let mut changes = Vec::new();
                if self.pace.is_due(now) || aggregate.may_close(watermark) {
                    self.pace.done(now);
                    for changed in aggregate.emit_changes(self.having.as_ref())? {
                        changes.extend(changed.into_changes(&self.rows, key, refusals)?);
                    }
                }
                if let Some(gone) = aggregate.expire(watermark)? {
                    changes.extend(gone.into_changes(&self.rows, key, refusals)?);
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

    /// Rows of windows that have closed, before HAVING, since the last call.
    pub(super) fn take_closed(&mut self) -> u64 {
        std::mem::take(&mut self.closed)
    }

    /// Rows of the result that cannot be computed, since the last call.
    pub(super) fn take_refusals(&mut self) -> Refusals {
        std::mem::take(&mut self.refusals)
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

    /// Takes down what of the state has changed since the last image.
    pub(super) fn image(&mut self, lanes: &mut [Lane], image: &mut StateImage) -> Result<()> {
        for (number, lane) in lanes.iter_mut().enumerate() {
            if let Some(aggregate) = &mut lane.aggregate {
                aggregate.image(&mut Imaging::new(image, 0, number))?;
            }
        }
        for (number, aggregate) in (1..).zip(self.tail.aggregates_mut()) {
            aggregate.image(&mut Imaging::new(image, number, 0))?;
        }
        Ok(())
    }

    /// The same ahead of the end of an epoch, as far as there is room.
    pub(super) fn image_ahead(
        &mut self,
        lanes: &mut [Lane],
        image: &mut StateImage,
        room: &mut usize,
    ) -> Result<()> {
        for (number, lane) in lanes.iter_mut().enumerate() {
            if let Some(aggregate) = &mut lane.aggregate {
                aggregate.image(&mut Imaging::ahead(image, (0, number), room))?;
            }
        }
        for (number, aggregate) in (1..).zip(self.tail.aggregates_mut()) {
            aggregate.image(&mut Imaging::ahead(image, (number, 0), room))?;
        }
        Ok(())
    }

    /// Takes in a whole image, whatever the number of lanes that it was taken of.
    pub(super) fn restore(&mut self, lanes: &mut [Lane], image: &StateImage) -> Result<()> {
        let count = lanes.len();
        for (number, lane) in lanes.iter_mut().enumerate() {
            if let Some(aggregate) = &mut lane.aggregate {
                let own = |operator: usize, lane: usize| operator == 0 && lane % count == number;
                restore(aggregate, image, own)?;
            }
        }
        for (number, aggregate) in (1..).zip(self.tail.aggregates_mut()) {
            restore(aggregate, image, |operator, _| operator == number)?;
        }
        Ok(())
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

/// Gives an aggregate what of an image is its own, by operator and lane.
fn restore(
    aggregate: &mut Aggregate,
    image: &StateImage,
    own: impl Fn(usize, usize) -> bool,
) -> Result<()> {
    let rows = image
        .rows
        .iter()
        .filter(|rows| own(rows.table.operator, rows.table.lane));
    let notes = image
        .notes
        .iter()
        .filter(|note| own(note.operator, note.lane));
    aggregate.restore(&rows.collect::<Vec<_>>(), &notes.collect::<Vec<_>>())
}

/// The lane of a query that has only one.
fn only(lanes: &mut [Lane]) -> &mut Aggregate {
    let [lane] = lanes else {
        unreachable!("a query that emits changes has one lane")
    };
    lane.aggregate.as_mut().expect("the plan has an aggregate")
}

/// The rows of the windows that have closed, earliest first; the lanes' shares put together.
fn close(
    lanes: &mut [Lane],
    watermark: Watermark,
    refusals: &mut Refusals,
) -> Result<Vec<RecordBatch>> {
    let mut windows: BTreeMap<WindowSpan, ClosedWindow> = BTreeMap::new();
    let mut rows = Vec::new();
    let closing = lanes.iter_mut().filter_map(|lane| lane.aggregate.as_mut());
    let closing = closing.filter(|aggregate| aggregate.may_close(watermark));
    let closed = task::in_parallel(closing.collect(), |aggregate| aggregate.close(watermark));
    for closed in closed {
        match closed? {
            Closed::Rows(closed, refused) => {
                refusals.absorb(refused);
                rows.push(closed);
            }
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
        let (closed, refused) = aggregate.rows_of(window)?;
        refusals.absorb(refused);
        rows.push(closed);
    }
    rows.retain(|rows| rows.num_rows() > 0);
    Ok(rows)
}
