//! From slots to Arrow arrays, a column at a time.
//!
//! Owns which JSON values a type accepts. Knows no syntax: a slot's range is a checked value.
//! Invariant: a column appends exactly one entry for each slot, also for a bad value (a null, with
//! a note in `wrong`), so that all columns of a block stay of one length.

mod binary;
mod boolean;
mod floats;
mod integers;
mod interval;
mod nested;
mod numeric;
mod primitive;
mod text;
mod times;
mod timestamps;

use std::sync::Arc;

use arrow::array::{ArrayRef, NullBufferBuilder};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};

use super::field::JsonKind;
use super::slot::Slot;
use crate::error::{Error, Result, SqlState};

pub(super) use timestamps::parse_timestamp;

/// The slots of one column in a block of rows.
#[derive(Clone, Copy)]
pub(super) struct Cells<'a> {
    /// The batch's buffer.
    pub(super) bytes: &'a [u8],
    /// All slots of the block, row after row.
    pub(super) slots: &'a [Slot],
    /// How many slots a row has.
    pub(super) width: usize,
    /// Which of them is this column's.
    pub(super) slot: usize,
}

impl<'a> Cells<'a> {
    pub(super) fn len(self) -> usize {
        self.slots.len() / self.width
    }

    #[inline(always)]
    pub(super) fn iter(self) -> impl Iterator<Item = Slot> + 'a {
        self.slots
            .chunks_exact(self.width)
            .map(move |row| row[self.slot])
    }
}

/// A value that its column cannot take.
pub(super) struct Wrong {
    /// The row in the block.
    pub(super) row: usize,
    /// The value; an element or member of it, for nested types.
    pub(super) slot: Slot,
    pub(super) problem: Problem,
}

/// Why a column cannot take a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Problem {
    /// It is not one of these.
    Expected(&'static str),
    /// It is one, but it does not fit this SQL type.
    OutOfRange(String),
}

impl Problem {
    #[cold]
    fn out_of_range(sql_type: impl Into<String>) -> Self {
        Self::OutOfRange(sql_type.into())
    }
}

/// Builds one column's array.
pub(super) trait Column: Send {
    /// Makes room for so many more entries at once.
    fn reserve(&mut self, rows: usize);

    /// Appends one entry for each cell; bad values are noted in `wrong`.
    fn append(&mut self, cells: Cells<'_>, wrong: &mut Vec<Wrong>);

    /// The array of all that was appended since the last call; `buffer` holds the cells' bytes.
    fn finish(&mut self, buffer: &Buffer) -> ArrayRef;
}

/// A builder for a type.
pub(super) fn column(data_type: &DataType, kind: JsonKind) -> Result<Box<dyn Column>> {
    if kind == JsonKind::RawJson {
        return match data_type {
            DataType::Utf8View => Ok(Box::new(text::TextColumn::raw_json())),
            _ => Err(Error::internal(format!(
                "json columns are Utf8View, not {data_type}"
            ))),
        };
    }
    Ok(match data_type {
        DataType::Boolean => Box::new(boolean::BooleanColumn::default()),
        DataType::Int16 => integers::smallint(),
        DataType::Int32 => integers::integer(),
        DataType::Int64 => integers::bigint(),
        DataType::Float32 => floats::real(),
        DataType::Float64 => floats::double(),
        DataType::Decimal128(precision, scale) => numeric::numeric(*precision, *scale),
        DataType::Utf8View => Box::new(text::TextColumn::text()),
        DataType::Binary => Box::new(binary::BinaryColumn::default()),
        DataType::Date32 => times::date(),
        DataType::Time64(TimeUnit::Microsecond) => times::time(),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => timestamps::timestamp(zone.clone()),
        DataType::Interval(IntervalUnit::MonthDayNano) => interval::interval(),
        DataType::List(element) => Box::new(nested::ListColumn::try_new(Arc::clone(element))?),
        DataType::Struct(members) => Box::new(nested::StructColumn::try_new(members.clone())?),
        other => {
            return Err(Error::user(
                SqlState::FeatureNotSupported,
                format!("cannot read type {other} from JSON"),
            ));
        }
    })
}

/// Marks `rows` entries as valid, except those at `nulls` (rising).
fn append_validity(validity: &mut NullBufferBuilder, rows: usize, nulls: &[usize]) {
    let mut done = 0;
    for &null in nulls {
        validity.append_n_non_nulls(null - done);
        validity.append_null();
        done = null + 1;
    }
    validity.append_n_non_nulls(rows - done);
}
