//! Functions of PostgreSQL that clients call and DataFusion does not have.
//!
//! Most tell about things that do not exist here (comments, privileges, locks) and return what
//! PostgreSQL returns when there are none.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int32Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::super::context::{DATABASE, PUBLIC};
use super::super::variables::{SERVER_VERSION, Variables};
use super::super::{Identity, Services, pg_type};
use super::relations;

/// What a function computes.
type Body = Arc<dyn Fn(&ScalarFunctionArgs) -> Result<ColumnarValue> + Send + Sync>;

/// A function of any arguments.
struct Loose {
    name: &'static str,
    /// Other names of a function of DataFusion's that this one stands in for: without them its
    /// own would come back under one of those.
    aliases: Vec<String>,
    returns: DataType,
    signature: Signature,
    body: Body,
}

impl std::fmt::Debug for Loose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Loose {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Loose {}

impl std::hash::Hash for Loose {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Loose {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        (self.body)(&args)
    }
}

fn loose(name: &'static str, returns: DataType, body: Body) -> ScalarUDF {
    standing_in(name, &[], returns, body)
}

fn standing_in(name: &'static str, aliases: &[&str], returns: DataType, body: Body) -> ScalarUDF {
    let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
    let signature = Signature::one_of(any, Volatility::Stable);
    let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
    ScalarUDF::new_from_impl(Loose {
        name,
        aliases,
        returns,
        signature,
        body,
    })
}

fn always(name: &'static str, value: ScalarValue) -> ScalarUDF {
    let returns = value.data_type();
    loose(
        name,
        returns,
        Arc::new(move |_| Ok(ColumnarValue::Scalar(value.clone()))),
    )
}

fn text(value: &str) -> ScalarValue {
    ScalarValue::Utf8(Some(value.to_owned()))
}

/// Functions that say the same to everyone.
pub(super) fn common(services: &Arc<Services>) -> Vec<ScalarUDF> {
    let version = format!("PostgreSQL {SERVER_VERSION}, a SQL streaming server for Kafka");
    let mut all = vec![
        always("version", text(&version)),
        always("current_database", text(DATABASE)),
        always("current_catalog", text(DATABASE)),
        always("current_schema", text(PUBLIC)),
        always("pg_size_pretty", text("0 bytes")),
        always("pg_char_to_encoding", ScalarValue::Int32(Some(6))),
        loose("pg_typeof", DataType::Utf8, Arc::new(type_of)),
        standing_in(
            "array_to_string",
            &["list_to_string", "array_join", "list_join"],
            DataType::Utf8,
            Arc::new(array_to_string),
        ),
        loose("format", DataType::Utf8, Arc::new(format_text)),
        loose("to_regtype", DataType::Int32, Arc::new(type_number)),
        always("getdatabaseencoding", text("UTF8")),
        relation_number(services),
        view_definition(services),
    ];
    all.extend(
        NOTHING
            .iter()
            .map(|name| always(name, ScalarValue::Utf8(None))),
    );
    all.extend(
        YES.iter()
            .map(|name| always(name, ScalarValue::Boolean(Some(true)))),
    );
    all.extend(
        NO.iter()
            .map(|name| always(name, ScalarValue::Boolean(Some(false)))),
    );
    all.extend(
        ZERO.iter()
            .map(|name| always(name, ScalarValue::Int64(Some(0)))),
    );
    all.extend(
        ZERO_INT4
            .iter()
            .map(|name| always(name, ScalarValue::Int32(Some(0)))),
    );
    all
}

const NOTHING: &[&str] = &[
    "obj_description",
    "col_description",
    "shobj_description",
    "pg_get_functiondef",
    "pg_get_function_arguments",
    "pg_get_function_identity_arguments",
    "pg_get_function_result",
    "pg_get_function_sqlbody",
    "pg_get_indexdef",
    "pg_get_triggerdef",
    "pg_get_ruledef",
    "pg_get_serial_sequence",
    "pg_get_partition_constraintdef",
    "pg_get_statisticsobjdef",
    "pg_describe_object",
    "pg_tablespace_location",
    "pg_advisory_lock",
    "pg_advisory_unlock_all",
    "pg_notify",
    "inet_client_addr",
    "inet_server_addr",
];

const YES: &[&str] = &[
    "pg_has_role",
    "has_function_privilege",
    "has_sequence_privilege",
    "has_type_privilege",
    "has_column_privilege",
    "has_tablespace_privilege",
    "has_language_privilege",
    "pg_function_is_visible",
    "pg_type_is_visible",
    "pg_operator_is_visible",
    "pg_ts_config_is_visible",
    "pg_ts_dict_is_visible",
    "pg_ts_parser_is_visible",
    "pg_ts_template_is_visible",
    "pg_conversion_is_visible",
    "pg_collation_is_visible",
    "pg_opclass_is_visible",
    "pg_opfamily_is_visible",
    "pg_statistics_obj_is_visible",
];

const NO: &[&str] = &[
    "pg_is_in_recovery",
    "pg_advisory_unlock",
    "pg_try_advisory_lock",
    "pg_is_other_temp_schema",
];

const ZERO: &[&str] = &[
    "pg_table_size",
    "pg_database_size",
    "pg_indexes_size",
    "pg_tablespace_size",
    "txid_current",
];

const ZERO_INT4: &[&str] = &["pg_my_temp_schema", "pg_relation_is_updatable"];

/// Functions that tell about one session.
pub(in crate::session) fn session_functions(
    variables: &Variables,
    identity: &Identity,
) -> Vec<ScalarUDF> {
    let user = text(&identity.user);
    let known = variables.clone();
    let setting = move |args: &ScalarFunctionArgs| current_setting(&known, args);
    vec![
        always("session_user", user.clone()),
        always("current_user", user.clone()),
        always("current_role", user.clone()),
        always("user", user),
        always("pg_backend_pid", ScalarValue::Int32(Some(identity.pid))),
        loose("pg_get_userbyid", DataType::Utf8, Arc::new(owner)),
        loose("current_setting", DataType::Utf8, Arc::new(setting)),
        loose("set_config", DataType::Utf8, Arc::new(second_argument)),
    ]
}

/// The text of a view's query, by its number.
fn view_definition(services: &Arc<Services>) -> ScalarUDF {
    let services = Arc::downgrade(services);
    let body = move |args: &ScalarFunctionArgs| {
        let Some(relation) = args.args.first() else {
            return exec_err!("pg_get_viewdef takes a view");
        };
        let oids = relation.to_array(args.number_rows)?;
        let oids = cast(&oids, &DataType::Int32)?;
        let known = services
            .upgrade()
            .map(|services| relations::public(&services));
        let known = known.unwrap_or_default();
        let texts = oids.as_primitive::<Int32Type>().iter().map(|oid| {
            known
                .iter()
                .find(|relation| Some(relation.oid) == oid)?
                .query
                .as_deref()
        });
        Ok(ColumnarValue::Array(Arc::new(
            texts.collect::<StringArray>(),
        )))
    };
    loose("pg_get_viewdef", DataType::Utf8, Arc::new(body))
}

/// The number of a relation, by its name; null if there is none.
fn relation_number(services: &Arc<Services>) -> ScalarUDF {
    let services = Arc::downgrade(services);
    let body = move |args: &ScalarFunctionArgs| {
        let known = services
            .upgrade()
            .map(|services| relations::public(&services));
        let known = known.unwrap_or_default();
        each_text(args, |name| {
            let name = name
                .strip_prefix("public.")
                .unwrap_or(name)
                .trim_matches('"');
            known
                .iter()
                .find(|relation| relation.name == name)
                .map(|relation| relation.oid)
        })
    };
    loose("to_regclass", DataType::Int32, Arc::new(body))
}

/// The number of a type, by its name; null if there is none.
fn type_number(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    each_text(args, |name| {
        let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
        pg_type::oid_of_name(name).map(u32::cast_signed)
    })
}

/// A number for each text of the first argument.
fn each_text(
    args: &ScalarFunctionArgs,
    number: impl Fn(&str) -> Option<i32>,
) -> Result<ColumnarValue> {
    let Some(names) = args.args.first() else {
        return exec_err!("a name is missing");
    };
    let names = cast(&names.to_array(args.number_rows)?, &DataType::Utf8)?;
    let numbers = names.as_string::<i32>().iter().map(|name| number(name?));
    Ok(ColumnarValue::Array(Arc::new(
        numbers.collect::<Int32Array>(),
    )))
}

/// `format('%s of %I', a, b)`.
fn format_text(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let columns = args
        .args
        .iter()
        .map(|value| Ok(cast(&value.to_array(args.number_rows)?, &DataType::Utf8)?))
        .collect::<Result<Vec<_>>>()?;
    let Some((template, values)) = columns.split_first() else {
        return exec_err!("format takes a template");
    };
    let template = template.as_string::<i32>();
    let rows = (0..args.number_rows).map(|row| {
        let values: Vec<Option<&str>> = values
            .iter()
            .map(|column| {
                column
                    .is_valid(row)
                    .then(|| column.as_string::<i32>().value(row))
            })
            .collect();
        if template.is_null(row) {
            Ok(None)
        } else {
            fill(template.value(row), &values).map(Some)
        }
    });
    Ok(ColumnarValue::Array(Arc::new(
        rows.collect::<Result<StringArray>>()?,
    )))
}

/// Puts values in the places of a template.
fn fill(template: &str, values: &[Option<&str>]) -> Result<String> {
    let mut filled = String::new();
    let mut values = values.iter();
    let mut letters = template.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            filled.push(letter);
            continue;
        }
        let kind = letters.next();
        if kind == Some('%') {
            filled.push('%');
            continue;
        }
        let Some(value) = values.next() else {
            return exec_err!("too few arguments for format()");
        };
        match (kind, value) {
            (Some('s'), value) => filled.push_str(value.unwrap_or_default()),
            (Some('I'), Some(name)) => filled.push_str(&crate::sql::quote(name)),
            (Some('L'), Some(text)) => filled.push_str(&crate::sql::literal(text)),
            (Some('L'), None) => filled.push_str("NULL"),
            (Some('I'), None) => {
                return exec_err!("null values cannot be formatted as an SQL identifier");
            }
            (other, _) => {
                let kind = other.map(String::from).unwrap_or_default();
                return exec_err!("unrecognized format() type specifier \"{kind}\"");
            }
        }
    }
    Ok(filled)
}

/// Joins the items of an array. Catalogs have text where PostgreSQL has arrays of privileges.
fn array_to_string(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let is_array = args.arg_fields.first().is_some_and(|field| {
        matches!(
            field.data_type(),
            DataType::List(_) | DataType::LargeList(_)
        )
    });
    if is_array {
        let joining = datafusion::functions_nested::string::array_to_string_udf();
        return joining.invoke_with_args(args.clone());
    }
    match args.args.first() {
        Some(text) => text.cast_to(&DataType::Utf8, None),
        None => exec_err!("array_to_string takes an array and a delimiter"),
    }
}

/// Everything belongs to the server.
fn owner(_: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    Ok(ColumnarValue::Scalar(text(DATABASE)))
}

fn current_setting(variables: &Variables, args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let Some(name) = args.args.first() else {
        return exec_err!("current_setting takes the name of a parameter");
    };
    let missing_ok = matches!(
        args.args.get(1),
        Some(ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))))
    );
    let setting = |name: Option<&str>| -> Result<Option<String>> {
        match name.map(|name| variables.get(name)) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) if missing_ok => Ok(None),
            Some(Err(error)) => Err(error.into()),
        }
    };
    match name {
        ColumnarValue::Scalar(name) => {
            let value = setting(name.try_as_str().flatten())?;
            Ok(ColumnarValue::Scalar(ScalarValue::Utf8(value)))
        }
        ColumnarValue::Array(names) => {
            let names = cast(names, &DataType::Utf8)?;
            let names = names
                .as_any()
                .downcast_ref::<StringArray>()
                .into_iter()
                .flatten();
            let values = names.map(setting).collect::<Result<StringArray>>()?;
            Ok(ColumnarValue::Array(Arc::new(values) as ArrayRef))
        }
    }
}

fn second_argument(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    match args.args.get(1) {
        Some(value) => value.cast_to(&DataType::Utf8, None),
        None => exec_err!("set_config takes a name, a value and whether it is local"),
    }
}

fn type_of(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let Some(field) = args.arg_fields.first() else {
        return exec_err!("pg_typeof takes a value");
    };
    let name = match field.data_type() {
        DataType::Boolean => "boolean",
        DataType::Int8 | DataType::Int16 | DataType::UInt8 => "smallint",
        DataType::Int32 | DataType::UInt16 => "integer",
        DataType::Int64 | DataType::UInt32 => "bigint",
        DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::UInt64 => "numeric",
        DataType::Binary | DataType::BinaryView | DataType::LargeBinary => "bytea",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time without time zone",
        DataType::Timestamp(_, None) => "timestamp without time zone",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::Null => "unknown",
        DataType::List(_) | DataType::LargeList(_) => "anyarray",
        DataType::Struct(_) => "record",
        _ => "text",
    };
    Ok(ColumnarValue::Scalar(text(name)))
}
