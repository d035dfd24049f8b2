//! Windows with a table each, dropped as a whole when the window closes.
//!
//! ```text
//! 12:00–12:01 → { BTC 5, ETH 2 }      closed when the watermark reaches 12:01
//! 12:01–12:02 → { BTC 1 }
//! ```
//! Tumbling windows, and all others once each row stands for one of its windows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use arrow::array::{Array, TimestampMicrosecondArray};
use arrow::compute::{max, min};

use super::changes::Changes;
use super::grouping::{Evaluated, Grouping};
use super::image::{Imaging, Restored};
use super::placement::{LateRow, Picked, Place, RowClock, out_of_range, place_all};
use crate::error::Result;
use crate::state::{Frozen, GroupTable};
use crate::types::{TablePlace, WindowBound, WindowKind, WindowSpan};

/// The open windows, in the order in which they close.
#[derive(Default)]
pub(super) struct Fixed {
    windows: BTreeMap<WindowSpan, Pane>,
}

/// A table, and what of it must be emitted again.
pub(super) struct Pane {
    pub table: GroupTable,
    pub changes: Changes,
}

impl Pane {
    pub(super) fn try_new(grouping: &Grouping) -> Result<Self> {
        Ok(Self {
            table: grouping.table()?,
            changes: Changes::default(),
        })
    }

    pub(super) fn update(
        &mut self,
        grouping: &Grouping,
        columns: &Evaluated,
        picked: Option<&[u32]>,
    ) -> Result<()> {
        let Self { table, changes } = self;
        grouping.update(table, columns, picked, |groups| {
            if grouping.readable() {
                changes.touch(groups);
            }
        })
    }

    /// Takes in the groups of an image.
    fn restore(&mut self, rows: &Restored<'_>) -> Result<()> {
        let (groups, beside) = self.table.restore(rows.keys, rows.behind, rows.rows)?;
        match beside {
            [] => Ok(()),
            [emitted, ..] => self.changes.restore(groups, emitted),
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.table.size_bytes() + self.changes.size_bytes()
    }
}

impl Fixed {
    /// Rows of tumbling windows, by a time in each one's window.
    pub(super) fn process_times(
        &mut self,
        grouping: &Grouping,
        columns: &Evaluated,
        (kind, times): (WindowKind, &[i64]),
        clock: &RowClock<'_>,
    ) -> Result<Vec<LateRow>> {
        let placements = place_all(kind, times, clock)?;
        for (place, picked) in placements.places {
            let span = WindowSpan {
                start: place.pane,
                end: place.from_end,
            };
            self.update(grouping, columns, span, &picked)?;
        }
        Ok(placements.late)
    }

    /// Rows that each stand for one window, told by a bound of it. A row of the input is late when
    /// all of its windows had closed.
    pub(super) fn process_bounds(
        &mut self,
        grouping: &Grouping,
        columns: &Evaluated,
        (kind, bound, bounds): (WindowKind, WindowBound, &TimestampMicrosecondArray),
        clock: &RowClock<'_>,
    ) -> Result<Vec<LateRow>> {
        let mut late = BTreeMap::new();
        let mut passed_over = Vec::new();
        let mut windows: BTreeMap<WindowSpan, Vec<u32>> = BTreeMap::new();
        for (row, index) in (0u32..).zip(0..bounds.len()) {
            let span = span_of(kind, bound, bounds.value(index)).ok_or_else(out_of_range)?;
            if span.end <= clock.ignore_until {
                passed_over.push(row);
            } else if span.end <= clock.closed_until(index) {
                let row = clock.late(index, span);
                late.insert(row.row, row);
            } else {
                windows.entry(span).or_default().push(row);
            }
        }
        if !late.is_empty() {
            for row in windows.values().flatten().chain(&passed_over) {
                late.remove(&clock.rows.origin_of(*row as usize));
            }
        }
        for (span, rows) in windows {
            self.update(grouping, columns, span, &Picked::Some(rows))?;
        }
        Ok(late.into_values().collect())
    }

    fn update(
        &mut self,
        grouping: &Grouping,
        columns: &Evaluated,
        span: WindowSpan,
        picked: &Picked,
    ) -> Result<()> {
        let pane = self.pane(grouping, span)?;
        pane.update(grouping, columns, picked.rows())
    }

    /// Takes in groups of a window.
    pub(super) fn merge(
        &mut self,
        grouping: &Grouping,
        place: Place,
        groups: &Frozen,
    ) -> Result<()> {
        let span = WindowSpan {
            start: place.pane,
            end: place.from_end,
        };
        let Pane { table, changes } = self.pane(grouping, span)?;
        let groups = table.merge(groups)?;
        if grouping.readable() {
            changes.touch(groups);
        }
        Ok(())
    }

    /// The open windows' tables.
    pub(super) fn into_tables(self) -> Vec<(Place, GroupTable)> {
        let tables = self.windows.into_iter().map(|(span, pane)| {
            let place = Place {
                pane: span.start,
                from_end: span.end,
            };
            (place, pane.table)
        });
        tables.collect()
    }

    /// A window's table; an empty one if there is none yet.
    fn pane(&mut self, grouping: &Grouping, span: WindowSpan) -> Result<&mut Pane> {
        Ok(match self.windows.entry(span) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert(Pane::try_new(grouping)?),
        })
    }

    /// Takes the windows that end at or before `until`, earliest first.
    pub(super) fn close(&mut self, until: i64) -> Vec<(WindowSpan, GroupTable)> {
        let mut closed = Vec::new();
        while let Some(entry) = self.windows.first_entry() {
            if entry.key().end > until {
                break;
            }
            let (span, pane) = entry.remove_entry();
            closed.push((span, pane.table));
        }
        closed
    }

    /// Takes down what has changed of the open windows.
    pub(super) fn image(&mut self, readable: bool, into: &mut Imaging<'_>) -> Result<()> {
        for (&WindowSpan { start, end }, Pane { table, changes }) in &mut self.windows {
            let place = TablePlace::Window { start, end };
            let emitted = |groups: &[usize]| changes.emitted_of(groups.iter().copied());
            into.table(place, table, |groups| match readable {
                true => vec![emitted(groups)],
                false => Vec::new(),
            })?;
        }
        Ok(())
    }

    /// Takes in groups of the window with these bounds.
    pub(super) fn restore(
        &mut self,
        grouping: &Grouping,
        (start, end): (i64, i64),
        rows: &Restored<'_>,
    ) -> Result<()> {
        self.pane(grouping, WindowSpan { start, end })?
            .restore(rows)
    }

    /// The open windows.
    pub(super) fn open(&mut self) -> impl Iterator<Item = (WindowSpan, &mut Pane)> {
        self.windows.iter_mut().map(|(span, pane)| (*span, pane))
    }

    /// The next window to close.
    pub(super) fn next(&self) -> Option<WindowSpan> {
        self.windows.keys().next().copied()
    }

    pub(super) fn groups(&self) -> usize {
        self.windows.values().map(|pane| pane.table.len()).sum()
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.windows.values().map(Pane::size_bytes).sum()
    }
}

/// Checks that every bound is there, and its window can be represented.
pub(super) fn bounds_fit(
    kind: WindowKind,
    bound: WindowBound,
    bounds: &TimestampMicrosecondArray,
) -> Result<()> {
    let ends = [min(bounds), max(bounds)].into_iter().flatten();
    let fit = ends
        .map(|value| span_of(kind, bound, value))
        .all(|span| span.is_some());
    match fit && bounds.null_count() == 0 {
        true => Ok(()),
        false => Err(out_of_range()),
    }
}

/// The window that has this bound; `None` when it cannot be represented.
pub(super) fn span_of(kind: WindowKind, bound: WindowBound, value: i64) -> Option<WindowSpan> {
    let end = match bound {
        WindowBound::Start => value.checked_add(kind.size())?,
        WindowBound::End => value,
        WindowBound::Time => value.checked_add(1)?,
    };
    let start = match kind {
        WindowKind::Tumble { size, .. } | WindowKind::Hop { size, .. } => end.checked_sub(size)?,
        WindowKind::Cumulate { .. } | WindowKind::Session { .. } => {
            kind.start_of(end.checked_sub(1)?)?
        }
    };
    Some(WindowSpan { start, end })
}
