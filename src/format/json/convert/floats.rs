//! real and double precision: from numbers and from strings that hold one.
//!
//! Always the nearest value. As in PostgreSQL, the strings `NaN`, `Infinity` and `inf` (in any
//! case, with a sign) are values, and a finite number beyond the type's range is an error; one that
//! is too small becomes zero.

use arrow::datatypes::{DataType, Float32Type, Float64Type};

use super::primitive::{Convert, PrimitiveColumn};
use super::{Column, Problem};
use crate::format::json::number::{DecimalText, Padded, short};
use crate::format::json::slot::Kind;

struct Real;
struct Double;

pub(super) fn real() -> Box<dyn Column> {
    Box::new(PrimitiveColumn::new(Real, DataType::Float32))
}

pub(super) fn double() -> Box<dyn Column> {
    Box::new(PrimitiveColumn::new(Double, DataType::Float64))
}

impl Convert for Real {
    type Arrow = Float32Type;

    #[inline(always)]
    fn quick(&mut self, text: Padded<'_>) -> Option<f32> {
        short(text)?.to_f32()
    }

    fn convert(&self, kind: Kind, text: &[u8]) -> Result<f32, Problem> {
        let (text, finite) = number_text(kind, text)?;
        let value: f32 = text.parse().map_err(|_| EXPECTED)?;
        if finite && value.is_infinite() {
            return Err(Problem::out_of_range("real"));
        }
        Ok(value)
    }
}

impl Convert for Double {
    type Arrow = Float64Type;

    #[inline(always)]
    fn quick(&mut self, text: Padded<'_>) -> Option<f64> {
        short(text)?.to_f64()
    }

    fn convert(&self, kind: Kind, text: &[u8]) -> Result<f64, Problem> {
        let (text, finite) = number_text(kind, text)?;
        let value: f64 = text.parse().map_err(|_| EXPECTED)?;
        if finite && value.is_infinite() {
            return Err(Problem::out_of_range("double precision"));
        }
        Ok(value)
    }
}

const EXPECTED: Problem = Problem::Expected("a number");

/// The text of a number, and whether it is written with digits.
fn number_text(kind: Kind, text: &[u8]) -> Result<(&str, bool), Problem> {
    let (Kind::Number | Kind::String) = kind else {
        return Err(EXPECTED);
    };
    let text = text.trim_ascii();
    let finite = DecimalText::parse(text).is_some();
    // The standard library reads the words that PostgreSQL reads, and `nan` with a sign besides.
    let text = std::str::from_utf8(text).map_err(|_| EXPECTED)?;
    Ok((text, finite))
}
