//! Which of two values is the newer one, and which moment a value means.
//!
//! Pure. Values come from outside: numbers, numbers in strings, times, or any text.
//! Invariant: marks have one order over all kinds of values.

use chrono::{DateTime, NaiveDateTime, Utc};

/// Decimal places of a number that count.
const PLACES: usize = 18;

/// A value of an item that says how new it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mark {
    /// In units of 10^-18.
    Number(i128),
    /// A time with its zone.
    Time(DateTime<Utc>),
    /// Anything else, by its bytes.
    Text(String),
}

impl Mark {
    /// What a string's content or a number's text means.
    pub(super) fn of(text: &str) -> Self {
        if let Some(number) = decimal(text) {
            return Self::Number(number);
        }
        match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Self::Time(time.to_utc()),
            Err(_) => Self::Text(text.to_owned()),
        }
    }
}

/// A plain decimal number in units of 10^-18; `None` for what is none or too large.
fn decimal(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let fraction = &fraction[..fraction.len().min(PLACES)];
    let scaled: i128 = format!("{whole}{fraction:0<PLACES$}").parse().ok()?;
    Some(if negative { -scaled } else { scaled })
}

/// The moment that a value means, in microseconds since the Unix epoch: a time with a zone, a time
/// without one (UTC), or a number of seconds, milliseconds, microseconds or nanoseconds, whichever
/// lies between 1973 and 5138. `None` for what is no moment.
pub(super) fn moment_micros(text: &str) -> Option<i64> {
    if let Some(number) = decimal(text) {
        return i64::try_from(number / units_a_micro(number)).ok();
    }
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.timestamp_micros());
    }
    let zoned = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z");
    if let Ok(time) = zoned {
        return Some(time.timestamp_micros());
    }
    let forms = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"];
    let local = forms
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    Some(local?.and_utc().timestamp_micros())
}

/// By what to divide a number in units of 10^-18 to have microseconds.
fn units_a_micro(number: i128) -> i128 {
    const ONE: i128 = 1_000_000_000_000_000_000;
    match number.abs() / ONE {
        0..100_000_000_000 => ONE / 1_000_000,
        100_000_000_000..100_000_000_000_000 => ONE / 1_000,
        100_000_000_000_000..100_000_000_000_000_000 => ONE,
        _ => ONE * 1_000,
    }
}

#[cfg(test)]
mod tests {
    use super::{Mark, moment_micros};

    #[test]
    fn newer_values_come_after_older_ones() {
        let rising = [
            ("9", "10"),
            ("-10", "-9"),
            ("1.05", "1.5"),
            ("109999999999999999", "1100000000000000000"),
            ("2026-01-01T00:00:05Z", "2026-01-01T00:00:05.5Z"),
            ("2026-01-01T02:00:00+02:00", "2026-01-01T00:00:01Z"),
            ("a9", "b1"),
        ];
        for (older, newer) in rising {
            assert!(Mark::of(older) < Mark::of(newer), "{older} < {newer}");
        }
        assert_eq!(Mark::of("1.50"), Mark::of("1.5"));
        assert_eq!(
            Mark::of("2026-01-01T00:00:00Z"),
            Mark::of("2026-01-01T01:00:00+01:00")
        );
    }

    #[test]
    fn what_is_too_large_for_a_number_is_text() {
        assert!(matches!(Mark::of(&"9".repeat(60)), Mark::Text(_)));
        assert!(matches!(Mark::of("1e5"), Mark::Text(_)));
        assert!(matches!(Mark::of(""), Mark::Text(_)));
    }

    #[test]
    fn moments_are_read_in_every_usual_form() {
        let micros = 1_767_225_600_250_000;
        for text in [
            "1767225600.25",
            "1767225600250",
            "1767225600250000",
            "1767225600250000000",
            "2026-01-01T00:00:00.25Z",
            "2026-01-01T01:00:00.25+01:00",
            "2026-01-01 00:00:00.25",
            "2026-01-01T00:00:00.250",
            "2026-01-01 00:00:00.25+00",
        ] {
            assert_eq!(moment_micros(text), Some(micros), "{text}");
        }
        for text in ["", "soon", "2026-13-01T00:00:00Z", "true"] {
            assert_eq!(moment_micros(text), None, "{text}");
        }
    }
}
