//! Cumulating windows from panes: one running sum a start, given at each end.
//!
//! ```text
//! start 00:00   running 00:00–02:00, given at 01:00 and 02:00    pane 02:00–03:00 takes rows
//! ```
//! Invariant: a row's pane is the first of its open windows' last one, so that adding the pane
//! to the running sum gives it to all of them.

use std::collections::BTreeMap;

use super::grouping::{Evaluated, Grouping};
use super::image::{Imaging, Restored, odd};
use super::placement::{LateRow, RowClock, place_all};
use crate::error::Result;
use crate::state::GroupTable;
use crate::types::{StateNote, TablePlace, WindowKind, WindowSpan};

/// What the end of a start's last closed window is called in an image, before the start.
const CLOSED: &str = "closed of ";

/// The open windows, by their common start.
pub(super) struct Growing {
    kind: WindowKind,
    step: i64,
    size: i64,
    starts: BTreeMap<i64, Start>,
}

/// The windows of one start.
#[derive(Default)]
struct Start {
    /// The sum of the panes of the windows that have closed.
    running: Option<GroupTable>,
    /// The end of the last window that was given.
    closed_until: Option<i64>,
    /// Panes that take rows.
    panes: BTreeMap<i64, GroupTable>,
}

impl Start {
    /// The end of the next window that has rows.
    fn next_end(&self, step: i64) -> Option<i64> {
        match (self.closed_until, self.panes.keys().next()) {
            (Some(closed), _) => Some(closed + step),
            (None, Some(pane)) => Some(pane + step),
            (None, None) => None,
        }
    }
}

impl Growing {
    pub(super) fn new(kind: WindowKind) -> Self {
        Self {
            kind,
            step: kind.pane(),
            size: kind.size(),
            starts: BTreeMap::new(),
        }
    }

    pub(super) fn process(
        &mut self,
        grouping: &Grouping,
        columns: &Evaluated,
        times: &[i64],
        clock: &RowClock<'_>,
    ) -> Result<Vec<LateRow>> {
        let placements = place_all(self.kind, times, clock)?;
        for (place, picked) in placements.places {
            let start = self.kind.start_of(place.pane).unwrap_or(place.pane);
            let panes = &mut self.starts.entry(start).or_default().panes;
            let table = grouping.table_at(panes, place.pane)?;
            grouping.update(table, columns, picked.rows(), |_| ())?;
        }
        Ok(placements.late)
    }

    /// Takes the windows that end at or before `until`, earliest first.
    pub(super) fn close(
        &mut self,
        grouping: &Grouping,
        until: i64,
    ) -> Result<Vec<(WindowSpan, GroupTable)>> {
        let mut closed = Vec::new();
        while let Some(span) = self.next().filter(|span| span.end <= until) {
            let windows = self.starts.entry(span.start).or_default();
            while let Some(pane) = windows.panes.first_entry().filter(|p| *p.key() < span.end) {
                match &mut windows.running {
                    Some(running) => running.absorb(pane.remove())?,
                    None => windows.running = Some(pane.remove()),
                }
            }
            windows.closed_until = Some(span.end);
            let mut table = grouping.table()?;
            if let Some(running) = &mut windows.running {
                table.add(running)?;
            }
            closed.push((span, table));
            if span.end >= span.start + self.size {
                self.starts.remove(&span.start);
            }
        }
        Ok(closed)
    }

    /// Takes down what has changed.
    pub(super) fn image(&mut self, into: &mut Imaging<'_>) -> Result<()> {
        for (&start, windows) in &mut self.starts {
            if let Some(closed) = windows.closed_until {
                into.note(format!("{CLOSED}{start}"), closed);
            }
            if let Some(running) = &mut windows.running {
                into.table(TablePlace::Running { start }, running, |_| Vec::new())?;
            }
            for (&pane, table) in &mut windows.panes {
                let place = TablePlace::Pane {
                    start: pane,
                    from_end: pane + self.step,
                };
                into.table(place, table, |_| Vec::new())?;
            }
        }
        Ok(())
    }

    /// Takes in a number of an image.
    pub(super) fn restore_note(&mut self, note: &StateNote) -> Result<()> {
        let start = note.name.strip_prefix(CLOSED);
        let start = start.and_then(|start| start.parse().ok());
        let start: i64 = start.ok_or_else(|| odd("a window's start is not a number"))?;
        let windows = self.starts.entry(start).or_default();
        windows.closed_until = windows.closed_until.max(Some(note.value));
        Ok(())
    }

    /// Takes in the groups of a pane.
    pub(super) fn restore_pane(
        &mut self,
        grouping: &Grouping,
        pane: i64,
        rows: &Restored<'_>,
    ) -> Result<()> {
        let start = self.kind.start_of(pane).unwrap_or(pane);
        let panes = &mut self.starts.entry(start).or_default().panes;
        let table = grouping.table_at(panes, pane)?;
        table.restore(rows.keys, rows.behind, rows.rows)?;
        Ok(())
    }

    /// Takes in the sum of the panes of a start.
    pub(super) fn restore_running(
        &mut self,
        grouping: &Grouping,
        start: i64,
        rows: &Restored<'_>,
    ) -> Result<()> {
        let running = &mut self.starts.entry(start).or_default().running;
        let table = match running {
            Some(table) => table,
            None => running.insert(grouping.table()?),
        };
        table.restore(rows.keys, rows.behind, rows.rows)?;
        Ok(())
    }

    /// The next window to close.
    pub(super) fn next(&self) -> Option<WindowSpan> {
        let (start, windows) = self.starts.first_key_value()?;
        let end = windows.next_end(self.step)?;
        Some(WindowSpan { start: *start, end })
    }

    pub(super) fn groups(&self) -> usize {
        let panes = self.starts.values().flat_map(|start| start.panes.values());
        let running = self.starts.values().filter_map(|s| s.running.as_ref());
        panes.map(GroupTable::len).sum::<usize>() + running.map(GroupTable::len).sum::<usize>()
    }

    pub(super) fn size_bytes(&self) -> usize {
        let panes = self.starts.values().flat_map(|start| start.panes.values());
        let running = self.starts.values().filter_map(|s| s.running.as_ref());
        panes.map(GroupTable::size_bytes).sum::<usize>()
            + running.map(GroupTable::size_bytes).sum::<usize>()
    }
}
