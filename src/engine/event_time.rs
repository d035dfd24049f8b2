//! The event time of decoded rows, and the watermark that each row is compared with.
//!
//! Invariant: a row's watermark counts the rows of its own partition before it, and where the other
//! partitions stood at the start of the micro-batch; so with one partition it does not depend on
//! where micro-batches are cut.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use datafusion::physical_expr::PhysicalExpr;

use crate::error::{Error, Result, from_datafusion};
use crate::operator::by_halves;
use crate::plan::EventTimePlan;
use crate::types::{EventTime, InputPartition, PartitionId, Watermark};

/// Where the watermarks stood at the start of a micro-batch.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// The query's watermark: no row is compared with less.
    pub query: Watermark,
    /// For each partition its own watermark, and the least of the others that are not idle.
    pub partitions: BTreeMap<InputPartition, (Watermark, Option<Watermark>)>,
}

/// The times of a decoded batch, as every query over its table reads them.
#[derive(Debug)]
pub(super) struct RowTimes {
    /// The event times; null where the row is to be rejected.
    event: TimestampMicrosecondArray,
    /// What the rows say of the watermark.
    says: TimestampMicrosecondArray,
    /// Why rows are to be rejected, row by row.
    unusable: BTreeMap<usize, String>,
    /// The rows that lie together and are of one partition.
    runs: Vec<(PartitionId, Range<usize>)>,
    /// The greatest that each partition's rows said, and their greatest event time.
    greatest: BTreeMap<PartitionId, (Watermark, EventTime)>,
    /// For each row what earlier rows of its partition said, once somebody has asked.
    before: OnceLock<Vec<i64>>,
}

/// The times of a decoded batch as one query takes them.
pub(super) struct Times {
    /// The event times; null where the row is to be rejected.
    pub event: TimestampMicrosecondArray,
    /// Why, row by row.
    pub unusable: BTreeMap<usize, String>,
    /// What each row is compared with; empty unless that was asked for.
    pub row_watermarks: Vec<Watermark>,
    /// The greatest of `row_watermarks`.
    pub greatest: Watermark,
    /// The greatest that each partition's rows said of the watermark.
    pub said: BTreeMap<InputPartition, Watermark>,
    /// The greatest event time of each partition's rows.
    pub greatest_events: BTreeMap<InputPartition, EventTime>,
}

/// Tells the times of a batch whose row `i` came from `partition_of(i)`.
pub(super) fn row_times(
    plan: &EventTimePlan,
    batch: &RecordBatch,
    partition_of: impl Fn(usize) -> PartitionId,
) -> Result<RowTimes> {
    let mut unusable = BTreeMap::new();
    let event = computed(&plan.time, batch, &mut unusable)?;
    let says = computed(&plan.watermark, batch, &mut unusable)?;
    let event = usable(event, &plan.column, &mut unusable);
    let runs = runs(batch.num_rows(), partition_of);
    let mut greatest: BTreeMap<PartitionId, (Watermark, EventTime)> = BTreeMap::new();
    for (partition, rows) in &runs {
        let known = greatest.entry(*partition);
        let (said, latest) = known.or_insert((Watermark::MIN, EventTime::MIN));
        for row in rows.clone() {
            if event.is_valid(row) && says.is_valid(row) {
                *said = (*said).max(Watermark(EventTime(says.value(row))));
                *latest = (*latest).max(EventTime(event.value(row)));
            }
        }
    }
    Ok(RowTimes {
        event,
        says,
        unusable,
        runs,
        greatest,
        before: OnceLock::new(),
    })
}

/// Rows that lie together and are of one partition.
fn runs(
    rows: usize,
    partition_of: impl Fn(usize) -> PartitionId,
) -> Vec<(PartitionId, Range<usize>)> {
    let mut runs: Vec<(PartitionId, Range<usize>)> = Vec::new();
    for row in 0..rows {
        let partition = partition_of(row);
        match runs.last_mut() {
            Some((last, rows)) if *last == partition => rows.end = row + 1,
            _ => runs.push((partition, row..row + 1)),
        }
    }
    runs
}

impl RowTimes {
    /// The rows' event times; null where a row is to be rejected.
    pub(super) fn event(&self) -> &TimestampMicrosecondArray {
        &self.event
    }

    /// True when some rows are to be rejected.
    pub(super) fn has_unusable(&self) -> bool {
        !self.unusable.is_empty()
    }

    /// The rows that are to be rejected.
    pub(super) fn unusable(&self) -> impl Iterator<Item = usize> {
        self.unusable.keys().copied()
    }

    /// For each row what earlier rows of its partition said of the watermark, at the greatest.
    pub(super) fn said_before(&self) -> &[i64] {
        self.before.get_or_init(|| {
            let mut reached: BTreeMap<PartitionId, i64> = BTreeMap::new();
            let mut before = Vec::with_capacity(self.says.len());
            for (partition, rows) in &self.runs {
                let said = reached.entry(*partition).or_insert(i64::MIN);
                for row in rows.clone() {
                    before.push(*said);
                    if self.says.is_valid(row) {
                        *said = (*said).max(self.says.value(row));
                    }
                }
            }
            before
        })
    }

    /// The greatest that rows of the batch are compared with, but for what the batch itself says: a partition that is ahead
    /// waits for the others.
    pub(super) fn compared_at_most(&self, input: usize, standing: &Standing) -> Watermark {
        let stood = self.greatest.keys().map(|partition| {
            let partition = *partition;
            let (own, others) = standing.of(InputPartition { input, partition });
            others.map_or(own, |others| others.min(own))
        });
        stood.fold(standing.query, Watermark::max)
    }

    /// The times for a query's input that stands there; with what each row is compared with if it
    /// `compares`.
    pub(super) fn of(&self, input: usize, standing: &Standing, compares: bool) -> Times {
        let place = |partition: PartitionId| InputPartition { input, partition };
        let (mut said, mut greatest_events) = (BTreeMap::new(), BTreeMap::new());
        for (partition, (greatest, latest)) in &self.greatest {
            let stood = standing.of(place(*partition)).0;
            said.insert(place(*partition), stood.max(*greatest));
            if *latest > EventTime::MIN {
                greatest_events.insert(place(*partition), *latest);
            }
        }
        let mut times = Times {
            event: self.event.clone(),
            unusable: self.unusable.clone(),
            row_watermarks: Vec::new(),
            greatest: Watermark::MIN,
            said,
            greatest_events,
        };
        if compares {
            self.compare(input, standing, &mut times);
        }
        times
    }

    /// Notes what each row is compared with.
    fn compare(&self, input: usize, standing: &Standing, times: &mut Times) {
        let mut reached: BTreeMap<PartitionId, Watermark> = BTreeMap::new();
        times.row_watermarks.reserve(self.event.len());
        for (partition, rows) in &self.runs {
            let partition = *partition;
            let (stood, others) = standing.of(InputPartition { input, partition });
            let own = reached.entry(partition).or_insert(stood);
            for row in rows.clone() {
                let compared = others.map_or(*own, |others| others.min(*own));
                let compared = standing.query.max(compared);
                times.greatest = times.greatest.max(compared);
                times.row_watermarks.push(compared);
                if self.event.is_valid(row) && self.says.is_valid(row) {
                    *own = (*own).max(Watermark(EventTime(self.says.value(row))));
                }
            }
        }
    }
}

impl Standing {
    /// A partition's own watermark, and the least of the others that are not idle.
    fn of(&self, place: InputPartition) -> (Watermark, Option<Watermark>) {
        let known = self.partitions.get(&place).copied();
        known.unwrap_or((Watermark::MIN, None))
    }
}

/// Times further than this from 1970 are no times of events: about 73,000 years, in microseconds.
const REACH: i64 = i64::MAX / 4;

/// The times, null where a row cannot be used, which `unusable` learns.
fn usable(
    event: TimestampMicrosecondArray,
    column: &str,
    unusable: &mut BTreeMap<usize, String>,
) -> TimestampMicrosecondArray {
    let far = |time: i64| !(-REACH..=REACH).contains(&time);
    if unusable.is_empty() && event.null_count() == 0 && !event.values().iter().any(|t| far(*t)) {
        return event;
    }
    for row in 0..event.len() {
        let reason = match event.is_null(row) {
            true => format!("column \"{column}\" is the event time and must not be null"),
            false if far(event.value(row)) => {
                format!("the event time \"{column}\" is out of range")
            }
            false => continue,
        };
        unusable.entry(row).or_insert(reason);
    }
    let zone = event.timezone().map(Into::into);
    let times = event.iter().enumerate();
    let times = times.map(|(row, time)| time.filter(|_| !unusable.contains_key(&row)));
    let times: TimestampMicrosecondArray = times.collect();
    times.with_timezone_opt::<Arc<str>>(zone)
}

/// The times of a batch; null where a row has none that can be computed, which `unusable` learns.
fn computed(
    expr: &Arc<dyn PhysicalExpr>,
    batch: &RecordBatch,
    unusable: &mut BTreeMap<usize, String>,
) -> Result<TimestampMicrosecondArray> {
    match timestamps(expr, batch) {
        Err(error) if error.is_of_data() => {}
        times => return times,
    }
    let (mut parts, mut refused) = (Vec::new(), Vec::new());
    let mut part = |rows: Range<usize>| {
        let times = timestamps(expr, &batch.slice(rows.start, rows.len()))?;
        Ok((rows.start, times))
    };
    by_halves(0..batch.num_rows(), &mut part, &mut parts, &mut refused)?;
    unusable.extend(refused.into_iter().map(|r| (r.row, r.error.to_string())));
    let mut times = vec![None; batch.num_rows()];
    let zone = parts.first().and_then(|(_, part)| part.timezone());
    let zone: Option<Arc<str>> = zone.map(Into::into);
    for (start, part) in parts {
        let places = times[start..].iter_mut();
        places.zip(&part).for_each(|(place, time)| *place = time);
    }
    Ok(TimestampMicrosecondArray::from(times).with_timezone_opt(zone))
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

#[cfg(test)]
mod tests;
