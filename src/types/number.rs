//! Arithmetic of aggregates that snapshots and continuous queries share, so that both give the same
//! answer.

use arrow::datatypes::{DataType, i256};

use crate::error::{Error, Result, SqlState};

/// What becomes of a sum that was added up exactly, in 128 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExactSum {
    /// The sum itself, as `bigint`.
    Bigint,
    /// The sum itself, as a `numeric` of that precision.
    Numeric {
        /// Decimal digits at the most.
        precision: u8,
    },
    /// The sum divided by the count, as a `numeric` of that precision.
    Average {
        /// How many more digits behind the point the average has than the sum.
        more_digits: u8,
        /// Decimal digits at the most.
        precision: u8,
    },
}

impl ExactSum {
    /// How `sum` gives its result of that type; `None` for a sum that is not exact.
    pub fn for_sum(result: &DataType) -> Option<Self> {
        match result {
            DataType::Int64 => Some(Self::Bigint),
            DataType::Decimal128(precision, _) => Some(Self::Numeric {
                precision: *precision,
            }),
            _ => None,
        }
    }

    /// How `avg` of numbers with that scale gives its result of that type; `None` for an average
    /// that is not exact.
    pub fn for_average(scale: i8, result: &DataType) -> Option<Self> {
        match result {
            DataType::Decimal128(precision, result_scale) => Some(Self::Average {
                more_digits: u8::try_from(result_scale.checked_sub(scale)?).ok()?,
                precision: *precision,
            }),
            _ => None,
        }
    }

    /// The result of `count` numbers that add up to `sum`, as the digits of its type.
    ///
    /// # Errors
    /// When it is out of the type's range; `name` says which function's.
    pub fn result(self, sum: i128, count: i64, name: &str) -> Result<i128> {
        let (value, digits_max) = match self {
            Self::Bigint => {
                return i64::try_from(sum)
                    .map(i128::from)
                    .map_err(|_| self.out_of_range(name));
            }
            Self::Numeric { precision } => (Some(sum), precision),
            Self::Average {
                more_digits,
                precision,
            } => (average(sum, count, more_digits), precision),
        };
        value
            .filter(|value| fits(*value, digits_max))
            .ok_or_else(|| self.out_of_range(name))
    }

    /// `left + right`.
    ///
    /// # Errors
    /// When 128 bits do not hold it; `name` says which function's.
    pub fn add(self, left: i128, right: i128, name: &str) -> Result<i128> {
        left.checked_add(right)
            .ok_or_else(|| self.out_of_range(name))
    }

    /// Why there is no result; `name` says which function's.
    pub fn out_of_range(self, name: &str) -> Error {
        let message = match self {
            Self::Bigint => "bigint out of range",
            Self::Numeric { .. } | Self::Average { .. } => "value overflows numeric format",
        };
        let error = Error::user(SqlState::NumericValueOutOfRange, message)
            .detail(format!("The value of {name} does not fit its type."));
        match self {
            Self::Bigint => error.hint("Add up numerics: sum(x::numeric)."),
            Self::Numeric { .. } | Self::Average { .. } => error,
        }
    }
}

/// `sum / count` with more digits, rounded half away from zero.
fn average(sum: i128, count: i64, more_digits: u8) -> Option<i128> {
    let scaled =
        i256::from_i128(sum).checked_mul(i256::from_i128(10).checked_pow(more_digits.into())?)?;
    rounded_quotient(scaled, i256::from_i128(count.into()))?.to_i128()
}

/// `dividend / divisor`, rounded half away from zero; `None` for a division by zero.
pub fn rounded_quotient(dividend: i256, divisor: i256) -> Option<i256> {
    let quotient = dividend.checked_div(divisor)?;
    let rest = dividend.checked_sub(quotient.checked_mul(divisor)?)?;
    let is_half = rest.wrapping_abs() >= divisor.wrapping_abs().checked_sub(rest.wrapping_abs())?;
    if rest == i256::ZERO || !is_half {
        return Some(quotient);
    }
    let away = if dividend.is_negative() == divisor.is_negative() {
        i256::ONE
    } else {
        i256::MINUS_ONE
    };
    quotient.checked_add(away)
}

/// Whether a number has at most so many decimal digits.
pub fn fits(value: i128, digits_max: u8) -> bool {
    10_u128
        .checked_pow(digits_max.into())
        .is_none_or(|bound| value.unsigned_abs() < bound)
}

/// PostgreSQL's order of floating-point numbers: NaN is equal to NaN and greater than all others.
/// Unlike PostgreSQL we put -0 before 0, so that the least of several does not depend on their
/// order.
pub fn float_is_less(left: f64, right: f64) -> bool {
    match (left.is_nan(), right.is_nan()) {
        (true, _) => false,
        (false, true) => true,
        (false, false) => left.total_cmp(&right).is_lt(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_average_is_rounded_half_away_from_zero() {
        let average = |sum, count| {
            let kind = ExactSum::Average {
                more_digits: 1,
                precision: 10,
            };
            kind.result(sum, count, "avg(x)").unwrap()
        };
        assert_eq!(average(2, 3), 7, "0.66 is 0.7");
        assert_eq!(average(1, 3), 3);
        assert_eq!(average(1, 4), 3, "0.25 is 0.3");
        assert_eq!(average(-1, 4), -3);
        assert_eq!(average(-1, 3), -3);
    }

    #[test]
    fn a_result_out_of_its_range_is_told() {
        let told = |kind: ExactSum, sum| kind.result(sum, 1, "sum(x)").unwrap_err().to_string();
        assert!(told(ExactSum::Bigint, 1 << 63).contains("bigint out of range"));
        assert_eq!(
            ExactSum::Bigint.result(-1 << 63, 1, "sum(x)").unwrap(),
            i128::from(i64::MIN)
        );
        let numeric = ExactSum::Numeric { precision: 3 };
        assert_eq!(numeric.result(-999, 1, "sum(x)").unwrap(), -999);
        assert!(told(numeric, 1000).contains("value overflows numeric format"));
        assert!(ExactSum::Bigint.add(i128::MAX, 1, "sum(x)").is_err());
    }

    #[test]
    fn nan_is_the_greatest_float() {
        let numbers = [f64::NEG_INFINITY, -1.0, -0.0, 0.0, f64::INFINITY, f64::NAN];
        for pair in numbers.windows(2) {
            assert!(float_is_less(pair[0], pair[1]), "{pair:?}");
            assert!(!float_is_less(pair[1], pair[0]), "{pair:?}");
        }
        assert!(!float_is_less(-f64::NAN, f64::NAN), "all NaN are equal");
        assert!(!float_is_less(-f64::NAN, f64::NEG_INFINITY));
    }
}
