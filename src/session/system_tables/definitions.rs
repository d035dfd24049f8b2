//! The system tables of sinks and secrets: what the catalog has of them, and what runs for it.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::error::Result;

use super::{Columns, batch};
use crate::catalog::{Definition, Definitions, SinkDefinition};
use crate::engine::{Engine, QueryKind, QueryStatus};
use crate::sink::outbox::{OutboxName, OutboxState, Outboxes};
use crate::types::ProcessingTime;

/// A sink, and the numbers of its query, if it has one.
type Watched = (Arc<SinkDefinition>, Option<QueryStatus>);

/// What went wrong last, and when.
type Trouble = (String, ProcessingTime);

/// `headwater.sinks`.
pub(super) fn sinks(
    engine: &Engine,
    outboxes: &Outboxes,
    definitions: &Definitions,
) -> Result<RecordBatch> {
    let queries = engine.queries();
    let status_of = |name: &str| {
        let is_meant = |query: &&Arc<_>| is_of_sink(query, name);
        queries.iter().find(is_meant).map(|query| query.status())
    };
    let rows: Vec<Watched> = definitions
        .all()
        .filter_map(|definition| match definition {
            Definition::Sink(sink) => Some((Arc::clone(sink), status_of(&sink.name))),
            _ => None,
        })
        .collect();
    let outboxes = outboxes.states();
    let trouble = |(sink, status): &Watched| latest(sink, status.as_ref(), &outboxes);
    let column = Columns { rows: &rows };
    batch(vec![
        ("name", column.text(|(sink, _)| Some(sink.name.clone()))),
        (
            "connector",
            column.text(|(sink, _)| Some(sink.target.connector().to_owned())),
        ),
        ("target", column.text(|(sink, _)| sink.target.place())),
        (
            "delivery",
            column.text(|(sink, _)| Some(sink.delivery().name().to_owned())),
        ),
        (
            "state",
            column.text(|(_, status)| Some(status.as_ref()?.state.name().to_owned())),
        ),
        (
            "rows_out",
            column.int8(|(_, status)| Some(status.as_ref()?.rows_out)),
        ),
        (
            "backlog",
            column.int8(|(_, status)| Some(status.as_ref()?.sink_backlog)),
        ),
        (
            "last_error",
            column.text(|watched| trouble(watched).map(|(text, _)| text)),
        ),
        (
            "last_error_at",
            column.time(|watched| trouble(watched).map(|(_, ProcessingTime(at))| at)),
        ),
    ])
}

/// What went wrong last with a sink's query or with what waits in its outbox.
fn latest(
    sink: &SinkDefinition,
    status: Option<&QueryStatus>,
    outboxes: &[(OutboxName, OutboxState)],
) -> Option<Trouble> {
    let of_query = status.and_then(|status| {
        let text = status.last_error.as_ref()?.to_string();
        Some((text, status.last_error_at?))
    });
    let own = outboxes.iter().filter(|(name, _)| match &name.sink {
        Some(of_alert) => *of_alert == sink.name,
        None => name.query == sink.name,
    });
    let of_outboxes = own.filter_map(|(_, state)| state.last_error.clone());
    of_outboxes.chain(of_query).max_by_key(|(_, at)| *at)
}

fn is_of_sink(query: &crate::engine::QueryShared, name: &str) -> bool {
    query.kind == QueryKind::Sink && query.name == name
}

/// `headwater.secrets`: never what they keep.
pub(super) fn secrets(definitions: &Definitions) -> Result<RecordBatch> {
    let rows: Vec<(String, String)> = definitions
        .all()
        .filter(|definition| matches!(definition, Definition::Secret(_)))
        .map(|secret| {
            let name = secret.name().to_owned();
            let users = definitions.all().filter(|d| d.secrets().contains(&name));
            let users: Vec<&str> = users.map(Definition::name).collect();
            let users = users.join(", ");
            (name, users)
        })
        .collect();
    let column = Columns { rows: &rows };
    batch(vec![
        ("name", column.text(|(name, _)| Some(name.clone()))),
        ("used_by", column.text(|(_, users)| Some(users.clone()))),
    ])
}
