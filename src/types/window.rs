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
}

impl WindowKind {
    /// The start of the window that a time lies in; `None` when it cannot be represented.
    pub fn start_of(self, time: i64) -> Option<i64> {
        match self {
            Self::Tumble { size, offset } => {
                let shift = time.checked_sub(offset)?.rem_euclid(size);
                time.checked_sub(shift)
            }
        }
    }

    /// The length of a window.
    pub fn size(self) -> i64 {
        match self {
            Self::Tumble { size, .. } => size,
        }
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
    /// The column's name.
    pub fn column(self) -> &'static str {
        match self {
            Self::Start => "window_start",
            Self::End => "window_end",
            Self::Time => "window_time",
        }
    }

    /// How far the bound lies after the start of a window of the given kind. Microseconds.
    pub fn after_start(self, kind: WindowKind) -> i64 {
        match self {
            Self::Start => 0,
            Self::End => kind.size(),
            Self::Time => kind.size() - 1,
        }
    }
}

impl fmt::Display for WindowKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tumble { size, offset } => {
                write!(f, "tumble {}", length(*size))?;
                if *offset != 0 {
                    write!(f, " offset {}", length(*offset))?;
                }
                Ok(())
            }
        }
    }
}

fn length(micros: i64) -> String {
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
    use super::{WindowBound, WindowKind};

    #[test]
    fn a_tumbling_window_starts_at_a_multiple_of_its_size_plus_the_offset() {
        let minute = WindowKind::Tumble {
            size: 60,
            offset: 0,
        };
        assert_eq!(WindowBound::Time.after_start(minute), 59);
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
    }
}
