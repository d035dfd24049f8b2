//! EXPLAIN of a continuous query, and EXPLAIN PROGRESS of a running one.

use std::fmt::Write as _;
use std::sync::Arc;

use super::continuous::{Wanted, continuous};
use crate::engine::{QueryKind, QueryShared, QueryStatus};
use crate::error::{Error, Result, SqlState};
use crate::session::Session;
use crate::sql::Name;
use crate::types::EventTime;

/// The streaming plan of a query.
pub(in crate::session) async fn plan(session: &mut Session, wanted: Wanted<'_>) -> Result<String> {
    let services = Arc::clone(session.services());
    let state = session.state()?;
    let plan = continuous(&services, &state, wanted).await?;
    Ok(plan.describe())
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
    Ok(tell(&query, &query.status()))
}

fn tell(query: &QueryShared, status: &QueryStatus) -> String {
    let mut text = String::new();
    let mut line = |what: &str, value: String| {
        let _ = writeln!(text, "{what:<22}{value}");
    };
    line("state", status.state.name().to_owned());
    if let Some(error) = &status.last_error {
        line("last error", error.to_string());
    }
    if let Some(problem) = &status.last_problem {
        line("last problem", problem.clone());
    }
    line("watermark", time(status.watermark));
    line("rows in", status.rows_in.to_string());
    line("  used", status.rows_used.to_string());
    line("  rejected", status.rows_rejected.to_string());
    line("  late", status.rows_late.to_string());
    line("rows out", status.rows_out.to_string());
    line("messages not read yet", status.lag().to_string());
    let holding = status
        .partitions
        .iter()
        .filter(|(_, partition)| !partition.idle)
        .min_by_key(|(_, partition)| partition.watermark);
    if let Some((id, partition)) = holding {
        line(
            "held back by",
            format!(
                "partition {} at {}",
                id.partition.0,
                time(partition.watermark)
            ),
        );
    }
    for (id, partition) in &status.partitions {
        let idle = if partition.idle { ", idle" } else { "" };
        let next = partition.next.map_or(0, |offset| offset.0);
        let end = partition.end.map_or(0, |offset| offset.0);
        let text = format!(
            "watermark {}, offset {next} of {end}{idle}",
            time(partition.watermark)
        );
        line(&format!("partition {}", id.partition.0), text);
    }
    text.push('\n');
    text.push_str(&query.plan);
    text
}

fn time(time: Option<EventTime>) -> String {
    time.and_then(|EventTime(micros)| chrono::DateTime::from_timestamp_micros(micros))
        .map_or_else(
            || "none yet".to_owned(),
            |time| time.format("%Y-%m-%d %H:%M:%S%.f%:z").to_string(),
        )
}
