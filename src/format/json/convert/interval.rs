//! interval: from ISO 8601 (`P1Y2M3DT4H5M6.5S`) and from PostgreSQL's own text
//! (`1 year 2 mons -3 days 04:05:06.5`).
//!
//! Months, days and the time stay apart, as in SQL. Fractions are taken for hours and smaller
//! units, to the nanosecond; PostgreSQL's `ago` and fractions of larger units are not.

use arrow::datatypes::{DataType, IntervalMonthDayNano, IntervalMonthDayNanoType, IntervalUnit};

use super::primitive::{Convert, PrimitiveColumn};
use super::{Column, Problem};
use crate::format::json::number::{DecimalText, Padded};
use crate::format::json::slot::Kind;

struct Interval;

pub(super) fn interval() -> Box<dyn Column> {
    Box::new(PrimitiveColumn::new(
        Interval,
        DataType::Interval(IntervalUnit::MonthDayNano),
    ))
}

impl Convert for Interval {
    type Arrow = IntervalMonthDayNanoType;

    fn quick(&mut self, _text: Padded<'_>) -> Option<IntervalMonthDayNano> {
        None
    }

    fn convert(&self, kind: Kind, text: &[u8]) -> Result<IntervalMonthDayNano, Problem> {
        const EXPECTED: Problem = Problem::Expected("an interval");
        match (kind, std::str::from_utf8(text)) {
            (Kind::String, Ok(text)) => parse_interval(text).ok_or(EXPECTED),
            _ => Err(EXPECTED),
        }
    }
}

/// A unit: which part it belongs to, and how many of that part it is.
#[derive(Clone, Copy)]
enum Unit {
    Months(i64),
    Days(i64),
    Nanos(i64),
}

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const MINUTE: Unit = Unit::Nanos(60 * NANOS_PER_SECOND);
const HOUR: Unit = Unit::Nanos(3600 * NANOS_PER_SECOND);
const SECOND: Unit = Unit::Nanos(NANOS_PER_SECOND);

/// An interval while its parts are added up.
#[derive(Default)]
struct Sum {
    months: i64,
    days: i64,
    nanos: i64,
}

impl Sum {
    /// Adds so many units, a decimal number.
    fn add(&mut self, count: &str, unit: Unit) -> Option<()> {
        let number = DecimalText::parse(count.as_bytes())?;
        let (part, size, scale) = match unit {
            Unit::Months(size) => (&mut self.months, size, 0),
            Unit::Days(size) => (&mut self.days, size, 0),
            Unit::Nanos(size) => (&mut self.nanos, size, 9),
        };
        let scaled = number.scaled(scale)?;
        if !scaled.exact {
            return None;
        }
        let total = scaled.value.checked_mul(i128::from(size))? / 10i128.pow(scale.cast_unsigned());
        *part = part.checked_add(i64::try_from(total).ok()?)?;
        Some(())
    }

    fn finish(self) -> Option<IntervalMonthDayNano> {
        let (months, days) = (
            i32::try_from(self.months).ok()?,
            i32::try_from(self.days).ok()?,
        );
        Some(IntervalMonthDayNano::new(months, days, self.nanos))
    }
}

/// Reads an interval in either form.
fn parse_interval(text: &str) -> Option<IntervalMonthDayNano> {
    let text = text.trim_ascii();
    match text.strip_prefix(['P', 'p']) {
        Some(rest) => iso_8601(rest),
        None => postgres(text),
    }
}

/// `1Y2M3W4DT5H6M7.5S`, any part missing but not all.
fn iso_8601(text: &str) -> Option<IntervalMonthDayNano> {
    let (date, time) = match text.split_once(['T', 't']) {
        Some((_, "")) => return None,
        Some((date, time)) => (date, time),
        None => (text, ""),
    };
    if date.is_empty() && time.is_empty() {
        return None;
    }
    let mut sum = Sum::default();
    for (count, letter) in parts(date)? {
        sum.add(
            count,
            match letter.to_ascii_uppercase() {
                'Y' => Unit::Months(12),
                'M' => Unit::Months(1),
                'W' => Unit::Days(7),
                'D' => Unit::Days(1),
                _ => return None,
            },
        )?;
    }
    for (count, letter) in parts(time)? {
        sum.add(
            count,
            match letter.to_ascii_uppercase() {
                'H' => HOUR,
                'M' => MINUTE,
                'S' => SECOND,
                _ => return None,
            },
        )?;
    }
    sum.finish()
}

/// Cuts `1Y2M` into counts and letters.
fn parts(mut text: &str) -> Option<Vec<(&str, char)>> {
    let mut parts = Vec::new();
    while !text.is_empty() {
        let end = text.find(|character: char| character.is_ascii_alphabetic())?;
        parts.push((&text[..end], char::from(text.as_bytes()[end])));
        text = &text[end + 1..];
    }
    Some(parts)
}

/// `1 year 2 mons -3 days 04:05:06.5`, any part missing but not all.
fn postgres(text: &str) -> Option<IntervalMonthDayNano> {
    let mut sum = Sum::default();
    let mut words = text.split_ascii_whitespace().peekable();
    words.peek()?;
    while let Some(word) = words.next() {
        if word.contains(':') {
            add_clock(&mut sum, word)?;
            continue;
        }
        // `5 days` and `5days`.
        let letters = word.find(|character: char| character.is_ascii_alphabetic());
        let (count, name) = match letters {
            Some(place) => word.split_at(place),
            None => (word, words.next()?),
        };
        sum.add(count, unit(&name.to_ascii_lowercase())?)?;
    }
    sum.finish()
}

/// Adds `(-)HH:MM(:SS(.f))`; the hours may be any number.
fn add_clock(sum: &mut Sum, word: &str) -> Option<()> {
    let (sign, word) = match word.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", word.strip_prefix('+').unwrap_or(word)),
    };
    let mut parts = word.splitn(3, ':');
    for (unit, below) in [(HOUR, i128::MAX), (MINUTE, 60), (SECOND, 60)] {
        let Some(part) = parts.next() else {
            break;
        };
        let number = DecimalText::parse(part.as_bytes())?.scaled(9)?;
        let whole = matches!(unit, Unit::Nanos(NANOS_PER_SECOND)) || !part.contains('.');
        let billion = 1_000_000_000;
        if !part.starts_with(|first: char| first.is_ascii_digit())
            || !whole
            || number.value / billion >= below
        {
            return None;
        }
        sum.add(&format!("{sign}{part}"), unit)?;
    }
    Some(())
}

fn unit(name: &str) -> Option<Unit> {
    Some(
        match name
            .strip_suffix('s')
            .filter(|name| name.len() > 1)
            .unwrap_or(name)
        {
            "y" | "yr" | "year" => Unit::Months(12),
            "mon" | "month" => Unit::Months(1),
            "w" | "week" => Unit::Days(7),
            "d" | "day" => Unit::Days(1),
            "h" | "hr" | "hour" => HOUR,
            "m" | "min" | "minute" => MINUTE,
            "s" | "sec" | "second" => SECOND,
            "ms" | "msec" | "millisecond" => Unit::Nanos(1_000_000),
            "us" | "usec" | "microsecond" => Unit::Nanos(1_000),
            _ => return None,
        },
    )
}

#[cfg(test)]
mod tests {
    use super::{IntervalMonthDayNano, parse_interval};

    #[test]
    fn intervals_are_read_in_both_forms() {
        const S: i64 = 1_000_000_000;
        for (text, months, days, nanos) in [
            ("P1Y2M3DT4H5M6.5S", 14, 3, 14_706 * S + S / 2),
            ("P2W", 0, 14, 0),
            ("PT0S", 0, 0, 0),
            ("PT-1.000000001S", 0, 0, -S - 1),
            ("P-1M", -1, 0, 0),
            ("PT0.5H", 0, 0, 1800 * S),
            (
                "1 year 2 mons -3 days 04:05:06.5",
                14,
                -3,
                14_706 * S + S / 2,
            ),
            ("1 day", 0, 1, 0),
            ("5 minutes", 0, 0, 300 * S),
            ("90s", 0, 0, 90 * S),
            ("1 hour 30 min", 0, 0, 5400 * S),
            ("-00:00:01", 0, 0, -S),
            ("100:00", 0, 0, 360_000 * S),
            ("250 ms", 0, 0, S / 4),
            ("10 us", 0, 0, 10_000),
        ] {
            let expected = IntervalMonthDayNano::new(months, days, nanos);
            assert_eq!(parse_interval(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_interval_is_refused() {
        for text in [
            "",
            "P",
            "PT",
            "P1",
            "P1H",
            "1",
            "day",
            "1 fortnight",
            "1.5 days",
            "P0.5Y",
            "1:60",
            "00:00:61",
            "1.5:00",
            "P1YT",
            "PT1S1",
            "1 day ago",
            "PT0.0000000001S",
            "::",
            "P99999999999Y",
            "PT99999999999999H",
        ] {
            assert_eq!(parse_interval(text), None, "{text}");
        }
    }
}
