//! Windows: which stretches of event time a row belongs to.

use std::fmt;

/// Which windows a row belongs to. All lengths in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WindowKind {
    /// Windows of one size, side by side, aligned to the epoch plus `offset`.
    Tumble {
        /// Length; positive.
        size: i64,
        /// Shift of the alignment.
        offset: i64,
    },
    /// Windows of one size, one every `slide`, aligned to the epoch plus `offset`.
    Hop {
        /// From one start to the next; positive, at most `size`.
        slide: i64,
        /// Length; positive.
        size: i64,
        /// Shift of the alignment.
        offset: i64,
    },
    /// Windows that share a start and grow by `step` up to `size`, then the next start.
    Cumulate {
        /// From one end to the next; positive.
        step: i64,
        /// The greatest length; a multiple of `step`.
        size: i64,
        /// Shift of the alignment.
        offset: i64,
    },
    /// Rows of a key with less than `gap` between one and the next. Ends `gap` after the last.
    Session {
        /// The silence that ends a session; positive.
        gap: i64,
    },
}

/// One window: start inclusive, end exclusive. Microseconds since the Unix epoch. Ordered by end,
/// which is the order in which windows close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WindowSpan {
    /// The first instant.
    pub start: i64,
    /// The first instant after it.
    pub end: i64,
}

impl Ord for WindowSpan {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.end, self.start).cmp(&(other.end, other.start))
    }
}

impl PartialOrd for WindowSpan {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl WindowSpan {
    /// The value of a bound.
    pub fn bound(self, bound: WindowBound) -> i64 {
        match bound {
            WindowBound::Start => self.start,
            WindowBound::End => self.end,
            WindowBound::Time => self.end - 1,
        }
    }
}

impl WindowKind {
    /// The greatest length of a window; for sessions, which have none, the gap.
    pub fn size(self) -> i64 {
        match self {
            Self::Tumble { size, .. } | Self::Hop { size, .. } | Self::Cumulate { size, .. } => {
                size
            }
            Self::Session { gap } => gap,
        }
    }

    /// The length of a pane: the longest stretch such that every window is a row of whole ones.
    /// For sessions, which have none, the gap.
    pub fn pane(self) -> i64 {
        match self {
            Self::Tumble { size, .. } => size,
            Self::Hop { slide, size, .. } => gcd(slide, size),
            Self::Cumulate { step, .. } => step,
            Self::Session { gap } => gap,
        }
    }

    /// The start of the pane that a time lies in; `None` when it, or a window over it, cannot be
    /// represented. For sessions the time itself.
    pub fn pane_of(self, time: i64) -> Option<i64> {
        let pane = match self {
            Self::Tumble { offset, .. }
            | Self::Hop { offset, .. }
            | Self::Cumulate { offset, .. } => align(time, self.pane(), offset)?,
            Self::Session { .. } => time,
        };
        pane.checked_sub(self.size())?;
        pane.checked_add(self.size().checked_mul(2)?)?;
        Some(pane)
    }

    /// The start of the earliest window that a time lies in; `None` when it cannot be represented.
    /// For sessions the time itself.
    pub fn start_of(self, time: i64) -> Option<i64> {
        match self {
            Self::Tumble { size, offset } | Self::Cumulate { size, offset, .. } => {
                align(time, size, offset)
            }
            Self::Hop {
                slide,
                size,
                offset,
            } => align(time.checked_sub(size)?, slide, offset)?.checked_add(slide),
            Self::Session { .. } => Some(time),
        }
    }

    /// The windows that a time lies in, in the order in which they close; none when they cannot be
    /// represented. For sessions the one that the time alone would make.
    pub fn windows_of(self, time: i64) -> impl Iterator<Item = WindowSpan> {
        let fits = self.pane_of(time).is_some();
        let (first, step, count) = match self {
            _ if !fits => (WindowSpan { start: 0, end: 0 }, (0, 0), 0),
            Self::Tumble { size, offset } => {
                let start = time - (time - offset).rem_euclid(size);
                let end = start + size;
                (WindowSpan { start, end }, (0, 0), 1)
            }
            Self::Hop {
                slide,
                size,
                offset,
            } => {
                let last = time - (time - offset).rem_euclid(slide);
                // Windows start at last, last - slide, .. as long as they reach beyond the time.
                let count = (size - (time - last) + slide - 1) / slide;
                let start = last - (count - 1) * slide;
                let end = start + size;
                (WindowSpan { start, end }, (slide, slide), count)
            }
            Self::Cumulate { step, size, offset } => {
                let start = time - (time - offset).rem_euclid(size);
                let end = start + ((time - start) / step + 1) * step;
                let count = (start + size - end) / step + 1;
                (WindowSpan { start, end }, (0, step), count)
            }
            Self::Session { gap } => {
                let end = time + gap;
                (WindowSpan { start: time, end }, (0, 0), 1)
            }
        };
        (0..count).map(move |n| WindowSpan {
            start: first.start + n * step.0,
            end: first.end + n * step.1,
        })
    }

    /// How many windows a time lies in at the most.
    pub fn windows_a_row(self) -> i64 {
        match self {
            Self::Tumble { .. } | Self::Session { .. } => 1,
            Self::Hop { slide, size, .. } => (size + slide - 1) / slide,
            Self::Cumulate { step, size, .. } => size / step,
        }
    }
}

/// The greatest multiple of `size`, shifted by `offset`, that is not after `time`.
fn align(time: i64, size: i64, offset: i64) -> Option<i64> {
    let shift = time.checked_sub(offset)?.rem_euclid(size);
    time.checked_sub(shift)
}

fn gcd(left: i64, right: i64) -> i64 {
    if right == 0 {
        left
    } else {
        gcd(right, left % right)
    }
}

/// A bound of a window, as a column shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WindowBound {
    /// `window_start`: the first instant.
    Start,
    /// `window_end`: the first instant after it.
    End,
    /// `window_time`: the last instant, one microsecond before the end.
    Time,
}

impl WindowBound {
    /// All bounds, in the order of their columns.
    pub const ALL: [Self; 3] = [Self::Start, Self::End, Self::Time];

    /// The column's name.
    pub fn column(self) -> &'static str {
        match self {
            Self::Start => "window_start",
            Self::End => "window_end",
            Self::Time => "window_time",
        }
    }
}

impl fmt::Display for WindowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let offset = match *self {
            Self::Tumble { size, offset } => {
                write!(f, "tumble {}", length(size))?;
                offset
            }
            Self::Hop {
                slide,
                size,
                offset,
            } => {
                write!(f, "hop {} every {}", length(size), length(slide))?;
                offset
            }
            Self::Cumulate { step, size, offset } => {
                write!(f, "cumulate {} by {}", length(size), length(step))?;
                offset
            }
            Self::Session { gap } => {
                write!(f, "session gap {}", length(gap))?;
                0
            }
        };
        if offset != 0 {
            write!(f, " offset {}", length(offset))?;
        }
        Ok(())
    }
}

/// A length in microseconds, for people.
pub fn length(micros: i64) -> String {
    if micros % 1_000_000 == 0 {
        format!("{} s", micros / 1_000_000)
    } else if micros % 1_000 == 0 {
        format!("{} ms", micros / 1_000)
    } else {
        format!("{micros} us")
    }
}

#[cfg(test)]
mod tests {
    use super::{WindowKind, WindowSpan};

    fn windows(kind: WindowKind, time: i64) -> Vec<(i64, i64)> {
        kind.windows_of(time).map(|w| (w.start, w.end)).collect()
    }

    #[test]
    fn a_tumbling_window_starts_at_a_multiple_of_its_size_plus_the_offset() {
        let minute = WindowKind::Tumble {
            size: 60,
            offset: 0,
        };
        assert_eq!(minute.start_of(59), Some(0));
        assert_eq!(minute.start_of(60), Some(60));
        assert_eq!(
            minute.start_of(-1),
            Some(-60),
            "times before the epoch have windows too"
        );
        let shifted = WindowKind::Tumble {
            size: 60,
            offset: 15,
        };
        assert_eq!(shifted.start_of(14), Some(-45));
        assert_eq!(shifted.start_of(15), Some(15));
        assert_eq!(
            minute.start_of(i64::MIN),
            None,
            "no window fits before the first instant"
        );
        assert_eq!(windows(minute, 59), [(0, 60)]);
        assert_eq!(windows(minute, i64::MIN), []);
    }

    #[test]
    fn a_hopping_window_covers_every_slide_that_reaches_the_time() {
        let hop = WindowKind::Hop {
            slide: 10,
            size: 25,
            offset: 0,
        };
        assert_eq!(hop.pane(), 5);
        assert_eq!(windows(hop, 22), [(0, 25), (10, 35), (20, 45)]);
        assert_eq!(windows(hop, 25), [(10, 35), (20, 45)]);
        assert_eq!(windows(hop, -1), [(-20, 5), (-10, 15)]);
        assert_eq!(hop.start_of(22), Some(0));
        assert_eq!(hop.start_of(25), Some(10));
        assert_eq!(hop.windows_a_row(), 3);
    }

    #[test]
    fn a_cumulating_window_keeps_its_start_and_grows() {
        let cumulate = WindowKind::Cumulate {
            step: 10,
            size: 30,
            offset: 0,
        };
        assert_eq!(windows(cumulate, 5), [(0, 10), (0, 20), (0, 30)]);
        assert_eq!(windows(cumulate, 20), [(0, 30)]);
        assert_eq!(windows(cumulate, 30), [(30, 40), (30, 50), (30, 60)]);
    }

    #[test]
    fn windows_are_ordered_by_their_end() {
        let (early, late) = (
            WindowSpan { start: 9, end: 10 },
            WindowSpan { start: 0, end: 11 },
        );
        assert!(early < late, "the order in which windows close");
    }
}
