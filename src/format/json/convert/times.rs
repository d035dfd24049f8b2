//! date and time: from ISO 8601 strings.
//!
//! A date may have a time behind it, which is ignored as in PostgreSQL: it is the date as written,
//! whatever the offset. A time has no offset.

use arrow::datatypes::{DataType, Date32Type, Time64MicrosecondType, TimeUnit};

use super::primitive::{Convert, PrimitiveColumn};
use super::timestamps::clock_and_offset;
use super::{Column, Problem};
use crate::format::json::datetime;
use crate::format::json::number::Padded;
use crate::format::json::slot::Kind;

struct Date;
struct Time;

pub(super) fn date() -> Box<dyn Column> {
    Box::new(PrimitiveColumn::new(Date, DataType::Date32))
}

pub(super) fn time() -> Box<dyn Column> {
    Box::new(PrimitiveColumn::new(
        Time,
        DataType::Time64(TimeUnit::Microsecond),
    ))
}

impl Convert for Date {
    type Arrow = Date32Type;

    fn quick(&mut self, _text: Padded<'_>) -> Option<i32> {
        None
    }

    fn convert(&self, kind: Kind, text: &[u8]) -> Result<i32, Problem> {
        const EXPECTED: Problem = Problem::Expected("a date");
        let Kind::String = kind else {
            return Err(EXPECTED);
        };
        let (days, rest) = datetime::date(text).ok_or(EXPECTED)?;
        clock_and_offset(rest).ok_or(EXPECTED)?;
        i32::try_from(days).map_err(|_| Problem::out_of_range("date"))
    }
}

impl Convert for Time {
    type Arrow = Time64MicrosecondType;

    fn quick(&mut self, _text: Padded<'_>) -> Option<i64> {
        None
    }

    fn convert(&self, kind: Kind, text: &[u8]) -> Result<i64, Problem> {
        const EXPECTED: Problem = Problem::Expected("a time of day");
        match datetime::time(text) {
            Some((micros, [])) if kind == Kind::String => {
                // Rounding or a leap second may lead to the next day.
                if micros < datetime::DAY {
                    Ok(micros)
                } else {
                    Err(Problem::out_of_range("time"))
                }
            }
            _ => Err(EXPECTED),
        }
    }
}
