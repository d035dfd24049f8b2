//! The numbers of short text keys that came lately, by their views: a key that comes again and again
//! needs neither its bytes nor a hash of them.
//!
//! A view (Arrow's `Utf8View`) of at most 12 bytes is the text itself, with its length; equal texts
//! have equal views. One entry for each place that a view's bits lead to, the last one that came there.
//! Invariant: an entry's number is the one that the interner gave to that text.

use arrow::array::{Array, StringViewArray};

/// Entries; a power of two.
const ENTRIES: usize = 256;
/// The longest text that is a view by itself, in bytes.
const SHORT_MAX: u32 = 12;
/// No short text has this view.
const NO_VIEW: u128 = u128::MAX;
/// Calls that are not served after one in which few keys were known.
const REST: u32 = 15;

/// Some texts and their numbers.
#[derive(Default)]
pub(super) struct RecentTexts {
    /// Empty until there was something to remember.
    views: Vec<u128>,
    numbers: Vec<u32>,
    /// Numbers may have gone to other texts.
    is_stale: bool,
    /// So many calls more it rests.
    resting: u32,
}

impl Clone for RecentTexts {
    /// It remembers nothing: that is as right.
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl RecentTexts {
    /// Whether it serves the next call; calls are counted by asking.
    pub(super) fn serves(&mut self) -> bool {
        if self.resting > 0 {
            self.resting -= 1;
            return false;
        }
        if self.views.is_empty() {
            self.views.resize(ENTRIES, NO_VIEW);
            self.numbers.resize(ENTRIES, 0);
        } else if self.is_stale {
            self.views.fill(NO_VIEW);
        }
        self.is_stale = false;
        true
    }

    /// Numbers the rows of a part of a column as far as they are known; the other rows, and NULLs, go to `unknown`.
    pub(super) fn number(
        &self,
        column: &StringViewArray,
        rows: std::ops::Range<usize>,
        numbers: &mut Vec<usize>,
        unknown: &mut Vec<usize>,
    ) {
        let nulls = column.nulls().filter(|nulls| nulls.null_count() > 0);
        let views = &column.views()[rows.clone()];
        for (row, view) in rows.zip(views) {
            let place = place(*view);
            numbers.push(self.numbers[place] as usize);
            if self.views[place] != *view || nulls.is_some_and(|nulls| nulls.is_null(row)) {
                unknown.push(row);
            }
        }
    }

    /// Remembers the number of a text that is not NULL.
    pub(super) fn remember(&mut self, view: u128, number: usize) {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a view's first bits are its length"
        )]
        let is_short = view as u32 <= SHORT_MAX;
        if is_short && let Ok(number) = u32::try_from(number) {
            let place = place(view);
            self.views[place] = view;
            self.numbers[place] = number;
        }
    }

    /// A call had so many rows, of which so many were not known.
    pub(super) fn had(&mut self, rows: usize, unknown: usize) {
        if unknown * 2 > rows {
            self.resting = REST;
        }
    }

    /// A number was taken from its text.
    pub(super) fn forget(&mut self) {
        self.is_stale = true;
    }

    /// Memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.views.capacity() * size_of::<u128>() + self.numbers.capacity() * size_of::<u32>()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "both halves are meant")]
fn place(view: u128) -> usize {
    let halves = view as u64 ^ (view >> 64) as u64;
    (halves.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - ENTRIES.ilog2())) as usize
}
