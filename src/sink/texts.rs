//! The values of rows as text, as PostgreSQL reads them; lists and rows of a row as JSON.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, SchemaRef};

use crate::error::{Error, Result, from_arrow};
use crate::format::JsonEncoder;

/// How the columns of a schema are written.
#[derive(Debug)]
pub(super) struct Texts {
    forms: Vec<Form>,
}

#[derive(Debug)]
enum Form {
    /// As Arrow writes it, which PostgreSQL reads.
    Plain,
    Bytes,
    /// The column alone as an object of JSON, whose name takes so many bytes.
    Json(JsonEncoder, usize),
}

/// The rows of a batch, column by column.
pub(super) struct Written(Vec<StringArray>);

impl Texts {
    /// # Errors
    /// When a column has no form in JSON and no other.
    pub(super) fn try_new(schema: &SchemaRef) -> Result<Self> {
        let forms = schema.fields().iter().map(|field| {
            Ok(match field.data_type() {
                DataType::Binary
                | DataType::LargeBinary
                | DataType::BinaryView
                | DataType::FixedSizeBinary(_) => Form::Bytes,
                nested if nested.is_nested() => {
                    let own = field.as_ref().clone().with_name("c");
                    let encoder = JsonEncoder::try_new(Arc::new(Schema::new(vec![own])))?;
                    Form::Json(encoder, "{\"c\":".len())
                }
                _ => Form::Plain,
            })
        });
        let forms = forms.collect::<Result<_>>()?;
        Ok(Self { forms })
    }

    /// # Errors
    /// None that a batch of the schema can give.
    pub(super) fn write(&self, rows: &RecordBatch) -> Result<Written> {
        let columns = self.forms.iter().zip(rows.columns());
        let columns = columns.map(|(form, column)| form.write(column));
        columns.collect::<Result<_>>().map(Written)
    }
}

impl Form {
    fn write(&self, column: &ArrayRef) -> Result<StringArray> {
        match self {
            Self::Plain => strings(column),
            Self::Bytes => {
                let bytes = cast(column, &DataType::Binary).map_err(from_arrow)?;
                let bytes = bytes.as_any().downcast_ref::<BinaryArray>();
                let bytes = bytes.ok_or_else(|| Error::internal("a cast gives another type"))?;
                Ok(bytes.iter().map(|value| value.map(hex)).collect())
            }
            Self::Json(encoder, before) => {
                let rows = RecordBatch::try_from_iter([("c", Arc::clone(column))]);
                let encoded = encoder.encode(&rows.map_err(from_arrow)?)?;
                let values = encoded.rows().enumerate().map(|(row, object)| {
                    let value = &object[*before..object.len() - 1];
                    column
                        .is_valid(row)
                        .then(|| String::from_utf8_lossy(value).into_owned())
                });
                Ok(values.collect())
            }
        }
    }
}

fn strings(column: &ArrayRef) -> Result<StringArray> {
    let strings = cast(column, &DataType::Utf8).map_err(from_arrow)?;
    let strings = strings.as_any().downcast_ref::<StringArray>();
    strings
        .cloned()
        .ok_or_else(|| Error::internal("a cast gives another type"))
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 + 2 * bytes.len());
    text.push_str("\\x");
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

impl Written {
    /// One row's values; `None`: NULL.
    pub(super) fn row(&self, row: usize) -> impl Iterator<Item = Option<&str>> {
        (0..self.0.len()).map(move |column| self.value(row, column))
    }

    /// One value; `None`: NULL.
    pub(super) fn value(&self, row: usize, column: usize) -> Option<&str> {
        let column = &self.0[column];
        column.is_valid(row).then(|| column.value(row))
    }

    /// True if one of these columns of a row is NULL.
    pub(super) fn has_null(&self, row: usize, columns: &[usize]) -> bool {
        columns.iter().any(|column| self.0[*column].is_null(row))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BooleanArray, Decimal128Array, Float64Array, Int64Array, IntervalMonthDayNanoArray,
        ListArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Int64Type, IntervalMonthDayNano};

    use super::*;

    #[track_caller]
    fn check(column: impl Array + 'static, expected: &[&str]) {
        let rows = RecordBatch::try_from_iter([("a", Arc::new(column) as ArrayRef)]).unwrap();
        let texts = Texts::try_new(&rows.schema()).unwrap();
        let written = texts.write(&rows).unwrap();
        for (row, expected) in expected.iter().enumerate() {
            assert_eq!(written.value(row, 0).unwrap_or("NULL"), *expected);
        }
    }

    #[test]
    fn values_have_the_text_that_postgres_reads() {
        check(Int64Array::from(vec![Some(-1), None]), &["-1", "NULL"]);
        check(BooleanArray::from(vec![true, false]), &["true", "false"]);
        check(Float64Array::from(vec![1.5, f64::NAN]), &["1.5", "NaN"]);
        check(StringArray::from(vec!["a\tb\\", "é"]), &["a\tb\\", "é"]);
        check(BinaryArray::from(vec![b"hi".as_slice()]), &["\\x6869"]);
        let number = Decimal128Array::from(vec![1250]);
        check(number.with_precision_and_scale(10, 2).unwrap(), &["12.50"]);
        let time = TimestampMicrosecondArray::from(vec![1_531_846_800_015_000]);
        check(time.with_timezone("+00:00"), &["2018-07-17T17:00:00.015Z"]);
        let length = IntervalMonthDayNano::new(14, 3, 1_500_000_000);
        let lengths = IntervalMonthDayNanoArray::from(vec![length]);
        check(lengths, &["14 mons 3 days 1.500000000 secs"]);
    }

    #[test]
    fn lists_are_written_as_json() {
        let lists = [Some(vec![Some(1), None]), None];
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
        check(lists, &["[1,null]", "NULL"]);
    }
}
