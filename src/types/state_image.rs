//! What a query's operators hold, as rows: the form in which state goes to a checkpoint and comes back.
//!
//! ```text
//! image 1 (whole)   window 12:00   BTC 5   ETH 2        after it: BTC 7, ETH 2, DOGE 1
//! image 2 (delta)   window 12:00   BTC 7   DOGE 1
//! ```
//! Invariant: a row of an image says all there is to know of its key, so that of two images the later
//! one counts.

use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

/// One table of a query's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableId {
    /// 0 is the aggregate of the lanes; then those of the output, in the plan's order.
    pub operator: usize,
    /// The lane, 0 for the operators of the output.
    pub lane: usize,
    /// What the table holds.
    pub place: TablePlace,
}

/// What a table of an operator's state holds. Bounds are microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TablePlace {
    /// All groups of an aggregate without a window.
    Groups,
    /// All open sessions, by number.
    Sessions,
    /// Sessions that were joined to others and whose last form has yet to be taken back, by number.
    JoinedSessions,
    /// The groups of a window.
    Window {
        /// Its start.
        start: i64,
        /// Its end.
        end: i64,
    },
    /// The groups of a pane, as far as they count from the window that ends at `from_end` on.
    Pane {
        /// Its start.
        start: i64,
        /// The end of the first window that they count in.
        from_end: i64,
    },
    /// The sum of the panes of a cumulating window's start.
    Running {
        /// The start.
        start: i64,
    },
    /// The rows of a materialized view.
    View,
}

impl TableId {
    /// The rows of a materialized view, which are no operator's.
    pub const VIEW: Self = Self {
        operator: u32::MAX as usize,
        lane: 0,
        place: TablePlace::View,
    };
}

/// Rows of one table.
#[derive(Debug, Clone)]
pub struct TableRows {
    /// Whose.
    pub table: TableId,
    /// A boolean column that is true where the key is there no more (all columns behind the key are
    /// then NULL), the key's columns, then what is known of the key.
    pub rows: RecordBatch,
    /// How many columns the key has.
    pub key_columns: usize,
}

/// A query's state, or what of it differs from the image before.
#[derive(Debug, Clone, Default)]
pub struct StateImage {
    /// True when the image stands for itself; false when rows that it does not name are as they were.
    pub is_whole: bool,
    /// Every table that there is. Rows of others are gone.
    pub tables: Vec<TableId>,
    /// New and changed rows; a table may come more than once, the later rows count.
    pub rows: Vec<TableRows>,
    /// Numbers that operators keep beside their tables, by operator, lane and name.
    pub notes: Vec<StateNote>,
}

/// A number that an operator keeps beside its tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateNote {
    /// As in [`TableId`].
    pub operator: usize,
    /// As in [`TableId`].
    pub lane: usize,
    /// What it is.
    pub name: String,
    /// The number.
    pub value: i64,
}
