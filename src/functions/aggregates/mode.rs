//! `mode() WITHIN GROUP (ORDER BY x)`, also `mode(x)`: the most frequent value.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::counted::{Counted, pairs_type};

pub(super) fn function() -> AggregateUDF {
    AggregateUDF::from(Mode {
        signature: Signature::any(1, Volatility::Immutable),
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Mode {
    signature: Signature,
}

impl AggregateUDFImpl for Mode {
    fn name(&self) -> &str {
        "mode"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        Ok(arguments[0].clone())
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let name = format_state_name(arguments.name, "counts");
        let pairs = pairs_type(arguments.input_fields[0].data_type());
        Ok(vec![Arc::new(Field::new(name, pairs, true))])
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(MostFrequent {
            counted: Counted::try_new(arguments.expr_fields[0].data_type(), usize::MAX)?,
            greatest: arguments
                .order_bys
                .first()
                .is_some_and(|order| order.options.descending),
        }))
    }
}

/// The value of which there are most; of several the one that the order has first.
#[derive(Debug)]
struct MostFrequent {
    counted: Counted,
    greatest: bool,
}

impl Accumulator for MostFrequent {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.counted.update(&columns[0])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.counted.merge(&states[0])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.counted.mode(self.greatest)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.counted.state()?])
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.counted.size()
    }
}
