//! Columns whose entries are numbers of one width: the loop that all of them share.

use std::sync::Arc;

use arrow::array::{ArrayRef, ArrowPrimitiveType, NullBufferBuilder, PrimitiveArray};
use arrow::buffer::Buffer;
use arrow::datatypes::DataType;

use super::{Cells, Column, Problem, Wrong, append_validity};
use crate::format::json::number::Padded;
use crate::format::json::slot::{Kind, Slot};

/// How a type reads one value.
pub(super) trait Convert: Send {
    /// The Arrow type.
    type Arrow: ArrowPrimitiveType;

    /// The common form of a string or number; `None` sends it to [`Convert::convert`].
    fn quick(&mut self, text: Padded<'_>) -> Option<<Self::Arrow as ArrowPrimitiveType>::Native>;

    /// Any value but null; `text` is a string's text or another value's JSON.
    fn convert(
        &self,
        kind: Kind,
        text: &[u8],
    ) -> Result<<Self::Arrow as ArrowPrimitiveType>::Native, Problem>;
}

/// A column of such values.
pub(super) struct PrimitiveColumn<C: Convert> {
    convert: C,
    data_type: DataType,
    values: Vec<<C::Arrow as ArrowPrimitiveType>::Native>,
    validity: NullBufferBuilder,
    /// Rows of the block at hand that are null or bad.
    nulls: Vec<usize>,
}

impl<C: Convert> PrimitiveColumn<C> {
    pub(super) fn new(convert: C, data_type: DataType) -> Self {
        let validity = NullBufferBuilder::new(0);
        Self {
            convert,
            data_type,
            values: Vec::new(),
            validity,
            nulls: Vec::new(),
        }
    }

    /// Everything that is not a string or number of the common form.
    #[inline(never)]
    fn uncommon(
        &mut self,
        row: usize,
        slot: Slot,
        bytes: &[u8],
        wrong: &mut Vec<Wrong>,
    ) -> <C::Arrow as ArrowPrimitiveType>::Native {
        if slot != Slot::NULL {
            let kind = match slot.kind() {
                Kind::Escaped => Kind::String,
                kind => kind,
            };
            match self.convert.convert(kind, &slot.text(bytes)) {
                Ok(value) => return value,
                Err(problem) => wrong.push(Wrong { row, slot, problem }),
            }
        }
        self.nulls.push(row);
        Default::default()
    }
}

impl<C: Convert> Column for PrimitiveColumn<C> {
    fn reserve(&mut self, rows: usize) {
        self.values.reserve(rows);
    }

    fn append(&mut self, cells: Cells<'_>, wrong: &mut Vec<Wrong>) {
        self.nulls.clear();
        for (row, slot) in cells.iter().enumerate() {
            let quick = match slot.is_plain() {
                true => self
                    .convert
                    .quick(Padded::new(cells.bytes, slot.start(), slot.len())),
                false => None,
            };
            let value = match quick {
                Some(value) => value,
                None => self.uncommon(row, slot, cells.bytes, wrong),
            };
            self.values.push(value);
        }
        append_validity(&mut self.validity, cells.len(), &self.nulls);
    }

    fn finish(&mut self, _buffer: &Buffer) -> ArrayRef {
        let values = std::mem::take(&mut self.values);
        let array = PrimitiveArray::<C::Arrow>::new(values.into(), self.validity.finish());
        Arc::new(array.with_data_type(self.data_type.clone()))
    }
}
