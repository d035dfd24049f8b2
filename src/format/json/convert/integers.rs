//! smallint, integer, bigint: from numbers and from strings that hold one.
//!
//! Exact over all 64 bits. A number with a point or an exponent is taken if it is whole (`1.0`,
//! `1e3`).

use std::marker::PhantomData;

use arrow::array::ArrowPrimitiveType;
use arrow::datatypes::{Int16Type, Int32Type, Int64Type};

use super::primitive::{Convert, PrimitiveColumn};
use super::{Column, Problem};
use crate::format::json::number::{DecimalText, Padded, short};
use crate::format::json::slot::Kind;

struct Integer<T> {
    sql_type: &'static str,
    arrow: PhantomData<fn() -> T>,
}

pub(super) fn smallint() -> Box<dyn Column> {
    integer_column::<Int16Type>("smallint")
}

pub(super) fn integer() -> Box<dyn Column> {
    integer_column::<Int32Type>("integer")
}

pub(super) fn bigint() -> Box<dyn Column> {
    integer_column::<Int64Type>("bigint")
}

fn integer_column<T>(sql_type: &'static str) -> Box<dyn Column>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64> + TryFrom<i128>,
{
    Box::new(PrimitiveColumn::new(
        Integer::<T> {
            sql_type,
            arrow: PhantomData,
        },
        T::DATA_TYPE,
    ))
}

impl<T> Convert for Integer<T>
where
    T: ArrowPrimitiveType,
    T::Native: TryFrom<i64> + TryFrom<i128>,
{
    type Arrow = T;

    #[inline(always)]
    fn quick(&mut self, text: Padded<'_>) -> Option<T::Native> {
        let short = short(text)?;
        if short.fraction != 0 {
            return None;
        }
        T::Native::try_from(short.digits).ok()
    }

    fn convert(&self, kind: Kind, text: &[u8]) -> Result<T::Native, Problem> {
        const EXPECTED: Problem = Problem::Expected("an integer");
        let (Kind::Number | Kind::String) = kind else {
            return Err(EXPECTED);
        };
        let number = DecimalText::parse(text).ok_or(EXPECTED)?;
        let out_of_range = || Problem::out_of_range(self.sql_type);
        let scaled = number.scaled(0).ok_or_else(out_of_range)?;
        if !scaled.exact {
            return Err(EXPECTED);
        }
        T::Native::try_from(scaled.value).map_err(|_| out_of_range())
    }
}
