//! A slot: where one value lies in the batch's buffer and what it looks like, in eight bytes.
//!
//! ```text
//! 63         32 31  28 27          0
//! |  offset   | kind |   length    |     all zero: missing or null
//! ```
//! Invariant: a slot's range lies inside the payload of one message whose syntax was checked.

use std::borrow::Cow;
use std::ops::Range;

use super::unescape::unescape;

/// What kind of JSON value a slot points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Missing, or `null`.
    Null,
    /// A string without escapes.
    String,
    /// A string with escapes.
    Escaped,
    /// A number.
    Number,
    /// `true`.
    True,
    /// `false`.
    False,
    /// An object.
    Object,
    /// An array.
    Array,
}

/// Where a value lies. For strings the range is the content between the quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Slot(u64);

const KIND_SHIFT: u32 = 28;
const LEN_MASK: u64 = (1 << KIND_SHIFT) - 1;
/// Set for the two kinds whose bytes are the value's text as it is.
const PLAIN: u64 = 0b1000;
const STRING: u64 = PLAIN;
const NUMBER: u64 = PLAIN | 1;
const ESCAPED: u64 = 1;
const TRUE: u64 = 2;
const FALSE: u64 = 3;
const OBJECT: u64 = 4;
const ARRAY: u64 = 5;

impl Slot {
    /// Nothing there, or `null`.
    pub(super) const NULL: Self = Self(0);

    #[inline(always)]
    const fn new(kind: u64, start: usize, end: usize) -> Self {
        Self(((start as u64) << 32) | (kind << KIND_SHIFT) | (end - start) as u64)
    }

    /// A string whose content lies between `start` and `end`.
    #[inline(always)]
    pub(super) fn string(start: usize, end: usize, escaped: bool) -> Self {
        Self::new(if escaped { ESCAPED } else { STRING }, start, end)
    }

    #[inline(always)]
    pub(super) fn number(start: usize, end: usize) -> Self {
        Self::new(NUMBER, start, end)
    }

    pub(super) fn boolean(value: bool, start: usize, end: usize) -> Self {
        Self::new(if value { TRUE } else { FALSE }, start, end)
    }

    pub(super) fn object(start: usize, end: usize) -> Self {
        Self::new(OBJECT, start, end)
    }

    pub(super) fn array(start: usize, end: usize) -> Self {
        Self::new(ARRAY, start, end)
    }

    /// True for a string without escapes and for a number.
    #[inline(always)]
    pub(super) fn is_plain(self) -> bool {
        self.0 & (PLAIN << KIND_SHIFT) != 0
    }

    pub(super) fn kind(self) -> Kind {
        match (self.0 >> KIND_SHIFT) & 0xf {
            STRING => Kind::String,
            NUMBER => Kind::Number,
            ESCAPED => Kind::Escaped,
            TRUE => Kind::True,
            FALSE => Kind::False,
            OBJECT => Kind::Object,
            ARRAY => Kind::Array,
            _ => Kind::Null,
        }
    }

    /// The first byte of its range.
    #[inline(always)]
    pub(super) fn start(self) -> usize {
        (self.0 >> 32) as usize
    }

    /// The length of its range.
    #[inline(always)]
    pub(super) fn len(self) -> usize {
        (self.0 & LEN_MASK) as usize
    }

    /// Its bytes.
    #[inline(always)]
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start()..self.start() + self.len()]
    }

    /// The text of a string, or the JSON text of another value.
    pub(super) fn text(self, bytes: &[u8]) -> Cow<'_, [u8]> {
        let content = self.of(bytes);
        if self.kind() != Kind::Escaped {
            return Cow::Borrowed(content);
        }
        let mut text = Vec::with_capacity(content.len());
        unescape(content, &mut text);
        Cow::Owned(text)
    }

    /// The range of the value's own JSON text: with its quotes, if it is a string.
    pub(super) fn raw(self) -> Range<usize> {
        let range = self.start()..self.start() + self.len();
        match self.kind() {
            Kind::String | Kind::Escaped => range.start - 1..range.end + 1,
            _ => range,
        }
    }
}
