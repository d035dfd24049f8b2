//! CREATE SINK: a query that runs, and whose rows go out.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::continuous::continuous;
use super::{is_there, mode, notice};
use crate::catalog::{Created, Definition, SinkDefinition};
use crate::engine::OpenSink;
use crate::error::{Error, Result, SqlState};
use crate::planner::Purpose;
use crate::session::{Outcome, Services, Session};
use crate::sink::Sink;
use crate::sink::kafka::{KafkaSink, KafkaSinkOptions};
use crate::source::{ANSWER_TIMEOUT, Cluster};
use crate::sql::CreateSink;
use crate::task;

const TAG: &str = "CREATE SINK";

pub(in crate::session) async fn run(session: &mut Session, clause: CreateSink) -> Result<Outcome> {
    if clause.if_not_exists && is_there(session, &clause.name) {
        return Ok(Outcome::done(TAG));
    }
    let services = Arc::clone(session.services());
    let mode = mode(clause.if_not_exists, clause.or_replace);
    let defaults = services.config.kafka.connection();
    let sink = Arc::new(SinkDefinition::try_new(&clause, defaults.as_ref())?);
    let state = session.state()?;
    let plan = continuous(&services, &state, &sink.query, &[], Purpose::AppendSink).await?;
    check_columns(&sink, &plan.schema)?;
    if make_topic(&sink).await? {
        let text = format!(
            "topic \"{}\" did not exist and was made",
            sink.options.topic
        );
        notice(session, Error::user(SqlState::SuccessfulCompletion, text));
    }
    let created = services
        .catalog
        .create(Definition::Sink(Arc::clone(&sink)), mode)?;
    if matches!(created, Created::New) {
        services.engine.drop_query(&sink.name)?;
        let open = open(&sink, &plan.schema);
        services.engine.create_sink(&sink.name, plan, open)?;
    }
    Ok(Outcome::done(TAG))
}

/// Starts the query of a sink that is defined.
pub(in crate::session) async fn start(
    services: &Arc<Services>,
    sink: &Arc<SinkDefinition>,
) -> Result<()> {
    let state = services.base_state()?;
    let plan = continuous(services, state, &sink.query, &[], Purpose::AppendSink).await?;
    let open = open(sink, &plan.schema);
    services.engine.create_sink(&sink.name, plan, open)
}

/// Opens the sink for each try of its query.
fn open(sink: &Arc<SinkDefinition>, schema: &SchemaRef) -> OpenSink {
    let (sink, schema) = (Arc::clone(sink), Arc::clone(schema));
    Box::new(move || {
        let options = KafkaSinkOptions {
            connection: sink.options.connection.clone(),
            topic: sink.options.topic.clone(),
            key_columns: sink.options.key_columns.clone(),
            headers: sink.options.headers.clone(),
        };
        let opened = KafkaSink::open(&options, &schema)?;
        Ok(Box::new(opened) as Box<dyn Sink>)
    })
}

fn check_columns(sink: &SinkDefinition, schema: &SchemaRef) -> Result<()> {
    for key in &sink.options.key_columns {
        if schema.field_with_name(key).is_err() {
            return Err(Error::user(
                SqlState::UndefinedColumn,
                format!("key column \"{key}\" is not in the sink's query"),
            )
            .hint("key_columns names columns of the SELECT."));
        }
    }
    Ok(())
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
