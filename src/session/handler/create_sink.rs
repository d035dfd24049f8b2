//! CREATE SINK: a query that runs, and whose rows go out.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::continuous::{Wanted, continuous};
use super::{define, is_there, mode, notice, transactional_id};
use crate::catalog::{Definition, SinkDefinition, SinkFormat};
use crate::engine::OpenSink;
use crate::error::{Error, Result, SqlState, nearest};
use crate::plan::{Changelog, StreamPlan};
use crate::session::{Outcome, Services, Session};
use crate::sink::Sink;
use crate::sink::kafka::{KafkaDelivery, KafkaForm, KafkaSink, KafkaSinkOptions};
use crate::source::{ANSWER_TIMEOUT, Cluster};
use crate::sql::CreateSink;
use crate::task;
use crate::types::KafkaConnection;

const TAG: &str = "CREATE SINK";

pub(in crate::session) async fn run(session: &mut Session, clause: CreateSink) -> Result<Outcome> {
    if clause.if_not_exists && is_there(session, &clause.name) {
        return Ok(Outcome::done(TAG));
    }
    let services = Arc::clone(session.services());
    let mode = mode(clause.if_not_exists, clause.or_replace);
    let defaults = services.config.kafka.connection();
    let sink = Arc::new(SinkDefinition::try_new(&clause, defaults.as_ref())?);
    let definition = Definition::Sink(Arc::clone(&sink));
    let at = |error: Error| error.at(Some(clause.name.position));
    services.catalog.check(&definition, mode).map_err(at)?;
    let state = session.state()?;
    let plan = continuous(&services, &state, Wanted::sink(&sink)).await?;
    let plan = checked(&sink, plan).map_err(at)?;
    refuse_loop(&sink, &plan).await?;
    let former = transactional_id::former(&services, &sink.name);
    transactional_id::refuse_taken(&services, &sink, former.as_ref())
        .await
        .map_err(at)?;
    if make_topic(&sink).await? {
        let topic = &sink.options.topic;
        let text = format!("topic \"{topic}\" did not exist and was made");
        notice(session, Error::user(SqlState::SuccessfulCompletion, text));
    }
    let (name, open) = (sink.name.clone(), open(&services, &sink, &plan.schema));
    define(session, definition, mode, move |engine| {
        engine.create_sink(&name, plan, open, true)
    })
    .await?;
    let id = |sink: &SinkDefinition| sink.transactional_id(services.catalog.server_id());
    if let Some(former) = former.filter(|former| id(former) != id(&sink)) {
        transactional_id::release(session, &former).await;
    }
    Ok(Outcome::done(TAG))
}

/// Starts the query of a sink that is defined.
pub(in crate::session) async fn start(
    services: &Arc<Services>,
    sink: &Arc<SinkDefinition>,
) -> Result<()> {
    let state = services.base_state()?;
    let plan = checked(sink, continuous(services, state, Wanted::sink(sink)).await?)?;
    let open = open(services, sink, &plan.schema);
    services.engine.create_sink(&sink.name, plan, open, false)
}

/// Opens the sink for each try of its query.
pub(super) fn open(
    services: &Services,
    sink: &Arc<SinkDefinition>,
    schema: &SchemaRef,
) -> OpenSink {
    let (sink, schema) = (Arc::clone(sink), Arc::clone(schema));
    let transactional_id = sink.transactional_id(services.catalog.server_id());
    Box::new(move |interval| {
        let options = KafkaSinkOptions {
            connection: sink.options.connection.clone(),
            topic: sink.options.topic.clone(),
            key_columns: sink.options.key_columns.clone(),
            headers: sink.options.headers.clone(),
            form: match sink.options.format {
                SinkFormat::Json => KafkaForm::Append,
                SinkFormat::Upsert => KafkaForm::Upsert,
                SinkFormat::Debezium => KafkaForm::Debezium(sink.name.clone()),
            },
            delivery: match transactional_id.clone() {
                None => KafkaDelivery::AtLeastOnce,
                Some(transactional_id) => KafkaDelivery::ExactlyOnce {
                    transactional_id,
                    interval,
                },
            },
        };
        let opened = KafkaSink::open(&options, &schema)?;
        Ok(Box::new(opened) as Box<dyn Sink>)
    })
}

/// The plan with the sink's key.
///
/// # Errors
/// When the sink cannot write what the query gives.
pub(super) fn checked(sink: &SinkDefinition, mut plan: StreamPlan) -> Result<StreamPlan> {
    check_columns(sink, &plan.schema)?;
    if let (SinkFormat::Upsert, Changelog::Update, Some(key)) =
        (sink.options.format, plan.changelog(), &plan.key)
    {
        plan.key = Some(chosen_key(sink, &plan, key)?);
    }
    Ok(plan)
}

/// The columns that the sink has as its key. A row that changes must keep its key, and no two rows
/// may share one: it takes all of the query's keys, and at least one of the columns that tell the
/// window.
fn chosen_key(sink: &SinkDefinition, plan: &StreamPlan, key: &[usize]) -> Result<Vec<usize>> {
    let given = &sink.options.key_columns;
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

fn check_columns(sink: &SinkDefinition, schema: &SchemaRef) -> Result<()> {
    let options = &sink.options;
    for (option, columns) in [
        ("key_columns", &options.key_columns),
        ("headers", &options.headers),
    ] {
        let missing = columns
            .iter()
            .find(|column| schema.field_with_name(column).is_err());
        let Some(missing) = missing else { continue };
        let error = Error::user(
            SqlState::UndefinedColumn,
            format!("column \"{missing}\" of {option} is not in the sink's query"),
        );
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        return Err(match nearest(missing, &names) {
            Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
            None => error.hint(format!("The query has: {}.", names.join(", "))),
        });
    }
    Ok(())
}

/// A query whose sink writes what the query reads would never come to an end.
async fn refuse_loop(sink: &Arc<SinkDefinition>, plan: &StreamPlan) -> Result<()> {
    let topic = sink.options.topic.clone();
    let scans = plan.inputs.iter().map(|input| &input.source.scan);
    let alike: Vec<KafkaConnection> = scans
        .filter(|scan| scan.topic == topic)
        .map(|scan| scan.connection.clone())
        .collect();
    let own = sink.options.connection.clone();
    let reads_it = task::spawn_blocking(move || {
        for connection in alike {
            if connection.bootstrap_servers == own.bootstrap_servers {
                return Ok(true);
            }
            let own = Cluster::connect(&own)?;
            if own.is_same(&Cluster::connect(&connection)?, ANSWER_TIMEOUT)? {
                return Ok(true);
            }
        }
        Ok(false)
    });
    if !reads_it.await? {
        return Ok(());
    }
    let message = format!("the sink would write to topic \"{topic}\", which its query reads");
    Err(Error::user(SqlState::InvalidTableDefinition, message).hint("Choose another topic."))
}

/// Makes the sink's topic if it is not there; true if it was made.
async fn make_topic(sink: &Arc<SinkDefinition>) -> Result<bool> {
    let sink = Arc::clone(sink);
    task::spawn_blocking(move || {
        let cluster = Cluster::connect(&sink.options.connection)?;
        if cluster
            .topics(ANSWER_TIMEOUT)?
            .contains(&sink.options.topic)
        {
            return Ok(false);
        }
        cluster.create_topic(
            &sink.options.topic,
            sink.options.partitions.unwrap_or(1),
            None,
        )
    })
    .await
}
