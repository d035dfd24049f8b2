//! EXPLAIN of a continuous query, and EXPLAIN PROGRESS of a running one.

use std::sync::Arc;

use super::continuous::{Wanted, continuous};
use super::{create_alert, explain_progress};
use crate::catalog::AlertDefinition;
use crate::engine::QueryKind;
use crate::error::{Error, Result, SqlState};
use crate::plan::{Emission, Lanes, StreamPlan};
use crate::session::{Services, Session};
use crate::source::{ANSWER_TIMEOUT, Cluster};
use crate::sql::{self, Name};
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

/// What an alert looks at, over the streaming plan of its query.
pub(in crate::session) async fn alert(
    session: &mut Session,
    alert: &AlertDefinition,
) -> Result<String> {
    let services = Arc::clone(session.services());
    let state = session.state()?;
    let (plan, _) = create_alert::planned(&services, &state, alert).await?;
    let lanes = lanes(&services, &plan).await;
    Ok(alert_lines(alert, &plan) + &indented(&plan.describe(lanes)))
}

fn alert_lines(alert: &AlertDefinition, plan: &StreamPlan) -> String {
    let clause = &alert.clause;
    let names = |names: &mut dyn Iterator<Item = &String>| {
        let names: Vec<String> = names.map(|name| sql::quote(name)).collect();
        names.join(", ")
    };
    let length = |length: i64| sql::interval::format(length);
    let is_windowed = plan
        .aggregates()
        .any(|aggregate| aggregate.window.is_some());
    let looks = match (plan.emission, plan.options.rows_max) {
        (Emission::Final, _) if is_windowed => "when a window closes".to_owned(),
        (_, Some(rows)) => {
            format!("after each {rows} messages of a partition, by their event times")
        }
        (_, None) => "at each row, by their event times".to_owned(),
    };
    let when = clause.when.as_ref();
    let lines = [
        (
            "key",
            Some(names(&mut clause.key.iter().map(|key| &key.name))),
        ),
        (
            "when",
            Some(when.map_or("no data".to_owned(), |when| when.text.clone())),
        ),
        ("for", clause.lasts.map(|(lasts, _)| length(lasts))),
        (
            "clear when",
            clause.clear.as_ref().map(|clear| clear.text.clone()),
        ),
        ("cooldown", clause.cooldown.map(length)),
        (
            "notify",
            Some(names(&mut clause.notify.iter().map(|sink| &sink.name))),
        ),
        ("looks", Some(looks)),
    ];
    let lines = lines
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)));
    let lines = lines.filter(|(_, value)| !value.is_empty());
    let lines: String = lines
        .map(|(name, value)| format!("  {name}: {value}\n"))
        .collect();
    format!("alert\n{lines}")
}

/// A plan under a line of its own.
fn indented(plan: &str) -> String {
    plan.lines().map(|line| format!("    {line}\n")).collect()
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
    let inner = indented(&query.plan);
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
    let outboxes = session.services().outboxes.of_query(&query.name);
    Ok(explain_progress::tell(
        &query,
        &query.status(),
        &outboxes,
        now,
    ))
}
