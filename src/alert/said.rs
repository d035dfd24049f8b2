//! What the rows of a batch say to an alert.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;

use super::evaluator::Watch;
use super::key_state::Event;
use crate::error::{Result, from_arrow};
use crate::types::{ChangeBatch, EventTime, Op};

/// What the rows of a batch say to an alert.
pub(super) struct Said<'a> {
    batch: &'a ChangeBatch,
    holds: Option<BooleanArray>,
    clear: Option<BooleanArray>,
    /// The rows' own times.
    times: Option<ArrayRef>,
    /// A row is a message's, whose time is its own for good.
    is_dated: bool,
    windows: Option<(ArrayRef, ArrayRef)>,
    is_open: bool,
}

impl<'a> Said<'a> {
    pub(super) fn of(watch: &Watch, batch: &'a ChangeBatch) -> Result<Self> {
        let rows = batch.rows();
        let flags = |column: Option<usize>| column.and_then(|column| booleans(rows, column));
        let times = |column: usize| times_of(rows, column);
        Ok(Self {
            batch,
            holds: flags(watch.holds),
            clear: flags(watch.clear),
            times: watch.time.map(times).transpose()?,
            is_dated: watch.time.is_some() && !watch.is_of_groups,
            windows: match watch.window {
                Some((start, end)) => Some((times(start)?, times(end)?)),
                None => None,
            },
            is_open: watch.is_open,
        })
    }

    pub(super) fn rows(&self) -> &'a RecordBatch {
        self.batch.rows()
    }

    pub(super) fn window(&self, row: usize) -> Option<(EventTime, EventTime)> {
        let (start, end) = self.windows.as_ref()?;
        Some((time_at(start, row)?, time_at(end, row)?))
    }

    /// The row's own time.
    pub(super) fn time(&self, row: usize) -> Option<EventTime> {
        time_at(self.times.as_ref()?, row)
    }

    /// When a row is looked at: at its own time, at the end of its window if that has closed, or now. What is in an
    /// open window happened in it, however far the slowest partition is. A group that goes does so for a row that
    /// nobody sees here: it is as late as the `latest` that was read.
    pub(super) fn at(
        &self,
        row: usize,
        (now, latest): (Option<EventTime>, Option<EventTime>),
    ) -> Option<EventTime> {
        match (self.time(row), self.window(row)) {
            (Some(time), _) if !self.is_dated && self.batch.op(row) == Op::Delete => {
                latest.or(now).max(Some(time))
            }
            (Some(time), _) => Some(time),
            (None, Some((_, end))) if !self.is_open => Some(end),
            (None, Some((start, _))) => now.map(|now| now.max(start)),
            (None, None) => now,
        }
    }

    /// What a row is to its key; `None`: what it was before a change, which follows.
    pub(super) fn event<'b>(&self, row: usize, id: &'b str) -> Option<Event<'b>> {
        let is_true = |of: &Option<BooleanArray>| {
            let of = of.as_ref();
            of.is_some_and(|of| of.is_valid(row) && of.value(row))
        };
        match self.batch.op(row) {
            Op::UpdateBefore => None,
            Op::Delete => Some(Event::Gone { id }),
            Op::Insert | Op::UpdateAfter => Some(Event::Row {
                id,
                holds: is_true(&self.holds),
                clear: is_true(&self.clear),
                is_dated: self.is_dated,
                until: (self.is_open)
                    .then(|| self.window(row).map(|(_, end)| end))
                    .flatten(),
            }),
        }
    }
}

fn booleans(rows: &RecordBatch, column: usize) -> Option<BooleanArray> {
    rows.column(column).as_boolean_opt().cloned()
}

fn times_of(rows: &RecordBatch, column: usize) -> Result<ArrayRef> {
    let wanted = DataType::Timestamp(TimeUnit::Microsecond, None);
    cast(rows.column(column), &wanted).map_err(from_arrow)
}

fn time_at(times: &ArrayRef, row: usize) -> Option<EventTime> {
    let times = times.as_primitive::<TimestampMicrosecondType>();
    times.is_valid(row).then(|| EventTime(times.value(row)))
}
