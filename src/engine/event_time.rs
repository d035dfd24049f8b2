//! The event time of decoded rows, and the watermark that each row is compared with.
//!
//! Invariant: a row's watermark counts the rows of its own partition before it, and where the other
//! partitions stood at the start of the micro-batch; so with one partition it does not depend on
//! where micro-batches are cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use datafusion::physical_expr::PhysicalExpr;

use crate::error::{Error, Result, from_datafusion};
use crate::plan::EventTimePlan;
use crate::types::{EventTime, InputPartition, Watermark};

/// Where the watermarks stood at the start of a micro-batch.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// The query's watermark: no row is compared with less.
    pub query: Watermark,
    /// For each partition its own watermark, and the least of the others that are not idle.
    pub partitions: BTreeMap<InputPartition, (Watermark, Option<Watermark>)>,
}

/// The times of a decoded batch.
pub(super) struct Times {
    /// The event times; null where the row is to be rejected.
    pub event: TimestampMicrosecondArray,
    /// Rows whose time lies too far away for any window.
    pub too_far: BTreeSet<usize>,
    /// What each row is compared with.
    pub row_watermarks: Vec<Watermark>,
    /// The greatest of `row_watermarks`.
    pub greatest: Watermark,
    /// The greatest that each partition's rows said of the watermark.
    pub said: BTreeMap<InputPartition, Watermark>,
    /// The greatest event time of each partition's rows.
    pub greatest_events: BTreeMap<InputPartition, EventTime>,
}

/// Tells the times of a batch whose row `i` came from `partitions(i)`.
pub(super) fn times(
    plan: &EventTimePlan,
    batch: &RecordBatch,
    standing: &Standing,
    partition_of: impl Fn(usize) -> InputPartition,
) -> Result<Times> {
    let (event, too_far) = within_reach(timestamps(&plan.time, batch)?);
    let says = timestamps(&plan.watermark, batch)?;
    let mut said: BTreeMap<InputPartition, Watermark> = BTreeMap::new();
    let mut greatest_events = BTreeMap::new();
    let mut row_watermarks = Vec::with_capacity(batch.num_rows());
    let mut greatest = Watermark::MIN;
    let mut run: Option<Run> = None;
    for row in 0..batch.num_rows() {
        let partition = partition_of(row);
        if run.as_ref().is_none_or(|run| run.partition != partition) {
            if let Some(run) = run.take() {
                run.tell(&mut said, &mut greatest_events);
            }
            run = Some(Run::begin(partition, standing, &said));
        }
        let run = run.as_mut().expect("it was begun above");
        let compared = run.compared_with(standing.query);
        greatest = greatest.max(compared);
        row_watermarks.push(compared);
        if event.is_valid(row) && says.is_valid(row) {
            run.own = run.own.max(Watermark(EventTime(says.value(row))));
            run.greatest = run.greatest.max(EventTime(event.value(row)));
        }
    }
    if let Some(run) = run {
        run.tell(&mut said, &mut greatest_events);
    }
    Ok(Times {
        event,
        too_far,
        row_watermarks,
        greatest,
        said,
        greatest_events,
    })
}

/// Times further than this from 1970 are no times of events: about 73,000 years, in microseconds.
const REACH: i64 = i64::MAX / 4;

/// The times, null where they are out of reach, and where that is.
fn within_reach(event: TimestampMicrosecondArray) -> (TimestampMicrosecondArray, BTreeSet<usize>) {
    let far = |time: i64| !(-REACH..=REACH).contains(&time);
    if !event.values().iter().any(|time| far(*time)) {
        return (event, BTreeSet::new());
    }
    let rows = 0..event.len();
    let too_far = rows.filter(|row| event.is_valid(*row) && far(event.value(*row)));
    let too_far = too_far.collect();
    let zone = event.timezone().map(Into::into);
    let event = event.unary_opt::<_, TimestampMicrosecondType>(|time| (!far(time)).then_some(time));
    (event.with_timezone_opt::<Arc<str>>(zone), too_far)
}

/// Rows of one partition, one after the other.
struct Run {
    partition: InputPartition,
    own: Watermark,
    greatest: EventTime,
    others: Option<Watermark>,
}

impl Run {
    fn begin(
        partition: InputPartition,
        standing: &Standing,
        said: &BTreeMap<InputPartition, Watermark>,
    ) -> Self {
        let (stood, others) = standing
            .partitions
            .get(&partition)
            .copied()
            .unwrap_or((Watermark::MIN, None));
        Self {
            partition,
            own: said.get(&partition).copied().unwrap_or(stood),
            greatest: EventTime::MIN,
            others,
        }
    }

    /// Notes what its rows said.
    fn tell(
        &self,
        said: &mut BTreeMap<InputPartition, Watermark>,
        greatest: &mut BTreeMap<InputPartition, EventTime>,
    ) {
        said.insert(self.partition, self.own);
        if self.greatest > EventTime::MIN {
            let known = greatest.entry(self.partition).or_insert(EventTime::MIN);
            *known = self.greatest.max(*known);
        }
    }

    fn compared_with(&self, query: Watermark) -> Watermark {
        query.max(self.others.map_or(self.own, |others| others.min(self.own)))
    }
}

fn timestamps(
    expr: &Arc<dyn PhysicalExpr>,
    batch: &RecordBatch,
) -> Result<TimestampMicrosecondArray> {
    let values: ArrayRef = expr
        .evaluate(batch)
        .and_then(|value| value.into_array(batch.num_rows()))
        .map_err(from_datafusion)?;
    values
        .as_primitive_opt::<TimestampMicrosecondType>()
        .cloned()
        .ok_or_else(|| Error::internal(format!("an event time came as {}", values.data_type())))
}
