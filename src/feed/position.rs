//! How far a source came. Plain data; it is what a `--resume` file holds.

use serde::{Deserialize, Serialize};

/// Where a source goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Position {
    /// In a file.
    File {
        /// The byte after the last line that was given out.
        offset: u64,
    },
    /// At an endpoint that gives a cursor.
    Cursor {
        /// The cursor of the page that is asked for next; `None`: the first page.
        cursor: Option<String>,
        /// Items of that page that were given out already.
        given: usize,
    },
    /// At an endpoint that is asked for what is newer.
    Since {
        /// The greatest value that was given out; `None`: nothing was.
        since: Option<String>,
        /// Which items with just this value were given out: a digest of each.
        given: Vec<String>,
    },
}
