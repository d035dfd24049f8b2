//! `date_trunc` and `date_bin` over a time: tumbling windows under other names.

use datafusion::logical_expr::Expr;
use datafusion::scalar::ScalarValue;

use crate::types::WindowKind;

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// The window whose start an expression tells, and the time that it tells it of; `None` for other
/// expressions, and for months and years, which differ in length.
pub(super) fn as_tumble(expr: &Expr) -> Option<(WindowKind, &Expr)> {
    let call = match expr {
        Expr::Alias(alias) => return as_tumble(&alias.expr),
        Expr::ScalarFunction(call) => call,
        _ => return None,
    };
    match (call.func.name(), call.args.as_slice()) {
        ("date_trunc", [unit, time]) => Some((truncated(text(unit)?)?, time)),
        ("date_bin", [size, time]) => Some((binned(size, 0)?, time)),
        ("date_bin", [size, time, origin]) => Some((binned(size, micros(origin)?)?, time)),
        _ => None,
    }
}

fn truncated(unit: &str) -> Option<WindowKind> {
    let (size, offset) = match unit.to_ascii_lowercase().as_str() {
        "microsecond" => (1, 0),
        "millisecond" => (SECOND / 1_000, 0),
        "second" => (SECOND, 0),
        "minute" => (60 * SECOND, 0),
        "hour" => (3_600 * SECOND, 0),
        "day" => (DAY, 0),
        // Weeks begin on Mondays, and 1970-01-05 was one.
        "week" => (7 * DAY, 4 * DAY),
        _ => return None,
    };
    Some(WindowKind::Tumble { size, offset })
}

fn binned(size: &Expr, origin: i64) -> Option<WindowKind> {
    let size = match literal(size)? {
        ScalarValue::IntervalMonthDayNano(Some(size))
            if size.months == 0 && size.nanoseconds % 1_000 == 0 =>
        {
            i64::from(size.days)
                .checked_mul(DAY)?
                .checked_add(size.nanoseconds / 1_000)?
        }
        ScalarValue::IntervalDayTime(Some(size)) => i64::from(size.days)
            .checked_mul(DAY)?
            .checked_add(i64::from(size.milliseconds) * 1_000)?,
        _ => return None,
    };
    let offset = origin.checked_rem_euclid(size)?;
    (size > 0).then_some(WindowKind::Tumble { size, offset })
}

fn literal(expr: &Expr) -> Option<&ScalarValue> {
    match expr {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

fn text(expr: &Expr) -> Option<&str> {
    match literal(expr)? {
        ScalarValue::Utf8(text) | ScalarValue::Utf8View(text) | ScalarValue::LargeUtf8(text) => {
            text.as_deref()
        }
        _ => None,
    }
}

fn micros(origin: &Expr) -> Option<i64> {
    match literal(origin)? {
        ScalarValue::TimestampSecond(value, _) => (*value)?.checked_mul(SECOND),
        ScalarValue::TimestampMillisecond(value, _) => (*value)?.checked_mul(1_000),
        ScalarValue::TimestampMicrosecond(value, _) => *value,
        ScalarValue::TimestampNanosecond(value, _) => {
            let nanos = (*value)?;
            (nanos % 1_000 == 0).then_some(nanos / 1_000)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::IntervalMonthDayNano;
    use datafusion::functions::expr_fn::{date_bin, date_trunc};
    use datafusion::logical_expr::{Expr, col, lit};
    use datafusion::scalar::ScalarValue;

    use super::{DAY, as_tumble};
    use crate::types::WindowKind;

    fn window(expr: &Expr) -> Option<(i64, i64)> {
        match as_tumble(expr)? {
            (WindowKind::Tumble { size, offset }, Expr::Column(_)) => Some((size, offset)),
            _ => None,
        }
    }

    fn interval(months: i32, days: i32, nanos: i64) -> Expr {
        let value = IntervalMonthDayNano::new(months, days, nanos);
        lit(ScalarValue::IntervalMonthDayNano(Some(value)))
    }

    #[test]
    fn a_truncated_time_is_the_start_of_a_tumbling_window() {
        let of = |unit: &str| window(&date_trunc(lit(unit), col("ts")).alias("x"));
        assert_eq!(of("minute"), Some((60_000_000, 0)));
        assert_eq!(of("DAY"), Some((DAY, 0)));
        assert_eq!(of("month"), None, "months differ in length");
        let (week, offset) = of("week").expect("a week has a fixed length");
        let monday = 1_767_571_200_000_000; // 2026-01-05T00:00:00Z
        let week = WindowKind::Tumble { size: week, offset };
        assert_eq!(week.start_of(monday - 1), Some(monday - 7 * DAY));
        assert_eq!(week.start_of(monday), Some(monday));
    }

    #[test]
    fn a_bin_of_time_is_the_start_of_a_tumbling_window() {
        let origin = lit(ScalarValue::TimestampNanosecond(Some(90_000_000_000), None));
        let minute = || interval(0, 0, 60_000_000_000);
        let bin = |size, origin: &Expr| window(&date_bin(size, col("ts"), origin.clone()));
        assert_eq!(bin(minute(), &origin), Some((60_000_000, 30_000_000)));
        assert_eq!(bin(interval(1, 0, 0), &origin), None);
        assert_eq!(bin(interval(0, 0, 0), &origin), None, "no window is empty");
        assert_eq!(bin(minute(), &col("origin")), None);
    }
}
