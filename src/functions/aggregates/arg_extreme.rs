//! `arg_min(x, by)` and `arg_max(x, by)`: `x` of the row where `by` is least or greatest.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use super::best::{Best, Wanted};

/// Both of them.
pub(super) fn functions() -> [AggregateUDF; 2] {
    [false, true].map(|greatest| {
        AggregateUDF::from(ArgExtreme {
            greatest,
            signature: Signature::any(2, Volatility::Immutable),
            aliases: vec![if greatest { "max_by" } else { "min_by" }.to_owned()],
        })
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ArgExtreme {
    greatest: bool,
    signature: Signature,
    aliases: Vec<String>,
}

impl AggregateUDFImpl for ArgExtreme {
    fn name(&self) -> &str {
        if self.greatest { "arg_max" } else { "arg_min" }
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let by = &arguments[1];
        if by.is_nested() || matches!(by, DataType::Interval(_)) {
            return plan_err!("{} does not support ordering by {by}", self.name());
        }
        Ok(arguments[0].clone())
    }

    fn return_field(&self, arguments: &[FieldRef]) -> Result<FieldRef> {
        let types: Vec<_> = arguments.iter().map(|a| a.data_type().clone()).collect();
        let field = Field::new(self.name(), self.return_type(&types)?, true);
        Ok(Arc::new(
            field.with_metadata(arguments[0].metadata().clone()),
        ))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn state_fields(&self, arguments: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        let field = |part: &str, of: &DataType| {
            let name = format_state_name(arguments.name, part);
            Arc::new(Field::new(name, of.clone(), true))
        };
        Ok(vec![
            field("value", arguments.return_type()),
            field("by", arguments.input_fields[1].data_type()),
        ])
    }

    fn accumulator(&self, arguments: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let wanted = if self.greatest {
            Wanted::Greatest
        } else {
            Wanted::First
        };
        let by = arguments.expr_fields[1].data_type();
        let best = Best::try_new(wanted, arguments.return_type(), by)?;
        Ok(Box::new(ValueOfBest { best }))
    }
}

#[derive(Debug)]
struct ValueOfBest {
    best: Best,
}

impl Accumulator for ValueOfBest {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        self.best.offer(&columns[0], &columns[1])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.best.offer(&states[0], &states[1])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.best.value())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(self.best.state().into())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.best.size()
    }
}
