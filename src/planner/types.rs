//! SQL types as Arrow types, where ours differ from DataFusion's: times in microseconds, as
//! PostgreSQL keeps them, and `json`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use sqlparser::ast::{DataType as SqlType, ExactNumberInfo, TimezoneInfo};

use crate::error::{Culprit, Error, SqlState};

/// How many digits a numeric of a query has at the most.
const DIGITS_MAX: u64 = 76;

/// PostgreSQL's types.
#[derive(Debug)]
pub(super) struct PostgresTypes;

impl TypePlanner for PostgresTypes {
    fn plan_type_field(&self, sql_type: &SqlType) -> Result<Option<FieldRef>> {
        let plain = |data_type| Some(Arc::new(Field::new("", data_type, true)));
        Ok(match sql_type {
            SqlType::Timestamp(_, zone) => plain(DataType::Timestamp(
                TimeUnit::Microsecond,
                match zone {
                    TimezoneInfo::Tz | TimezoneInfo::WithTimeZone => Some("+00:00".into()),
                    TimezoneInfo::None | TimezoneInfo::WithoutTimeZone => None,
                },
            )),
            SqlType::TimestampNtz(_) | SqlType::Datetime(_) => {
                plain(DataType::Timestamp(TimeUnit::Microsecond, None))
            }
            SqlType::Numeric(ExactNumberInfo::PrecisionAndScale(digits, after))
            | SqlType::Decimal(ExactNumberInfo::PrecisionAndScale(digits, after))
            | SqlType::Dec(ExactNumberInfo::PrecisionAndScale(digits, after)) => {
                check_numeric(*digits, *after)
                    .map_err(|error| error.about(Culprit::Cast(sql_type.to_string())))?;
                None
            }
            SqlType::Numeric(ExactNumberInfo::Precision(digits))
            | SqlType::Decimal(ExactNumberInfo::Precision(digits))
            | SqlType::Dec(ExactNumberInfo::Precision(digits)) => {
                check_numeric(*digits, 0)
                    .map_err(|error| error.about(Culprit::Cast(sql_type.to_string())))?;
                None
            }
            SqlType::Time(_, _) => plain(DataType::Time64(TimeUnit::Microsecond)),
            SqlType::JSON | SqlType::JSONB => Some(Arc::new(
                Field::new("", DataType::Utf8View, true).with_metadata(
                    [("ARROW:extension:name".to_owned(), "arrow.json".to_owned())].into(),
                ),
            )),
            _ => None,
        })
    }
}

fn check_numeric(digits: u64, after: i64) -> Result<(), Error> {
    let message = if !(1..=DIGITS_MAX).contains(&digits) {
        format!("NUMERIC precision {digits} must be between 1 and {DIGITS_MAX}")
    } else if u64::try_from(after).is_ok_and(|after| after <= digits) {
        return Ok(());
    } else {
        format!("NUMERIC scale {after} must be between 0 and precision {digits}")
    };
    Err(Error::user(SqlState::InvalidParameterValue, message)
        .hint("Write numeric(digits in all, digits after the point), such as numeric(20, 2)."))
}
