//! A sink that writes to a topic: its topic is made, and its query does not read what it writes.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::{ID_COLUMN, Writer};
use crate::catalog::{KafkaSinkTarget, SinkFormat};
use crate::engine::OpenSink;
use crate::error::{Error, Result, SqlState};
use crate::plan::StreamPlan;
use crate::session::Services;
use crate::sink::kafka::{KafkaDelivery, KafkaForm, KafkaSink, KafkaSinkOptions};
use crate::sink::outbox::Relayed;
use crate::source::{ANSWER_TIMEOUT, Cluster};
use crate::task;
use crate::types::KafkaConnection;

/// Opens the sink for each try of its query; of one that has an outbox, that.
pub(super) fn open(
    services: &Services,
    target: &KafkaSinkTarget,
    writer: Writer<'_>,
    schema: &SchemaRef,
) -> OpenSink {
    let (name, schema) = (writer.name(), Arc::clone(schema));
    let transactional_id = target.transactional_id_of(services.catalog.server_id(), &name);
    let outbox = target.outbox.map(|outbox| writer.outbox(outbox));
    let (target, outboxes) = (target.clone(), Arc::clone(&services.outboxes));
    Box::new(move |interval| {
        let delivery = match transactional_id.clone() {
            None => KafkaDelivery::AtLeastOnce,
            Some(transactional_id) => KafkaDelivery::ExactlyOnce {
                transactional_id,
                interval,
            },
        };
        let options = options(&target, &name, delivery);
        Ok(match &outbox {
            None => Box::new(KafkaSink::open(&options, &schema)?),
            Some(outbox) => {
                let relayed = Relayed {
                    outbox,
                    schema: &schema,
                    key_column: ID_COLUMN,
                };
                Box::new(KafkaSink::relayed(&options, &relayed, &outboxes)?)
            }
        })
    })
}

fn options(target: &KafkaSinkTarget, name: &str, delivery: KafkaDelivery) -> KafkaSinkOptions {
    KafkaSinkOptions {
        connection: target.connection.clone(),
        topic: target.topic.clone(),
        key_columns: target.key_columns.clone(),
        headers: target.headers.clone(),
        form: match target.format {
            SinkFormat::Json => KafkaForm::Append,
            SinkFormat::Upsert => KafkaForm::Upsert,
            SinkFormat::Debezium => KafkaForm::Debezium(name.to_owned()),
        },
        delivery,
    }
}

/// Makes the topic if it is not there; refuses one that the query reads.
pub(super) async fn prepare(
    target: &KafkaSinkTarget,
    plan: Option<&StreamPlan>,
) -> Result<Vec<String>> {
    if let Some(plan) = plan {
        refuse_loop(target, plan).await?;
    }
    let topic = &target.topic;
    Ok(match make_topic(target).await? {
        true => vec![format!("topic \"{topic}\" did not exist and was made")],
        false => Vec::new(),
    })
}

/// A query whose sink writes what the query reads would never come to an end.
async fn refuse_loop(target: &KafkaSinkTarget, plan: &StreamPlan) -> Result<()> {
    let topic = target.topic.clone();
    let scans = plan.inputs.iter().map(|input| &input.source.scan);
    let alike: Vec<KafkaConnection> = scans
        .filter(|scan| scan.topic == topic)
        .map(|scan| scan.connection.clone())
        .collect();
    let own = target.connection.clone();
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
async fn make_topic(target: &KafkaSinkTarget) -> Result<bool> {
    let target = target.clone();
    task::spawn_blocking(move || {
        let cluster = Cluster::connect(&target.connection)?;
        if cluster.topics(ANSWER_TIMEOUT)?.contains(&target.topic) {
            return Ok(false);
        }
        cluster.create_topic(&target.topic, target.partitions.unwrap_or(1), None)
    })
    .await
}
