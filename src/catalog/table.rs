//! Tables: a topic with a schema.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use sqlparser::ast::{AccessExpr, Expr, Subscript, Value};

use super::data_type::{sql_type_name, to_arrow};
use super::options::{Options, invalid, masked, secrets_in, value_text};
use crate::error::{Error, Position, Result, SqlState};
use crate::plan::{OnError, ScanStartup};
use crate::sql::{ColumnClause, ColumnKind, CreateTable, OptionClause, OptionValue, fold};
use crate::types::{
    EventTime, FetchMode, JsonPath, KafkaConnection, MetadataColumn, Offset, PartitionId, PathStep,
};

/// How long a silent partition holds the watermark back.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// How far event times may lie ahead of the record's own.
const MAX_FUTURE: Duration = Duration::from_secs(86_400);

/// The metadata of the field that is the event time.
pub const EVENT_TIME_MARK: &str = "headwater.event_time";

/// A topic with a schema.
#[derive(Debug)]
pub struct TableDefinition {
    /// Its name.
    pub name: String,
    /// Its columns in their order.
    pub columns: Vec<Column>,
    /// The primary key's columns; recorded only.
    pub primary_key: Vec<String>,
    /// How far event time has progressed.
    pub watermark: Option<WatermarkDefinition>,
    /// Where its messages are and how they are read.
    pub options: KafkaTableOptions,
    /// The secrets that it names.
    pub secrets: Vec<String>,
    /// The CREATE statement, secrets masked.
    pub sql: String,
    /// The CREATE statement as written.
    pub(super) statement: String,
}

/// `WATERMARK FOR column AS expr`.
#[derive(Debug, Clone)]
pub struct WatermarkDefinition {
    /// The event-time column.
    pub column: String,
    /// What a row says of the watermark.
    pub expr: Expr,
}

/// One column.
#[derive(Debug, Clone)]
pub struct Column {
    /// Name, Arrow type, nullability.
    pub field: FieldRef,
    /// The type as SQL says it.
    pub sql_type: String,
    /// Where its value comes from.
    pub origin: ColumnOrigin,
}

/// Where a column's value comes from.
#[derive(Debug, Clone)]
pub enum ColumnOrigin {
    /// A place in the payload.
    Payload(JsonPath),
    /// The record itself.
    Metadata(MetadataColumn),
    /// Other columns of the row.
    Computed(Box<Expr>),
}

/// Where a table's messages are and how they are read.
#[derive(Debug, Clone)]
pub struct KafkaTableOptions {
    /// The cluster.
    pub connection: KafkaConnection,
    /// The topic.
    pub topic: String,
    /// Where created queries begin.
    pub scan_startup: ScanStartup,
    /// The consumer group that offsets are told to, for monitoring.
    pub group_id: Option<String>,
    /// Whether records of open and aborted transactions are hidden.
    pub read_committed: bool,
    /// Who fetches its messages.
    pub fetch: FetchMode,
    /// Messages a second at the most.
    pub max_rows_per_second: Option<u32>,
    /// How long a silent partition holds the watermark back; `None`: for ever.
    pub idle_timeout: Option<Duration>,
    /// What happens to a message that is no row.
    pub on_error: OnError,
    /// Whether a query fails of which unread messages are there no more.
    pub fails_on_data_loss: bool,
    /// Rejected messages are sent to this topic too.
    pub dead_letter_topic: Option<String>,
    /// Rows that came after their window had closed are sent to this topic too.
    pub late_topic: Option<String>,
    /// How far event times may lie ahead of the record's own; `None`: any.
    pub max_future: Option<Duration>,
    /// Whether a missing topic is made.
    pub create_topic: bool,
    /// The partitions of a topic that is made.
    pub partitions: Option<u32>,
}

impl TableDefinition {
    /// A table as declared. With `schema = 'infer'` it may have no columns.
    ///
    /// # Errors
    /// Unknown options and types, columns that cannot be, each with its place.
    pub fn try_new(clause: &CreateTable, defaults: Option<&KafkaConnection>) -> Result<Self> {
        let (options, infer) = table_options(&clause.options, defaults)?;
        if clause.columns.is_empty() && !infer {
            return Err(Error::user(
                SqlState::InvalidTableDefinition,
                format!("table \"{}\" has no columns", clause.name.name),
            )
            .hint("List them, or let them be found: WITH (.., schema = 'infer').")
            .at(Some(clause.name.position)));
        }
        if !clause.columns.is_empty() && infer {
            return Err(Error::user(
                SqlState::InvalidTableDefinition,
                "schema = 'infer' finds the columns: do not list them",
            )
            .at(Some(clause.name.position)));
        }
        let mut columns = columns(&clause.columns)?;
        for key in &clause.primary_key {
            if !columns
                .iter()
                .any(|column| *column.field.name() == key.name)
            {
                return Err(no_column(&key.name, key.position));
            }
        }
        let watermark = watermark(clause, &columns)?;
        if let Some(watermark) = &watermark {
            mark_event_time(&mut columns, &watermark.column);
        }
        Ok(Self {
            name: clause.name.name.clone(),
            columns,
            primary_key: clause
                .primary_key
                .iter()
                .map(|key| key.name.clone())
                .collect(),
            watermark,
            options,
            secrets: secrets_in(&clause.options),
            sql: masked(&clause.text)?,
            statement: clause.text.clone(),
        })
    }
}

fn columns(clauses: &[ColumnClause]) -> Result<Vec<Column>> {
    let names: BTreeSet<&str> = clauses.iter().map(|clause| clause.name.as_str()).collect();
    let mut seen = BTreeSet::new();
    clauses
        .iter()
        .map(|clause| {
            if !seen.insert(clause.name.as_str()) {
                return Err(Error::user(
                    SqlState::DuplicateColumn,
                    format!("column \"{}\" specified more than once", clause.name),
                )
                .at(Some(clause.position)));
            }
            column(clause, &names)
        })
        .collect()
}

fn column(clause: &ColumnClause, names: &BTreeSet<&str>) -> Result<Column> {
    let field = to_arrow(&clause.name, &clause.data_type)
        .map_err(|error| error.at(Some(clause.type_position)))?;
    let origin = match &clause.kind {
        ColumnKind::Plain => ColumnOrigin::Payload(vec![PathStep::Key(clause.name.clone())]),
        ColumnKind::Metadata(from) => ColumnOrigin::Metadata(metadata(from, &field, clause)?),
        ColumnKind::Computed(expr) => match payload_path(expr, &without(names, &clause.name)) {
            Some(path) => ColumnOrigin::Payload(path),
            None => ColumnOrigin::Computed(expr.clone()),
        },
    };
    let sql_type = sql_type_name(&field);
    // A computed column is checked nowhere.
    let is_read = !matches!(origin, ColumnOrigin::Computed(_));
    let field = match clause.not_null && is_read {
        true => Arc::new(Field::clone(&field).with_nullable(false)),
        false => field,
    };
    Ok(Column {
        field,
        sql_type,
        origin,
    })
}

fn metadata(from: &str, field: &Field, clause: &ColumnClause) -> Result<MetadataColumn> {
    let (column, fits, wanted) = match from {
        "key" => (
            MetadataColumn::Key,
            matches!(field.data_type(), DataType::Utf8View | DataType::Binary),
            "text or bytea",
        ),
        "partition" => (
            MetadataColumn::Partition,
            *field.data_type() == DataType::Int32,
            "int",
        ),
        "offset" => (
            MetadataColumn::Offset,
            *field.data_type() == DataType::Int64,
            "bigint",
        ),
        "timestamp" => (
            MetadataColumn::Timestamp,
            matches!(
                field.data_type(),
                DataType::Timestamp(TimeUnit::Microsecond, _)
            ),
            "timestamptz",
        ),
        "headers" => (
            MetadataColumn::Headers,
            *field.data_type() == DataType::Utf8View,
            "json",
        ),
        _ => {
            return Err(Error::user(
                SqlState::InvalidTableDefinition,
                format!("a record has no metadata \"{from}\""),
            )
            .hint("It has 'key', 'partition', 'offset', 'timestamp' and 'headers'.")
            .at(Some(clause.position)));
        }
    };
    if fits {
        return Ok(column);
    }
    Err(Error::user(
        SqlState::DatatypeMismatch,
        format!("metadata column \"{}\" must be {wanted}", clause.name),
    )
    .at(Some(clause.type_position)))
}

/// The other columns: a column's own name in its expression is a member of the payload.
fn without<'a>(names: &BTreeSet<&'a str>, own: &str) -> BTreeSet<&'a str> {
    names.iter().copied().filter(|name| *name != own).collect()
}

/// `a.b.c` and `a['b'][0]`, when `a` is no column: a place in the payload.
fn payload_path(expr: &Expr, columns: &BTreeSet<&str>) -> Option<JsonPath> {
    let path = match expr {
        Expr::CompoundIdentifier(parts) => {
            parts.iter().map(|part| PathStep::Key(fold(part))).collect()
        }
        Expr::Identifier(part) => vec![PathStep::Key(fold(part))],
        Expr::CompoundFieldAccess { root, access_chain } => {
            let mut path = payload_path(root, columns)?;
            for access in access_chain {
                path.push(step(access)?);
            }
            path
        }
        Expr::Nested(inner) => return payload_path(inner, columns),
        _ => return None,
    };
    match path.first() {
        Some(PathStep::Key(head)) if !columns.contains(head.as_str()) => Some(path),
        _ => None,
    }
}

fn step(access: &AccessExpr) -> Option<PathStep> {
    let expr = match access {
        AccessExpr::Dot(expr) | AccessExpr::Subscript(Subscript::Index { index: expr }) => expr,
        AccessExpr::Subscript(Subscript::Slice { .. }) => return None,
    };
    match expr {
        Expr::Identifier(part) => Some(PathStep::Key(fold(part))),
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(key) => Some(PathStep::Key(key.clone())),
            Value::Number(index, _) => index.to_string().parse().ok().map(PathStep::Index),
            _ => None,
        },
        _ => None,
    }
}

fn watermark(clause: &CreateTable, columns: &[Column]) -> Result<Option<WatermarkDefinition>> {
    let Some(watermark) = &clause.watermark else {
        return Ok(None);
    };
    let found = columns
        .iter()
        .find(|column| *column.field.name() == watermark.column);
    let Some(column) = found else {
        return Err(no_column(&watermark.column, watermark.position));
    };
    if !matches!(
        column.field.data_type(),
        DataType::Timestamp(TimeUnit::Microsecond, _)
    ) {
        return Err(Error::user(
            SqlState::DatatypeMismatch,
            format!(
                "the event-time column \"{}\" must be a timestamp",
                watermark.column
            ),
        )
        .hint("Declare it as timestamptz, or as timestamp for times without a zone (UTC).")
        .at(Some(watermark.position)));
    }
    let (column, expr) = (watermark.column.clone(), (*watermark.expr).clone());
    Ok(Some(WatermarkDefinition { column, expr }))
}

/// A window clause that names no time finds the event time by this mark.
fn mark_event_time(columns: &mut [Column], name: &str) {
    for column in columns
        .iter_mut()
        .filter(|column| column.field.name() == name)
    {
        let mut metadata = column.field.metadata().clone();
        metadata.insert(EVENT_TIME_MARK.to_owned(), String::new());
        column.field = Arc::new(Field::clone(&column.field).with_metadata(metadata));
    }
}

fn no_column(name: &str, position: Position) -> Error {
    Error::user(
        SqlState::UndefinedColumn,
        format!("column \"{name}\" does not exist"),
    )
    .at(Some(position))
}

fn table_options(
    clauses: &[OptionClause],
    defaults: Option<&KafkaConnection>,
) -> Result<(KafkaTableOptions, bool)> {
    let mut options = Options::new(clauses);
    options.word("connector", &[("kafka", ())], ())?;
    options.word("format", &[("json", ())], ())?;
    let infer = options.word("schema", &[("infer", true)], false)?;
    let parsed = KafkaTableOptions {
        topic: options.required("topic", "trades")?,
        connection: options.connection(defaults)?,
        scan_startup: match options.take("scan_startup")? {
            Some(clause) => startup(clause)?,
            None => ScanStartup::Earliest,
        },
        group_id: options.text("group_id")?,
        read_committed: options.word(
            "isolation_level",
            &[("read committed", true), ("read uncommitted", false)],
            true,
        )?,
        fetch: options.word(
            "fetch",
            &[
                ("auto", FetchMode::Auto),
                ("direct", FetchMode::Direct),
                ("librdkafka", FetchMode::Librdkafka),
            ],
            FetchMode::Auto,
        )?,
        max_rows_per_second: options.count("max_rows_per_second")?,
        idle_timeout: options.duration("idle_timeout", Some(IDLE_TIMEOUT))?,
        on_error: options.word(
            "on_error",
            &[
                ("dead letter", OnError::DeadLetter),
                ("skip", OnError::Skip),
                ("fail", OnError::Fail),
            ],
            OnError::DeadLetter,
        )?,
        fails_on_data_loss: options.word(
            "on_data_loss",
            &[("fail", true), ("continue", false)],
            true,
        )?,
        dead_letter_topic: other_topic(&mut options, "dead_letter_topic")?,
        late_topic: other_topic(&mut options, "late_topic")?,
        max_future: options.duration("max_future", Some(MAX_FUTURE))?,
        create_topic: options.flag("create_topic", false)?,
        partitions: options.count("partitions")?,
    };
    options.finish("a kafka table")?;
    Ok((parsed, infer))
}

/// A topic that is not the table's own, which would never come to an end.
fn other_topic(options: &mut Options<'_>, name: &'static str) -> Result<Option<String>> {
    let topic = options.text(name)?;
    let own = options.given("topic").map(value_text);
    match options.given(name) {
        Some(clause) if topic == own || topic.as_deref() == Some("") => {
            Err(invalid(clause, "a topic that the table does not read"))
        }
        Some(clause) if !topic.as_deref().is_none_or(is_topic_name) => Err(invalid(
            clause,
            "up to 249 letters, digits, points, lines and hyphens",
        )),
        _ => Ok(topic),
    }
}

/// Whether Kafka takes a topic of that name.
fn is_topic_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    name.len() <= 249 && name.chars().all(fits) && ![".", ".."].contains(&name)
}

fn startup(clause: &OptionClause) -> Result<ScanStartup> {
    let wrong = || {
        invalid(
            clause,
            "'earliest', 'latest', 'timestamp:2026-01-31T12:00:00Z' or 'offsets:0=42,1=17'",
        )
    };
    if let OptionValue::Interval(_) = clause.value {
        return Err(wrong());
    }
    let value = value_text(clause);
    match value.split_once(':') {
        None if value.eq_ignore_ascii_case("earliest") => Ok(ScanStartup::Earliest),
        None if value.eq_ignore_ascii_case("latest") => Ok(ScanStartup::Latest),
        Some(("timestamp", time)) => time
            .parse::<i64>()
            .map(|ms| EventTime(ms.saturating_mul(1_000)))
            .or_else(|_| {
                chrono::DateTime::parse_from_rfc3339(time)
                    .map(|time| EventTime(time.timestamp_micros()))
            })
            .map(ScanStartup::Timestamp)
            .map_err(|_| wrong()),
        Some(("offsets", list)) => {
            let mut offsets = BTreeMap::new();
            for entry in list.split(',') {
                let (partition, offset) = entry.split_once('=').ok_or_else(wrong)?;
                let partition = partition.trim().parse().map_err(|_| wrong())?;
                let offset: i64 = offset.trim().parse().map_err(|_| wrong())?;
                if offset < 0 {
                    return Err(wrong());
                }
                offsets.insert(PartitionId(partition), Offset(offset));
            }
            Ok(ScanStartup::Offsets(offsets))
        }
        _ => Err(wrong()),
    }
}

/// A field of that name and type.
pub(super) fn field(name: &str, data_type: DataType) -> FieldRef {
    Arc::new(Field::new(name, data_type, true))
}
