//! The written parts of dates, times and offsets (ISO 8601, RFC 3339), each read off the front of a
//! text.
//!
//! Owns which forms are accepted; [`convert`](super::convert) decides which parts make a type.

use super::civil::{days_from_civil, days_in_month};

/// Microseconds in a second, a minute, an hour, a day.
pub(super) const SECOND: i64 = 1_000_000;
pub(super) const MINUTE: i64 = 60 * SECOND;
pub(super) const HOUR: i64 = 60 * MINUTE;
pub(super) const DAY: i64 = 24 * HOUR;

/// A date at the front: `YYYY-MM-DD`; years outside 0000 to 9999 have a sign and up to seven
/// digits. Days since 1970-01-01, and the rest.
pub(super) fn date(text: &[u8]) -> Option<(i64, &[u8])> {
    let (sign, unsigned) = match text.first()? {
        b'+' => (1, &text[1..]),
        b'-' => (-1, &text[1..]),
        _ => (0, text),
    };
    let year_len = unsigned.iter().position(|&byte| byte == b'-')?;
    let long = sign != 0 && (4..=7).contains(&year_len);
    if !long && year_len != 4 {
        return None;
    }
    let year = number(&unsigned[..year_len])? * if sign < 0 { -1 } else { 1 };
    let (month, rest) = two_digits(&unsigned[year_len + 1..])?;
    let (day, rest) = two_digits(rest.strip_prefix(b"-")?)?;
    if day == 0 || day > days_in_month(year, month) {
        return None;
    }
    Some((days_from_civil(year, month, day), rest))
}

/// A time of day at the front: `HH:MM`, `HH:MM:SS`, `HH:MM:SS.f` with up to nine digits, rounded to
/// microseconds half up. Second 60 is the next minute's first. Microseconds since midnight, and the
/// rest.
pub(super) fn time(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, rest) = two_digits(text)?;
    let (minute, rest) = two_digits(rest.strip_prefix(b":")?)?;
    let (second, rest) = match rest.strip_prefix(b":") {
        Some(rest) => two_digits(rest)?,
        None => (0, rest),
    };
    let (micros, rest) = match rest.strip_prefix(b".") {
        Some(rest) => fraction(rest)?,
        None => (0, rest),
    };
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    Some((
        hour * HOUR + minute * MINUTE + second * SECOND + micros,
        rest,
    ))
}

/// One to nine digits of a second's fraction at the front, in microseconds, and the rest.
#[inline(always)]
pub(super) fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    const TO_NANOS: [i64; 10] = [
        0,
        100_000_000,
        10_000_000,
        1_000_000,
        100_000,
        10_000,
        1_000,
        100,
        10,
        1,
    ];
    let mut digits = 0;
    let mut value = 0i64;
    while let Some(digit) = text.get(digits).map(|byte| byte.wrapping_sub(b'0'))
        && digit <= 9
    {
        value = value * 10 + i64::from(digit);
        digits += 1;
        if digits > 9 {
            return None;
        }
    }
    if digits == 0 {
        return None;
    }
    Some(((value * TO_NANOS[digits] + 500) / 1000, &text[digits..]))
}

/// An offset from UTC that is the whole text: `Z`, `+HH`, `+HHMM`, `+HH:MM`. In microseconds.
pub(super) fn offset(text: &[u8]) -> Option<i64> {
    let sign = match text.first()? {
        b'Z' | b'z' if text.len() == 1 => return Some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, rest) = two_digits(&text[1..])?;
    let rest = rest.strip_prefix(b":").unwrap_or(rest);
    let (minutes, rest) = if rest.is_empty() && text.len() == 3 {
        (0, rest)
    } else {
        two_digits(rest)?
    };
    if !rest.is_empty() || hours > 23 || minutes > 59 {
        return None;
    }
    Some(sign * (hours * HOUR + minutes * MINUTE))
}

/// A number of digits alone.
fn number(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        Some(number * 10 + digit)
    })
}

fn two_digits(text: &[u8]) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(2)?;
    Some((number(digits)?, rest))
}
