//! Grouped aggregation, with or without a window.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

/// A grouped aggregation.
#[derive(Debug, Clone)]
pub struct AggregatePlan {
    /// The window, if the groups have one.
    pub window: Option<WindowPlan>,
    /// The key expressions, without the window's columns.
    pub keys: Vec<(Arc<dyn PhysicalExpr>, FieldRef)>,
    /// The aggregates.
    pub calls: Vec<AggregateCall>,
    /// What each group column of the output is; the aggregates follow them.
    pub groups: Vec<GroupColumn>,
    /// The output: the group columns, then the aggregates.
    pub schema: SchemaRef,
}

/// A window whose columns are among the keys.
#[derive(Debug, Clone)]
pub struct WindowPlan {
    /// Which windows.
    pub kind: WindowKind,
    /// The start of each row's window or pane; a timestamp in microseconds.
    pub start: Arc<dyn PhysicalExpr>,
}

/// What a group column of the output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupColumn {
    /// The start of the window.
    WindowStart,
    /// Its (exclusive) end.
    WindowEnd,
    /// Its last instant: the end less one microsecond.
    WindowTime,
    /// A key of [`AggregatePlan::keys`].
    Key(usize),
}

/// One aggregate function with its arguments.
#[derive(Debug, Clone)]
pub struct AggregateCall {
    /// The function; its ordering expressions follow its arguments.
    pub function: Arc<AggregateFunctionExpr>,
    /// Arguments, then the expressions of its ORDER BY.
    pub arguments: Vec<Arc<dyn PhysicalExpr>>,
    /// The FILTER clause.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

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
    use super::WindowKind;

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
    }
}
