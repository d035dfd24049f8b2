//! Rows to JSON: one object a row, each a line.
//!
//! Owns how each type is written, so that [`JsonDecoder`](super::JsonDecoder) reads back the same
//! value:
//!
//! | type | written as |
//! |---|---|
//! | boolean, integers, numeric | `true`, `42`, `12.50`: numbers with all their digits |
//! | real, double precision | the shortest number that reads back; `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | text | a string |
//! | json | as it is, line ends made spaces |
//! | bytea | `"\\x6869"` |
//! | timestamp, timestamptz | `"2018-07-17T17:00:00.015Z"`: UTC, as many fraction digits as needed |
//! | date, time | `"2018-07-17"`, `"17:00:00.015"` |
//! | interval | `"P1Y2M3DT4H5M6.5S"` |
//! | arrays, row types | arrays, objects |
//! | NULL | `null` |
//!
//! Invariant: a row never contains a line end.

mod values;

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef};

use crate::error::{Error, Result, SqlState};
use values::{Values, canonical, key_text};

/// Encodes batches of one schema.
#[derive(Debug, Clone)]
pub struct JsonEncoder {
    schema: SchemaRef,
    /// The type that each column is brought to before it is written.
    canonical: Vec<DataType>,
    /// `{"name":` or `,"name":`, a column each.
    keys: Vec<Vec<u8>>,
}

/// The rows of a batch as text.
#[derive(Debug, Clone, Default)]
pub struct EncodedRows {
    bytes: Vec<u8>,
    /// Where each row ends, before its line end.
    ends: Vec<usize>,
}

impl EncodedRows {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All rows, each with a line end (`\n`): NDJSON as it is.
    pub fn lines(&self) -> &[u8] {
        &self.bytes
    }

    /// One row's object, without a line end.
    pub fn row(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] + 1 };
        &self.bytes[start..self.ends[row]]
    }

    /// The rows' objects in order, without line ends.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|row| self.row(row))
    }
}

impl IntoIterator for EncodedRows {
    type Item = Vec<u8>;
    type IntoIter = Box<dyn Iterator<Item = Vec<u8>>>;

    /// The rows' objects in order, each in a buffer of its own.
    fn into_iter(self) -> Self::IntoIter {
        Box::new((0..self.len()).map(move |row| self.row(row).to_vec()))
    }
}

impl JsonEncoder {
    /// An encoder for batches of this schema.
    ///
    /// An error if two columns have the same name, or a type has no form in JSON. A column is `json`
    /// if [`JsonKind::of`](super::JsonKind::of) its field says so.
    pub fn try_new(schema: SchemaRef) -> Result<Self> {
        let mut canonical_types = Vec::new();
        let mut keys = Vec::new();
        for (place, field) in schema.fields().iter().enumerate() {
            let name = field.name();
            if schema.fields()[..place]
                .iter()
                .any(|other| other.name() == name)
            {
                let message = format!("column \"{name}\" appears twice");
                return Err(Error::user(SqlState::DuplicateColumn, message)
                    .hint("Give one of them another name with AS."));
            }
            canonical_types.push(canonical(field.data_type())?);
            keys.push(key_text(place, name));
        }
        Ok(Self {
            schema,
            canonical: canonical_types,
            keys,
        })
    }

    /// The rows of a batch, which has the encoder's schema.
    ///
    /// An error if a `json` column holds text that is not JSON.
    pub fn encode(&self, batch: &RecordBatch) -> Result<EncodedRows> {
        let mut arrays = Vec::with_capacity(self.canonical.len());
        for (column, data_type) in batch.columns().iter().zip(&self.canonical) {
            arrays.push(if column.data_type() == data_type {
                Arc::clone(column)
            } else {
                cast(column, data_type).map_err(|error| {
                    Error::internal(format!("writing {} as JSON: {error}", column.data_type()))
                })?
            });
        }
        let mut values = Vec::with_capacity(arrays.len());
        for (field, array) in self.schema.fields().iter().zip(&arrays) {
            values.push(Values::of(field, array.as_ref())?);
        }
        let mut rows = EncodedRows::default();
        rows.ends.reserve(batch.num_rows());
        for row in 0..batch.num_rows() {
            if self.keys.is_empty() {
                rows.bytes.push(b'{');
            }
            for (key, values) in self.keys.iter().zip(&values) {
                rows.bytes.extend_from_slice(key);
                values.write(row, &mut rows.bytes)?;
            }
            rows.bytes.push(b'}');
            rows.ends.push(rows.bytes.len());
            rows.bytes.push(b'\n');
        }
        Ok(rows)
    }
}
