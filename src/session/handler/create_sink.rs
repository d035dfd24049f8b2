//! CREATE SINK: a query that runs, and whose rows go out; or a destination that others name.
//!
//! What is particular to a connector stands in `open_sink` and `prepare`, an arm each.

mod file;
mod http;
mod kafka;
mod postgres;

pub(in crate::session) use http::given_up;

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::SessionState;

use super::continuous::{Wanted, continuous};
use super::dependents::{busy, replaced, told};
use super::{define, define_among, is_there, mode, notice, transactional_id};
use crate::alert::notification_schema;
use crate::catalog::{
    Definition, Definitions, Delivery, KafkaSinkTarget, OutboxOptions, SinkDefinition, SinkRows,
    SinkTarget,
};
use crate::engine::{Engine, OpenSink};
use crate::error::{Culprit, Error, Result, SqlState, nearest};
use crate::plan::{Changelog, StreamPlan};
use crate::session::{Outcome, Services, Session};
use crate::sink::blackhole::BlackholeSink;
use crate::sink::outbox::{OutboxName, OutboxSettings};
use crate::sink::print::PrintSink;
use crate::sql::{CreateSink, ObjectKind};
use crate::task;

const TAG: &str = "CREATE SINK";
/// The column with the key of what alerts tell.
const ID_COLUMN: &str = "id";

pub(in crate::session) async fn run(session: &mut Session, clause: CreateSink) -> Result<Outcome> {
    if clause.if_not_exists && is_there(session, &clause.name) {
        return Ok(Outcome::done(TAG));
    }
    let services = Arc::clone(session.services());
    let seen = services.catalog.snapshot();
    let mode = mode(clause.if_not_exists, clause.or_replace);
    let defaults = services.config.kafka.connection();
    let sink = Arc::new(SinkDefinition::try_new(&clause, defaults.as_ref())?);
    let definition = Definition::Sink(Arc::clone(&sink));
    let at = |error: Error| placed(&clause, error);
    services.catalog.check(&definition, mode).map_err(at)?;
    let plan = match sink.query {
        None => {
            check_alone(&services, &clause, &sink)?;
            None
        }
        Some(_) => {
            let state = session.state()?;
            let plan = continued(&services, &state, &sink).await?;
            Some(checked(&services, &sink, plan).map_err(at)?)
        }
    };
    let former = transactional_id::former(&services, &sink.name);
    transactional_id::refuse_taken(&services, &sink, former.as_ref())
        .await
        .map_err(at)?;
    for text in prepare(&services, &sink, plan.as_ref()).await.map_err(at)? {
        notice(session, Error::user(SqlState::SuccessfulCompletion, text));
    }
    let running = plan.map(|plan| {
        let open = open(&services, &sink, &plan.schema);
        (sink.name.clone(), plan, open)
    });
    let (name, outboxes) = (sink.name.clone(), Arc::clone(&services.outboxes));
    let waiting = outboxes.waiting(&name);
    let start = move |engine: &Engine| {
        // What an earlier one of the name has left is none of this one's.
        outboxes.remove(&name)?;
        match running {
            Some((name, plan, open)) => engine.create_sink(&name, plan, open, true),
            None => Ok(()),
        }
    };
    for text in keep(session, &clause, (definition, seen), start).await? {
        notice(session, Error::user(SqlState::SuccessfulCompletion, text));
    }
    let id = |sink: &SinkDefinition| sink.transactional_id(services.catalog.server_id());
    if let Some(former) = former.filter(|former| id(former) != id(&sink)) {
        transactional_id::release(session, &former).await;
    }
    if waiting > 0 {
        notice(session, given_up(&Definition::Sink(sink), waiting));
    }
    Ok(Outcome::done(TAG))
}

/// Keeps the sink and starts what runs for it; alerts that tell the one in whose place it comes tell this one. Gives
/// what is to be told of them.
async fn keep(
    session: &Session,
    clause: &CreateSink,
    (definition, seen): (Definition, Arc<Definitions>),
    start: impl FnOnce(&Engine) -> Result<()> + Send + 'static,
) -> Result<Vec<String>> {
    let services = session.services();
    let mode = mode(clause.if_not_exists, clause.or_replace);
    let at = |error: Error| placed(clause, error);
    let Some(change) = services.catalog.change(&definition, mode).map_err(at)? else {
        return Ok(Vec::new());
    };
    let go_on = replaced(services, &change, (ObjectKind::Sink, &clause.name)).await?;
    if go_on.is_empty() {
        define(session, (definition, seen), mode, start).await?;
        return Ok(Vec::new());
    }
    let mut lines = told(&go_on, ObjectKind::Sink);
    let has_outbox = match &definition {
        Definition::Sink(sink) => !matches!(sink.target, SinkTarget::Print | SinkTarget::Blackhole),
        _ => true,
    };
    let kept = definition.clone();
    if !define_among(session, definition, (change, go_on), start).await? {
        return Err(busy(ObjectKind::Sink, &clause.name));
    }
    if !has_outbox {
        let services = Arc::clone(services);
        let waiting = task::spawn_blocking(move || give_up(&services, &kept)).await?;
        if waiting > 0 {
            lines = vec![format!(
                "alerts tell the new sink from here on; {waiting} notifications that waited for the former one are given up"
            )];
        }
    }
    Ok(lines)
}

/// Gives up what waits for a sink without an outbox, unless another one has taken its place; gives how much it was.
fn give_up(services: &Services, sink: &Definition) -> Result<u64> {
    let _one = services.one_at_a_time();
    let now = services.catalog.snapshot();
    match now.get(sink.name()).map(Definition::sql) == Some(sink.sql()) {
        true => services.outboxes.remove_sink(sink.name()),
        false => Ok(0),
    }
}

/// Gives an error the place of the option that it is about, or else that of the sink's name.
pub(super) fn placed(clause: &CreateSink, error: Error) -> Error {
    let option = match error.culprit() {
        Some(Culprit::Option(name)) => clause.options.iter().find(|option| option.name == *name),
        _ => None,
    };
    let place = option.map_or(clause.name.position, |option| option.value_position);
    error.at(Some(place))
}

/// Starts the query of a sink that is defined.
pub(in crate::session) async fn start(
    services: &Arc<Services>,
    sink: &Arc<SinkDefinition>,
) -> Result<()> {
    let plan = planned(services, services.base_state()?, sink).await?;
    let open = open(services, sink, &plan.schema);
    services.engine.create_sink(&sink.name, plan, open, false)
}

/// The plan of a sink's query.
///
/// # Errors
/// When it cannot be planned, or the sink cannot write what it gives.
pub(super) async fn planned(
    services: &Services,
    state: &SessionState,
    sink: &SinkDefinition,
) -> Result<StreamPlan> {
    checked(services, sink, continued(services, state, sink).await?)
}

async fn continued(
    services: &Services,
    state: &SessionState,
    sink: &SinkDefinition,
) -> Result<StreamPlan> {
    let wanted = Wanted::sink(sink);
    let wanted = wanted.ok_or_else(|| Error::internal("a sink without a query has no plan"))?;
    continuous(services, state, wanted).await
}

/// Opens the sink for each try of its query.
pub(super) fn open(services: &Services, sink: &SinkDefinition, schema: &SchemaRef) -> OpenSink {
    open_sink(services, &sink.target, Writer::Query(&sink.name), schema)
}

/// Whose rows go into a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::session) enum Writer<'a> {
    /// Those of the sink's own query.
    Query(&'a str),
    /// The notifications of an alert, which bring their ids, to a sink of that name.
    Alert { alert: &'a str, sink: &'a str },
}

impl Writer<'_> {
    /// A name that no other writer has.
    pub(super) fn name(self) -> String {
        match self {
            Self::Query(name) => name.to_owned(),
            Self::Alert { alert, sink } => format!("{alert}/{sink}"),
        }
    }

    /// Its outbox.
    fn outbox(self, options: OutboxOptions) -> OutboxSettings {
        let (query, sink) = match self {
            Self::Query(query) => (query, None),
            Self::Alert { alert, sink } => (alert, Some(sink.to_owned())),
        };
        OutboxSettings {
            name: OutboxName {
                query: query.to_owned(),
                sink,
            },
            bytes_max: options.bytes_max,
            attempts_max: options.max_attempts,
        }
    }
}

/// Looks whether a target can take the rows of a schema, as far as that is known without it.
///
/// # Errors
/// A template that uses what is not there, a host that is not allowed.
pub(in crate::session) fn check_rows(
    services: &Services,
    target: &SinkTarget,
    writer: Writer<'_>,
    schema: &Schema,
) -> Result<()> {
    match target {
        SinkTarget::File(target) => file::check(services, target, writer, schema),
        SinkTarget::Slack(target) => http::check_slack(services, target, writer, schema),
        SinkTarget::Webhook(target) => http::check_webhook(services, target, writer, schema),
        SinkTarget::Blackhole
        | SinkTarget::Kafka(_)
        | SinkTarget::Postgres(_)
        | SinkTarget::Print => Ok(()),
    }
}

/// Looks whether a sink without a query can take what alerts tell: nothing else comes to it.
///
/// # Errors
/// A transactional id, and as [`check_columns`] and [`check_rows`].
pub(super) fn check_told(services: &Services, sink: &SinkDefinition, alert: &str) -> Result<()> {
    if sink
        .kafka()
        .is_some_and(|target| target.transactional_id.is_some())
    {
        let text = "a sink without a query has no transactions";
        return Err(Error::user(SqlState::InvalidTableDefinition, text)
            .hint("Leave transactional_id out: what alerts tell is delivered at least once.")
            .about(Culprit::Option("transactional_id".to_owned())));
    }
    let schema = notification_schema();
    check_columns(sink, &schema)?;
    let writer = Writer::Alert {
        alert,
        sink: &sink.name,
    };
    check_rows(services, &sink.target, writer, &schema)
}

/// Looks whether a sink that is created without a query can be what its statement says.
///
/// # Errors
/// A promise that it cannot keep, and as [`check_told`].
pub(super) fn check_alone(
    services: &Services,
    clause: &CreateSink,
    sink: &SinkDefinition,
) -> Result<()> {
    let promised = clause
        .options
        .iter()
        .find(|option| option.name == "delivery");
    let keeps = |target: &KafkaSinkTarget| target.delivery == Delivery::AtLeastOnce;
    if let Some(option) = promised.filter(|_| sink.kafka().is_some_and(|target| !keeps(target))) {
        let text = "a sink without a query cannot deliver exactly once";
        return Err(Error::user(SqlState::InvalidTableDefinition, text)
            .hint("Leave delivery out: what alerts tell is delivered at least once, and each notification has an id.")
            .at(Some(option.value_position)));
    }
    check_told(services, sink, "").map_err(|error| placed(clause, error))
}

/// Opens a target for rows of a schema.
pub(in crate::session) fn open_sink(
    services: &Services,
    target: &SinkTarget,
    writer: Writer<'_>,
    schema: &SchemaRef,
) -> OpenSink {
    let (name, schema) = (writer.name(), Arc::clone(schema));
    match target {
        SinkTarget::File(target) => file::open(services, target, writer, &schema),
        SinkTarget::Slack(target) => http::open_slack(services, target, writer, &schema),
        SinkTarget::Webhook(target) => http::open_webhook(services, target, writer, &schema),
        SinkTarget::Blackhole => Box::new(|_| Ok(Box::new(BlackholeSink))),
        SinkTarget::Kafka(target) => kafka::open(services, target, writer, &schema),
        SinkTarget::Postgres(target) => postgres::open(services, target, writer, &schema),
        SinkTarget::Print => {
            Box::new(move |_| Ok(Box::new(PrintSink::try_new(&name, Arc::clone(&schema))?)))
        }
    }
}

/// Looks whether the target can take the rows, and makes what it lacks; gives what is to be told.
async fn prepare(
    services: &Services,
    sink: &SinkDefinition,
    plan: Option<&StreamPlan>,
) -> Result<Vec<String>> {
    match &sink.target {
        SinkTarget::Blackhole | SinkTarget::Print => Ok(Vec::new()),
        SinkTarget::File(target) => {
            let writer = Writer::Query(&sink.name);
            file::prepare(services, target, writer).await
        }
        SinkTarget::Kafka(target) => kafka::prepare(target, plan).await,
        SinkTarget::Postgres(target) => {
            let server_id = services.catalog.server_id();
            let schema = plan.map_or_else(notification_schema, |plan| Arc::clone(&plan.schema));
            postgres::prepare(target, &sink.name, server_id, schema).await
        }
        SinkTarget::Slack(target) => http::prepare_slack(services, target).await,
        SinkTarget::Webhook(target) => http::prepare_webhook(services, target).await,
    }
}

/// The plan with the sink's key.
///
/// # Errors
/// When the sink cannot write what the query gives.
fn checked(services: &Services, sink: &SinkDefinition, mut plan: StreamPlan) -> Result<StreamPlan> {
    check_columns(sink, &plan.schema)?;
    check_rows(
        services,
        &sink.target,
        Writer::Query(&sink.name),
        &plan.schema,
    )?;
    if let (SinkRows::Newest, Changelog::Update, Some(key)) =
        (sink.target.rows(), plan.changelog(), &plan.key)
    {
        plan.key = Some(chosen_key(sink, &plan, key)?);
    }
    Ok(plan)
}

/// The columns that the sink has as its key. A row that changes must keep its key, and no two rows
/// may share one: it takes all of the query's keys, and at least one of the columns that tell the
/// window.
fn chosen_key(sink: &SinkDefinition, plan: &StreamPlan, key: &[usize]) -> Result<Vec<usize>> {
    let given = sink.target.key_columns();
    let fields = plan.schema.fields();
    let mut chosen: Vec<usize> = given
        .iter()
        .filter_map(|name| fields.iter().position(|field| field.name() == name))
        .collect();
    chosen.sort_unstable();
    let tells_window = |column: &usize| plan.window_key.contains(column);
    let has_window = !key.iter().any(tells_window) || chosen.iter().any(tells_window);
    let mut others = key.iter().filter(|column| !tells_window(column));
    let all_others = others.all(|column| chosen.contains(column));
    let nothing_else = chosen.iter().all(|c| key.contains(c) || tells_window(c));
    if has_window && all_others && nothing_else && !chosen.is_empty() {
        return Ok(chosen);
    }
    let right: Vec<&str> = key.iter().map(|c| fields[*c].name().as_str()).collect();
    let message = match right.is_empty() {
        true => "the query has one row only, and no key".to_owned(),
        false => format!(
            "the key columns {} do not tell the query's rows apart",
            given.join(", ")
        ),
    };
    let error = Error::user(SqlState::InvalidTableDefinition, message);
    Err(match right.is_empty() {
        true => error.hint("Use format = 'debezium', or group the query by something."),
        false => error
            .detail("A row that the query changes is found again by its GROUP BY columns.")
            .hint(format!("Use key_columns = '{}'.", right.join(", "))),
    })
}

/// Checks that the columns which the sink's options name are there.
///
/// # Errors
/// One is not.
fn check_columns(sink: &SinkDefinition, schema: &SchemaRef) -> Result<()> {
    for (option, columns) in sink.target.named_columns() {
        let missing = columns
            .iter()
            .find(|column| schema.field_with_name(column).is_err());
        let Some(missing) = missing else { continue };
        let (rows, have) = match sink.query {
            Some(_) => ("the sink's query", "The query has"),
            None => ("what alerts tell", "They tell"),
        };
        let error = Error::user(
            SqlState::UndefinedColumn,
            format!("column \"{missing}\" of {option} is not in {rows}"),
        )
        .about(Culprit::Option(option.to_owned()));
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        return Err(match nearest(missing, &names) {
            Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
            None => error.hint(format!("{have}: {}.", names.join(", "))),
        });
    }
    Ok(())
}
