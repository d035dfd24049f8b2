//! Functions of PostgreSQL that clients call and DataFusion does not have.
//!
//! Most tell about things that do not exist here (comments, privileges, locks) and return what
//! PostgreSQL returns when there are none.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int32Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};

use super::super::{Identity, Services};
use super::relations;
use super::super::context::{DATABASE, PUBLIC};
use super::super::variables::{SERVER_VERSION, Variables};

/// What a function computes.
type Body = Arc<dyn Fn(&ScalarFunctionArgs) -> Result<ColumnarValue> + Send + Sync>;

/// A function of any arguments.
struct Loose {
    name: &'static str,
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
    let any = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
    let signature = Signature::one_of(any, Volatility::Stable);
    ScalarUDF::new_from_impl(Loose {
        name,
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
        loose("array_to_string", DataType::Utf8, Arc::new(array_to_string)),
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
        let views = services.upgrade().map(|services| relations::views(&services));
        let views = views.unwrap_or_default();
        let texts = oids.as_primitive::<Int32Type>().iter().map(|oid| {
            views.iter().find(|(view, _)| Some(*view) == oid).map(|(_, query)| query.as_str())
        });
        Ok(ColumnarValue::Array(Arc::new(texts.collect::<StringArray>())))
    };
    loose("pg_get_viewdef", DataType::Utf8, Arc::new(body))
}

/// Joins the items of an array. Catalogs have text where PostgreSQL has arrays of privileges.
fn array_to_string(args: &ScalarFunctionArgs) -> Result<ColumnarValue> {
    let is_array = args.arg_fields.first().is_some_and(|field| {
        matches!(field.data_type(), DataType::List(_) | DataType::LargeList(_))
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
