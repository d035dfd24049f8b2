//! numeric(p, s): from numbers and from strings that hold one, digit by digit, never through a
//! double.
//!
//! As in PostgreSQL, more fraction digits than the scale are rounded half away from zero, and more
//! digits than the precision are an error. The type has no NaN and no infinity.

use arrow::datatypes::{DataType, Decimal128Type};

use super::primitive::{Convert, PrimitiveColumn};
use super::{Column, Problem};
use crate::format::json::number::{DecimalText, Padded, short};
use crate::format::json::slot::Kind;

struct Numeric {
    precision: u8,
    scale: i8,
    /// `10^precision`: values stay below it.
    limit: i128,
}

pub(super) fn numeric(precision: u8, scale: i8) -> Box<dyn Column> {
    let limit = 10i128.pow(u32::from(precision.min(38)));
    let data_type = DataType::Decimal128(precision, scale);
    Box::new(PrimitiveColumn::new(
        Numeric {
            precision,
            scale,
            limit,
        },
        data_type,
    ))
}

impl Convert for Numeric {
    type Arrow = Decimal128Type;

    #[inline(always)]
    fn quick(&mut self, text: Padded<'_>) -> Option<i128> {
        const POWERS: [i64; 19] = {
            let mut powers = [1; 19];
            let mut k = 1;
            while k < 19 {
                powers[k] = powers[k - 1] * 10;
                k += 1;
            }
            powers
        };
        let short = short(text)?;
        let missing = usize::try_from(self.scale)
            .ok()?
            .checked_sub(short.fraction)?;
        let value = i128::from(short.digits) * i128::from(*POWERS.get(missing)?);
        (value.abs() < self.limit).then_some(value)
    }

    fn convert(&self, kind: Kind, text: &[u8]) -> Result<i128, Problem> {
        const EXPECTED: Problem = Problem::Expected("a number");
        let (Kind::Number | Kind::String) = kind else {
            return Err(EXPECTED);
        };
        let number = DecimalText::parse(text).ok_or(EXPECTED)?;
        match number.scaled(i32::from(self.scale)) {
            Some(scaled) if scaled.value.abs() < self.limit => Ok(scaled.value),
            _ => {
                let Self {
                    precision, scale, ..
                } = self;
                Err(Problem::out_of_range(format!(
                    "numeric({precision},{scale})"
                )))
            }
        }
    }
}
