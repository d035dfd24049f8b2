//! Grouped aggregation, with or without a window: which state the rows of a batch go to, and what
//! of it comes out.
//!
//! | windows | state | file |
//! |---|---|---|
//! | none | one table that never closes | `unwindowed` |
//! | tumbling; any, once each row stands for one window | a table a window | `fixed` |
//! | hopping | panes, two stacks | `sliding` |
//! | cumulating | panes, a running sum | `growing` |
//! | sessions | values by session | `sessions` |
//!
//! Invariant: a row whose last window has closed never reaches a table: it is late.

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, TimestampMicrosecondArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, FieldRef};
use arrow::record_batch::RecordBatch;
use arrow::row::RowConverter;

use super::fixed::{Fixed, bounds_fit};
use super::grouping::{Evaluated, Grouping};
use super::growing::Growing;
use super::placement::{LateRow, Lateness, RowClock, times_fit};
use super::refusal::{Refusals, RefusedRow, by_halves};
use super::row_pipeline::{Rows, batch, evaluate, timestamps};
use super::sessions::{ClosedSessions, Sessions};
use super::sliding::Sliding;
use super::unwindowed::Unwindowed;
use crate::error::{Result, from_arrow};
use crate::plan::{AggregatePlan, GroupColumn, WindowRows};
use crate::state::{GroupTable, Refused, TableUse};
use crate::types::{EventTime, Watermark, WindowBound, WindowKind, WindowSpan};

/// The state of one lane, or of a whole query.
pub struct Aggregate {
    pub(super) grouping: Grouping,
    pub(super) windows: Windows,
    /// Rows of windows that end at or before this are none of this query's business.
    pub(super) ignore_until: i64,
    /// Between values and what is remembered of those that were emitted, once it is needed.
    pub(super) converter: OnceLock<RowConverter>,
}

/// What an aggregation holds, by its kind of window.
pub(super) enum Windows {
    None(Box<Unwindowed>),
    Fixed(Fixed),
    Sliding(Box<Sliding>),
    Growing(Growing),
    Sessions(Box<Sessions>),
}

/// A window on its way out.
pub struct ClosedWindow {
    /// The window.
    pub span: WindowSpan,
    /// The groups of one lane.
    table: GroupTable,
}

/// The windows of some rows.
#[derive(Clone, Copy)]
pub(super) enum Spans<'a> {
    /// One for so many rows.
    Same(WindowSpan, usize),
    /// Each row's own.
    Each(&'a [WindowSpan]),
}

/// Windows that have closed.
pub enum Closed {
    /// Each with its groups, earliest first.
    Windows(Vec<ClosedWindow>),
    /// Sessions, as rows, and those that are none.
    Rows(RecordBatch, Refusals),
}

/// What became of the rows of a batch that did not go into the state.
#[derive(Default)]
pub struct Taken {
    /// Those whose window had closed, by their number in the decoded batch.
    pub late: Vec<LateRow>,
    /// Those with which something cannot be computed, by their number in the decoded batch.
    pub refused: Vec<RefusedRow>,
}

/// Rows, and what the state needs of them.
struct Evaluation {
    rows: Rows,
    columns: Evaluated,
    /// A time, or a bound, of each row's window; without a window there is none.
    times: Option<TimestampMicrosecondArray>,
}

impl ClosedWindow {
    /// Adds another lane's groups of the same window.
    ///
    /// # Errors
    /// When an aggregate refuses to merge.
    pub fn merge(&mut self, other: Self) -> Result<()> {
        self.table.absorb(other.table)
    }
}

impl Aggregate {
    /// No groups yet. A readable one is needed for [`Self::emit_changes`], a durable one for
    /// [`Self::image`]. Without a window, groups that no row touched for `ttl` microseconds of event
    /// time go.
    ///
    /// # Errors
    /// When a key's type cannot be grouped or a function has no accumulator.
    pub fn try_new(plan: Arc<AggregatePlan>, wanted: TableUse, ttl: Option<i64>) -> Result<Self> {
        let window = plan.window.clone();
        let grouping = Grouping::new(plan, wanted);
        let windows = match window.map(|window| (window.kind, window.rows)) {
            None => Windows::None(Box::new(Unwindowed::new(ttl))),
            Some((_, WindowRows::Bound(..)) | (WindowKind::Tumble { .. }, _)) => {
                Windows::Fixed(Fixed::default())
            }
            Some((kind @ WindowKind::Hop { .. }, _)) => {
                Windows::Sliding(Box::new(Sliding::new(kind)))
            }
            Some((kind @ WindowKind::Cumulate { .. }, _)) => Windows::Growing(Growing::new(kind)),
            Some((WindowKind::Session { gap }, _)) => {
                Windows::Sessions(Box::new(Sessions::try_new(gap, &grouping)?))
            }
        };
        Ok(Self {
            grouping,
            windows,
            ignore_until: i64::MIN,
            converter: OnceLock::new(),
        })
    }

    /// Passes over rows of windows that end at or before `until`: they were emitted by an earlier
    /// run, or began before this one; also of sessions that start before `from`.
    pub fn ignore(&mut self, until: EventTime, from: EventTime) {
        self.ignore_until = until.0;
        if let Windows::Sessions(sessions) = &mut self.windows {
            sessions.ignore(until.0, from.0);
        }
    }

    /// Takes in a batch; returns the rows that were late, and those that cannot be used.
    ///
    /// # Errors
    /// When an expression or an aggregate fails and no row is at fault.
    pub fn process(&mut self, rows: &Rows, lateness: Lateness<'_>) -> Result<Taken> {
        let mut taken = Taken::default();
        let count = rows.batch.num_rows();
        if count == 0 {
            return Ok(taken);
        }
        // All is computed before the state sees the first row: it takes in a row whole or not.
        let mut parts = Vec::new();
        let mut compute = |part| self.compute(rows.slice(&part));
        by_halves(0..count, &mut compute, &mut parts, &mut taken.refused)?;
        for refused in &mut taken.refused {
            refused.row = rows.origin_of(refused.row);
        }
        for part in parts {
            taken.late.extend(self.take_in(&part, lateness)?);
        }
        Ok(taken)
    }

    /// Computes what the state needs of some rows.
    fn compute(&self, rows: Rows) -> Result<Evaluation> {
        let columns = self.grouping.evaluate(&rows.batch)?;
        let window = self.grouping.plan.window.as_ref();
        let times = match window.map(|window| (window.kind, &window.rows)) {
            None => None,
            Some((kind, WindowRows::Time(expr))) => {
                let times = timestamps(&evaluate(expr, &rows.batch)?)?.clone();
                times_fit(kind, &times)?;
                Some(times)
            }
            Some((kind, WindowRows::Bound(bound, expr))) => {
                let bounds = timestamps(&evaluate(expr, &rows.batch)?)?.clone();
                bounds_fit(kind, *bound, &bounds)?;
                Some(bounds)
            }
        };
        Ok(Evaluation {
            rows,
            columns,
            times,
        })
    }

    /// Hands rows to the state; returns those that were late.
    fn take_in(&mut self, part: &Evaluation, lateness: Lateness<'_>) -> Result<Vec<LateRow>> {
        let plan = Arc::clone(&self.grouping.plan);
        let (Some(window), Some(times)) = (&plan.window, &part.times) else {
            let Windows::None(table) = &mut self.windows else {
                unreachable!("without a window there is one table")
            };
            table.update(&self.grouping, &part.columns)?;
            return Ok(Vec::new());
        };
        let clock = RowClock {
            rows: &part.rows,
            lateness,
            grace: window.grace,
            ignore_until: self.ignore_until,
        };
        let (grouping, columns) = (&self.grouping, &part.columns);
        match (&mut self.windows, &window.rows) {
            (Windows::Fixed(fixed), WindowRows::Time(_)) => {
                fixed.process_times(grouping, columns, (window.kind, times.values()), &clock)
            }
            (Windows::Fixed(fixed), WindowRows::Bound(bound, _)) => {
                fixed.process_bounds(grouping, columns, (window.kind, *bound, times), &clock)
            }
            (Windows::Sliding(sliding), _) => {
                sliding.process(grouping, columns, times.values(), &clock)
            }
            (Windows::Growing(growing), _) => {
                growing.process(grouping, columns, times.values(), &clock)
            }
            (Windows::Sessions(sessions), _) => {
                sessions.process(grouping, columns, times.values(), &clock)
            }
            (Windows::None(_), _) => unreachable!("the plan has a window"),
        }
    }

    /// Windows that end at or before this have closed.
    fn closed_until(&self, watermark: Watermark) -> i64 {
        let grace = self.grouping.plan.window.as_ref().map_or(0, |w| w.grace);
        watermark.0.0.saturating_sub(grace)
    }

    /// Takes the windows that the watermark has closed, earliest first.
    ///
    /// # Errors
    /// When an aggregate refuses to merge.
    pub fn close(&mut self, watermark: Watermark) -> Result<Closed> {
        let until = self.closed_until(watermark);
        let windows = match &mut self.windows {
            Windows::None(_) => Vec::new(),
            Windows::Fixed(fixed) => fixed.close(until),
            Windows::Sliding(sliding) => sliding.close(&self.grouping, until)?,
            Windows::Growing(growing) => growing.close(&self.grouping, until)?,
            Windows::Sessions(sessions) => {
                let closed = sessions.close(until)?;
                let (rows, refusals) = self.session_rows(closed)?;
                return Ok(Closed::Rows(rows, refusals));
            }
        };
        let ignored = self.ignore_until;
        let windows = windows.into_iter().filter(|(span, _)| span.end > ignored);
        Ok(Closed::Windows(
            windows
                .map(|(span, table)| ClosedWindow { span, table })
                .collect(),
        ))
    }

    /// The rows of a closed window, and those that are none.
    ///
    /// # Errors
    /// When an aggregate fails and no group is at fault.
    pub fn rows_of(&self, closed: ClosedWindow) -> Result<(RecordBatch, Refusals)> {
        let spans = Spans::Same(closed.span, closed.table.len());
        let groups = closed.table.into_groups()?;
        let rows = self.output(spans, &groups.keys, groups.values)?;
        without(rows, groups.refused)
    }

    pub(super) fn session_rows(&self, closed: ClosedSessions) -> Result<(RecordBatch, Refusals)> {
        let ClosedSessions {
            spans,
            keys,
            values,
            refused,
        } = closed;
        let rows = self.output(Spans::Each(&spans), &keys, values)?;
        without(rows, refused)
    }

    /// Rows of groups: their keys and windows, then their values.
    pub(super) fn output(
        &self,
        spans: Spans<'_>,
        keys: &[ArrayRef],
        values: Vec<ArrayRef>,
    ) -> Result<RecordBatch> {
        let plan = &self.grouping.plan;
        let mut columns = Vec::with_capacity(plan.schema.fields().len());
        for (column, field) in plan.groups.iter().zip(plan.schema.fields()) {
            columns.push(match column {
                GroupColumn::Window(bound) => spans.column(*bound, field),
                GroupColumn::Key(key) => Arc::clone(&keys[*key]),
            });
        }
        columns.extend(values);
        batch(&plan.schema, columns, spans.len())
    }

    /// The next window to close.
    pub fn next_close(&self) -> Option<WindowSpan> {
        match &self.windows {
            Windows::None(_) => None,
            Windows::Fixed(fixed) => fixed.next(),
            Windows::Sliding(sliding) => sliding.next(),
            Windows::Growing(growing) => growing.next(),
            Windows::Sessions(sessions) => sessions.next(),
        }
    }

    /// True when the watermark may close a window.
    pub fn may_close(&self, watermark: Watermark) -> bool {
        let end = match &self.windows {
            Windows::Sessions(sessions) => sessions.next_end(),
            _ => self.next_close().map(|span| span.end),
        };
        end.is_some_and(|end| end <= self.closed_until(watermark))
    }

    /// The number of groups held.
    pub fn groups(&self) -> usize {
        match &self.windows {
            Windows::None(one) => one.groups(),
            Windows::Fixed(fixed) => fixed.groups(),
            Windows::Sliding(sliding) => sliding.groups(),
            Windows::Growing(growing) => growing.groups(),
            Windows::Sessions(sessions) => sessions.groups(),
        }
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        match &self.windows {
            Windows::None(one) => one.size_bytes(),
            Windows::Fixed(fixed) => fixed.size_bytes(),
            Windows::Sliding(sliding) => sliding.size_bytes(),
            Windows::Growing(growing) => growing.size_bytes(),
            Windows::Sessions(sessions) => sessions.size_bytes(),
        }
    }
}

/// Takes out the rows that are none.
pub(super) fn without(rows: RecordBatch, refused: Refused) -> Result<(RecordBatch, Refusals)> {
    let mut refusals = Refusals::default();
    if refused.is_empty() {
        return Ok((rows, refusals));
    }
    let kept = (0..rows.num_rows()).map(|row| Some(!refused.contains_key(&row)));
    let kept = filter_record_batch(&rows, &kept.collect()).map_err(from_arrow)?;
    for (row, error) in refused {
        refusals.note(&rows, row, error);
    }
    Ok((kept, refusals))
}

impl Spans<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Same(_, rows) => *rows,
            Self::Each(spans) => spans.len(),
        }
    }

    /// A bound of each row's window.
    fn column(&self, bound: WindowBound, field: &FieldRef) -> ArrayRef {
        let zone = match field.data_type() {
            DataType::Timestamp(_, zone) => zone.clone(),
            _ => None,
        };
        let micros = match self {
            Self::Same(span, rows) => vec![span.bound(bound); *rows],
            Self::Each(spans) => spans.iter().map(|span| span.bound(bound)).collect(),
        };
        Arc::new(TimestampMicrosecondArray::from(micros).with_timezone_opt(zone))
    }
}
