//! text and json: views into the batch's buffer, without copying.
//!
//! text takes strings, and numbers and booleans as they are written; objects and arrays are errors.
//! json takes any value as it is written, with its white space; `null` is NULL.
//!
//! A text of at most 12 bytes lies in the view itself. Longer ones keep the whole batch's buffer
//! alive as long as the array lives; without longer ones the array does not refer to it.
//! Texts with escapes are written out into a buffer of the column's own.

use std::sync::Arc;

use arrow::array::{ArrayRef, NullBufferBuilder, StringViewArray};
use arrow::buffer::{Buffer, ScalarBuffer};

use super::{Cells, Column, Problem, Wrong, append_validity};
use crate::format::json::slot::{Kind, Slot};
use crate::format::json::unescape::unescape;

/// The longest text that lies in its view.
const INLINE_MAX: usize = 12;
/// Where in a view the number of the buffer lies.
const BUFFER_SHIFT: u32 = 64;

pub(super) struct TextColumn {
    raw_json: bool,
    views: Vec<u128>,
    validity: NullBufferBuilder,
    nulls: Vec<usize>,
    /// Unescaped texts: buffer 1, or 0 if nothing refers to the batch's.
    unescaped: Vec<u8>,
    /// True if some view refers to the batch's buffer, buffer 0.
    refers_to_batch: bool,
}

impl TextColumn {
    pub(super) fn text() -> Self {
        Self {
            raw_json: false,
            views: Vec::new(),
            validity: NullBufferBuilder::new(0),
            nulls: Vec::new(),
            unescaped: Vec::new(),
            refers_to_batch: false,
        }
    }

    pub(super) fn raw_json() -> Self {
        Self {
            raw_json: true,
            ..Self::text()
        }
    }

    #[inline(always)]
    fn batch_view(&mut self, bytes: &[u8], start: usize, len: usize) -> u128 {
        self.refers_to_batch |= len > INLINE_MAX;
        view(bytes, start, len)
    }

    /// The view of a value that is not a plain text.
    #[inline(never)]
    fn uncommon(&mut self, row: usize, slot: Slot, bytes: &[u8], wrong: &mut Vec<Wrong>) -> u128 {
        match slot.kind() {
            Kind::Null => self.nulls.push(row),
            Kind::Object | Kind::Array if !self.raw_json => {
                self.nulls.push(row);
                wrong.push(Wrong {
                    row,
                    slot,
                    problem: Problem::Expected("text"),
                });
            }
            Kind::Escaped if !self.raw_json => {
                if let Some(view) = self.unescaped_view(slot.of(bytes)) {
                    return view;
                }
                self.nulls.push(row);
                wrong.push(Wrong {
                    row,
                    slot,
                    problem: Problem::Expected("text without the character U+0000"),
                });
            }
            _ => {
                let raw = slot.raw();
                return self.batch_view(bytes, raw.start, raw.len());
            }
        }
        0
    }

    /// `None` for a text with the character that PostgreSQL's texts cannot hold.
    fn unescaped_view(&mut self, content: &[u8]) -> Option<u128> {
        let start = self.unescaped.len();
        unescape(content, &mut self.unescaped);
        if self.unescaped[start..].contains(&0) {
            self.unescaped.truncate(start);
            return None;
        }
        let len = self.unescaped.len() - start;
        // As after the batch's own bytes: a view is made from sixteen of them.
        self.unescaped.extend_from_slice(&[0; 16]);
        let view = view(&self.unescaped, start, len);
        if len > INLINE_MAX {
            self.unescaped.truncate(start + len);
            Some(view | (1 << BUFFER_SHIFT))
        } else {
            self.unescaped.truncate(start);
            Some(view)
        }
    }
}

/// The view of a text in buffer 0, which has 16 bytes from `start` on.
#[inline(always)]
fn view(bytes: &[u8], start: usize, len: usize) -> u128 {
    let chunk: [u8; 16] = bytes[start..start + 16]
        .try_into()
        .expect("a slice of sixteen bytes");
    let chunk = u128::from_le_bytes(chunk);
    if len <= INLINE_MAX {
        // The first `len` bytes, behind the four of the length.
        let text = chunk & !(u128::MAX << (8 * len));
        (text << 32) | len as u128
    } else {
        let prefix = chunk & u128::from(u32::MAX);
        len as u128 | (prefix << 32) | ((start as u128) << 96)
    }
}

impl Column for TextColumn {
    fn reserve(&mut self, rows: usize) {
        self.views.reserve(rows);
    }

    fn append(&mut self, cells: Cells<'_>, wrong: &mut Vec<Wrong>) {
        self.nulls.clear();
        for (row, slot) in cells.iter().enumerate() {
            let view = if slot.is_plain() && !self.raw_json {
                self.batch_view(cells.bytes, slot.start(), slot.len())
            } else {
                self.uncommon(row, slot, cells.bytes, wrong)
            };
            self.views.push(view);
        }
        append_validity(&mut self.validity, cells.len(), &self.nulls);
    }

    fn finish(&mut self, buffer: &Buffer) -> ArrayRef {
        let mut views = std::mem::take(&mut self.views);
        let unescaped = Buffer::from_vec(std::mem::take(&mut self.unescaped));
        let mut buffers = Vec::new();
        if self.refers_to_batch {
            buffers.push(buffer.clone());
        } else if !unescaped.is_empty() {
            // Then the other buffer is buffer 0.
            for view in &mut views {
                if *view & u128::from(u32::MAX) > INLINE_MAX as u128 {
                    *view &= !(1 << BUFFER_SHIFT);
                }
            }
        }
        if !unescaped.is_empty() {
            buffers.push(unescaped);
        }
        self.refers_to_batch = false;
        string_views(views, buffers, &mut self.validity)
    }
}

#[expect(
    unsafe_code,
    reason = "checking every view again costs as much as making it"
)]
fn string_views(
    views: Vec<u128>,
    buffers: Vec<Buffer>,
    validity: &mut NullBufferBuilder,
) -> ArrayRef {
    // SAFETY: every view was made by `view` from a range inside the buffer that it names, with its
    // length and first bytes. The ranges are whole JSON strings or values of messages that were
    // checked to be UTF-8, or whole unescaped strings, so they are UTF-8 themselves. The validity
    // has one entry a view.
    let array = unsafe {
        StringViewArray::new_unchecked(ScalarBuffer::from(views), buffers, validity.finish())
    };
    Arc::new(array)
}
