//! Keys of one number or time, by their values' bytes: nothing is converted on the way in or out.
//!
//! NULL has a number like any other key, and zeros in its place, but is not looked for by them.

use arrow::array::{Array, ArrayData, ArrayRef, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, MutableBuffer, NullBuffer};
use arrow::datatypes::DataType;

use super::interner::Interner;
use crate::error::{Error, Result, from_arrow};

/// Numbered values of one primitive type.
#[derive(Clone)]
pub(super) struct PackedKeys {
    data_type: DataType,
    width: usize,
    interner: Interner,
    /// NULL's number, if it was met.
    null: Option<usize>,
}

impl PackedKeys {
    /// No keys yet; `None` when values of the type are not of one width.
    pub(super) fn try_new(data_type: &DataType) -> Option<Self> {
        Some(Self {
            width: data_type.primitive_width()?,
            data_type: data_type.clone(),
            interner: Interner::new(true),
            null: None,
        })
    }

    /// One more than the greatest number.
    pub(super) fn len(&self) -> usize {
        self.interner.len()
    }

    /// The number of keys that were not removed.
    pub(super) fn live(&self) -> usize {
        self.interner.live()
    }

    /// Writes each row's number behind those in `numbers`.
    pub(super) fn intern(&mut self, column: &ArrayRef, numbers: &mut Vec<usize>) -> Result<()> {
        let data = column.to_data();
        if data.data_type() != &self.data_type {
            let found = data.data_type();
            return Err(Error::internal(format!("a key came as {found}")));
        }
        let width = self.width;
        let bytes = &data.buffers()[0].as_slice()[data.offset() * width..];
        let value = |row: usize| &bytes[row * width..(row + 1) * width];
        let Some(nulls) = column.nulls().filter(|nulls| nulls.null_count() > 0) else {
            self.interner.intern(column.len(), value, numbers);
            return Ok(());
        };
        // Between one NULL and the next all keys are looked up together.
        let mut first = 0;
        for (start, end) in nulls.valid_slices() {
            for _ in first..start {
                numbers.push(self.null_number());
            }
            self.interner
                .intern(end - start, |row| value(start + row), numbers);
            first = end;
        }
        for _ in first..column.len() {
            numbers.push(self.null_number());
        }
        Ok(())
    }

    /// The same for all keys of another table.
    pub(super) fn intern_all(&mut self, other: &Self, numbers: &mut Vec<usize>) {
        let null = other.null.unwrap_or(other.len());
        self.interner
            .intern(null, |number| other.interner.bytes(number), numbers);
        if other.null.is_some() {
            numbers.push(self.null_number());
            let rest = other.len() - null - 1;
            let key = |number: usize| other.interner.bytes(null + 1 + number);
            self.interner.intern(rest, key, numbers);
        }
    }

    fn null_number(&mut self) -> usize {
        let zeros = [0u8; size_of::<i128>() * 2];
        let (interner, width) = (&mut self.interner, self.width);
        *self
            .null
            .get_or_insert_with(|| interner.add_hidden(&zeros[..width]))
    }

    /// Forgets a key; its number goes to a later one.
    pub(super) fn remove(&mut self, number: usize) {
        match self.null == Some(number) {
            true => {
                self.null = None;
                self.interner.remove_hidden(number);
            }
            false => self.interner.remove(number),
        }
    }

    /// The keys of some numbers.
    pub(super) fn read(&self, numbers: impl Iterator<Item = usize>) -> Result<ArrayRef> {
        let room = numbers.size_hint().0 * self.width;
        let mut values = MutableBuffer::with_capacity(room);
        let mut null_at = Vec::new();
        let mut rows = 0;
        for number in numbers {
            values.extend_from_slice(self.interner.bytes(number));
            if self.null == Some(number) {
                null_at.push(rows);
            }
            rows += 1;
        }
        let nulls = (!null_at.is_empty()).then(|| {
            let is_null = |row: usize| null_at.binary_search(&row).is_ok();
            NullBuffer::new(BooleanBuffer::collect_bool(rows, |row| !is_null(row)))
        });
        let data = ArrayData::builder(self.data_type.clone())
            .len(rows)
            .nulls(nulls)
            .add_buffer(Buffer::from(values));
        Ok(make_array(data.build().map_err(from_arrow)?))
    }

    /// Memory held, in bytes.
    pub(super) fn size_bytes(&self) -> usize {
        self.interner.size_bytes()
    }
}
