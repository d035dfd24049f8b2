//! Which type of PostgreSQL a column has, and into which others its values fit.
//!
//! Lists and rows are `jsonb`, as JSON writes them.

use arrow::datatypes::{DataType, Field};

use crate::error::{Error, Result, SqlState};
use crate::format::JsonKind;

/// The type of a column that is made for a field.
///
/// # Errors
/// When there is none.
pub(super) fn type_of(field: &Field) -> Result<String> {
    if JsonKind::of(field) == JsonKind::RawJson {
        return Ok("jsonb".to_owned());
    }
    let name = match field.data_type() {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => "smallint",
        DataType::UInt16 | DataType::Int32 => "integer",
        DataType::UInt32 | DataType::Int64 => "bigint",
        DataType::UInt64 => "numeric(20,0)",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => {
            return Ok(format!("numeric({precision},{scale})"));
        }
        DataType::Null | DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "bytea",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamptz",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        nested if nested.is_nested() => "jsonb",
        other => {
            let text = format!(
                "column \"{}\" has a type that PostgreSQL has not: {other}",
                field.name()
            );
            let error = Error::user(SqlState::FeatureNotSupported, text);
            return Err(error.hint("Cast it to another type in the sink's query."));
        }
    };
    Ok(name.to_owned())
}

/// Whether the values of a field fit into a column of that type, by its name in `pg_type`. Of a type
/// that is not PostgreSQL's own only the database knows.
pub(super) fn fits(field: &Field, column: &str) -> bool {
    const NUMBERS: [&str; 4] = ["int2", "int4", "int8", "numeric"];
    const OTHERS: [&str; 10] = [
        "bool",
        "bytea",
        "timestamp",
        "timestamptz",
        "date",
        "time",
        "timetz",
        "interval",
        "float4",
        "float8",
    ];
    const TEXTS: [&str; 3] = ["text", "varchar", "bpchar"];
    let own = type_of(field).unwrap_or_default();
    let own = own.split('(').next().unwrap_or_default();
    let mut known = NUMBERS.iter().chain(&OTHERS).chain(&TEXTS);
    if TEXTS.contains(&column) || !known.any(|name| *name == column) {
        return true;
    }
    let accepted: &[&str] = match own {
        "boolean" => &["bool"],
        "smallint" => &["int2", "int4", "int8", "numeric", "float4", "float8"],
        "integer" => &["int4", "int8", "numeric", "float8"],
        "bigint" => &["int8", "numeric"],
        "numeric" => &["numeric", "float8"],
        "real" => &["float4", "float8", "numeric"],
        "double precision" => &["float8", "numeric"],
        "bytea" => &["bytea"],
        "timestamp" | "timestamptz" => &["timestamp", "timestamptz"],
        "date" => &["date", "timestamp", "timestamptz"],
        "time" => &["time"],
        "interval" => &["interval"],
        _ => &[],
    };
    *field.data_type() == DataType::Null || accepted.contains(&column)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::TimeUnit;

    use super::*;

    #[track_caller]
    fn check(data_type: DataType, name: &str, fits_into: &[&str], not_into: &[&str]) {
        let field = Field::new("c", data_type, true);
        assert_eq!(type_of(&field).unwrap(), name);
        for column in fits_into {
            assert!(fits(&field, column), "{name} into {column}");
        }
        for column in not_into {
            assert!(!fits(&field, column), "{name} into {column}");
        }
    }

    #[test]
    fn values_fit_into_types_that_hold_all_of_them() {
        check(
            DataType::Int64,
            "bigint",
            &["int8", "numeric", "text"],
            &["int4", "bool"],
        );
        check(
            DataType::Int32,
            "integer",
            &["int4", "int8", "float8"],
            &["int2", "float4"],
        );
        check(
            DataType::Utf8View,
            "text",
            &["varchar", "jsonb", "uuid"],
            &["int4", "timestamptz"],
        );
        check(
            DataType::Decimal128(38, 9),
            "numeric(38,9)",
            &["numeric"],
            &["int8"],
        );
        let time = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        check(
            time,
            "timestamptz",
            &["timestamptz", "timestamp"],
            &["date", "int8"],
        );
    }

    #[test]
    fn lists_are_json() {
        let item = Field::new("item", DataType::Int64, true);
        check(
            DataType::List(item.into()),
            "jsonb",
            &["jsonb", "json", "text"],
            &["int8"],
        );
    }
}
