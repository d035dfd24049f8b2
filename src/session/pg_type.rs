//! Which PostgreSQL type an Arrow field is, and back for parameters.
//!
//! Owns the mapping alone; how values look on the wire is known to `server`.
//! Invariant: every Arrow type has a PostgreSQL type (what has no counterpart is text).

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};

/// A type of `pg_type`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Its object identifier.
    pub oid: u32,
    /// Its short name.
    pub name: &'static str,
    /// The object identifier of the type of its arrays; 0 for an array type.
    pub array: u32,
    /// Bytes of a value; -1 for a variable length.
    pub size: i16,
}

const fn kind(oid: u32, name: &'static str, array: u32, size: i16) -> Kind {
    Kind {
        oid,
        name,
        array,
        size,
    }
}

pub(crate) const TEXT: Kind = kind(25, "text", 1009, -1);
const BOOL: Kind = kind(16, "bool", 1000, 1);
const BYTEA: Kind = kind(17, "bytea", 1001, -1);
const INT8: Kind = kind(20, "int8", 1016, 8);
const INT2: Kind = kind(21, "int2", 1005, 2);
const INT4: Kind = kind(23, "int4", 1007, 4);
const OID: Kind = kind(26, "oid", 1028, 4);
const JSON: Kind = kind(114, "json", 199, -1);
const FLOAT4: Kind = kind(700, "float4", 1021, 4);
const FLOAT8: Kind = kind(701, "float8", 1022, 8);
const DATE: Kind = kind(1082, "date", 1182, 4);
const TIME: Kind = kind(1083, "time", 1183, 8);
const TIMESTAMP: Kind = kind(1114, "timestamp", 1115, 8);
const TIMESTAMPTZ: Kind = kind(1184, "timestamptz", 1185, 8);
const INTERVAL: Kind = kind(1186, "interval", 1187, 16);
const NUMERIC: Kind = kind(1700, "numeric", 1231, -1);
const RECORD: Kind = kind(2249, "record", 2287, -1);
const UUID: Kind = kind(2950, "uuid", 2951, 16);

const ALL: [&Kind; 18] = [
    &TEXT,
    &BOOL,
    &BYTEA,
    &INT8,
    &INT2,
    &INT4,
    &OID,
    &JSON,
    &FLOAT4,
    &FLOAT8,
    &DATE,
    &TIME,
    &TIMESTAMP,
    &TIMESTAMPTZ,
    &INTERVAL,
    &NUMERIC,
    &RECORD,
    &UUID,
];

/// Types of PostgreSQL that parameters may have, as the type of ours that takes their values.
const ALIASES: [(u32, &Kind); 11] = [
    (1042, &TEXT),
    (1043, &TEXT),
    (18, &TEXT),
    (19, &TEXT),
    (3802, &JSON),
    (24, &INT4),
    (2205, &INT4),
    (2206, &INT4),
    (4089, &INT4),
    (1560, &TEXT),
    (142, &TEXT),
];

/// Array types of such types.
const ARRAY_ALIASES: [(u32, &Kind); 4] =
    [(1015, &TEXT), (1014, &TEXT), (1003, &TEXT), (3807, &JSON)];

/// A PostgreSQL type as a column has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PgType {
    /// The type's object identifier.
    pub oid: u32,
    /// Its short name; that of its items for an array.
    pub name: &'static str,
    /// Bytes of a value; -1 for a variable length.
    pub size: i16,
    /// The type modifier (precision and scale of a numeric); -1 for none.
    pub modifier: i32,
    /// True for an array.
    pub is_array: bool,
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
    let modifier = modifier_of(field.data_type());
    match kind_of(field) {
        (kind, false) => PgType {
            oid: kind.oid,
            name: kind.name,
            size: kind.size,
            modifier,
            is_array: false,
        },
        (item, true) => PgType {
            oid: item.array,
            name: item.name,
            size: -1,
            modifier,
            is_array: true,
        },
    }
}

/// The object identifier of a type's short or long name.
pub(crate) fn oid_of_name(name: &str) -> Option<u32> {
    let name = name.trim().to_ascii_lowercase();
    let (name, is_array) = match name.strip_suffix("[]") {
        Some(item) => (item.to_owned(), true),
        None => (name, false),
    };
    let known = ALL.into_iter().find(|known| {
        let long = long_name(PgType {
            oid: known.oid,
            name: known.name,
            size: known.size,
            modifier: -1,
            is_array: false,
        });
        known.name == name || long == name
    })?;
    Some(if is_array { known.array } else { known.oid })
}

/// The name of a type as the SQL standard has it.
pub(crate) fn long_name(of: PgType) -> &'static str {
    if of.is_array {
        return "ARRAY";
    }
    match of.name {
        "bool" => "boolean",
        "int2" => "smallint",
        "int4" => "integer",
        "int8" => "bigint",
        "float4" => "real",
        "float8" => "double precision",
        "time" => "time without time zone",
        "timestamp" => "timestamp without time zone",
        "timestamptz" => "timestamp with time zone",
        other => other,
    }
}

/// The type, or the innermost item's type and true for an array.
fn kind_of(field: &Field) -> (&'static Kind, bool) {
    if is_json(field) {
        return (&JSON, false);
    }
    if is_uuid(field) {
        return (&UUID, false);
    }
    if field.data_type() == &DataType::Int32 && field.metadata().contains_key(OID_ALIAS) {
        return (&OID, false);
    }
    let kind = match field.data_type() {
        DataType::Boolean => &BOOL,
        DataType::Int8 | DataType::UInt8 | DataType::Int16 => &INT2,
        DataType::UInt16 | DataType::Int32 => &INT4,
        DataType::UInt32 | DataType::Int64 => &INT8,
        DataType::UInt64
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => &NUMERIC,
        DataType::Float16 | DataType::Float32 => &FLOAT4,
        DataType::Float64 => &FLOAT8,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => &BYTEA,
        DataType::Date32 => &DATE,
        DataType::Time32(_) | DataType::Time64(_) => &TIME,
        DataType::Date64 | DataType::Timestamp(_, None) => &TIMESTAMP,
        DataType::Timestamp(_, Some(_)) => &TIMESTAMPTZ,
        DataType::Interval(_) | DataType::Duration(_) => &INTERVAL,
        DataType::Dictionary(_, values) => {
            return kind_of(&Field::new("", (**values).clone(), true));
        }
        DataType::RunEndEncoded(_, values) => return kind_of(values),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => return (kind_of(item).0, true),
        DataType::Struct(_) => &RECORD,
        DataType::Null
        | DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Map(..)
        | DataType::Union(..) => &TEXT,
    };
    (kind, false)
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

/// The Arrow field that a parameter of a PostgreSQL type becomes; `None` if the type is not one
/// that we take.
pub(crate) fn field_of_oid(oid: u32) -> Option<FieldRef> {
    let by_oid = |known: &'static Kind| (known.oid == oid).then_some(known);
    let aliased = |aliases: &[(u32, &'static Kind)]| {
        aliases
            .iter()
            .find(|(alias, _)| *alias == oid)
            .map(|(_, known)| *known)
    };
    if let Some(known) = ALL
        .into_iter()
        .find_map(by_oid)
        .or_else(|| aliased(&ALIASES))
    {
        return field_of(known).map(Arc::new);
    }
    let by_array = |known: &'static Kind| (known.array == oid).then_some(known);
    let item = ALL
        .into_iter()
        .find_map(by_array)
        .or_else(|| aliased(&ARRAY_ALIASES))?;
    let item = field_of(item)?.with_name("item");
    Some(Arc::new(Field::new(
        "",
        DataType::List(Arc::new(item)),
        true,
    )))
}

fn field_of(kind: &Kind) -> Option<Field> {
    let plain = |data_type| Some(Field::new("", data_type, true));
    let extended = |data_type, name: &str| {
        let metadata = [(EXTENSION_NAME.to_owned(), name.to_owned())].into();
        Some(Field::new("", data_type, true).with_metadata(metadata))
    };
    match kind.oid {
        oid if oid == BOOL.oid => plain(DataType::Boolean),
        oid if oid == INT2.oid => plain(DataType::Int16),
        oid if oid == INT4.oid || oid == OID.oid => plain(DataType::Int32),
        oid if oid == INT8.oid => plain(DataType::Int64),
        oid if oid == FLOAT4.oid => plain(DataType::Float32),
        oid if oid == FLOAT8.oid => plain(DataType::Float64),
        oid if oid == NUMERIC.oid => plain(DataType::Decimal128(38, 10)),
        oid if oid == TEXT.oid => plain(DataType::Utf8View),
        oid if oid == JSON.oid => extended(DataType::Utf8View, "arrow.json"),
        oid if oid == UUID.oid => extended(DataType::FixedSizeBinary(16), "arrow.uuid"),
        oid if oid == BYTEA.oid => plain(DataType::Binary),
        oid if oid == DATE.oid => plain(DataType::Date32),
        oid if oid == TIME.oid => plain(DataType::Time64(TimeUnit::Microsecond)),
        oid if oid == TIMESTAMP.oid => plain(DataType::Timestamp(TimeUnit::Microsecond, None)),
        oid if oid == TIMESTAMPTZ.oid => plain(DataType::Timestamp(
            TimeUnit::Microsecond,
            Some("+00:00".into()),
        )),
        oid if oid == INTERVAL.oid => plain(DataType::Interval(IntervalUnit::MonthDayNano)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_that_parameters_take_is_told_back_as_itself() {
        for known in ALL
            .into_iter()
            .filter(|known| known.oid != RECORD.oid && known.oid != OID.oid)
        {
            assert_eq!(
                of_field(&field_of_oid(known.oid).unwrap()).oid,
                known.oid,
                "{known:?}"
            );
            assert_eq!(
                of_field(&field_of_oid(known.array).unwrap()).oid,
                known.array,
                "{known:?}"
            );
        }
        assert_eq!(
            of_field(&field_of_oid(1043).unwrap()).name,
            "text",
            "varchar"
        );
        assert_eq!(field_of_oid(600), None, "point");
    }
}
