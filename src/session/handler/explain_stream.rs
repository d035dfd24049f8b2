//! EXPLAIN of a continuous query, and EXPLAIN PROGRESS of a running one.

use std::sync::Arc;

use super::continuous::{Wanted, continuous};
use super::explain_progress;
use crate::engine::QueryKind;
use crate::error::{Error, Result, SqlState};
use crate::plan::{Lanes, StreamPlan};
use crate::session::{Services, Session};
use crate::source::{ANSWER_TIMEOUT, Cluster};
use crate::sql::Name;
use crate::task;
use crate::types::KafkaConnection;

/// The streaming plan of a query.
pub(in crate::session) async fn plan(session: &mut Session, wanted: Wanted<'_>) -> Result<String> {
    let services = Arc::clone(session.services());
    let state = session.state()?;
    let plan = continuous(&services, &state, wanted).await?;
    let lanes = lanes(&services, &plan).await;
    Ok(plan.describe(lanes))
}

/// The lanes that the query would have now, if its broker tells the partitions.
async fn lanes(services: &Services, plan: &StreamPlan) -> Lanes {
    let inputs = plan.inputs.iter().map(|input| &input.source.scan);
    let topics: Vec<(KafkaConnection, String)> = inputs
        .map(|scan| (scan.connection.clone(), scan.topic.clone()))
        .collect();
    let counted = task::spawn_blocking(move || {
        let mut partitions = 0;
        for (connection, topic) in &topics {
            let cluster = Cluster::connect(connection)?;
            partitions += cluster.partitions(topic, ANSWER_TIMEOUT)?.len();
        }
        Ok(partitions)
    });
    let Ok(partitions) = counted.await else {
        return Lanes::EachPartition;
    };
    let lanes = match plan.has_one_lane() {
        true => 1,
        false => partitions.min(services.engine.lanes_max()).max(1),
    };
    Lanes::Known { lanes, partitions }
}

/// What a subscription to a materialized view does.
pub(in crate::session) fn followed(session: &Session, view: &str) -> Result<String> {
    let queries = session.services().engine.queries();
    let query = queries
        .iter()
        .find(|query| query.kind == QueryKind::MaterializedView && query.name == view)
        .ok_or_else(|| Error::internal("the view's query is gone"))?;
    let inner: String = query
        .plan
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    Ok(format!("subscribe\n  materialized view: {view}\n{inner}"))
}

/// Why a query has, or has not, emitted.
pub(in crate::session) fn progress(session: &Session, name: &Name) -> Result<String> {
    let query = session
        .services()
        .engine
        .queries()
        .into_iter()
        .find(|query| query.name == name.name)
        .ok_or_else(|| {
            Error::user(
                SqlState::UndefinedObject,
                format!("query \"{}\" does not exist", name.name),
            )
            .hint("SHOW QUERIES lists what runs.")
            .at(Some(name.position))
        })?;
    let now = session.services().clock.now();
    Ok(explain_progress::tell(&query, &query.status(), now))
}
