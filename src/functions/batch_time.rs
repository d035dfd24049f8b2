//! `now()` in a continuous query: the time of the micro-batch.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::error::Result;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::plan::BatchTime;

/// The expression for the time of the micro-batch; a timestamp with time zone.
pub fn batch_time(time: &BatchTime) -> Expr {
    let function = BatchTimeFunction {
        time: time.clone(),
        signature: Signature::nullary(Volatility::Volatile),
    };
    let function = Arc::new(ScalarUDF::from(function));
    Expr::ScalarFunction(ScalarFunction::new_udf(function, Vec::new()))
}

/// True for an expression that [`batch_time`] made.
pub fn is_batch_time(expr: &Expr) -> bool {
    matches!(expr, Expr::ScalarFunction(call) if call.func.inner().is::<BatchTimeFunction>())
}

#[derive(Debug)]
struct BatchTimeFunction {
    time: BatchTime,
    signature: Signature,
}

impl PartialEq for BatchTimeFunction {
    fn eq(&self, other: &Self) -> bool {
        self.signature == other.signature
    }
}

impl Eq for BatchTimeFunction {}

impl std::hash::Hash for BatchTimeFunction {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name().hash(state);
    }
}

impl ScalarUDFImpl for BatchTimeFunction {
    fn name(&self) -> &str {
        "now"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Timestamp(
            TimeUnit::Microsecond,
            Some("+00:00".into()),
        ))
    }

    fn invoke_with_args(&self, _arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let now = Some(self.time.get().0);
        Ok(ColumnarValue::Scalar(ScalarValue::TimestampMicrosecond(
            now,
            Some("+00:00".into()),
        )))
    }
}
