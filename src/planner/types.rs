//! SQL types as Arrow types, where ours differ from DataFusion's: times in microseconds, as
//! PostgreSQL keeps them, and `json`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::error::Result;
use datafusion::logical_expr::planner::TypePlanner;
use sqlparser::ast::{DataType as SqlType, TimezoneInfo};

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
