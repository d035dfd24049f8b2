//! timestamp and timestamptz: from RFC 3339 strings and from epoch numbers.
//!
//! Strings: a date, then perhaps `T` or a space and a time with up to nine fraction digits (rounded
//! to microseconds), then perhaps an offset. Without an offset the time is UTC; a `timestamp`
//! with one is converted to UTC as well, so that both types mean the same instant.
//!
//! Numbers, and strings that hold one, are epoch times. Their size decides the unit:
//!
//! | below | unit | reaches from 1970 until |
//! |---|---|---|
//! | 10^11 | seconds | 5138 |
//! | 10^14 | milliseconds | 5138; earlier than 1973-03-03 they would be taken for seconds |
//! | 10^17 | microseconds | 5138; likewise |
//! | beyond | nanoseconds | 2262 |
//!
//! A fraction counts in that unit (`1531846800.25` is a quarter of a second).

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};

use super::primitive::{Convert, PrimitiveColumn};
use super::{Column, Problem};
use crate::format::json::datetime::{self, DAY, SECOND};
use crate::format::json::number::{DecimalText, Padded, short};
use crate::format::json::slot::Kind;

/// Below these, a number counts seconds, milliseconds, microseconds.
const SECONDS_BELOW: i128 = 100_000_000_000;
const MILLIS_BELOW: i128 = 100_000_000_000_000;
const MICROS_BELOW: i128 = 100_000_000_000_000_000;

pub(super) fn timestamp(zone: Option<Arc<str>>) -> Box<dyn Column> {
    let data_type = DataType::Timestamp(TimeUnit::Microsecond, zone);
    Box::new(PrimitiveColumn::new(
        Timestamp {
            minute: [0; 16],
            start: 0,
        },
        data_type,
    ))
}

/// Remembers the last minute, because the next message's is most often the same.
struct Timestamp {
    /// `YYYY-MM-DDTHH:MM`
    minute: [u8; 16],
    /// That minute's start in microseconds since the epoch.
    start: i64,
}

impl Convert for Timestamp {
    type Arrow = TimestampMicrosecondType;

    #[inline(always)]
    fn quick(&mut self, text: Padded<'_>) -> Option<i64> {
        let written = text.text();
        if written.first_chunk() != Some(&self.minute) {
            return self.other_minute(text);
        }
        if written.len() == WITH_MILLIS
            && let Some(millis) = millis_in_minute(text.word(16))
        {
            return Some(self.start + millis * 1000);
        }
        self.in_minute(&written[16..])
    }

    fn convert(&self, kind: Kind, text: &[u8]) -> Result<i64, Problem> {
        const EXPECTED: Problem = Problem::Expected("a timestamp");
        let out_of_range = || Problem::out_of_range("timestamp");
        match kind {
            Kind::Number => {}
            Kind::String => {
                if let Some(micros) = parse_timestamp(text) {
                    return i64::try_from(micros).map_err(|_| out_of_range());
                }
            }
            _ => return Err(EXPECTED),
        }
        let number = DecimalText::parse(text).ok_or(EXPECTED)?;
        epoch_number(number).ok_or_else(out_of_range)
    }
}

impl Timestamp {
    /// The time of which the remembered minute is cut off: `:SSZ`, `:SS.fZ`, `:SS.f+HH:MM`.
    #[inline(always)]
    fn in_minute(&self, text: &[u8]) -> Option<i64> {
        let &[b':', tens, ones, ref rest @ ..] = text else {
            return None;
        };
        let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
        if tens > 5 || ones > 9 {
            return None;
        }
        let (micros, rest) = match rest {
            [b'.', rest @ ..] => datetime::fraction(rest)?,
            rest => (0, rest),
        };
        let offset = match rest {
            b"Z" | [] => 0,
            rest => datetime::offset(rest)?,
        };
        Some(self.start + i64::from(tens * 10 + ones) * SECOND + micros - offset)
    }

    /// An epoch number, or a time of a minute that will be remembered.
    #[inline(never)]
    fn other_minute(&mut self, text: Padded<'_>) -> Option<i64> {
        if let Some(number) = short(text) {
            return (number.fraction == 0).then(|| epoch_integer(number.digits));
        }
        let text = text.text();
        let minute = text.first_chunk::<16>()?;
        let start = i64::try_from(parse_timestamp(minute)?).ok()?;
        // Sixteen bytes may also be a long year and an hour with an offset.
        if minute[10].is_ascii_digit() || minute[13] != b':' {
            return None;
        }
        (self.minute, self.start) = (*minute, start);
        self.in_minute(&text[16..])
    }
}

/// The length of `YYYY-MM-DDTHH:MM:SS.mmmZ`.
const WITH_MILLIS: usize = 24;

/// The milliseconds of `:SS.mmmZ`, the most frequent end of a time.
#[inline(always)]
fn millis_in_minute(text: u64) -> Option<i64> {
    // What is left are the digits, and zeros in place of the other characters.
    let values = text ^ u64::from_le_bytes(*b":00.000Z");
    let above = values.wrapping_add(u64::from_le_bytes([
        0x7f, 0x7a, 0x76, 0x7f, 0x76, 0x76, 0x76, 0x7f,
    ]));
    if (above | values) & u64::from_le_bytes([0x80; 8]) != 0 {
        return None;
    }
    let [_, tens, ones, _, tenths, hundredths, thousandths, _] =
        values.to_le_bytes().map(i64::from);
    Some(tens * 10_000 + ones * 1000 + tenths * 100 + hundredths * 10 + thousandths)
}

/// Microseconds since the epoch of a written time; `None` if the text is none.
pub(in crate::format::json) fn parse_timestamp(text: &[u8]) -> Option<i128> {
    let (days, rest) = datetime::date(text)?;
    let (clock, offset) = clock_and_offset(rest)?;
    Some(i128::from(days) * i128::from(DAY) + i128::from(clock - offset))
}

/// What may stand behind a date: nothing, or a time of day and perhaps an offset.
pub(super) fn clock_and_offset(text: &[u8]) -> Option<(i64, i64)> {
    let text = match text {
        [] => return Some((0, 0)),
        [b'T' | b't' | b' ', rest @ ..] => rest,
        _ => return None,
    };
    let (clock, rest) = datetime::time(text)?;
    let offset = match rest.strip_prefix(b" ").unwrap_or(rest) {
        [] if rest.is_empty() => 0,
        rest => datetime::offset(rest)?,
    };
    Some((clock, offset))
}

/// Microseconds since the epoch of a number, by its size; `None` if it does not fit.
fn epoch_number(number: DecimalText<'_>) -> Option<i64> {
    // Digits behind the point do not change the unit.
    let scale = match number.scaled(3)?.value.abs() / 1000 {
        0..SECONDS_BELOW => 6,
        SECONDS_BELOW..MILLIS_BELOW => 3,
        MILLIS_BELOW..MICROS_BELOW => 0,
        _ => -3,
    };
    i64::try_from(number.scaled(scale)?.value).ok()
}

/// The same for a whole number of 64 bits.
fn epoch_integer(number: i64) -> i64 {
    match i128::from(number).abs() {
        0..SECONDS_BELOW => number * SECOND,
        SECONDS_BELOW..MILLIS_BELOW => number * 1000,
        MILLIS_BELOW..MICROS_BELOW => number,
        // Half away from zero.
        _ => number / 1000 + (number % 1000) / 500,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, prop_oneof, proptest};

    use super::{Timestamp, millis_in_minute, parse_timestamp};

    #[test]
    fn a_time_may_be_written_in_many_ways() {
        const NOON: i128 = 1_531_828_800_000_000;
        for (text, micros) in [
            ("2018-07-17T12:00:00Z", NOON),
            ("2018-07-17 12:00:00z", NOON),
            ("2018-07-17t12:00Z", NOON),
            ("2018-07-17 12:00", NOON),
            ("2018-07-17T14:00:00+02:00", NOON),
            ("2018-07-17T14:00:00+0200", NOON),
            ("2018-07-17 14:00:00 +02", NOON),
            ("2018-07-17T06:30:00-05:30", NOON),
            ("2018-07-17", NOON - 43_200_000_000),
            ("2018-07-17T12:00:00.5Z", NOON + 500_000),
            ("2018-07-17T12:00:00.123456Z", NOON + 123_456),
            ("2018-07-17T12:00:00.1234564Z", NOON + 123_456),
            ("2018-07-17T12:00:00.123456500Z", NOON + 123_457),
            ("2018-07-17T11:59:59.999999999Z", NOON),
            ("2018-07-17T11:59:60Z", NOON),
            ("1969-12-31T23:59:59.25Z", -750_000),
            ("0001-01-01T00:00:00Z", -62_135_596_800_000_000),
            ("+10000-01-01T00:00:00Z", 253_402_300_800_000_000),
            ("2024-02-29", 1_709_164_800_000_000),
        ] {
            assert_eq!(parse_timestamp(text.as_bytes()), Some(micros), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in [
            "",
            "2018",
            "2018-07",
            "2018-7-17",
            "2018-13-01",
            "2023-02-29",
            "2018-07-00",
            "2018-07-17T",
            "2018-07-17T12",
            "2018-07-17T24:00:00Z",
            "2018-07-17T12:60:00Z",
            "2018-07-17T12:00:61Z",
            "2018-07-17T12:00:00.Z",
            "2018-07-17T12:00:00.1234567890Z",
            "2018-07-17T12:00:00ZZ",
            "2018-07-17T12:00:00+",
            "2018-07-17T12:00:00+2",
            "2018-07-17T12:00:00+02:",
            "2018-07-17T12:00:00+24:00",
            "2018-07-17T12:00:00 ",
            "2018-07-17x",
            "20180717",
            "10000-01-01",
            "noon",
        ] {
            assert_eq!(parse_timestamp(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_end_of_a_time_with_milliseconds_means_what_its_parts_mean(
            end in prop_oneof![":[0-6][0-9]\\.[0-9]{3}Z", ":[0-9.]{2}[.0-9][0-9:/]{3}[Zz0]", "[ -~]{8}"],
        ) {
            let timestamp = Timestamp { minute: [0; 16], start: 0 };
            let whole = timestamp.in_minute(end.as_bytes());
            let word = end.as_bytes().try_into().expect("eight bytes");
            let quick = millis_in_minute(u64::from_le_bytes(word));
            // Other forms of eight bytes are left to the whole.
            let is_ours = end.len() == 8 && end.as_bytes()[3] == b'.' && end.ends_with('Z');
            let expected = whole.filter(|_| is_ours).map(|micros| micros / 1000);
            prop_assert_eq!(quick, expected, "{}", end);
        }
    }
}
