//! A column of a batch as one of the few kinds that can be written.
//!
//! Invariant: each kind of `Column` has exactly one text form and one binary form; Arrow's many
//! representations of a kind (views, dictionaries, units, widths) are brought together here.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray,
    Float32Array, Float64Array, Int16Array, Int32Array, Int64Array, IntervalMonthDayNanoArray,
    ListArray, StringViewArray, StructArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Field, Float32Type, Float64Type,
    Int16Type, Int32Type, Int64Type, IntervalMonthDayNanoType, IntervalUnit, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::error::{Error, Result};
use crate::session::pg_type;

/// A typed column.
#[derive(Debug)]
pub(crate) enum Column {
    /// Nothing but nulls.
    Null,
    /// bool
    Bool(BooleanArray),
    /// int2
    Int16(Int16Array),
    /// int4, oid
    Int32(Int32Array),
    /// int8
    Int64(Int64Array),
    /// float4
    Float32(Float32Array),
    /// float8
    Float64(Float64Array),
    /// numeric of at most 38 digits
    Decimal(Decimal128Array, i8),
    /// numeric of more digits: the unscaled number as text
    WideDecimal(StringViewArray, i8),
    /// text, json
    Text(StringViewArray),
    /// bytea
    Bytes(BinaryArray),
    /// uuid
    Uuid(FixedSizeBinaryArray),
    /// date: days since 1970
    Date(Int32Array),
    /// time: microseconds since midnight
    Time(Int64Array),
    /// timestamp: microseconds since 1970
    Timestamp(TimestampMicrosecondArray),
    /// timestamptz: microseconds since 1970
    TimestampTz(TimestampMicrosecondArray),
    /// interval
    Interval(IntervalMonthDayNanoArray),
    /// An array of items of the type with this identifier.
    List(ListArray, Box<Column>, u32),
    /// A row type; each field with its type's identifier.
    Record(StructArray, Vec<(Column, u32)>),
}

impl Column {
    /// Brings an array into the form that can be written.
    ///
    /// # Errors
    /// When Arrow cannot convert the array (a value out of the range of the wider type).
    pub(crate) fn try_new(array: &ArrayRef, field: &Field) -> Result<Self> {
        let failed = |error: arrow::error::ArrowError| Error::internal(error.to_string());
        if pg_type::is_uuid(field) {
            return Ok(Self::Uuid(array.as_fixed_size_binary().clone()));
        }
        let Some(target) = canonical(array.data_type()) else {
            return as_display(array);
        };
        let array = if &target == array.data_type() {
            Arc::clone(array)
        } else {
            cast(array, &target).map_err(failed)?
        };
        Ok(match &target {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool(array.as_boolean().clone()),
            DataType::Int16 => Self::Int16(array.as_primitive::<Int16Type>().clone()),
            DataType::Int32 => Self::Int32(array.as_primitive::<Int32Type>().clone()),
            DataType::Int64 => Self::Int64(array.as_primitive::<Int64Type>().clone()),
            DataType::Float32 => Self::Float32(array.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Self::Float64(array.as_primitive::<Float64Type>().clone()),
            DataType::Decimal128(_, scale) => {
                Self::Decimal(array.as_primitive::<Decimal128Type>().clone(), *scale)
            }
            DataType::Decimal256(_, scale) => {
                let digits = array.as_primitive::<Decimal256Type>().iter();
                Self::WideDecimal(digits.map(|v| v.map(|v| v.to_string())).collect(), *scale)
            }
            DataType::Utf8View => Self::Text(array.as_string_view().clone()),
            DataType::Binary => Self::Bytes(array.as_binary::<i32>().clone()),
            DataType::Date32 => {
                let days = array.as_primitive::<Date32Type>();
                Self::Date(Int32Array::new(
                    days.values().clone(),
                    days.nulls().cloned(),
                ))
            }
            DataType::Time64(_) => {
                let micros = array.as_primitive::<Time64MicrosecondType>();
                Self::Time(Int64Array::new(
                    micros.values().clone(),
                    micros.nulls().cloned(),
                ))
            }
            DataType::Timestamp(_, zone) => {
                let micros = array.as_primitive::<TimestampMicrosecondType>().clone();
                match zone {
                    None => Self::Timestamp(micros),
                    Some(_) => Self::TimestampTz(micros),
                }
            }
            DataType::Interval(_) => {
                Self::Interval(array.as_primitive::<IntervalMonthDayNanoType>().clone())
            }
            DataType::List(item) => list(&array, item)?,
            DataType::Struct(_) => record(&array)?,
            _ => return as_display(&array),
        })
    }

    /// True when the row's value is null.
    pub(crate) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(array) => array.is_null(row),
            Self::Int16(array) => array.is_null(row),
            Self::Int32(array) | Self::Date(array) => array.is_null(row),
            Self::Int64(array) | Self::Time(array) => array.is_null(row),
            Self::Float32(array) => array.is_null(row),
            Self::Float64(array) => array.is_null(row),
            Self::Decimal(array, _) => array.is_null(row),
            Self::WideDecimal(array, _) | Self::Text(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::Uuid(array) => array.is_null(row),
            Self::Timestamp(array) | Self::TimestampTz(array) => array.is_null(row),
            Self::Interval(array) => array.is_null(row),
            Self::List(array, ..) => array.is_null(row),
            Self::Record(array, _) => array.is_null(row),
        }
    }
}

/// The one Arrow type that stands for all of its kind; `None` if PostgreSQL has no such kind.
fn canonical(data_type: &DataType) -> Option<DataType> {
    const MICROS: TimeUnit = TimeUnit::Microsecond;
    Some(match data_type {
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => DataType::Int16,
        DataType::UInt16 | DataType::Int32 => DataType::Int32,
        DataType::UInt32 | DataType::Int64 => DataType::Int64,
        DataType::UInt64 => DataType::Decimal128(20, 0),
        DataType::Float16 | DataType::Float32 => DataType::Float32,
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8View,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Time32(_) | DataType::Time64(_) => DataType::Time64(MICROS),
        DataType::Date64 => DataType::Timestamp(MICROS, None),
        DataType::Timestamp(_, zone) => DataType::Timestamp(MICROS, zone.clone()),
        DataType::Interval(_) | DataType::Duration(_) => {
            DataType::Interval(IntervalUnit::MonthDayNano)
        }
        DataType::Dictionary(_, values) => canonical(values)?,
        DataType::RunEndEncoded(_, values) => canonical(values.data_type())?,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(Arc::clone(item)),
        same @ (DataType::Null
        | DataType::Boolean
        | DataType::Float64
        | DataType::Date32
        | DataType::Decimal128(..)
        | DataType::Decimal256(..)
        | DataType::Struct(_)) => same.clone(),
        DataType::Map(..) | DataType::Union(..) => return None,
    })
}

fn list(array: &ArrayRef, item: &Field) -> Result<Column> {
    let list = array.as_list::<i32>().clone();
    let items = Column::try_new(list.values(), item)?;
    Ok(Column::List(
        list,
        Box::new(items),
        pg_type::of_field(item).oid,
    ))
}

fn record(array: &ArrayRef) -> Result<Column> {
    let record = array.as_struct().clone();
    let columns = record
        .columns()
        .iter()
        .zip(record.fields())
        .map(|(array, field)| Ok((Column::try_new(array, field)?, pg_type::of_field(field).oid)))
        .collect::<Result<_>>()?;
    Ok(Column::Record(record, columns))
}

/// What PostgreSQL has no type for goes out as Arrow prints it.
fn as_display(array: &ArrayRef) -> Result<Column> {
    let failed = |error: arrow::error::ArrowError| Error::internal(error.to_string());
    let options = FormatOptions::default();
    let printer = ArrayFormatter::try_new(array.as_ref(), &options).map_err(failed)?;
    let text = (0..array.len())
        .map(|row| array.is_valid(row).then(|| printer.value(row).to_string()))
        .collect::<StringViewArray>();
    Ok(Column::Text(text))
}
