//! Parameter values from the wire, in text and in binary.
//!
//! Invariant: whatever bytes arrive, the answer is a value of the parameter's type or an error of
//! the user's.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, IntervalMonthDayNano, TimeUnit};
use arrow::util::display::FormatOptions;
use bytes::{Buf, Bytes};
use datafusion::common::ScalarValue;

use super::encode::Format;
use crate::error::{Error, Result, SqlState};
use crate::session::pg_type;
use crate::types::array_items;

const MICROS_TO_2000: i64 = 946_684_800_000_000;
const DAYS_TO_2000: i32 = 10_957;

/// Reads a parameter; `index` (from 0) is for errors, `field` says its type (open: text).
///
/// # Errors
/// 22P02 and 22P03 for a value that is not one of the type.
pub(super) fn parameter(
    index: usize,
    value: Option<Bytes>,
    format: Format,
    field: Option<&Field>,
) -> Result<ScalarValue> {
    let oid = field.map_or(pg_type::TEXT.oid, |field| pg_type::of_field(field).oid);
    let field = pg_type::field_of_oid(oid)
        .unwrap_or_else(|| Arc::new(Field::new("", DataType::Utf8View, true)));
    let kind = storage(&field);
    let Some(value) = value else {
        return Ok(ScalarValue::try_from(&kind)?);
    };
    match format {
        Format::Text => from_text(&utf8(value)?, &kind),
        Format::Binary => binary(value, &field)
            .ok_or_else(|| {
                Error::user(
                    SqlState::InvalidBinaryRepresentation,
                    format!(
                        "incorrect binary data format in bind parameter {}",
                        index + 1
                    ),
                )
            })
            .and_then(|value| value),
    }
}

/// The type in which a parameter's value is kept: JSON and UUIDs are text.
fn storage(field: &Field) -> DataType {
    match field.data_type() {
        _ if pg_type::is_uuid(field) => DataType::Utf8,
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::List(item) => {
            DataType::List(Arc::new(Field::new_list_field(storage(item), true)))
        }
        other => other.clone(),
    }
}

fn utf8(value: Bytes) -> Result<String> {
    String::from_utf8(value.into()).map_err(|_| {
        Error::user(
            SqlState::CharacterNotInRepertoire,
            "invalid byte sequence for encoding \"UTF8\"",
        )
    })
}

fn from_text(text: &str, kind: &DataType) -> Result<ScalarValue> {
    let invalid = || {
        Error::user(
            SqlState::InvalidTextRepresentation,
            format!(
                "invalid input syntax for type {}: \"{text}\"",
                pg_name(kind)
            ),
        )
    };
    match kind {
        DataType::Utf8 => return Ok(ScalarValue::Utf8(Some(text.to_owned()))),
        DataType::Binary => {
            return hex(text)
                .map(|bytes| ScalarValue::Binary(Some(bytes)))
                .ok_or_else(invalid);
        }
        DataType::List(item) => {
            let items = array_items(text).ok_or_else(invalid)?;
            let items = items
                .into_iter()
                .map(|text| match text {
                    Some(text) => from_text(&text, item.data_type()),
                    None => Ok(ScalarValue::try_from(item.data_type())?),
                })
                .collect::<Result<Vec<_>>>()?;
            return Ok(ScalarValue::List(ScalarValue::new_list(
                &items,
                item.data_type(),
                true,
            )));
        }
        DataType::Decimal128(..) => return decimal(text.trim()).ok_or_else(invalid),
        _ => {}
    }
    let trimmed: ArrayRef = Arc::new(StringArray::from(vec![text.trim()]));
    let options = CastOptions {
        safe: false,
        format_options: FormatOptions::default(),
    };
    let array = cast_with_options(&trimmed, kind, &options).map_err(|_| invalid())?;
    if array.is_null(0) {
        return Err(invalid());
    }
    Ok(ScalarValue::try_from_array(&array, 0)?)
}

fn pg_name(kind: &DataType) -> String {
    let kind = pg_type::of_field(&Field::new("", kind.clone(), true));
    format!("{}{}", kind.name, if kind.is_array { "[]" } else { "" })
}

/// A number with exactly the digits that were written.
fn decimal(text: &str) -> Option<ScalarValue> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, digits) = match mantissa.as_bytes().first()? {
        b'-' => (-1, &mantissa[1..]),
        b'+' => (1, &mantissa[1..]),
        _ => (1, mantissa),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all: String = [whole, fraction].concat();
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut value: i128 = all.parse().ok()?;
    let mut scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
    while scale < 0 {
        value = value.checked_mul(10)?;
        scale += 1;
    }
    decimal_value(sign * value, scale)
}

fn decimal_value(value: i128, scale: i32) -> Option<ScalarValue> {
    let digits = value.unsigned_abs().to_string().len();
    let scale = i8::try_from(scale).ok()?;
    let precision = u8::try_from(digits).ok()?.max(scale.unsigned_abs());
    (precision <= 38).then_some(ScalarValue::Decimal128(Some(value), precision, scale))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let Some(digits) = text.strip_prefix("\\x") else {
        return Some(text.as_bytes().to_vec());
    };
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits
        .as_bytes()
        .chunks_exact(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
        .collect()
}

/// A binary value; `None` if its bytes cannot be one of the type.
fn binary(mut value: Bytes, field: &Field) -> Option<Result<ScalarValue>> {
    let exactly = |bytes: usize, value: &Bytes| (value.len() == bytes).then_some(());
    let scalar = match field.data_type() {
        _ if pg_type::is_uuid(field) => {
            exactly(16, &value)?;
            ScalarValue::Utf8(Some(uuid::Uuid::from_slice(&value).ok()?.to_string()))
        }
        DataType::Boolean => {
            exactly(1, &value)?;
            ScalarValue::Boolean(Some(value.get_u8() != 0))
        }
        DataType::Int16 => {
            exactly(2, &value)?;
            ScalarValue::Int16(Some(value.get_i16()))
        }
        DataType::Int32 => {
            exactly(4, &value)?;
            ScalarValue::Int32(Some(value.get_i32()))
        }
        DataType::Int64 => {
            exactly(8, &value)?;
            ScalarValue::Int64(Some(value.get_i64()))
        }
        DataType::Float32 => {
            exactly(4, &value)?;
            ScalarValue::Float32(Some(value.get_f32()))
        }
        DataType::Float64 => {
            exactly(8, &value)?;
            ScalarValue::Float64(Some(value.get_f64()))
        }
        DataType::Decimal128(..) => numeric(value)?,
        DataType::Binary => ScalarValue::Binary(Some(value.to_vec())),
        DataType::Date32 => {
            exactly(4, &value)?;
            ScalarValue::Date32(Some(value.get_i32().checked_add(DAYS_TO_2000)?))
        }
        DataType::Time64(_) => {
            exactly(8, &value)?;
            ScalarValue::Time64Microsecond(Some(value.get_i64()))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            exactly(8, &value)?;
            let micros = value.get_i64().checked_add(MICROS_TO_2000)?;
            ScalarValue::TimestampMicrosecond(Some(micros), zone.clone())
        }
        DataType::Interval(_) => {
            exactly(16, &value)?;
            let (micros, days, months) = (value.get_i64(), value.get_i32(), value.get_i32());
            let nanos = micros.checked_mul(1_000)?;
            let interval = IntervalMonthDayNano::new(months, days, nanos);
            ScalarValue::IntervalMonthDayNano(Some(interval))
        }
        DataType::List(item) => return list(value, item),
        // jsonb has a version byte in front; json has not.
        DataType::Utf8View if pg_type::is_json(field) && value.first() == Some(&1) => {
            value.advance(1);
            return Some(utf8(value).map(|text| ScalarValue::Utf8(Some(text))));
        }
        _ => return Some(utf8(value).map(|text| ScalarValue::Utf8(Some(text)))),
    };
    Some(Ok(scalar))
}

fn numeric(mut value: Bytes) -> Option<ScalarValue> {
    if value.len() < 8 {
        return None;
    }
    let (count, weight) = (usize::from(value.get_u16()), i32::from(value.get_i16()));
    let (sign, scale) = (value.get_u16(), i32::from(value.get_u16()));
    if value.len() != count * 2 || !matches!(sign, 0 | 0x4000) {
        return None;
    }
    let mut unscaled: i128 = 0;
    for _ in 0..count {
        let digit = i128::from(value.get_u16());
        unscaled = unscaled.checked_mul(10_000)?.checked_add(digit)?;
    }
    // The digits read are in units of 10,000 to the power of this.
    let mut exponent = (weight + 1 - i32::try_from(count).ok()?) * 4 + scale;
    while exponent > 0 && unscaled != 0 {
        unscaled = unscaled.checked_mul(10)?;
        exponent -= 1;
    }
    while exponent < 0 {
        unscaled /= 10;
        exponent += 1;
    }
    decimal_value(if sign == 0 { unscaled } else { -unscaled }, scale)
}

fn list(mut value: Bytes, item: &Field) -> Option<Result<ScalarValue>> {
    if value.len() < 12 {
        return None;
    }
    let dimensions = value.get_i32();
    value.advance(8);
    let kind = storage(item);
    if dimensions == 0 {
        return Some(Ok(ScalarValue::List(ScalarValue::new_list(
            &[],
            &kind,
            true,
        ))));
    }
    if dimensions != 1 || value.len() < 8 {
        return None;
    }
    let count = usize::try_from(value.get_i32()).ok()?;
    value.advance(4);
    let mut items = Vec::new();
    for _ in 0..count {
        if value.len() < 4 {
            return None;
        }
        let item_value = match usize::try_from(value.get_i32()) {
            Err(_) => ScalarValue::try_from(&kind).map_err(Error::from),
            Ok(bytes) if value.len() < bytes => return None,
            Ok(bytes) => binary(value.split_to(bytes), item)?,
        };
        match item_value {
            Ok(item) => items.push(item),
            Err(error) => return Some(Err(error)),
        }
    }
    Some(Ok(ScalarValue::List(ScalarValue::new_list(
        &items, &kind, true,
    ))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(oid: u32, format: Format, value: &[u8]) -> Result<ScalarValue> {
        let field = pg_type::field_of_oid(oid).unwrap();
        parameter(0, Some(Bytes::copy_from_slice(value)), format, Some(&field))
    }

    #[test]
    fn text_is_read_by_the_type_of_the_parameter() {
        let text = |oid: u32, value: &str| of(oid, Format::Text, value.as_bytes());
        assert_eq!(text(23, " -7 ").unwrap(), ScalarValue::Int32(Some(-7)));
        assert_eq!(text(16, "t").unwrap(), ScalarValue::Boolean(Some(true)));
        assert_eq!(text(701, "NaN").unwrap().to_string(), "NaN");
        assert_eq!(
            text(1700, "-12.50").unwrap(),
            ScalarValue::Decimal128(Some(-1250), 4, 2)
        );
        assert_eq!(
            text(1700, "1e3").unwrap(),
            ScalarValue::Decimal128(Some(1000), 4, 0)
        );
        assert_eq!(
            text(17, "\\x00ff").unwrap(),
            ScalarValue::Binary(Some(vec![0, 255]))
        );
        assert_eq!(
            text(1082, "2024-10-04").unwrap(),
            ScalarValue::Date32(Some(20_000))
        );
        assert_eq!(
            text(1009, r#"{a,NULL,"NULL","q\"",""}"#)
                .unwrap()
                .to_string(),
            "[a, , NULL, q\", ]",
        );
        for (oid, wrong) in [
            (23, "x"),
            (1700, "1.2.3"),
            (17, "\\x0"),
            (1009, "a"),
            (1082, "soon"),
        ] {
            assert_eq!(
                text(oid, wrong).unwrap_err().state().code(),
                "22P02",
                "{oid} {wrong}"
            );
        }
    }

    #[test]
    fn binary_is_read_by_the_type_of_the_parameter() {
        let binary = |oid: u32, value: &[u8]| of(oid, Format::Binary, value);
        assert_eq!(
            binary(21, &[0xff, 0xf8]).unwrap(),
            ScalarValue::Int16(Some(-8))
        );
        assert_eq!(
            binary(1082, &[0, 0, 0, 0]).unwrap(),
            ScalarValue::Date32(Some(10_957))
        );
        let numeric = [0, 2, 0, 0, 0x40, 0, 0, 2, 0, 123, 0x11, 0x94];
        assert_eq!(
            binary(1700, &numeric).unwrap(),
            ScalarValue::Decimal128(Some(-12_345), 5, 2)
        );
        let list = [
            0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 23, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 7,
            0xff, 0xff, 0xff, 0xff,
        ];
        assert_eq!(binary(1007, &list).unwrap().to_string(), "[7, ]");
        for end in 0..list.len() {
            assert_eq!(
                binary(1007, &list[..end]).unwrap_err().state().code(),
                "22P03",
                "{end}"
            );
        }
        assert_eq!(binary(23, &[1]).unwrap_err().state().code(), "22P03");
    }

    #[test]
    fn null_has_the_type_of_its_parameter() {
        let field = pg_type::field_of_oid(1184).unwrap();
        let null = parameter(0, None, Format::Binary, Some(&field)).unwrap();
        assert!(null.is_null());
        assert_eq!(&null.data_type(), field.data_type());
    }
}
