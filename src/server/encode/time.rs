//! Dates, times, timestamps and intervals, as text.

use arrow::array::timezone::Tz;
use arrow::datatypes::IntervalMonthDayNano;
use bytes::{BufMut, BytesMut};
use chrono::{DateTime, Offset, TimeZone};

use super::number::write_fmt;

pub(super) const MICROS_A_SECOND: i64 = 1_000_000;
pub(super) const MICROS_A_DAY: i64 = 86_400 * MICROS_A_SECOND;
/// Days from 1970-01-01, Arrow's origin, to 2000-01-01, PostgreSQL's.
pub(super) const DAYS_TO_2000: i32 = 10_957;

/// Splits microseconds since 1970 into days since 1970 and microseconds of that day.
fn split_micros(micros: i64) -> (i64, i64) {
    (
        micros.div_euclid(MICROS_A_DAY),
        micros.rem_euclid(MICROS_A_DAY),
    )
}

/// Year, month and day of a day count, by the proleptic Gregorian calendar, for every i64 of
/// microseconds (chrono's own dates end earlier).
fn civil(days_since_1970: i64) -> (i64, i64, i64) {
    const DAYS_AN_ERA: i64 = 146_097;
    let shifted = days_since_1970 + 719_468;
    let era = shifted.div_euclid(DAYS_AN_ERA);
    let day_of_era = shifted.rem_euclid(DAYS_AN_ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Writes a date; returns true if it lies before year 1 and needs ` BC` at its end.
fn write_day(days: i64, out: &mut BytesMut) -> bool {
    let (year, month, day) = civil(days);
    let before_christ = year <= 0;
    let shown = if before_christ { 1 - year } else { year };
    write_fmt(out, format_args!("{shown:04}-{month:02}-{day:02}"));
    before_christ
}

/// `2026-01-31`
pub(super) fn write_date(days: i32, out: &mut BytesMut) {
    if write_day(i64::from(days), out) {
        out.put_slice(b" BC");
    }
}

/// `12:30:00.25`: only as many digits of a second's fraction as are needed.
pub(super) fn write_time(micros_of_day: i64, out: &mut BytesMut) {
    let seconds = micros_of_day / MICROS_A_SECOND;
    write_fmt(
        out,
        format_args!(
            "{:02}:{:02}:{:02}",
            seconds / 3_600,
            seconds / 60 % 60,
            seconds % 60
        ),
    );
    write_fraction(micros_of_day % MICROS_A_SECOND, out);
}

fn write_fraction(micros: i64, out: &mut BytesMut) {
    if micros != 0 {
        let digits = format!("{micros:06}");
        out.put_u8(b'.');
        out.put_slice(digits.trim_end_matches('0').as_bytes());
    }
}

/// `2026-01-31 12:30:00.25`
pub(super) fn write_timestamp(micros: i64, out: &mut BytesMut) {
    let (days, time) = split_micros(micros);
    let before_christ = write_day(days, out);
    out.put_u8(b' ');
    write_time(time, out);
    if before_christ {
        out.put_slice(b" BC");
    }
}

/// `2026-01-31 18:00:00.25+05:30`
pub(super) fn write_timestamptz(micros: i64, zone: Tz, out: &mut BytesMut) {
    let offset = offset_seconds(micros, zone);
    let (days, time) = split_micros(micros.saturating_add(i64::from(offset) * MICROS_A_SECOND));
    let before_christ = write_day(days, out);
    out.put_u8(b' ');
    write_time(time, out);
    let (hours, minutes, seconds) = (
        offset.abs() / 3_600,
        offset.abs() / 60 % 60,
        offset.abs() % 60,
    );
    out.put_u8(if offset < 0 { b'-' } else { b'+' });
    write_fmt(out, format_args!("{hours:02}"));
    if minutes != 0 || seconds != 0 {
        write_fmt(out, format_args!(":{minutes:02}"));
    }
    if seconds != 0 {
        write_fmt(out, format_args!(":{seconds:02}"));
    }
    if before_christ {
        out.put_slice(b" BC");
    }
}

/// The zone's offset from UTC at that moment; beyond chrono's years, the zone's offset in 1970.
fn offset_seconds(micros: i64, zone: Tz) -> i32 {
    let moment = DateTime::from_timestamp_micros(micros)
        .unwrap_or_default()
        .naive_utc();
    zone.offset_from_utc_datetime(&moment)
        .fix()
        .local_minus_utc()
}

/// `1 year 2 mons -3 days +04:05:06.789`, PostgreSQL's own interval style.
pub(super) fn write_interval(interval: IntervalMonthDayNano, out: &mut BytesMut) {
    let mut part = IntervalParts {
        out,
        is_first: true,
        after_negative: false,
    };
    part.write(interval.months / 12, "year");
    part.write(interval.months % 12, "mon");
    part.write(interval.days, "day");
    let IntervalParts {
        out,
        is_first,
        after_negative,
    } = part;
    let micros = interval.nanoseconds / 1_000;
    if micros == 0 && !is_first {
        return;
    }
    if !is_first {
        out.put_u8(b' ');
    }
    if micros < 0 {
        out.put_u8(b'-');
    } else if after_negative {
        out.put_u8(b'+');
    }
    write_time(micros.abs(), out);
}

struct IntervalParts<'a> {
    out: &'a mut BytesMut,
    is_first: bool,
    /// A positive part after a negative one shows its sign.
    after_negative: bool,
}

impl IntervalParts<'_> {
    fn write(&mut self, value: i32, unit: &str) {
        if value == 0 {
            return;
        }
        let space = if self.is_first { "" } else { " " };
        let plus = if self.after_negative && value > 0 {
            "+"
        } else {
            ""
        };
        let plural = if value == 1 { "" } else { "s" };
        write_fmt(
            self.out,
            format_args!("{space}{plus}{value} {unit}{plural}"),
        );
        self.is_first = false;
        self.after_negative = value < 0;
    }
}
