//! Lengths of time as text: `'1 minute 30 seconds'`, `'200 ms'`, `'01:30:00'`, to microseconds.
//!
//! Invariant: only units of a fixed length are taken; a day is 24 hours. Months and years have no
//! fixed length and are refused with a hint.

use sqlparser::ast::{self, DateTimeField, Expr, UnaryOperator, Value};

use crate::error::{Error, Result, SqlState};

const MICROS_SECOND: i128 = 1_000_000;
const MICROS_MINUTE: i128 = 60 * MICROS_SECOND;
const MICROS_HOUR: i128 = 60 * MICROS_MINUTE;
const MICROS_DAY: i128 = 24 * MICROS_HOUR;

/// A length of time in microseconds; every number in it needs a unit.
///
/// # Errors
/// 22023 (not a length of time, no unit, months or years), 22008 (too long for 64 bits).
pub fn parse(text: &str) -> Result<i64> {
    parse_with(text, None)
}

/// The length of an `INTERVAL` literal or of a string, in microseconds; `None` for any other
/// expression.
pub fn of_expr(expr: &Expr) -> Option<Result<i64>> {
    match expr {
        Expr::Interval(interval) => of_interval(interval),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) => Some(parse(text)),
            _ => None,
        },
        Expr::Nested(inner) => of_expr(inner),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => of_expr(expr).map(|length| length.map(|micros| -micros)),
        _ => None,
    }
}

/// A length as a user would write it, with the largest unit that fits.
pub fn format(micros: i64) -> String {
    for (unit, name) in [
        (MICROS_DAY, "day"),
        (MICROS_HOUR, "hour"),
        (MICROS_MINUTE, "minute"),
        (MICROS_SECOND, "second"),
        (1_000, "millisecond"),
    ] {
        if micros != 0 && i128::from(micros) % unit == 0 {
            let number = i128::from(micros) / unit;
            let plural = if number == 1 { "" } else { "s" };
            return format!("{number} {name}{plural}");
        }
    }
    format!("{micros} microseconds")
}

fn of_interval(interval: &ast::Interval) -> Option<Result<i64>> {
    let text = literal(&interval.value)?;
    if interval.last_field.is_some() {
        return Some(Err(invalid(&text).hint(
            "Write the units in the text: INTERVAL '1 minute 30 seconds'.",
        )));
    }
    let unit = match &interval.leading_field {
        // PostgreSQL reads a number without a unit as seconds.
        None => Ok(MICROS_SECOND),
        Some(field) => unit_of_field(field, &text),
    };
    Some(unit.and_then(|unit| parse_with(&text, Some(unit))))
}

fn literal(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::Number(text, _) => Some(text.clone()),
            _ => None,
        },
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => literal(expr).map(|text| format!("-{text}")),
        Expr::Nested(inner) => literal(inner),
        _ => None,
    }
}

fn unit_of_field(field: &DateTimeField, text: &str) -> Result<i128> {
    unit(&field.to_string(), text)
}

fn unit(name: &str, text: &str) -> Result<i128> {
    match name.to_lowercase().as_str() {
        "us" | "usec" | "usecs" | "µs" | "μs" | "microsecond" | "microseconds" => Ok(1),
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => Ok(1_000),
        "s" | "sec" | "secs" | "second" | "seconds" => Ok(MICROS_SECOND),
        "m" | "min" | "mins" | "minute" | "minutes" => Ok(MICROS_MINUTE),
        "h" | "hr" | "hrs" | "hour" | "hours" => Ok(MICROS_HOUR),
        "d" | "day" | "days" => Ok(MICROS_DAY),
        "w" | "week" | "weeks" => Ok(7 * MICROS_DAY),
        "mon" | "mons" | "month" | "months" | "quarter" | "quarters" | "y" | "yr" | "yrs"
        | "year" | "years" | "decade" | "decades" | "century" | "centuries" => Err(Error::user(
            SqlState::InvalidParameterValue,
            format!("\"{text}\" has no fixed length"),
        )
        .hint("Months and years differ in length. Give the length in days or shorter units.")),
        _ => Err(invalid(text)),
    }
}

fn invalid(text: &str) -> Error {
    Error::user(
        SqlState::InvalidParameterValue,
        format!("\"{text}\" is not a length of time"),
    )
    .hint("Write a number and a unit, such as '10 seconds', '1 minute 30 seconds' or '200 ms'.")
}

/// `bare` is the length of a number without a unit; `None` refuses it.
fn parse_with(text: &str, bare: Option<i128>) -> Result<i64> {
    let mut words = Words { rest: text.trim() };
    let mut total = 0_i128;
    let mut parts = 0_usize;
    let mut sign = 1;
    while !words.rest.is_empty() {
        if parts > 0 && words.rest.eq_ignore_ascii_case("ago") {
            sign = -1;
            break;
        }
        total += words.part(text, bare)?;
        parts += 1;
        if parts > 32 || total.unsigned_abs() > u128::from(u64::MAX) {
            return Err(too_long(text));
        }
    }
    if parts == 0 {
        return Err(invalid(text));
    }
    i64::try_from(sign * total).map_err(|_| too_long(text))
}

fn too_long(text: &str) -> Error {
    let shown: String = text.chars().take(40).collect();
    Error::user(
        SqlState::DatetimeFieldOverflow,
        format!("length of time \"{shown}\" is too long"),
    )
}

struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    /// One number with its unit, or one `[hours:]minutes:seconds`.
    fn part(&mut self, whole: &str, bare: Option<i128>) -> Result<i128> {
        let negative = match self.rest.chars().next() {
            Some(sign @ ('-' | '+')) => {
                self.rest = &self.rest[1..];
                sign == '-'
            }
            _ => false,
        };
        let number = self.take(|c| c.is_ascii_digit() || matches!(c, '.' | ':'));
        if number.is_empty() {
            return Err(invalid(whole));
        }
        self.take(char::is_whitespace);
        let length = if number.contains(':') {
            clock(number, whole)?
        } else {
            let name = self.take(char::is_alphabetic);
            let unit = match (name.is_empty(), bare) {
                (false, _) => unit(name, whole)?,
                (true, Some(bare)) => bare,
                (true, None) => return Err(invalid(whole)),
            };
            scaled(number, unit, whole)?
        };
        self.take(|c| c.is_whitespace() || c == ',');
        Ok(if negative { -length } else { length })
    }
}

/// `hours:minutes` or `hours:minutes:seconds`.
fn clock(text: &str, whole: &str) -> Result<i128> {
    let fields: Vec<&str> = text.split(':').collect();
    let (hours, minutes, seconds) = match fields.as_slice() {
        [hours, minutes] => (*hours, *minutes, "0"),
        [hours, minutes, seconds] => (*hours, *minutes, *seconds),
        _ => return Err(invalid(whole)),
    };
    let lengths = [
        scaled(hours, MICROS_HOUR, whole)?,
        scaled(minutes, MICROS_MINUTE, whole)?,
        scaled(seconds, MICROS_SECOND, whole)?,
    ];
    if lengths[1] >= MICROS_HOUR || lengths[2] >= MICROS_MINUTE {
        return Err(invalid(whole));
    }
    Ok(lengths.iter().sum())
}

/// A decimal number of units, rounded to the microsecond.
fn scaled(number: &str, unit: i128, whole: &str) -> Result<i128> {
    let (integer, fraction) = number.split_once('.').unwrap_or((number, ""));
    if integer.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(invalid(whole));
    }
    if integer.len() > 19 || fraction.len() > 12 {
        return Err(too_long(whole));
    }
    let digits = |text: &str| match text {
        "" => Ok(0),
        text => text.parse::<i128>().map_err(|_| invalid(whole)),
    };
    let scale = 10_i128.pow(u32::try_from(fraction.len()).expect("at most 12"));
    let part = (digits(fraction)? * unit * 2 + scale) / (scale * 2);
    Ok(digits(integer)? * unit + part)
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match parse(text) {
            Ok(micros) => micros.to_string(),
            Err(error) => format!("{} {}", error.state().code(), error.message()),
        };
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn lengths_of_time_become_microseconds() {
        check("10 seconds", "10000000");
        check("1 minute 30 seconds", "90000000");
        check("1m30s", "90000000");
        check("200 ms", "200000");
        check("200ms", "200000");
        check("15 us", "15");
        check("1.5 seconds", "1500000");
        check(".5s", "500000");
        check("1 day", "86400000000");
        check("2 weeks", "1209600000000");
        check("1 DAY, 02:03:04.5", "93784500000");
        check("01:30", "5400000000");
        check("-5 seconds", "-5000000");
        check("5 minutes ago", "-300000000");
        check("0 s", "0");
        check("0.0000004 s", "0");
        check("0.0000005 s", "1");
    }

    #[test]
    fn what_is_no_fixed_length_is_refused() {
        check("", "22023 \"\" is not a length of time");
        check("10", "22023 \"10\" is not a length of time");
        check(
            "ten seconds",
            "22023 \"ten seconds\" is not a length of time",
        );
        check(
            "1 fortnight",
            "22023 \"1 fortnight\" is not a length of time",
        );
        check("1.2.3 s", "22023 \"1.2.3 s\" is not a length of time");
        check("1:99", "22023 \"1:99\" is not a length of time");
        check("1 s x", "22023 \"1 s x\" is not a length of time");
        check("1 month", "22023 \"1 month\" has no fixed length");
        check("2 years", "22023 \"2 years\" has no fixed length");
        check(
            "9999999999999 days",
            "22008 length of time \"9999999999999 days\" is too long",
        );
    }

    #[test]
    fn a_length_is_shown_in_its_largest_unit() {
        assert_eq!(format(60_000_000), "1 minute");
        assert_eq!(format(90_000_000), "90 seconds");
        assert_eq!(format(1_500), "1500 microseconds");
        assert_eq!(format(0), "0 microseconds");
        assert_eq!(format(172_800_000_000), "2 days");
    }
}
