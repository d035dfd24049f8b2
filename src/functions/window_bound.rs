//! The bounds of the window that a time lies in: what every spelling of a window becomes.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{exec_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::types::{WindowBound, WindowKind};

/// The expression for a bound of the window that `time` (a timestamp in microseconds) lies in.
pub fn window_bound(kind: WindowKind, bound: WindowBound, time: Expr) -> Expr {
    let signature = Signature::any(1, Volatility::Immutable);
    let function = ScalarUDF::from(BoundOf {
        kind,
        bound,
        signature,
    });
    Expr::ScalarFunction(datafusion::logical_expr::expr::ScalarFunction::new_udf(
        Arc::new(function),
        vec![time],
    ))
}

/// The window, the bound and the time of an expression that [`window_bound`] made.
pub fn as_window_bound(expr: &Expr) -> Option<(WindowKind, WindowBound, &Expr)> {
    let Expr::ScalarFunction(call) = expr else {
        return None;
    };
    let function = call.func.inner().downcast_ref::<BoundOf>()?;
    Some((function.kind, function.bound, call.args.first()?))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct BoundOf {
    kind: WindowKind,
    bound: WindowBound,
    signature: Signature,
}

impl ScalarUDFImpl for BoundOf {
    fn name(&self) -> &str {
        self.bound.column()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match &arguments[0] {
            time @ DataType::Timestamp(TimeUnit::Microsecond, _) => Ok(time.clone()),
            other => plan_err!("a window needs a timestamp, not {other}"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let DataType::Timestamp(_, zone) = arguments.return_field.data_type() else {
            return exec_err!("a window's bound is a timestamp");
        };
        let times: ArrayRef = arguments.args[0].to_array(arguments.number_rows)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let after = self.bound.after_start(self.kind);
        let bounds: TimestampMicrosecondArray = times.unary_opt(|time| {
            self.kind
                .start_of(time)
                .and_then(|start| start.checked_add(after))
        });
        Ok(ColumnarValue::Array(Arc::new(
            bounds.with_timezone_opt(zone.clone()),
        )))
    }
}
