//! SQL types as Arrow fields, and back.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use sqlparser::ast::{
    ArrayElemTypeDef, DataType as SqlType, ExactNumberInfo, StructField, TimezoneInfo,
};

use super::table::field;
use crate::error::{Error, Result, SqlState, nearest};

/// Digits of a bare `numeric`.
const NUMERIC_DEFAULT: (u8, i8) = (38, 10);
/// The metadata that marks a text column as `json`.
const EXTENSION: (&str, &str) = ("ARROW:extension:name", "arrow.json");

/// The type names that there are, for hints.
const NAMES: [&str; 21] = [
    "boolean",
    "smallint",
    "integer",
    "int",
    "bigint",
    "real",
    "double precision",
    "numeric",
    "decimal",
    "text",
    "varchar",
    "bytea",
    "date",
    "time",
    "timestamp",
    "timestamptz",
    "interval",
    "json",
    "jsonb",
    "row",
    "float",
];

/// The field of a column with an SQL type.
///
/// # Errors
/// A type that there is not.
pub fn to_arrow(name: &str, sql: &SqlType) -> Result<FieldRef> {
    if matches!(sql, SqlType::JSON | SqlType::JSONB) {
        let json = Field::new(name, DataType::Utf8View, true);
        let metadata = [(EXTENSION.0.to_owned(), EXTENSION.1.to_owned())];
        return Ok(Arc::new(json.with_metadata(metadata.into())));
    }
    Ok(field(name, arrow_type(sql)?))
}

fn arrow_type(sql: &SqlType) -> Result<DataType> {
    Ok(match sql {
        SqlType::Bool | SqlType::Boolean => DataType::Boolean,
        SqlType::SmallInt(_) | SqlType::Int2(_) => DataType::Int16,
        SqlType::Int(_) | SqlType::Integer(_) | SqlType::Int4(_) => DataType::Int32,
        SqlType::BigInt(_) | SqlType::Int8(_) => DataType::Int64,
        SqlType::Real | SqlType::Float4 => DataType::Float32,
        SqlType::Double(_) | SqlType::DoublePrecision | SqlType::Float8 => DataType::Float64,
        SqlType::Float(precision) => match precision {
            ExactNumberInfo::Precision(bits) if *bits <= 24 => DataType::Float32,
            _ => DataType::Float64,
        },
        SqlType::Numeric(info) | SqlType::Decimal(info) | SqlType::Dec(info) => decimal(info)?,
        SqlType::Text
        | SqlType::String(_)
        | SqlType::Varchar(_)
        | SqlType::CharacterVarying(_)
        | SqlType::CharVarying(_)
        | SqlType::Char(_)
        | SqlType::Character(_) => DataType::Utf8View,
        SqlType::Bytea => DataType::Binary,
        SqlType::Date => DataType::Date32,
        SqlType::Time(_, _) => DataType::Time64(TimeUnit::Microsecond),
        SqlType::Timestamp(_, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone) => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()))
        }
        SqlType::Timestamp(_, _) => DataType::Timestamp(TimeUnit::Microsecond, None),
        SqlType::Interval { .. } => DataType::Interval(IntervalUnit::MonthDayNano),
        SqlType::Array(
            ArrayElemTypeDef::AngleBracket(element)
            | ArrayElemTypeDef::SquareBracket(element, _)
            | ArrayElemTypeDef::Parenthesis(element),
        ) => DataType::List(to_arrow("item", element)?),
        SqlType::Struct(fields, _) => DataType::Struct(
            fields
                .iter()
                .map(struct_field)
                .collect::<Result<Vec<_>>>()?
                .into(),
        ),
        other => return Err(unknown(other)),
    })
}

fn struct_field(inner: &StructField) -> Result<FieldRef> {
    let name = inner
        .field_name
        .as_ref()
        .map_or_else(String::new, crate::sql::fold);
    to_arrow(&name, &inner.field_type)
}

fn decimal(info: &ExactNumberInfo) -> Result<DataType> {
    let (precision, scale) = match info {
        ExactNumberInfo::None => {
            return Ok(DataType::Decimal128(NUMERIC_DEFAULT.0, NUMERIC_DEFAULT.1));
        }
        ExactNumberInfo::Precision(precision) => (*precision, 0),
        ExactNumberInfo::PrecisionAndScale(precision, scale) => (*precision, *scale),
    };
    match (u8::try_from(precision), i8::try_from(scale)) {
        (Ok(digits @ 1..=38), Ok(after @ 0..))
            if u64::from(digits) >= u64::from(after.unsigned_abs()) =>
        {
            Ok(DataType::Decimal128(digits, after))
        }
        _ => Err(Error::user(
            SqlState::InvalidParameterValue,
            format!("numeric({precision}, {scale}) is out of range"),
        )
        .hint("The precision goes from 1 to 38, the scale from 0 to the precision.")),
    }
}

fn unknown(sql: &SqlType) -> Error {
    let text = sql.to_string().to_lowercase();
    let error = Error::user(
        SqlState::UndefinedObject,
        format!("type \"{text}\" does not exist"),
    );
    match nearest(&text, &NAMES) {
        Some(near) => error.hint(format!("Perhaps you meant {near}.")),
        None => error.hint(format!("There are: {}.", NAMES.join(", "))),
    }
}

/// The SQL name of a column's type.
pub fn sql_type_name(field: &Field) -> String {
    if field
        .metadata()
        .get(EXTENSION.0)
        .is_some_and(|name| name == EXTENSION.1)
    {
        return "json".to_owned();
    }
    match field.data_type() {
        DataType::Boolean => "boolean".to_owned(),
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => "smallint".to_owned(),
        DataType::UInt16 | DataType::Int32 => "integer".to_owned(),
        DataType::UInt32 | DataType::Int64 => "bigint".to_owned(),
        DataType::UInt64 => "numeric(20, 0)".to_owned(),
        DataType::Float16 | DataType::Float32 => "real".to_owned(),
        DataType::Float64 => "double precision".to_owned(),
        DataType::Decimal128(digits, after) => format!("numeric({digits}, {after})"),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "bytea".to_owned(),
        DataType::Date32 | DataType::Date64 => "date".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "time".to_owned(),
        DataType::Timestamp(_, None) => "timestamp".to_owned(),
        DataType::Timestamp(_, Some(_)) => "timestamptz".to_owned(),
        DataType::Interval(_) | DataType::Duration(_) => "interval".to_owned(),
        DataType::List(inner) | DataType::LargeList(inner) => format!("{}[]", sql_type_name(inner)),
        DataType::Struct(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|f| format!("{} {}", f.name(), sql_type_name(f)))
                .collect();
            format!("row({})", fields.join(", "))
        }
        other => other.to_string().to_lowercase(),
    }
}
