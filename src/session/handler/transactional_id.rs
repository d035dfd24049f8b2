//! Who has a transactional id, as the sink's own cluster says it.
//!
//! A sink keeps its epoch in the consumer group of its id (docs/adr/0007), and `DROP SINK` deletes that
//! group: one that is there is of another server's sink, or of one that was never dropped.

use std::sync::Arc;

use crate::catalog::{Definition, SinkDefinition};
use crate::engine::{QueryState, QueryStatus};
use crate::error::{Error, Result, SqlState};
use crate::session::{Notice, Services, Session, Severity};
use crate::source::{ANSWER_TIMEOUT, Cluster};
use crate::task;

/// The sink that is about to be replaced, if there is one.
pub(super) fn former(services: &Services, name: &str) -> Option<Arc<SinkDefinition>> {
    match services.catalog.snapshot().get(name) {
        Some(Definition::Sink(sink)) => Some(Arc::clone(sink)),
        _ => None,
    }
}

/// Refuses an id that was given by the user when a sink of another server has it.
///
/// # Errors
/// 55006 when it is in use; no answer in time.
pub(super) async fn refuse_taken(
    services: &Services,
    sink: &Arc<SinkDefinition>,
    former: Option<&Arc<SinkDefinition>>,
) -> Result<()> {
    let Some((kafka, id)) = sink
        .kafka()
        .and_then(|kafka| Some((kafka, kafka.transactional_id.clone()?)))
    else {
        return Ok(());
    };
    let server_id = services.catalog.server_id();
    if former.and_then(|former| former.transactional_id(server_id)) == Some(id.clone()) {
        return Ok(());
    }
    let (connection, group) = (kafka.connection.clone(), id.clone());
    let is_there = task::spawn_blocking(move || {
        Cluster::connect(&connection)?.group_is_there(&group, ANSWER_TIMEOUT)
    });
    if !is_there.await? {
        return Ok(());
    }
    let text = format!("the transactional id \"{id}\" is in use");
    Err(Error::user(SqlState::ObjectInUse, text)
        .detail(format!(
            "The cluster has a consumer group \"{id}\": a sink of another server keeps its epoch there."
        ))
        .hint(
            "Choose another id, or drop the sink where it runs. If no server runs it any more, delete the group \
             with kafka-consumer-groups.",
        ))
}

/// The sink is gone: another one may have its id, unless another one has it already.
pub(super) async fn drop_sink(
    session: &mut Session,
    sink: &SinkDefinition,
    status: Option<&QueryStatus>,
) {
    let id = sink.transactional_id(session.services().catalog.server_id());
    let Some(id) = id.filter(|_| status.is_some_and(is_contested)) else {
        return release(session, sink).await;
    };
    let text = format!("consumer group \"{id}\" of the sink stays: another sink may go on from it");
    session.notice(Notice {
        severity: Severity::Notice,
        content: Error::user(SqlState::SuccessfulCompletion, text).hint(
            "If no server runs one with this id, delete the group with kafka-consumer-groups.",
        ),
    });
}

/// Somebody else has written under the sink's id, as far as can be seen.
fn is_contested(status: &QueryStatus) -> bool {
    let states = [
        SqlState::ObjectInUse,
        SqlState::ObjectNotInPrerequisiteState,
        SqlState::DataCorrupted,
    ];
    let error = status.last_error.as_ref();
    matches!(status.state, QueryState::Failed)
        && error.is_some_and(|error| states.contains(&error.state()))
}

/// The sink is gone: another one may have its id.
pub(super) async fn release(session: &mut Session, sink: &SinkDefinition) {
    let services = Arc::clone(session.services());
    let Some(kafka) = sink.kafka() else { return };
    let Some(id) = sink.transactional_id(services.catalog.server_id()) else {
        return;
    };
    let (connection, group) = (kafka.connection.clone(), id.clone());
    let deleted = task::spawn_blocking(move || {
        Cluster::connect(&connection)?.delete_group(&group, ANSWER_TIMEOUT)
    });
    if let Err(error) = deleted.await {
        let text = format!("consumer group \"{id}\" of the sink could not be deleted: {error}");
        let content = Error::user(error.state(), text);
        session.notice(Notice {
            severity: Severity::Warning,
            content: content
                .hint("It is in the way of another sink with this transactional_id only."),
        });
    }
}
