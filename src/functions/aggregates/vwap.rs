//! `vwap(price, volume)`: the mean price, weighted by volume.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type, Field, FieldRef,
    Float64Type, i256,
};
use datafusion::common::plan_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::error::{Error, SqlState};
use crate::types::{fits, rounded_quotient};

/// How many digits more than the price the mean of numerics has behind the point, as `avg` has.
const MORE_DIGITS: i8 = 4;
const DECIMAL256_DIGITS: u8 = 76;

pub(super) fn function() -> AggregateUDF {
    AggregateUDF::from(Vwap {
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Vwap {
    signature: Signature,
}

/// A number as a `numeric`, if it is exact.
fn exact(number: &DataType) -> Option<DataType> {
    match number {
        DataType::Decimal128(..) => Some(number.clone()),
        DataType::Decimal32(precision, scale) | DataType::Decimal64(precision, scale) => {
            Some(DataType::Decimal128(*precision, *scale))
        }
        integer if integer.is_integer() => Some(DataType::Decimal128(20, 0)),
        _ => None,
    }
}

impl AggregateUDFImpl for Vwap {
    fn name(&self) -> &str {
        "vwap"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Numerics stay exact, also together with integers; all else is `double precision`.
    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [price, volume] = arguments else {
            return plan_err!("Write vwap(price, volume): two numbers");
        };
        let is_number = |of: &DataType| of.is_numeric() || of.is_null();
        if !is_number(price) || !is_number(volume) {
            return plan_err!("Write vwap(price, volume): two numbers");
        }
        Ok(match (exact(price), exact(volume)) {
            (Some(exact_price), Some(exact_volume))
                if price.is_decimal() || volume.is_decimal() =>
            {
                vec![exact_price, exact_volume]
            }
            _ => vec![DataType::Float64; 2],
        })
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(match &arguments[0] {
            DataType::Decimal128(_, scale) => DataType::Decimal128(
                DECIMAL128_MAX_PRECISION,
                scale.saturating_add(MORE_DIGITS).min(38),
            ),
            _ => DataType::Float64,
        })
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let of = if arguments.return_type() == &DataType::Float64 {
            DataType::Float64
        } else {
            DataType::Decimal256(DECIMAL256_DIGITS, 0)
        };
        let field = |part: &str| {
            let name = format_state_name(arguments.name, part);
            Arc::new(Field::new(name, of.clone(), true))
        };
        Ok(vec![field("turnover"), field("volume")])
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let price = arguments.expr_fields[0].data_type();
        Ok(match (price, arguments.return_type()) {
            (DataType::Decimal128(_, price_scale), DataType::Decimal128(_, scale)) => {
                Box::new(ExactMean {
                    more_digits: u32::from((scale - price_scale).unsigned_abs()),
                    scale: *scale,
                    sums: None,
                })
            }
            _ => Box::new(FloatMean { sums: None }),
        })
    }
}

/// Sum of price times volume, and of volume; `None` before the first row.
#[derive(Debug)]
struct FloatMean {
    sums: Option<(f64, f64)>,
}

impl FloatMean {
    fn add(&mut self, columns: &[ArrayRef], turnover: impl Fn(f64, f64) -> f64) {
        let left = columns[0].as_primitive::<Float64Type>();
        let volumes = columns[1].as_primitive::<Float64Type>();
        for (left, volume) in left.iter().zip(volumes) {
            if let (Some(left), Some(volume)) = (left, volume) {
                let sums = self.sums.get_or_insert((0.0, 0.0));
                sums.0 += turnover(left, volume);
                sums.1 += volume;
            }
        }
    }
}

impl Accumulator for FloatMean {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.add(columns, |price, volume| price * volume);
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.add(states, |turnover, _| turnover);
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mean = self
            .sums
            .filter(|(_, volume)| *volume != 0.0)
            .map(|(turnover, volume)| turnover / volume);
        Ok(ScalarValue::Float64(mean))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![
            ScalarValue::Float64(self.sums.map(|sums| sums.0)),
            ScalarValue::Float64(self.sums.map(|sums| sums.1)),
        ])
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}

/// The same for numerics, as whole numbers of their last digits.
#[derive(Debug)]
struct ExactMean {
    /// How many more digits behind the point the mean has than the price.
    more_digits: u32,
    scale: i8,
    sums: Option<(i256, i256)>,
}

impl ExactMean {
    fn add(&mut self, turnover: Option<i256>, volume: i256) -> Result<()> {
        let (old_turnover, old_volume) = self.sums.unwrap_or((i256::ZERO, i256::ZERO));
        self.sums = turnover
            .and_then(|turnover| old_turnover.checked_add(turnover))
            .zip(old_volume.checked_add(volume));
        match self.sums {
            Some(_) => Ok(()),
            None => Err(overflow()),
        }
    }

    fn mean(&self) -> Result<Option<i128>> {
        let Some((turnover, volume)) = self.sums.filter(|sums| sums.1 != i256::ZERO) else {
            return Ok(None);
        };
        i256::from_i128(10)
            .checked_pow(self.more_digits)
            .and_then(|more| turnover.checked_mul(more))
            .and_then(|turnover| rounded_quotient(turnover, volume))
            .and_then(i256::to_i128)
            .filter(|mean| fits(*mean, DECIMAL128_MAX_PRECISION))
            .map(Some)
            .ok_or_else(overflow)
    }
}

fn overflow() -> DataFusionError {
    let state = SqlState::NumericValueOutOfRange;
    Error::user(state, "value overflows numeric format")
        .detail("The value of vwap does not fit its type.")
        .into()
}

impl Accumulator for ExactMean {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let prices = columns[0].as_primitive::<Decimal128Type>();
        let volumes = columns[1].as_primitive::<Decimal128Type>();
        for (price, volume) in prices.iter().zip(volumes) {
            if let (Some(price), Some(volume)) = (price, volume) {
                let volume = i256::from_i128(volume);
                self.add(i256::from_i128(price).checked_mul(volume), volume)?;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let turnovers = states[0].as_primitive::<Decimal256Type>();
        let volumes = states[1].as_primitive::<Decimal256Type>();
        for (turnover, volume) in turnovers.iter().zip(volumes) {
            if let (Some(turnover), Some(volume)) = (turnover, volume) {
                self.add(Some(turnover), volume)?;
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mean = self.mean()?;
        Ok(ScalarValue::Decimal128(
            mean,
            DECIMAL128_MAX_PRECISION,
            self.scale,
        ))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let part = |sum| ScalarValue::Decimal256(sum, DECIMAL256_DIGITS, 0);
        Ok(vec![
            part(self.sums.map(|sums| sums.0)),
            part(self.sums.map(|sums| sums.1)),
        ])
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
