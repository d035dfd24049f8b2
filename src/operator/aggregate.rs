//! Grouped aggregation: one group table a window, dropped as a whole when the window closes.
//!
//! ```text
//! panes   12:00 → { BTC 5, ETH 2 }      closed when the watermark reaches 12:01
//!         12:01 → { BTC 1 }
//! ```
//! Without a window there is one table, which never closes.
//! Invariant: a row whose window has closed never reaches a table: it is late.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::{DataType, FieldRef};
use arrow::record_batch::RecordBatch;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use super::changes::Changes;
use super::row_pipeline::{Rows, batch, condition, evaluate, timestamps};
use crate::error::{Error, Result, SqlState, from_arrow};
use crate::plan::{AggregatePlan, GroupColumn};
use crate::state::{GroupTable, Rows as KeyedRows};
use crate::types::{EventTime, Watermark, WindowBound};

/// The tables of one lane, or of a whole query.
pub struct Aggregate {
    plan: Arc<AggregatePlan>,
    keys: Vec<FieldRef>,
    functions: Vec<Arc<AggregateFunctionExpr>>,
    /// Whether values must be readable while the table lives.
    readable: bool,
    /// By window start; without a window there is only [`NO_WINDOW`].
    panes: BTreeMap<i64, Pane>,
    /// Rows of windows that end at or before this are none of this query's business.
    ignore_until: EventTime,
}

struct Pane {
    table: GroupTable,
    changes: Changes,
}

/// The place of the one table of an aggregation without a window.
const NO_WINDOW: i64 = 0;

/// What a row's time is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Lateness<'a> {
    /// The watermark at each row of the decoded batch.
    pub row_watermarks: &'a [Watermark],
    /// The greatest of them.
    pub greatest: Watermark,
}

/// A row that came after its window had closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateRow {
    /// Its number in the decoded batch.
    pub row: usize,
    /// Its window.
    pub window_start: EventTime,
    /// The window's end.
    pub window_end: EventTime,
    /// The watermark when it came.
    pub watermark: Watermark,
}

/// A window's table on its way out.
pub struct ClosedWindow {
    /// Where the window begins.
    pub start: EventTime,
    /// The groups of one lane.
    pub table: GroupTable,
}

/// A batch's columns, evaluated.
struct Evaluated {
    keys: Vec<ArrayRef>,
    arguments: Vec<Vec<ArrayRef>>,
    filters: Vec<Option<BooleanArray>>,
}

impl Aggregate {
    /// No groups yet. `readable` is needed for [`Self::emit_changes`].
    pub fn new(plan: Arc<AggregatePlan>, readable: bool) -> Self {
        let keys = plan
            .keys
            .iter()
            .map(|(_, field)| Arc::clone(field))
            .collect();
        let functions = plan
            .calls
            .iter()
            .map(|call| Arc::clone(&call.function))
            .collect();
        let ignore_until = EventTime::MIN;
        Self {
            plan,
            keys,
            functions,
            readable,
            panes: BTreeMap::new(),
            ignore_until,
        }
    }

    /// Passes over rows of windows that end at or before `end`: they were emitted by an earlier
    /// run, or began before this one.
    pub fn ignore_until(&mut self, end: EventTime) {
        self.ignore_until = end;
    }

    /// Takes in a batch; returns the rows that were late.
    ///
    /// # Errors
    /// When an expression or an aggregate refuses a value.
    pub fn process(&mut self, rows: &Rows, lateness: Lateness<'_>) -> Result<Vec<LateRow>> {
        let count = rows.batch.num_rows();
        if count == 0 {
            return Ok(Vec::new());
        }
        let Some(window) = &self.plan.window else {
            let columns = self.evaluate(&rows.batch)?;
            self.update(NO_WINDOW, &columns, None, count)?;
            return Ok(Vec::new());
        };
        let bounds_of = evaluate(&window.bound, &rows.batch)?;
        let back = window.bound_kind.after_start(window.kind);
        let starts = timestamps(&bounds_of)?;
        let starts = if back == 0 {
            starts.clone()
        } else {
            starts.unary(|bound| bound - back)
        };
        if starts.null_count() > 0 {
            return Err(Error::user(
                SqlState::DatetimeFieldOverflow,
                "window out of range",
            ));
        }
        let columns = self.evaluate(&rows.batch)?;
        let (least, most) = bounds(&starts);
        let size = window.kind.size();
        let mut late = Vec::new();
        let all_on_time = least.saturating_add(size) > lateness.greatest.0.0
            && least.saturating_add(size) > self.ignore_until.0;
        if all_on_time && least == most {
            self.update(least, &columns, None, count)?;
            return Ok(late);
        }
        for (start, picked) in by_window(&starts) {
            let end = EventTime(start.saturating_add(size));
            if end <= self.ignore_until {
                continue;
            }
            let picked = if lateness.greatest.closes(end) {
                let window = (EventTime(start), end);
                split_late(picked, window, rows, lateness, &mut late)
            } else {
                picked
            };
            if !picked.is_empty() {
                let picked = UInt32Array::from(picked);
                self.update(start, &columns, Some(&picked), picked.len())?;
            }
        }
        Ok(late)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<Evaluated> {
        let all = |exprs: &[_]| {
            exprs
                .iter()
                .map(|e| evaluate(e, batch))
                .collect::<Result<_>>()
        };
        Ok(Evaluated {
            keys: self
                .plan
                .keys
                .iter()
                .map(|(e, _)| evaluate(e, batch))
                .collect::<Result<_>>()?,
            arguments: self
                .plan
                .calls
                .iter()
                .map(|c| all(&c.arguments))
                .collect::<Result<_>>()?,
            filters: self
                .plan
                .calls
                .iter()
                .map(|c| c.filter.as_ref().map(|f| condition(f, batch)).transpose())
                .collect::<Result<_>>()?,
        })
    }

    /// Hands the picked rows (`None`: all) to a window's table.
    fn update(
        &mut self,
        start: i64,
        columns: &Evaluated,
        picked: Option<&UInt32Array>,
        len: usize,
    ) -> Result<()> {
        let part = picked.map(|picked| columns.take(picked)).transpose()?;
        let columns = part.as_ref().unwrap_or(columns);
        if !self.panes.contains_key(&start) {
            let table = GroupTable::try_new(&self.keys, &self.functions, self.readable)?;
            self.panes.insert(
                start,
                Pane {
                    table,
                    changes: Changes::default(),
                },
            );
        }
        let pane = self.panes.get_mut(&start).expect("it was inserted above");
        let groups = pane.table.update(&KeyedRows {
            keys: &columns.keys,
            arguments: &columns.arguments,
            filters: &columns.filters,
            len,
        })?;
        if self.readable {
            pane.changes.touch(groups);
        }
        Ok(())
    }

    /// Takes the windows that the watermark has closed, earliest first.
    pub fn close(&mut self, watermark: Watermark) -> Vec<ClosedWindow> {
        let Some(window) = &self.plan.window else {
            return Vec::new();
        };
        let size = window.kind.size();
        let mut closed = Vec::new();
        while let Some(entry) = self.panes.first_entry() {
            let end = EventTime(entry.key().saturating_add(size));
            if !watermark.closes(end) {
                break;
            }
            let start = EventTime(*entry.key());
            closed.push(ClosedWindow {
                start,
                table: entry.remove().table,
            });
        }
        closed
    }

    /// The rows of a closed window.
    ///
    /// # Errors
    /// When an aggregate cannot give its value.
    pub fn rows_of(&self, closed: ClosedWindow) -> Result<RecordBatch> {
        let groups = closed.table.len();
        let (keys, values) = closed.table.into_columns()?;
        self.output(closed.start.0, &keys, values, groups)
    }

    /// The groups whose values changed since the last call, window by window.
    ///
    /// # Errors
    /// When an aggregate cannot give its value.
    ///
    /// # Panics
    /// If the tables were not made readable.
    pub fn emit_changes(&mut self) -> Result<Vec<RecordBatch>> {
        assert!(self.readable, "only readable tables can emit changes");
        let mut batches = Vec::new();
        let mut panes = std::mem::take(&mut self.panes);
        for (start, pane) in &mut panes {
            let groups = pane.changes.take();
            if groups.is_empty() {
                continue;
            }
            let (keys, values) = pane.table.read(&groups)?;
            let differs = BooleanArray::from(pane.changes.differs(&groups, &values)?);
            let rows = self.output(*start, &keys, values, groups.len())?;
            let rows = filter_record_batch(&rows, &differs).map_err(from_arrow)?;
            if rows.num_rows() > 0 {
                batches.push(rows);
            }
        }
        self.panes = panes;
        Ok(batches)
    }

    fn output(
        &self,
        start: i64,
        keys: &[ArrayRef],
        values: Vec<ArrayRef>,
        groups: usize,
    ) -> Result<RecordBatch> {
        let after = |bound: WindowBound| {
            self.plan
                .window
                .as_ref()
                .map_or(0, |window| bound.after_start(window.kind))
        };
        let mut columns = Vec::with_capacity(self.plan.schema.fields().len());
        for (column, field) in self.plan.groups.iter().zip(self.plan.schema.fields()) {
            columns.push(match column {
                GroupColumn::Window(bound) => instant(start + after(*bound), field, groups),
                GroupColumn::Key(key) => Arc::clone(&keys[*key]),
            });
        }
        columns.extend(values);
        batch(&self.plan.schema, columns, groups)
    }

    /// The end of the next window to close.
    pub fn next_close(&self) -> Option<EventTime> {
        let size = self.plan.window.as_ref()?.kind.size();
        self.panes
            .keys()
            .next()
            .map(|start| EventTime(start.saturating_add(size)))
    }

    /// The start of the earliest window that is still open.
    pub fn first_open(&self) -> Option<EventTime> {
        self.plan.window.as_ref()?;
        self.panes.keys().next().map(|start| EventTime(*start))
    }

    /// The number of groups held.
    pub fn groups(&self) -> usize {
        self.panes.values().map(|pane| pane.table.len()).sum()
    }

    /// Memory held, in bytes.
    pub fn size_bytes(&self) -> usize {
        self.panes
            .values()
            .map(|pane| pane.table.size_bytes() + pane.changes.size_bytes())
            .sum()
    }
}

impl Evaluated {
    fn take(&self, rows: &UInt32Array) -> Result<Self> {
        let pick = |column: &ArrayRef| take(column, rows, None).map_err(from_arrow);
        Ok(Self {
            keys: self.keys.iter().map(pick).collect::<Result<_>>()?,
            arguments: self
                .arguments
                .iter()
                .map(|columns| columns.iter().map(pick).collect::<Result<_>>())
                .collect::<Result<_>>()?,
            filters: self
                .filters
                .iter()
                .map(|filter| match filter {
                    Some(mask) => {
                        let mask = take(mask, rows, None).map_err(from_arrow)?;
                        Ok(Some(mask.as_boolean().clone()))
                    }
                    None => Ok(None),
                })
                .collect::<Result<_>>()?,
        })
    }
}

fn bounds(starts: &TimestampMicrosecondArray) -> (i64, i64) {
    let first = starts.values()[0];
    starts
        .values()
        .iter()
        .fold((first, first), |(least, most), &s| {
            (least.min(s), most.max(s))
        })
}

/// The rows of each window, windows in order of time, rows in their order.
fn by_window(starts: &TimestampMicrosecondArray) -> BTreeMap<i64, Vec<u32>> {
    let mut windows: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
    for (row, &start) in (0u32..).zip(starts.values()) {
        windows.entry(start).or_default().push(row);
    }
    windows
}

/// Takes out the rows for which the window had closed before they came.
fn split_late(
    picked: Vec<u32>,
    (window_start, window_end): (EventTime, EventTime),
    rows: &Rows,
    lateness: Lateness<'_>,
    late: &mut Vec<LateRow>,
) -> Vec<u32> {
    let mut on_time = Vec::with_capacity(picked.len());
    for row in picked {
        let origin = rows.origin_of(row as usize);
        let watermark = lateness.row_watermarks[origin];
        if watermark.closes(window_end) {
            late.push(LateRow {
                row: origin,
                window_start,
                window_end,
                watermark,
            });
        } else {
            on_time.push(row);
        }
    }
    on_time
}

fn instant(micros: i64, field: &FieldRef, rows: usize) -> ArrayRef {
    let zone = match field.data_type() {
        DataType::Timestamp(_, zone) => zone.clone(),
        _ => None,
    };
    Arc::new(TimestampMicrosecondArray::from_value(micros, rows).with_timezone_opt(zone))
}
