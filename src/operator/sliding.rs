//! Hopping windows from panes: each row is added once, whatever the number of its windows.
//!
//! Two stacks of frozen panes (Tangwongsan, Hirzel, Schneider: "In-Order Sliding-Window Aggregation
//! in Worst-Case Constant Time", 2021, section 2) give every window in a constant number of merges:
//!
//! ```text
//! panes        p0      p1      p2   ¦  p3      p4   ¦  p5 (takes rows)
//! front        p0..p2  p1..p2  p2   ¦               ¦            each up to the split
//! back                              ¦  p3..p4       ¦            one running sum
//! window over p1..p4  =  front of p1  +  back  +  rows that came late to it
//! ```
//! When the front is used up, the back's panes become the new front. Rows that came when some of
//! their windows had closed lie apart, by pane and by the first window that they count in.
//! Invariant: a pane is in exactly one of `live`, `back_panes` and (summed) `front`.

use std::collections::{BTreeMap, VecDeque};

use super::grouping::{Evaluated, Grouping};
use super::image::{Imaging, Restored};
use super::placement::{LateRow, Place, RowClock, place_all};
use crate::error::Result;
use crate::state::{Dirty, Frozen, GroupTable};
use crate::types::{StateNote, TablePlace, WindowKind, WindowSpan};

/// What [`Sliding::frozen_until`] is called in an image.
const FROZEN_UNTIL: &str = "frozen until";
/// What [`Sliding::closed_until`] is called in an image.
const CLOSED_UNTIL: &str = "closed until";

/// The panes of hopping windows.
pub(super) struct Sliding {
    kind: WindowKind,
    slide: i64,
    size: i64,
    /// Panes that take rows.
    live: BTreeMap<i64, GroupTable>,
    /// For each pane up to the split, the sum from it to the split.
    front: VecDeque<(i64, Frozen)>,
    /// The panes after the split, each for itself.
    back_panes: Vec<(i64, Frozen)>,
    /// Their sum.
    back: Option<GroupTable>,
    /// Panes before this are frozen.
    frozen_until: i64,
    /// Rows that count only from some window on, or came to a frozen pane.
    apart: BTreeMap<Place, GroupTable>,
    /// The end of the last window that was given.
    closed_until: i64,
    /// What the next image must say of panes that were frozen since the last one.
    unsaid: Vec<Unsaid>,
}

/// Groups of a pane that an image must still name.
struct Unsaid {
    pane: i64,
    groups: Frozen,
    dirty: Dirty,
}

impl Sliding {
    pub(super) fn new(kind: WindowKind) -> Self {
        let slide = match kind {
            WindowKind::Hop { slide, .. } => slide,
            WindowKind::Tumble { size, .. } | WindowKind::Cumulate { size, .. } => size,
            WindowKind::Session { gap } => gap,
        };
        Self {
            kind,
            slide,
            size: kind.size(),
            live: BTreeMap::new(),
            front: VecDeque::new(),
            back_panes: Vec::new(),
            back: None,
            frozen_until: i64::MIN,
            apart: BTreeMap::new(),
            closed_until: i64::MIN,
            unsaid: Vec::new(),
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
            let table = self.table(grouping, place)?;
            grouping.update(table, columns, picked.rows(), |_| ())?;
        }
        Ok(placements.late)
    }

    /// Takes in groups of a pane.
    pub(super) fn merge(
        &mut self,
        grouping: &Grouping,
        place: Place,
        groups: &Frozen,
    ) -> Result<()> {
        self.table(grouping, place)?.merge(groups).map(drop)
    }

    /// The tables of the panes that take rows.
    pub(super) fn into_tables(self) -> Vec<(Place, GroupTable)> {
        let (kind, size) = (self.kind, self.size);
        let tables = self.live.into_iter().map(|(pane, table)| {
            let from_end = first_end(kind, size, pane);
            (Place { pane, from_end }, table)
        });
        tables.collect()
    }

    fn table(&mut self, grouping: &Grouping, place: Place) -> Result<&mut GroupTable> {
        if self.is_whole(place) {
            grouping.table_at(&mut self.live, place.pane)
        } else {
            grouping.table_at(&mut self.apart, place)
        }
    }

    /// True when the rows count in every window over their pane, and the pane takes rows.
    fn is_whole(&self, place: Place) -> bool {
        place.pane >= self.frozen_until && place.from_end == self.first_end(place.pane)
    }

    /// The end of the first window over a pane.
    fn first_end(&self, pane: i64) -> i64 {
        first_end(self.kind, self.size, pane)
    }

    /// Takes the windows that end at or before `until`, earliest first.
    pub(super) fn close(
        &mut self,
        grouping: &Grouping,
        until: i64,
    ) -> Result<Vec<(WindowSpan, GroupTable)>> {
        let mut closed = Vec::new();
        while let Some(span) = self.next().filter(|span| span.end <= until) {
            self.closed_until = span.end;
            let table = self.window(grouping, span)?;
            if !table.is_empty() {
                closed.push((span, table));
            }
            self.forget_before(span.start.saturating_add(self.slide));
        }
        Ok(closed)
    }

    /// The next window that has rows.
    pub(super) fn next(&self) -> Option<WindowSpan> {
        let pane = self.first_pane()?;
        let end = self.first_end(pane);
        let end = match self.closed_until {
            i64::MIN => end,
            closed => end.max(closed.saturating_add(self.slide)),
        };
        let start = end.checked_sub(self.size)?;
        Some(WindowSpan { start, end })
    }

    /// The start of the earliest pane held.
    fn first_pane(&self) -> Option<i64> {
        let front = self.front.front().map(|(pane, _)| *pane);
        let back = self.back_panes.first().map(|(pane, _)| *pane);
        let live = self.live.keys().next().copied();
        let apart = self.apart.keys().next().map(|place| place.pane);
        [front, back, live, apart].into_iter().flatten().min()
    }

    fn window(&mut self, grouping: &Grouping, span: WindowSpan) -> Result<GroupTable> {
        self.freeze_until(grouping, span.end)?;
        if self.front.is_empty() {
            self.turn(grouping, span)?;
        }
        let mut table = grouping.thaw(self.front.front().map(|(_, sum)| sum))?;
        if let Some(back) = &mut self.back {
            table.add(back)?;
        }
        for (place, rows) in &mut self.apart {
            if span.start <= place.pane && place.from_end <= span.end {
                table.add(rows)?;
            }
        }
        Ok(table)
    }

    /// Adds the panes before `end` to the back.
    fn freeze_until(&mut self, grouping: &Grouping, end: i64) -> Result<()> {
        while let Some(entry) = self.live.first_entry().filter(|pane| *pane.key() < end) {
            let (pane, mut table) = entry.remove_entry();
            let dirty = table.take_dirty();
            let frozen = table.freeze()?;
            self.unsaid.extend(dirty.map(|dirty| Unsaid {
                pane,
                groups: frozen.clone(),
                dirty,
            }));
            // Without a front the back is about to become one, and needs no sum.
            if !self.front.is_empty() {
                match &mut self.back {
                    Some(back) => drop(back.merge(&frozen)?),
                    None => self.back = Some(grouping.thaw([&frozen])?),
                }
            }
            self.back_panes.push((pane, frozen));
        }
        self.frozen_until = self.frozen_until.max(end);
        Ok(())
    }

    /// Makes a new front of the back's panes that the window holds.
    fn turn(&mut self, grouping: &Grouping, span: WindowSpan) -> Result<()> {
        self.back = None;
        for (pane, frozen) in self.back_panes.drain(..).rev() {
            if pane < span.start {
                break;
            }
            let sum = match self.front.front() {
                Some((_, after)) => grouping.thaw([&frozen, after])?.freeze()?,
                None => frozen,
            };
            self.front.push_front((pane, sum));
        }
        Ok(())
    }

    /// Drops panes that no later window holds.
    fn forget_before(&mut self, start: i64) {
        while self.front.front().is_some_and(|(pane, _)| *pane < start) {
            self.front.pop_front();
        }
        self.apart.retain(|place, _| place.pane >= start);
        // A back whose first pane is gone is summed anew when the front is used up.
        if self.front.is_empty() {
            self.back_panes.retain(|(pane, _)| *pane >= start);
        }
    }

    /// Takes down what has changed. Panes are told as they came: sums of them are made again.
    pub(super) fn image(&mut self, into: &mut Imaging<'_>) -> Result<()> {
        into.note(FROZEN_UNTIL, self.frozen_until);
        into.note(CLOSED_UNTIL, self.closed_until);
        let (kind, size) = (self.kind, self.size);
        let whole = |pane: i64| TablePlace::Pane {
            start: pane,
            from_end: first_end(kind, size, pane),
        };
        let front = self.front.iter().map(|(pane, _)| *pane);
        let frozen: Vec<i64> = front
            .chain(self.back_panes.iter().map(|(pane, _)| *pane))
            .collect();
        frozen.iter().for_each(|pane| into.holds(whole(*pane)));
        self.unsaid.retain(|unsaid| frozen.contains(&unsaid.pane));
        for unsaid in &mut self.unsaid {
            if into.room() > 0 {
                let changed = unsaid.groups.take_changed(&mut unsaid.dirty, into.room())?;
                into.groups(whole(unsaid.pane), changed, |_| Vec::new())?;
            }
        }
        self.unsaid.retain(|unsaid| !unsaid.dirty.is_clean());
        for (&pane, table) in &mut self.live {
            into.table(whole(pane), table, |_| Vec::new())?;
        }
        for (place, table) in &mut self.apart {
            let place = TablePlace::Pane {
                start: place.pane,
                from_end: place.from_end,
            };
            into.table(place, table, |_| Vec::new())?;
        }
        Ok(())
    }

    /// Takes in a number of an image.
    pub(super) fn restore_note(&mut self, note: &StateNote) {
        match note.name.as_str() {
            FROZEN_UNTIL => self.frozen_until = self.frozen_until.max(note.value),
            CLOSED_UNTIL => self.closed_until = self.closed_until.max(note.value),
            _ => {}
        }
    }

    /// Takes in the groups of a pane.
    pub(super) fn restore(
        &mut self,
        grouping: &Grouping,
        (pane, from_end): (i64, i64),
        rows: &Restored<'_>,
    ) -> Result<()> {
        let table = match from_end == self.first_end(pane) {
            true => grouping.table_at(&mut self.live, pane)?,
            false => grouping.table_at(&mut self.apart, Place { pane, from_end })?,
        };
        table.restore(rows.keys, rows.behind, rows.rows)?;
        Ok(())
    }

    /// All of an image was taken in: panes that were frozen are so again.
    pub(super) fn restored(&mut self, grouping: &Grouping) -> Result<()> {
        self.freeze_until(grouping, self.frozen_until)
    }

    pub(super) fn groups(&self) -> usize {
        let tables = self.live.values().chain(self.apart.values());
        let tables: usize = tables.map(GroupTable::len).sum();
        let frozen = self.back_panes.iter().chain(&self.front);
        tables + frozen.map(|(_, part)| part.len()).sum::<usize>()
    }

    pub(super) fn size_bytes(&self) -> usize {
        let tables = self.live.values().chain(self.apart.values());
        let tables: usize = tables.map(GroupTable::size_bytes).sum();
        let frozen = self.back_panes.iter().chain(&self.front);
        let frozen: usize = frozen.map(|(_, part)| part.size_bytes()).sum();
        tables + frozen + self.back.as_ref().map_or(0, GroupTable::size_bytes)
    }
}

/// The end of the first window over a pane.
fn first_end(kind: WindowKind, size: i64, pane: i64) -> i64 {
    let start = kind.start_of(pane);
    start.map_or(i64::MAX, |start| start.saturating_add(size))
}
