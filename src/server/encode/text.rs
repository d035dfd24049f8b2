//! Values as text.

use bytes::{BufMut, BytesMut};

use super::number::{
    FLOAT4_PLAIN_DIGITS, FLOAT8_PLAIN_DIGITS, float_word, write_float, write_fmt,
    write_numeric_text,
};
use super::{Column, Style, array, time};

/// Writes a value that is not null.
pub(super) fn write(column: &Column, row: usize, style: Style, out: &mut BytesMut) {
    match column {
        Column::Null => {}
        Column::Bool(array) => out.put_u8(if array.value(row) { b't' } else { b'f' }),
        Column::Int16(array) => write_fmt(out, format_args!("{}", array.value(row))),
        Column::Int32(array) => write_fmt(out, format_args!("{}", array.value(row))),
        Column::Int64(array) => write_fmt(out, format_args!("{}", array.value(row))),
        Column::Float32(array) => {
            let value = array.value(row);
            match float_word(f64::from(value)) {
                Some(word) => out.put_slice(word.as_bytes()),
                None => write_float(&format!("{value:e}"), FLOAT4_PLAIN_DIGITS, out),
            }
        }
        Column::Float64(array) => {
            let value = array.value(row);
            match float_word(value) {
                Some(word) => out.put_slice(word.as_bytes()),
                None => write_float(&format!("{value:e}"), FLOAT8_PLAIN_DIGITS, out),
            }
        }
        Column::Decimal(array, scale) => {
            write_numeric_text(&array.value(row).to_string(), *scale, out);
        }
        Column::WideDecimal(array, scale) => write_numeric_text(array.value(row), *scale, out),
        Column::Text(array) => out.put_slice(array.value(row).as_bytes()),
        Column::Bytes(array) => write_hex(array.value(row), out),
        Column::Uuid(array) => write_uuid(array.value(row), out),
        Column::Date(array) => time::write_date(array.value(row), out),
        Column::Time(array) => time::write_time(array.value(row), out),
        Column::Timestamp(array) => time::write_timestamp(array.value(row), out),
        Column::TimestampTz(array) => time::write_timestamptz(array.value(row), style.zone, out),
        Column::Interval(array) => time::write_interval(array.value(row), out),
        Column::List(list, items, _) => array::write_list_text(list, items, row, style, out),
        Column::Record(_, fields) => array::write_record_text(fields, row, style, out),
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn put_hex(byte: u8, out: &mut BytesMut) {
    out.put_u8(HEX[usize::from(byte >> 4)]);
    out.put_u8(HEX[usize::from(byte & 0xf)]);
}

fn write_hex(bytes: &[u8], out: &mut BytesMut) {
    out.reserve(2 + bytes.len() * 2);
    out.put_slice(b"\\x");
    for byte in bytes {
        put_hex(*byte, out);
    }
}

fn write_uuid(bytes: &[u8], out: &mut BytesMut) {
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            out.put_u8(b'-');
        }
        put_hex(*byte, out);
    }
}
