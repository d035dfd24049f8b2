//! The written forms of dates, times and intervals: the reverse of what the decoder reads.

use std::io::Write;

use arrow::datatypes::IntervalMonthDayNano;

use super::civil::civil_from_days;

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// `YYYY-MM-DD`; years outside 0000 to 9999 get a sign.
pub(super) fn write_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil_from_days(days);
    match year {
        0..=9999 => {
            write_two_digits(year / 100, out);
            write_two_digits(year % 100, out);
        }
        _ => put(out, format_args!("{year:+05}")),
    }
    out.push(b'-');
    write_two_digits(month, out);
    out.push(b'-');
    write_two_digits(day, out);
}

/// `HH:MM:SS` and the fraction, if there is one, from nanoseconds since midnight.
pub(super) fn write_clock(nanos: i64, out: &mut Vec<u8>) {
    let seconds = nanos.div_euclid(NANOS_PER_SECOND);
    write_two_digits(seconds / 3600, out);
    out.push(b':');
    write_two_digits(seconds / 60 % 60, out);
    out.push(b':');
    write_two_digits(seconds % 60, out);
    write_fraction(nanos.rem_euclid(NANOS_PER_SECOND), out);
}

/// The last two digits of a number.
fn write_two_digits(number: i64, out: &mut Vec<u8>) {
    let digit = |number: i64| b'0' + u8::try_from(number % 10).expect("a digit fits a byte");
    out.extend_from_slice(&[digit(number / 10), digit(number)]);
}

/// `YYYY-MM-DDTHH:MM:SS.fZ` from seconds since the epoch and the nanoseconds within the second.
pub(super) fn write_timestamp(seconds: i64, nanos: i64, out: &mut Vec<u8>) {
    write_date(seconds.div_euclid(SECONDS_PER_DAY), out);
    out.push(b'T');
    write_clock(
        seconds.rem_euclid(SECONDS_PER_DAY) * NANOS_PER_SECOND + nanos,
        out,
    );
    out.push(b'Z');
}

/// ISO 8601, only the parts that are not zero: `P1Y2M3DT4H5M6.5S`.
pub(super) fn write_interval(interval: IntervalMonthDayNano, out: &mut Vec<u8>) {
    let IntervalMonthDayNano {
        months,
        days,
        nanoseconds,
    } = interval;
    let first = out.len();
    out.push(b'P');
    write_part(i64::from(months / 12), b'Y', out);
    write_part(i64::from(months % 12), b'M', out);
    write_part(i64::from(days), b'D', out);
    let seconds = nanoseconds / NANOS_PER_SECOND;
    let nanos = nanoseconds % NANOS_PER_SECOND;
    if nanoseconds != 0 || out.len() == first + 1 {
        out.push(b'T');
        write_part(seconds / 3600, b'H', out);
        write_part(seconds / 60 % 60, b'M', out);
        if seconds % 60 != 0 || nanos != 0 || nanoseconds == 0 {
            let sign = if nanoseconds < 0 { "-" } else { "" };
            put(out, format_args!("{sign}{}", (seconds % 60).abs()));
            write_fraction(nanos.abs(), out);
            out.push(b'S');
        }
    }
}

fn write_part(count: i64, letter: u8, out: &mut Vec<u8>) {
    if count != 0 {
        put(out, format_args!("{count}"));
        out.push(letter);
    }
}

/// A point and as many digits as the nanoseconds need; nothing for none.
fn write_fraction(nanos: i64, out: &mut Vec<u8>) {
    if nanos == 0 {
        return;
    }
    out.push(b'.');
    let mut rest = nanos;
    let mut unit = NANOS_PER_SECOND / 10;
    while rest != 0 {
        out.push(b'0' + u8::try_from(rest / unit).expect("a digit fits a byte"));
        rest %= unit;
        unit /= 10;
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes all bytes");
}
