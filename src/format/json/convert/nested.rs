//! arrays and row types: an element or member is a column of its own.
//!
//! A list walks its elements into a row of slots for the element's column; a struct finds its
//! members with a tokenizer of its own, by name, each missing one NULL. The syntax was checked when
//! the message was read, so that walking again cannot fail.

use std::sync::Arc;

use arrow::array::{ArrayRef, ListArray, NullBufferBuilder, StructArray};
use arrow::buffer::{Buffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{FieldRef, Fields};

use super::{Cells, Column, Problem, Wrong, append_validity, column};
use crate::error::{Error, Result};
use crate::format::json::field::JsonKind;
use crate::format::json::scan::Text;
use crate::format::json::slot::{Kind, Slot};
use crate::format::json::tokenizer::Tokenizer;
use crate::types::PathStep;

/// A column of arrays.
pub(super) struct ListColumn {
    element: FieldRef,
    elements: Box<dyn Column>,
    offsets: Vec<i32>,
    validity: NullBufferBuilder,
}

impl ListColumn {
    pub(super) fn try_new(element: FieldRef) -> Result<Self> {
        let elements = nullable_column(&element)?;
        Ok(Self {
            element,
            elements,
            offsets: vec![0],
            validity: NullBufferBuilder::new(0),
        })
    }
}

/// The column of an inner field. JSON can put a null anywhere, so the field must allow it.
fn nullable_column(field: &FieldRef) -> Result<Box<dyn Column>> {
    if !field.is_nullable() {
        let name = field.name();
        return Err(Error::internal(format!(
            "inner field \"{name}\" of a JSON column is not null"
        )));
    }
    column(field.data_type(), JsonKind::of(field))
}

impl Column for ListColumn {
    fn reserve(&mut self, rows: usize) {
        self.offsets.reserve(rows);
    }

    fn append(&mut self, cells: Cells<'_>, wrong: &mut Vec<Wrong>) {
        let mut slots = Vec::new();
        let mut ends = Vec::with_capacity(cells.len());
        let mut nulls = Vec::new();
        for (row, slot) in cells.iter().enumerate() {
            match slot.kind() {
                Kind::Array => Text::new(cells.bytes, slot.start() + slot.len())
                    .elements(slot.start(), &mut slots)
                    .expect("the array's syntax was checked with its message"),
                Kind::Null => nulls.push(row),
                _ => {
                    nulls.push(row);
                    wrong.push(Wrong {
                        row,
                        slot,
                        problem: Problem::Expected("an array"),
                    });
                }
            }
            ends.push(slots.len());
        }
        let inner = Cells {
            bytes: cells.bytes,
            slots: &slots,
            width: 1,
            slot: 0,
        };
        let mut wrong_elements = Vec::new();
        self.elements.append(inner, &mut wrong_elements);
        wrong.extend(wrong_elements.into_iter().map(|element| {
            // The row of an element is the first whose end lies behind it.
            let row = ends.partition_point(|&end| end <= element.row);
            Wrong { row, ..element }
        }));
        let first = *self.offsets.last().expect("there is always a first offset");
        self.offsets.extend(
            ends.into_iter()
                .map(|end| first + i32::try_from(end).expect("a batch has fewer than 2^31 bytes")),
        );
        append_validity(&mut self.validity, cells.len(), &nulls);
    }

    fn finish(&mut self, buffer: &Buffer) -> ArrayRef {
        let offsets = std::mem::replace(&mut self.offsets, vec![0]);
        let offsets = OffsetBuffer::new(ScalarBuffer::from(offsets));
        let values = self.elements.finish(buffer);
        let validity = self.validity.finish();
        Arc::new(ListArray::new(
            Arc::clone(&self.element),
            offsets,
            values,
            validity,
        ))
    }
}

/// A column of a row type.
pub(super) struct StructColumn {
    fields: Fields,
    members: Vec<Box<dyn Column>>,
    /// The slot of each member.
    slot_of: Vec<usize>,
    tokenizer: Tokenizer,
    rows: usize,
    validity: NullBufferBuilder,
}

impl StructColumn {
    pub(super) fn try_new(fields: Fields) -> Result<Self> {
        let members = fields.iter().map(nullable_column).collect::<Result<_>>()?;
        let paths: Vec<_> = fields
            .iter()
            .map(|field| vec![PathStep::Key(field.name().clone())])
            .collect();
        let (tokenizer, slot_of) = Tokenizer::new(&paths);
        let validity = NullBufferBuilder::new(0);
        Ok(Self {
            fields,
            members,
            slot_of,
            tokenizer,
            rows: 0,
            validity,
        })
    }
}

impl Column for StructColumn {
    fn reserve(&mut self, rows: usize) {
        for member in &mut self.members {
            member.reserve(rows);
        }
    }

    fn append(&mut self, cells: Cells<'_>, wrong: &mut Vec<Wrong>) {
        let width = self.tokenizer.slots();
        let mut slots = vec![Slot::NULL; cells.len() * width];
        let mut nulls = Vec::new();
        for (row, slot) in cells.iter().enumerate() {
            match slot.kind() {
                Kind::Object => {
                    let text = Text::new(cells.bytes, slot.start() + slot.len());
                    self.tokenizer
                        .message(
                            text,
                            slot.start(),
                            &mut slots[row * width..(row + 1) * width],
                        )
                        .expect("the object's syntax was checked with its message");
                }
                Kind::Null => nulls.push(row),
                _ => {
                    nulls.push(row);
                    wrong.push(Wrong {
                        row,
                        slot,
                        problem: Problem::Expected("an object"),
                    });
                }
            }
        }
        for (member, &slot) in self.members.iter_mut().zip(&self.slot_of) {
            member.append(
                Cells {
                    bytes: cells.bytes,
                    slots: &slots,
                    width,
                    slot,
                },
                wrong,
            );
        }
        self.rows += cells.len();
        append_validity(&mut self.validity, cells.len(), &nulls);
    }

    fn finish(&mut self, buffer: &Buffer) -> ArrayRef {
        let members = self
            .members
            .iter_mut()
            .map(|member| member.finish(buffer))
            .collect();
        let rows = std::mem::take(&mut self.rows);
        let validity = self.validity.finish();
        let array = StructArray::try_new_with_length(self.fields.clone(), members, validity, rows);
        Arc::new(array.expect("every member has one entry a row and the type of its field"))
    }
}
