//! Intervals of a fixed length as numbers of microseconds.
//!
//! What is added to a time may be months, whose length differs; so Arrow adds an interval by the calendar, row
//! by row. One without months and days is the same as a number of microseconds, which costs a tenth of that.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema, TimeUnit};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Literal};

use crate::error::{Result, from_datafusion};

const NANOS_A_MICRO: i64 = 1_000;

/// The expression with such intervals added to, or taken from, a time in microseconds.
///
/// # Errors
/// When a type cannot be told.
pub(super) fn fixed_lengths(
    expr: Arc<dyn PhysicalExpr>,
    schema: &Schema,
) -> Result<Arc<dyn PhysicalExpr>> {
    let fixed = expr.transform_up(|expr| {
        let binary = expr.downcast_ref::<BinaryExpr>();
        let Some((binary, length)) = binary.and_then(|binary| Some((binary, length(binary)?)))
        else {
            return Ok(Transformed::no(expr));
        };
        let time = Arc::clone(binary.left());
        let is_time = matches!(
            time.data_type(schema)?,
            DataType::Timestamp(TimeUnit::Microsecond, _)
        );
        if !is_time {
            return Ok(Transformed::no(expr));
        }
        let length = Literal::new(ScalarValue::DurationMicrosecond(Some(length)));
        let added = BinaryExpr::new(time, *binary.op(), Arc::new(length));
        Ok(Transformed::yes(Arc::new(added) as Arc<dyn PhysicalExpr>))
    });
    Ok(fixed.map_err(from_datafusion)?.data)
}

/// The length of what is added, microseconds.
fn length(binary: &BinaryExpr) -> Option<i64> {
    if !matches!(binary.op(), Operator::Plus | Operator::Minus) {
        return None;
    }
    let literal = binary.right().downcast_ref::<Literal>()?;
    let ScalarValue::IntervalMonthDayNano(Some(interval)) = literal.value() else {
        return None;
    };
    let is_fixed =
        interval.months == 0 && interval.days == 0 && interval.nanoseconds % NANOS_A_MICRO == 0;
    is_fixed.then_some(interval.nanoseconds / NANOS_A_MICRO)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray};
    use arrow::datatypes::{Field, IntervalMonthDayNano};
    use datafusion::physical_expr::expressions::col;

    use super::*;

    fn added(
        schema: &Schema,
        op: Operator,
        (months, days, nanos): (i32, i32, i64),
    ) -> Arc<dyn PhysicalExpr> {
        let interval = IntervalMonthDayNano::new(months, days, nanos);
        let literal = Literal::new(ScalarValue::IntervalMonthDayNano(Some(interval)));
        let time = col("at", schema).unwrap();
        Arc::new(BinaryExpr::new(time, op, Arc::new(literal)))
    }

    #[test]
    fn the_times_are_the_same_and_have_the_same_type() {
        for zone in [None, Some("+00:00"), Some("Europe/Berlin")] {
            let times = TimestampMicrosecondArray::from(vec![
                Some(0),
                None,
                Some(-1),
                Some(1_774_746_000_000_000),
            ]);
            let times = times.with_timezone_opt(zone);
            let batch = RecordBatch::try_from_iter([("at", Arc::new(times) as ArrayRef)]).unwrap();
            let schema = batch.schema();
            for op in [Operator::Plus, Operator::Minus] {
                let slow = added(&schema, op, (0, 0, 5_000_001_000));
                let fast = fixed_lengths(Arc::clone(&slow), &schema).unwrap();
                assert_ne!(slow.to_string(), fast.to_string(), "{op} in {zone:?}");
                let values = |expr: &Arc<dyn PhysicalExpr>| {
                    let value = expr.evaluate(&batch).unwrap();
                    value.into_array(batch.num_rows()).unwrap()
                };
                assert_eq!(&values(&slow), &values(&fast), "{op} in {zone:?}");
                let kind = |expr: &Arc<dyn PhysicalExpr>| expr.data_type(&schema).unwrap();
                assert_eq!(kind(&slow), kind(&fast), "{op} in {zone:?}");
            }
        }
    }

    #[test]
    fn months_days_and_parts_of_a_microsecond_stay_as_they_are() {
        let kind = DataType::Timestamp(TimeUnit::Microsecond, None);
        let schema = Schema::new(vec![Field::new("at", kind, true)]);
        for length in [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1_000)] {
            let expr = added(&schema, Operator::Minus, length);
            let same = fixed_lengths(Arc::clone(&expr), &schema).unwrap();
            assert_eq!(expr.to_string(), same.to_string(), "{length:?}");
        }
    }
}
