//! Which PostgreSQL type an Arrow field is on the wire, and back for parameters.
//!
//! Owns the mapping alone; how values look is in `encode` and `decode`.
//! Invariant: every Arrow type has a PostgreSQL type (what has no counterpart goes out as text).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use pgwire::api::Type;

/// A PostgreSQL type as a row description tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PgType {
    /// The type's object identifier.
    pub oid: u32,
    /// Bytes of a value; -1 for a variable length.
    pub size: i16,
    /// The type modifier (precision and scale of a numeric); -1 for none.
    pub modifier: i32,
}

const EXTENSION_NAME: &str = "ARROW:extension:name";
/// Marks the integer columns of system catalogs that hold object identifiers.
const OID_ALIAS: &str = "pg.oid_alias";

/// True for a field that holds JSON text.
pub(crate) fn is_json(field: &Field) -> bool {
    field
        .metadata()
        .get(EXTENSION_NAME)
        .is_some_and(|name| name == "arrow.json")
}

/// True for a field that holds UUIDs.
pub(crate) fn is_uuid(field: &Field) -> bool {
    matches!(field.data_type(), DataType::FixedSizeBinary(16))
        && field
            .metadata()
            .get(EXTENSION_NAME)
            .is_some_and(|name| name == "arrow.uuid")
}

/// The PostgreSQL type of a column.
pub(crate) fn of_field(field: &Field) -> PgType {
    let kind = kind_of(field);
    PgType {
        oid: kind.oid(),
        size: size_of(&kind),
        modifier: modifier_of(field.data_type()),
    }
}

fn kind_of(field: &Field) -> Type {
    if is_json(field) {
        return Type::JSON;
    }
    if is_uuid(field) {
        return Type::UUID;
    }
    if field.data_type() == &DataType::Int32 && field.metadata().contains_key(OID_ALIAS) {
        return Type::OID;
    }
    match field.data_type() {
        DataType::Boolean => Type::BOOL,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => Type::INT2,
        DataType::UInt16 | DataType::Int32 => Type::INT4,
        DataType::UInt32 | DataType::Int64 => Type::INT8,
        DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => Type::NUMERIC,
        DataType::Float16 | DataType::Float32 => Type::FLOAT4,
        DataType::Float64 => Type::FLOAT8,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Type::BYTEA,
        DataType::Date32 => Type::DATE,
        DataType::Time32(_) | DataType::Time64(_) => Type::TIME,
        DataType::Date64 | DataType::Timestamp(_, None) => Type::TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => Type::TIMESTAMPTZ,
        DataType::Interval(_) | DataType::Duration(_) => Type::INTERVAL,
        DataType::Dictionary(_, values) => kind_of(&Field::new("", (**values).clone(), true)),
        DataType::RunEndEncoded(_, values) => kind_of(values),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => array_of(item),
        DataType::Struct(_) => Type::RECORD,
        DataType::Null
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Map(..)
        | DataType::Union(..) => Type::TEXT,
    }
}

/// Each type with its array type.
fn arrays() -> [(Type, Type); 18] {
    [
        (Type::TEXT, Type::TEXT_ARRAY),
        (Type::BOOL, Type::BOOL_ARRAY),
        (Type::INT2, Type::INT2_ARRAY),
        (Type::INT4, Type::INT4_ARRAY),
        (Type::INT8, Type::INT8_ARRAY),
        (Type::OID, Type::OID_ARRAY),
        (Type::NUMERIC, Type::NUMERIC_ARRAY),
        (Type::FLOAT4, Type::FLOAT4_ARRAY),
        (Type::FLOAT8, Type::FLOAT8_ARRAY),
        (Type::BYTEA, Type::BYTEA_ARRAY),
        (Type::DATE, Type::DATE_ARRAY),
        (Type::TIME, Type::TIME_ARRAY),
        (Type::TIMESTAMP, Type::TIMESTAMP_ARRAY),
        (Type::TIMESTAMPTZ, Type::TIMESTAMPTZ_ARRAY),
        (Type::INTERVAL, Type::INTERVAL_ARRAY),
        (Type::JSON, Type::JSON_ARRAY),
        (Type::UUID, Type::UUID_ARRAY),
        (Type::RECORD, Type::RECORD_ARRAY),
    ]
}

/// The array type over an item; an array of arrays has the innermost item's array type.
fn array_of(item: &Field) -> Type {
    let item = kind_of(item);
    arrays()
        .into_iter()
        .find(|(of, _)| *of == item)
        .map_or(item, |(_, array)| array)
}

fn size_of(kind: &Type) -> i16 {
    match *kind {
        Type::BOOL => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => 8,
        Type::INTERVAL | Type::UUID => 16,
        _ => -1,
    }
}

fn modifier_of(data_type: &DataType) -> i32 {
    const HEADER: i32 = 4;
    match data_type {
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale)
            if *scale >= 0 =>
        {
            ((i32::from(*precision) << 16) | i32::from(*scale)) + HEADER
        }
        _ => -1,
    }
}

/// The Arrow field that a parameter of a PostgreSQL type becomes; `None` if the type is open
/// (unspecified, unknown) or not one of ours.
pub(crate) fn field_of_oid(oid: u32) -> Option<FieldRef> {
    let kind = Type::from_oid(oid)?;
    let plain = |data_type| Some(Arc::new(Field::new("", data_type, true)));
    let extended = |data_type, name: &str| {
        let metadata = [(EXTENSION_NAME.to_owned(), name.to_owned())].into();
        Some(Arc::new(
            Field::new("", data_type, true).with_metadata(metadata),
        ))
    };
    let item = match kind {
        Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY | Type::NAME_ARRAY => Some(Type::TEXT),
        _ => arrays()
            .into_iter()
            .find(|(_, array)| *array == kind)
            .map(|(of, _)| of),
    };
    if let Some(item) = item {
        let item = field_of_oid(item.oid())?;
        let item = Field::new("item", item.data_type().clone(), true)
            .with_metadata(item.metadata().clone());
        return plain(DataType::List(Arc::new(item)));
    }
    match kind {
        Type::BOOL => plain(DataType::Boolean),
        Type::INT2 => plain(DataType::Int16),
        Type::INT4 | Type::OID | Type::REGCLASS | Type::REGPROC | Type::REGTYPE => {
            plain(DataType::Int32)
        }
        Type::INT8 => plain(DataType::Int64),
        Type::FLOAT4 => plain(DataType::Float32),
        Type::FLOAT8 => plain(DataType::Float64),
        Type::NUMERIC => plain(DataType::Decimal128(38, 10)),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::CHAR => {
            plain(DataType::Utf8View)
        }
        Type::JSON | Type::JSONB => extended(DataType::Utf8View, "arrow.json"),
        Type::UUID => extended(DataType::FixedSizeBinary(16), "arrow.uuid"),
        Type::BYTEA => plain(DataType::Binary),
        Type::DATE => plain(DataType::Date32),
        Type::TIME => plain(DataType::Time64(TimeUnit::Microsecond)),
        Type::TIMESTAMP => plain(DataType::Timestamp(TimeUnit::Microsecond, None)),
        Type::TIMESTAMPTZ => plain(DataType::Timestamp(
            TimeUnit::Microsecond,
            Some("+00:00".into()),
        )),
        Type::INTERVAL => plain(DataType::Interval(IntervalUnit::MonthDayNano)),
        _ => None,
    }
}
