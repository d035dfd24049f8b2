//! Which state a row goes to: its pane, and which of its windows had not closed when it came.
//!
//! ```text
//! hop 60 s every 20 s, a row at 65 s, windows   [20, 80)  [40, 100)  [60, 120)
//! watermark 70 s when it came: all are open     pane [60, 80), from the window that ends at 80 on
//! watermark 90 s: the first has closed          pane [60, 80), from the window that ends at 100 on
//! watermark 120 s: all have closed              late
//! ```
//! Invariant: the place depends on the row and on the watermark when it came, not on where a
//! micro-batch ends.

use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, TimestampMicrosecondArray};

use super::row_pipeline::Rows;
use crate::error::{Error, Result, SqlState};
use crate::types::{EventTime, Watermark, WindowKind, WindowSpan};

/// What a row's time is compared with.
#[derive(Debug, Clone, Copy)]
pub struct Lateness<'a> {
    /// The watermark at each row of the decoded batch; empty: no row can be late.
    pub row_watermarks: &'a [Watermark],
    /// The greatest of them.
    pub greatest: Watermark,
}

impl Lateness<'_> {
    /// For rows that come in the order of a watermark.
    pub const NONE: Self = Lateness {
        row_watermarks: &[],
        greatest: Watermark::MIN,
    };
}

/// A row that came after its last window had closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateRow {
    /// Its number in the decoded batch.
    pub row: usize,
    /// Its last window.
    pub window_start: EventTime,
    /// The window's end.
    pub window_end: EventTime,
    /// The watermark when it came.
    pub watermark: Watermark,
}

/// The watermarks that a batch's rows are compared with, as windows see them.
#[derive(Clone, Copy)]
pub(super) struct RowClock<'a> {
    pub rows: &'a Rows,
    pub lateness: Lateness<'a>,
    /// How long a window waits after the watermark has reached its end.
    pub grace: i64,
    /// Windows that end at or before this are none of this query's business.
    pub ignore_until: i64,
}

impl RowClock<'_> {
    /// A window that ends at or before this had closed when the row came.
    pub(super) fn closed_until(&self, row: usize) -> i64 {
        let marks = self.lateness.row_watermarks;
        let watermark = match marks.is_empty() {
            true => Watermark::MIN,
            false => marks[self.rows.origin_of(row)],
        };
        watermark.0.0.saturating_sub(self.grace)
    }

    /// No window that ends after this had closed or is passed over, whichever row it is.
    pub(super) fn closed_at_most(&self) -> i64 {
        let closed = self.lateness.greatest.0.0.saturating_sub(self.grace);
        closed.max(self.ignore_until)
    }

    /// The row as one that came too late for its last window.
    pub(super) fn late(&self, row: usize, window: WindowSpan) -> LateRow {
        let origin = self.rows.origin_of(row);
        LateRow {
            row: origin,
            window_start: EventTime(window.start),
            window_end: EventTime(window.end),
            watermark: self.lateness.row_watermarks[origin],
        }
    }
}

/// A pane, and the first of its windows that a row counts in, told by that window's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub pane: i64,
    pub from_end: i64,
}

/// Where one row goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    At(Place),
    /// All of its windows had closed; this is the last.
    Late(WindowSpan),
    /// All of its windows are passed over.
    Ignored,
}

/// Where the rows of a batch go: each place's rows in their order, and those that are late.
pub(super) struct Placements {
    pub places: BTreeMap<Place, Picked>,
    pub late: Vec<LateRow>,
}

/// Rows of a batch.
pub(super) enum Picked {
    All,
    Some(Vec<u32>),
}

impl Picked {
    pub(super) fn rows(&self) -> Option<&[u32]> {
        match self {
            Self::All => None,
            Self::Some(rows) => Some(rows),
        }
    }
}

/// Places rows by their times.
pub(super) fn place_all(
    kind: WindowKind,
    times: &[i64],
    clock: &RowClock<'_>,
) -> Result<Placements> {
    let (least, most) = bounds(times);
    let first = place(kind, least, (i64::MIN, i64::MIN))?;
    let mut places = BTreeMap::new();
    if let Placed::At(first) = first
        && first.from_end > clock.closed_at_most()
        && first == at_pane(kind, most)?
    {
        places.insert(first, Picked::All);
        let late = Vec::new();
        return Ok(Placements { places, late });
    }
    let mut late = Vec::new();
    let mut rows: BTreeMap<Place, Vec<u32>> = BTreeMap::new();
    for (row, &time) in (0u32..).zip(times) {
        let index = row as usize;
        let closed = clock.closed_until(index);
        match place(kind, time, (closed, clock.ignore_until))? {
            Placed::At(place) => rows.entry(place).or_default().push(row),
            Placed::Late(window) => late.push(clock.late(index, window)),
            Placed::Ignored => {}
        }
    }
    let rows = rows.into_iter();
    let places = rows
        .map(|(place, rows)| (place, Picked::Some(rows)))
        .collect();
    Ok(Placements { places, late })
}

/// Checks that every time is there, and that its windows can be represented.
pub(super) fn times_fit(kind: WindowKind, times: &TimestampMicrosecondArray) -> Result<()> {
    if times.null_count() > 0 {
        return Err(out_of_range());
    }
    let (least, most) = bounds(times.values());
    let fits = |time: i64| kind.pane_of(time).ok_or_else(out_of_range);
    fits(least).and(fits(most)).map(drop)
}

fn at_pane(kind: WindowKind, time: i64) -> Result<Place> {
    match place(kind, time, (i64::MIN, i64::MIN))? {
        Placed::At(place) => Ok(place),
        Placed::Late(_) | Placed::Ignored => Err(out_of_range()),
    }
}

/// Places one row. Of `(closed, ignored)`, each tells the ends up to which windows had closed, and
/// are passed over.
fn place(kind: WindowKind, time: i64, (closed, ignored): (i64, i64)) -> Result<Placed> {
    let pane = kind.pane_of(time).ok_or_else(out_of_range)?;
    let (first, last, step) = ends(kind, pane);
    let bound = closed.max(ignored);
    if last.end <= bound {
        return Ok(match last.end <= ignored {
            true => Placed::Ignored,
            false => Placed::Late(last),
        });
    }
    let from_end = match first > bound {
        true => first,
        false => first + ((bound - first) / step + 1) * step,
    };
    Ok(Placed::At(match kind {
        // Every window that ends at `from_end` or later holds the pane before `from_end` too.
        WindowKind::Cumulate { step, .. } => Place {
            pane: from_end - step,
            from_end,
        },
        WindowKind::Tumble { .. } | WindowKind::Hop { .. } | WindowKind::Session { .. } => {
            Place { pane, from_end }
        }
    }))
}

/// The end of the first window over a pane, the last window, and how far ends lie apart.
fn ends(kind: WindowKind, pane: i64) -> (i64, WindowSpan, i64) {
    let span = |start: i64, end: i64| WindowSpan { start, end };
    match kind {
        WindowKind::Tumble { size, .. } => (pane + size, span(pane, pane + size), size),
        WindowKind::Hop {
            slide,
            size,
            offset,
        } => {
            let last = pane - (pane - offset).rem_euclid(slide);
            let count = (size - (pane - last) + slide - 1) / slide;
            let first = last - (count - 1) * slide;
            (first + size, span(last, last + size), slide)
        }
        WindowKind::Cumulate { step, size, offset } => {
            let start = pane - (pane - offset).rem_euclid(size);
            (pane + step, span(start, start + size), step)
        }
        WindowKind::Session { gap } => (pane + gap, span(pane, pane + gap), gap),
    }
}

/// Tells the ends of the first windows over many times, which are the same for all times of a pane.
pub(super) struct FirstEnds {
    kind: WindowKind,
    /// The pane of the time before, and the end of the first window over it.
    last: (Range<i64>, i64),
}

impl FirstEnds {
    pub(super) fn new(kind: WindowKind) -> Self {
        Self {
            kind,
            last: (0..0, 0),
        }
    }

    /// That over a time; `None` when it cannot be represented.
    pub(super) fn of(&mut self, time: i64) -> Option<i64> {
        if !self.last.0.contains(&time) {
            let pane = self.kind.pane_of(time)?;
            let length = match self.kind {
                WindowKind::Session { .. } => 1,
                kind => kind.pane(),
            };
            self.last = (pane..pane.checked_add(length)?, ends(self.kind, pane).0);
        }
        Some(self.last.1)
    }
}

fn bounds(times: &[i64]) -> (i64, i64) {
    let first = times[0];
    times.iter().fold((first, first), |(least, most), &time| {
        (least.min(time), most.max(time))
    })
}

pub(super) fn out_of_range() -> Error {
    Error::user(SqlState::DatetimeFieldOverflow, "window out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOP: WindowKind = WindowKind::Hop {
        slide: 20,
        size: 60,
        offset: 0,
    };

    fn at(kind: WindowKind, time: i64, closed: i64) -> Placed {
        place(kind, time, (closed, i64::MIN)).unwrap()
    }

    fn place_of(pane: i64, from_end: i64) -> Placed {
        Placed::At(Place { pane, from_end })
    }

    #[test]
    fn a_row_counts_in_the_windows_that_were_open_when_it_came() {
        assert_eq!(at(HOP, 65, 70), place_of(60, 80));
        assert_eq!(at(HOP, 65, 80), place_of(60, 100));
        assert_eq!(at(HOP, 65, 119), place_of(60, 120));
        let last = WindowSpan {
            start: 60,
            end: 120,
        };
        assert_eq!(at(HOP, 65, 120), Placed::Late(last));
        assert_eq!(place(HOP, 65, (0, 120)).unwrap(), Placed::Ignored);
    }

    #[test]
    fn a_row_of_a_growing_window_counts_from_the_first_open_end_on() {
        let cumulate = WindowKind::Cumulate {
            step: 10,
            size: 30,
            offset: 0,
        };
        assert_eq!(at(cumulate, 5, 0), place_of(0, 10));
        assert_eq!(at(cumulate, 5, 10), place_of(10, 20));
        assert_eq!(at(cumulate, 5, 29), place_of(20, 30));
        let whole = WindowSpan { start: 0, end: 30 };
        assert_eq!(at(cumulate, 5, 30), Placed::Late(whole));
    }

    #[test]
    fn the_end_of_the_first_window_is_that_of_its_windows_in_whatever_order_times_come() {
        let offset = 3;
        let kinds = [
            WindowKind::Tumble { size: 20, offset },
            WindowKind::Hop {
                slide: 20,
                size: 50,
                offset,
            },
            WindowKind::Cumulate {
                step: 10,
                size: 30,
                offset,
            },
            WindowKind::Session { gap: 7 },
        ];
        for kind in kinds {
            let mut ends = FirstEnds::new(kind);
            for step in 0..400 {
                let time = (step * 37) % 211 - 100 + step % 2;
                let first = kind.windows_of(time).map(|window| window.end).min();
                assert_eq!(ends.of(time), first, "{kind:?} at {time}");
            }
            assert_eq!(ends.of(i64::MAX), None, "{kind:?}");
        }
    }
}
