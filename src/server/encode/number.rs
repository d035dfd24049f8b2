//! Numbers: floats as PostgreSQL prints them, numeric of any length in text and binary.

use std::io::Write as _;

use bytes::{BufMut, BytesMut};

use crate::error::{Error, Result, SqlState};

/// Significant digits up to which PostgreSQL prints a float8 without an exponent.
pub(super) const FLOAT8_PLAIN_DIGITS: i32 = 15;
/// The same for float4.
pub(super) const FLOAT4_PLAIN_DIGITS: i32 = 6;

/// Writes a float in the fewest digits that read back as the same number. `shortest` is Rust's
/// exponent form (`-1.25e-5`) of a finite number.
pub(super) fn write_float(shortest: &str, plain_digits: i32, out: &mut BytesMut) {
    let (sign, unsigned) = shortest
        .strip_prefix('-')
        .map_or(("", shortest), |rest| ("-", rest));
    let (mantissa, exponent) = unsigned.split_once('e').expect("an exponent form has an e");
    let exponent: i32 = exponent
        .parse()
        .expect("a float's exponent is a small number");
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    out.put_slice(sign.as_bytes());
    if unsigned.starts_with('0') {
        out.put_u8(b'0');
        return;
    }
    if !(-4..plain_digits).contains(&exponent) {
        out.put_slice(mantissa.as_bytes());
        out.put_slice(if exponent < 0 { b"e-" } else { b"e+" });
        write_fmt(out, format_args!("{:02}", exponent.unsigned_abs()));
        return;
    }
    let digits = [whole, fraction].concat();
    let Ok(exponent) = usize::try_from(exponent) else {
        out.put_slice(b"0.");
        out.put_bytes(b'0', exponent.unsigned_abs() as usize - 1);
        out.put_slice(digits.as_bytes());
        return;
    };
    let point = exponent + 1;
    if digits.len() <= point {
        out.put_slice(digits.as_bytes());
        out.put_bytes(b'0', point - digits.len());
    } else {
        out.put_slice(&digits.as_bytes()[..point]);
        out.put_u8(b'.');
        out.put_slice(&digits.as_bytes()[point..]);
    }
}

/// NaN and the infinities, which have words for names.
pub(super) fn float_word(value: f64) -> Option<&'static str> {
    if value.is_nan() {
        Some("NaN")
    } else if value.is_infinite() {
        Some(if value > 0.0 { "Infinity" } else { "-Infinity" })
    } else {
        None
    }
}

/// Formats into a buffer of bytes.
pub(super) fn write_fmt(out: &mut BytesMut, arguments: std::fmt::Arguments<'_>) {
    out.writer()
        .write_fmt(arguments)
        .expect("a growing buffer takes every write");
}

/// Writes a numeric from its unscaled number (`-12345`) and scale.
pub(super) fn write_numeric_text(unscaled: &str, scale: i8, out: &mut BytesMut) {
    let (sign, digits) = unscaled
        .strip_prefix('-')
        .map_or(("", unscaled), |rest| ("-", rest));
    out.put_slice(sign.as_bytes());
    let Ok(scale) = usize::try_from(scale) else {
        out.put_slice(digits.as_bytes());
        if digits != "0" {
            out.put_bytes(b'0', usize::from(scale.unsigned_abs()));
        }
        return;
    };
    if scale == 0 {
        out.put_slice(digits.as_bytes());
        return;
    }
    if digits.len() > scale {
        let (whole, fraction) = digits.as_bytes().split_at(digits.len() - scale);
        out.put_slice(whole);
        out.put_u8(b'.');
        out.put_slice(fraction);
    } else {
        out.put_slice(b"0.");
        out.put_bytes(b'0', scale - digits.len());
        out.put_slice(digits.as_bytes());
    }
}

/// Writes a numeric in PostgreSQL's binary form: digits of base 10,000.
///
/// ```text
/// ndigits i16 | weight i16 (of the first digit, base 10,000) | sign u16 | dscale u16 | digits i16..
/// ```
pub(super) fn write_numeric_binary(unscaled: &str, scale: i8, out: &mut BytesMut) -> Result<()> {
    const DIGITS_EACH: usize = 4;
    const NEGATIVE: u16 = 0x4000;
    let mut plain = BytesMut::new();
    write_numeric_text(unscaled, scale, &mut plain);
    let (negative, plain) = match plain.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, &plain[..]),
    };
    let point = plain
        .iter()
        .position(|byte| *byte == b'.')
        .unwrap_or(plain.len());
    let (whole, fraction) = (&plain[..point], plain.get(point + 1..).unwrap_or_default());

    let whole_padding = whole.len().next_multiple_of(DIGITS_EACH) - whole.len();
    let fraction_padding = fraction.len().next_multiple_of(DIGITS_EACH) - fraction.len();
    let mut decimal = vec![b'0'; whole_padding];
    decimal.extend_from_slice(whole);
    decimal.extend_from_slice(fraction);
    decimal.resize(decimal.len() + fraction_padding, b'0');
    let digits: Vec<i16> = decimal
        .chunks_exact(DIGITS_EACH)
        .map(|four| {
            four.iter()
                .fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0'))
        })
        .collect();

    let groups_before_point = (whole_padding + whole.len()) / DIGITS_EACH;
    let leading = digits.iter().take_while(|digit| **digit == 0).count();
    let trailing = digits.iter().rev().take_while(|digit| **digit == 0).count();
    let kept = digits
        .get(leading..digits.len() - trailing)
        .unwrap_or_default();
    let too_long = |_| {
        Error::user(
            SqlState::NumericValueOutOfRange,
            "numeric has too many digits",
        )
    };
    let weight = match kept {
        [] => 0,
        _ => {
            i16::try_from(groups_before_point).map_err(too_long)?
                - i16::try_from(leading).map_err(too_long)?
                - 1
        }
    };
    out.put_i16(i16::try_from(kept.len()).map_err(too_long)?);
    out.put_i16(weight);
    out.put_u16(if negative && !kept.is_empty() {
        NEGATIVE
    } else {
        0
    });
    out.put_u16(u16::try_from(fraction.len()).map_err(too_long)?);
    for digit in kept {
        out.put_i16(*digit);
    }
    Ok(())
}
