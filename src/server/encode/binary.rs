//! Values in PostgreSQL's binary representation.

use bytes::{BufMut, BytesMut};

use super::number::write_numeric_binary;
use super::time::{DAYS_TO_2000, MICROS_A_DAY};
use super::{Column, Style, array, text};
use crate::error::{Error, Result, SqlState};

const MICROS_TO_2000: i64 = DAYS_TO_2000 as i64 * MICROS_A_DAY;

/// Writes a value that is not null.
pub(super) fn write(column: &Column, row: usize, style: Style, out: &mut BytesMut) -> Result<()> {
    match column {
        Column::Null => {}
        Column::Bool(array) => out.put_u8(u8::from(array.value(row))),
        Column::Int16(array) => out.put_i16(array.value(row)),
        Column::Int32(array) => out.put_i32(array.value(row)),
        Column::Int64(array) | Column::Time(array) => out.put_i64(array.value(row)),
        Column::Float32(array) => out.put_f32(array.value(row)),
        Column::Float64(array) => out.put_f64(array.value(row)),
        Column::Decimal(array, scale) => {
            write_numeric_binary(&array.value(row).to_string(), *scale, out)?;
        }
        Column::WideDecimal(array, scale) => write_numeric_binary(array.value(row), *scale, out)?,
        Column::Text(_) => text::write(column, row, style, out),
        Column::Bytes(array) => out.put_slice(array.value(row)),
        Column::Uuid(array) => out.put_slice(array.value(row)),
        Column::Date(array) => {
            let days = array
                .value(row)
                .checked_sub(DAYS_TO_2000)
                .ok_or_else(out_of_range)?;
            out.put_i32(days);
        }
        Column::Timestamp(array) | Column::TimestampTz(array) => {
            let micros = array
                .value(row)
                .checked_sub(MICROS_TO_2000)
                .ok_or_else(out_of_range)?;
            out.put_i64(micros);
        }
        Column::Interval(array) => {
            let interval = array.value(row);
            out.put_i64(interval.nanoseconds / 1_000);
            out.put_i32(interval.days);
            out.put_i32(interval.months);
        }
        Column::List(list, items, item_oid) => {
            array::write_list_binary((list, items, *item_oid), row, style, out)?;
        }
        Column::Record(_, fields) => array::write_record_binary(fields, row, style, out)?,
    }
    Ok(())
}

fn out_of_range() -> Error {
    Error::user(SqlState::DatetimeFieldOverflow, "timestamp out of range")
}
