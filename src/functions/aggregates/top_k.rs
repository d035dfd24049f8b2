//! `approx_top_k(x, k)`: the most frequent values with how often they came.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::plan_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;
use datafusion::scalar::ScalarValue;

use super::counted::{Counted, pairs_type};
use crate::error::{Error, SqlState};

/// How many values may be asked for at the most.
const VALUES_MAX: usize = 1000;
/// How many values are counted for each that is asked for, and at the least: the more, the more exact.
const COUNTED_EACH: usize = 8;
const COUNTED_MIN: usize = 256;

pub(super) fn function() -> AggregateUDF {
    AggregateUDF::from(TopK {
        signature: Signature::user_defined(Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TopK {
    signature: Signature,
}

impl AggregateUDFImpl for TopK {
    fn name(&self) -> &str {
        "approx_top_k"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [value, k] if k.is_integer() => Ok(vec![value.clone(), DataType::Int64]),
            _ => plan_err!(
                "Write approx_top_k(x, 10): a value, and how many of the most frequent to give"
            ),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(pairs_type(&arguments[0]))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format_state_name(arguments.name, "counts");
        let pairs = arguments.return_type().clone();
        Ok(vec![Arc::new(Field::new(name, pairs, true))])
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let k = arguments.exprs[1]
            .downcast_ref::<Literal>()
            .and_then(|literal| match literal.value() {
                ScalarValue::Int64(k) => usize::try_from((*k)?).ok(),
                _ => None,
            })
            .filter(|k| (1..=VALUES_MAX).contains(k))
            .ok_or_else(|| {
                DataFusionError::from(Error::user(
                    SqlState::InvalidParameterValue,
                    format!("approx_top_k(x, k) takes a number from 1 to {VALUES_MAX} as its k"),
                ))
            })?;
        let values_max = COUNTED_MIN.max(k * COUNTED_EACH);
        Ok(Box::new(MostFrequent {
            k,
            counted: Counted::try_new(arguments.expr_fields[0].data_type(), values_max)?,
        }))
    }
}

#[derive(Debug)]
struct MostFrequent {
    k: usize,
    counted: Counted,
}

impl Accumulator for MostFrequent {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.counted.update(&columns[0])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.counted.merge(&states[0])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.counted.most_frequent(self.k)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.counted.state()?])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counted.size()
    }
}
