//! How one value of each type is written.
//!
//! Types that differ only in width or unit are brought to one canonical type first, so that there
//! is one writer for each.

use arrow::array::{
    Array, AsArray, BinaryViewArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array,
    Float32Array, Float64Array, Int64Array, IntervalMonthDayNanoArray, ListArray, StringViewArray,
    StructArray, Time64NanosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, TimeUnit};
use serde::Serialize;
use std::sync::Arc;

use super::super::field::JsonKind;
use super::super::scan::Text;
use super::super::text_forms::{write_clock, write_date, write_interval, write_timestamp};
use crate::error::{Error, Result, SqlState};
use crate::types::MessageBatch;

/// The type that a column is brought to before it is written; an error if JSON has no form for it.
pub(super) fn canonical(data_type: &DataType) -> Result<DataType> {
    let inner = |field: &Field| -> Result<Arc<Field>> {
        let data_type = canonical(field.data_type())?;
        Ok(Arc::new(field.clone().with_data_type(data_type)))
    };
    Ok(match data_type {
        DataType::Null | DataType::Boolean | DataType::Float32 | DataType::Float64 => {
            data_type.clone()
        }
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 => DataType::Float32,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale) => DataType::Decimal128(*precision, *scale),
        DataType::Decimal256(..) => data_type.clone(),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8View,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => DataType::BinaryView,
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(TimeUnit::Nanosecond),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            DataType::Timestamp(TimeUnit::Nanosecond, None)
        }
        DataType::Timestamp(..) => DataType::Timestamp(TimeUnit::Microsecond, None),
        DataType::Interval(_) | DataType::Duration(_) => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        DataType::Dictionary(_, values) => canonical(values)?,
        DataType::List(field) | DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
            DataType::List(inner(field)?)
        }
        DataType::Struct(fields) => {
            let fields: Fields = fields
                .iter()
                .map(|field| inner(field))
                .collect::<Result<_>>()?;
            DataType::Struct(fields)
        }
        other => {
            let message = format!("cannot write type {other} as JSON");
            return Err(Error::user(SqlState::FeatureNotSupported, message));
        }
    })
}

/// The text before a column's value: the name and what separates it from what is before.
pub(super) fn key_text(place: usize, name: &str) -> Vec<u8> {
    let mut text = vec![if place == 0 { b'{' } else { b',' }];
    write_json(name, &mut text);
    text.push(b':');
    text
}

/// A column's array by its canonical type.
pub(super) enum Values<'a> {
    Null,
    Boolean(&'a BooleanArray),
    Integer(&'a Int64Array),
    Real(&'a Float32Array),
    Double(&'a Float64Array),
    Numeric(&'a Decimal128Array),
    LongNumeric(&'a Decimal256Array),
    Text(&'a StringViewArray),
    RawJson(&'a StringViewArray, &'a Field),
    Bytes(&'a BinaryViewArray),
    Date(&'a Date32Array),
    Time(&'a Time64NanosecondArray),
    Micros(&'a TimestampMicrosecondArray),
    Nanos(&'a TimestampNanosecondArray),
    Interval(&'a IntervalMonthDayNanoArray),
    List(&'a ListArray, Box<Values<'a>>),
    Struct(&'a StructArray, Vec<(Vec<u8>, Values<'a>)>),
}

impl<'a> Values<'a> {
    /// The array of a field, which may have had another type before.
    pub(super) fn of(field: &'a Field, array: &'a dyn Array) -> Result<Self> {
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(array.as_boolean()),
            DataType::Int64 => Self::Integer(array.as_primitive()),
            DataType::Float32 => Self::Real(array.as_primitive()),
            DataType::Float64 => Self::Double(array.as_primitive()),
            DataType::Decimal128(..) => Self::Numeric(array.as_primitive()),
            DataType::Decimal256(..) => Self::LongNumeric(array.as_primitive()),
            DataType::Utf8View => match JsonKind::of(field) {
                JsonKind::Value => Self::Text(array.as_string_view()),
                JsonKind::RawJson => Self::RawJson(array.as_string_view(), field),
            },
            DataType::BinaryView => Self::Bytes(array.as_binary_view()),
            DataType::Date32 => Self::Date(array.as_primitive()),
            DataType::Time64(_) => Self::Time(array.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Micros(array.as_primitive()),
            DataType::Timestamp(..) => Self::Nanos(array.as_primitive()),
            DataType::Interval(_) => Self::Interval(array.as_primitive()),
            DataType::List(_) => Self::list(array.as_list())?,
            DataType::Struct(_) => Self::members(array.as_struct())?,
            other => return Err(Error::internal(format!("{other} is no canonical type"))),
        })
    }

    fn list(list: &'a ListArray) -> Result<Self> {
        let DataType::List(element) = list.data_type() else {
            return Err(Error::internal("a list array of another type"));
        };
        let elements = Self::of(element, list.values().as_ref())?;
        Ok(Self::List(list, Box::new(elements)))
    }

    fn members(rows: &'a StructArray) -> Result<Self> {
        let mut members = Vec::new();
        for (place, (field, column)) in rows.fields().iter().zip(rows.columns()).enumerate() {
            members.push((
                key_text(place, field.name()),
                Self::of(field, column.as_ref())?,
            ));
        }
        Ok(Self::Struct(rows, members))
    }

    fn array(&self) -> Option<&'a dyn Array> {
        Some(match self {
            Self::Null => return None,
            Self::Boolean(array) => *array,
            Self::Integer(array) => *array,
            Self::Real(array) => *array,
            Self::Double(array) => *array,
            Self::Numeric(array) => *array,
            Self::LongNumeric(array) => *array,
            Self::Text(array) | Self::RawJson(array, _) => *array,
            Self::Bytes(array) => *array,
            Self::Date(array) => *array,
            Self::Time(array) => *array,
            Self::Micros(array) => *array,
            Self::Nanos(array) => *array,
            Self::Interval(array) => *array,
            Self::List(array, _) => *array,
            Self::Struct(array, _) => *array,
        })
    }

    /// Appends the value of a row.
    pub(super) fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<()> {
        if self.array().is_none_or(|array| array.is_null(row)) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match self {
            Self::Null => {}
            Self::Boolean(array) => write_json(&array.value(row), out),
            Self::Integer(array) => write_json(&array.value(row), out),
            Self::Real(array) => match array.value(row) {
                value if value.is_finite() => write_json(&value, out),
                value => write_not_finite(value.into(), out),
            },
            Self::Double(array) => match array.value(row) {
                value if value.is_finite() => write_json(&value, out),
                value => write_not_finite(value, out),
            },
            Self::Numeric(array) => out.extend_from_slice(array.value_as_string(row).as_bytes()),
            Self::LongNumeric(array) => {
                out.extend_from_slice(array.value_as_string(row).as_bytes());
            }
            Self::Text(array) => write_json(array.value(row), out),
            Self::RawJson(array, field) => write_raw_json(array.value(row), field, out)?,
            Self::Bytes(array) => write_bytes(array.value(row), out),
            Self::Date(array) => quoted(out, |out| write_date(array.value(row).into(), out)),
            Self::Time(array) => quoted(out, |out| write_clock(array.value(row), out)),
            Self::Micros(array) => quoted(out, |out| {
                let micros = array.value(row);
                write_timestamp(
                    micros.div_euclid(1_000_000),
                    micros.rem_euclid(1_000_000) * 1000,
                    out,
                );
            }),
            Self::Nanos(array) => quoted(out, |out| {
                let nanos = array.value(row);
                let second = 1_000_000_000;
                write_timestamp(nanos.div_euclid(second), nanos.rem_euclid(second), out);
            }),
            Self::Interval(array) => quoted(out, |out| write_interval(array.value(row), out)),
            Self::List(array, elements) => write_list(array, elements, row, out)?,
            Self::Struct(_, members) => write_members(members, row, out)?,
        }
        Ok(())
    }
}

fn write_json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("a Vec takes all bytes");
}

fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

fn write_not_finite(value: f64, out: &mut Vec<u8>) {
    out.extend_from_slice(match value {
        f64::INFINITY => b"\"Infinity\"",
        f64::NEG_INFINITY => b"\"-Infinity\"",
        _ => b"\"NaN\"",
    });
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(b"\"\\\\x");
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 0xf)]);
    }
    out.push(b'"');
}

fn write_list(
    list: &ListArray,
    elements: &Values<'_>,
    row: usize,
    out: &mut Vec<u8>,
) -> Result<()> {
    let offsets = list.value_offsets();
    out.push(b'[');
    for element in offsets[row]..offsets[row + 1] {
        if element > offsets[row] {
            out.push(b',');
        }
        elements.write(
            usize::try_from(element).expect("offsets are not negative"),
            out,
        )?;
    }
    out.push(b']');
    Ok(())
}

fn write_members(members: &[(Vec<u8>, Values<'_>)], row: usize, out: &mut Vec<u8>) -> Result<()> {
    if members.is_empty() {
        out.push(b'{');
    }
    for (key, values) in members {
        out.extend_from_slice(key);
        values.write(row, out)?;
    }
    out.push(b'}');
    Ok(())
}

/// Writes JSON text as it is, after a check: a computed `json` value can be any text. Line ends in
/// it are white space between its tokens, since strings cannot hold them.
fn write_raw_json(json: &str, field: &Field, out: &mut Vec<u8>) -> Result<()> {
    let first = out.len();
    out.extend_from_slice(json.as_bytes());
    out.extend_from_slice(&[0; MessageBatch::PADDING]);
    let text = Text::new(out, first + json.len());
    let valid = text
        .value(text.skip_space(first), 1)
        .is_ok_and(|(_, end)| text.skip_space(end) == text.end());
    if !valid {
        let message = format!("column \"{}\" holds text that is not JSON", field.name());
        return Err(Error::user(SqlState::InvalidTextRepresentation, message)
            .detail(format!("The text is {json:.60}.")));
    }
    out.truncate(first + json.len());
    for byte in &mut out[first..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
    Ok(())
}
