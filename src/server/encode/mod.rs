//! Arrow values as PostgreSQL values, in text and in binary.
//!
//! Owns how a value looks on the wire. Knows nothing of messages, statements or sessions.
//!
//! ```text
//! RecordBatch --columns(once a batch)--> Column (typed arrays) --text | binary (each row)--> bytes
//! ```
//! Invariant: all decisions about types are taken once a batch; a row only writes.

mod array;
mod binary;
mod column;
mod number;
mod text;
mod time;

use arrow::array::RecordBatch;
use arrow::array::timezone::Tz;
use bytes::{BufMut, BytesMut};

pub(crate) use column::Column;

use crate::error::{Error, Result, SqlState};

/// How a column's values are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// As people read them.
    Text,
    /// As PostgreSQL's binary representation.
    Binary,
}

impl Format {
    /// The code that stands for it in messages.
    pub(crate) fn code(self) -> i16 {
        match self {
            Self::Text => 0,
            Self::Binary => 1,
        }
    }

    /// Reads a message's code.
    ///
    /// # Errors
    /// For a code that PostgreSQL does not know.
    pub(crate) fn from_code(code: i16) -> Result<Self> {
        match code {
            0 => Ok(Self::Text),
            1 => Ok(Self::Binary),
            other => Err(Error::user(
                SqlState::ProtocolViolation,
                format!("unsupported format code: {other}"),
            )),
        }
    }
}

/// What the session says about how values look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// The zone in which a timestamptz is written as text.
    pub zone: Tz,
}

/// The columns of one batch, ready to be written row by row.
pub(crate) fn columns(batch: &RecordBatch) -> Result<Vec<Column>> {
    batch
        .columns()
        .iter()
        .zip(batch.schema_ref().fields())
        .map(|(array, field)| Column::try_new(array, field))
        .collect()
}

/// Writes a value as text; the caller has seen that it is not null.
pub(crate) fn write_text(column: &Column, row: usize, style: Style, out: &mut BytesMut) {
    text::write(column, row, style, out);
}

/// Writes a value preceded by its length, or -1 for null, as data rows and binary copies have it.
///
/// # Errors
/// When a value has no binary form (an array whose inner arrays differ in length).
pub(crate) fn write_sized(
    column: &Column,
    row: usize,
    format: Format,
    style: Style,
    out: &mut BytesMut,
) -> Result<()> {
    if column.is_null(row) {
        out.put_i32(-1);
        return Ok(());
    }
    sized(out, |out| match format {
        Format::Text => {
            text::write(column, row, style, out);
            Ok(())
        }
        Format::Binary => binary::write(column, row, style, out),
    })
}

/// Writes what `body` writes, preceded by its length in bytes.
pub(crate) fn sized(
    out: &mut BytesMut,
    body: impl FnOnce(&mut BytesMut) -> Result<()>,
) -> Result<()> {
    let at = out.len();
    out.put_i32(0);
    body(out)?;
    let length = i32::try_from(out.len() - at - 4).map_err(|_| {
        Error::user(
            SqlState::ProgramLimitExceeded,
            "a value is larger than 2 GB",
        )
    })?;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

#[cfg(test)]
mod tests;
