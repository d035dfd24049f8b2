//! A number without its fraction, as PostgreSQL rounds one that is cast to an integer.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

/// A floating point number rounded to the nearest integer, halves to the even one.
pub fn whole(number: Expr) -> Expr {
    let function = ScalarUDF::from(Whole {
        signature: Signature::any(1, Volatility::Immutable),
    });
    Expr::ScalarFunction(ScalarFunction::new_udf(Arc::new(function), vec![number]))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Whole {
    signature: Signature,
}

impl ScalarUDFImpl for Whole {
    fn name(&self) -> &'static str {
        "whole"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match &arguments.args[0] {
            ColumnarValue::Scalar(number) => {
                let number = number.cast_to(&DataType::Float64)?;
                let ScalarValue::Float64(number) = number else {
                    return Ok(ColumnarValue::Scalar(number));
                };
                let rounded = number.map(f64::round_ties_even);
                Ok(ColumnarValue::Scalar(ScalarValue::Float64(rounded)))
            }
            ColumnarValue::Array(numbers) => {
                let numbers: ArrayRef = cast(numbers, &DataType::Float64)?;
                let numbers = numbers.as_primitive::<Float64Type>();
                let rounded: Float64Array = numbers.unary(f64::round_ties_even);
                Ok(ColumnarValue::Array(Arc::new(rounded)))
            }
        }
    }
}
