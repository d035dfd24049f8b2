//! boolean: from `true` and `false`, also as strings in any case.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, BooleanBufferBuilder, NullBufferBuilder};
use arrow::buffer::Buffer;

use super::{Cells, Column, Problem, Wrong, append_validity};
use crate::format::json::slot::{Kind, Slot};

pub(super) struct BooleanColumn {
    values: BooleanBufferBuilder,
    validity: NullBufferBuilder,
    nulls: Vec<usize>,
}

impl Default for BooleanColumn {
    fn default() -> Self {
        Self {
            values: BooleanBufferBuilder::new(0),
            validity: NullBufferBuilder::new(0),
            nulls: Vec::new(),
        }
    }
}

/// The value; `None` if it is none.
fn parse(slot: Slot, bytes: &[u8]) -> Option<bool> {
    match slot.kind() {
        Kind::True => Some(true),
        Kind::False => Some(false),
        Kind::String | Kind::Escaped => {
            let text = slot.text(bytes);
            if text.eq_ignore_ascii_case(b"true") {
                Some(true)
            } else {
                text.eq_ignore_ascii_case(b"false").then_some(false)
            }
        }
        Kind::Null | Kind::Number | Kind::Object | Kind::Array => None,
    }
}

impl Column for BooleanColumn {
    fn reserve(&mut self, rows: usize) {
        self.values.reserve(rows);
    }

    fn append(&mut self, cells: Cells<'_>, wrong: &mut Vec<Wrong>) {
        self.nulls.clear();
        for (row, slot) in cells.iter().enumerate() {
            let value = parse(slot, cells.bytes);
            if value.is_none() {
                self.nulls.push(row);
                if slot != Slot::NULL {
                    wrong.push(Wrong {
                        row,
                        slot,
                        problem: Problem::Expected("true or false"),
                    });
                }
            }
            self.values.append(value.unwrap_or_default());
        }
        append_validity(&mut self.validity, cells.len(), &self.nulls);
    }

    fn finish(&mut self, _buffer: &Buffer) -> ArrayRef {
        Arc::new(BooleanArray::new(
            self.values.finish(),
            self.validity.finish(),
        ))
    }
}
