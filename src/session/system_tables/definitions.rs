//! The system tables of sinks and secrets: what the catalog has of them, and what runs for it.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::error::Result;

use super::{Columns, batch};
use crate::catalog::{Definition, Definitions, SinkDefinition};
use crate::engine::{Engine, QueryKind, QueryStatus};
use crate::types::ProcessingTime;

/// A sink, and the numbers of its query, if it has one.
type Watched = (Arc<SinkDefinition>, Option<QueryStatus>);

/// `headwater.sinks`.
pub(super) fn sinks(engine: &Engine, definitions: &Definitions) -> Result<RecordBatch> {
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
            column.text(|(sink, _)| Some(sink.target.delivery().name().to_owned())),
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
            column.text(|(_, s)| s.as_ref()?.last_error.as_ref().map(ToString::to_string)),
        ),
        (
            "last_error_at",
            column.time(|(_, s)| s.as_ref()?.last_error_at.map(|ProcessingTime(at)| at)),
        ),
    ])
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
