//! A sink that writes to a table of PostgreSQL: its table is made or looked at before anything is kept.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use crate::catalog::{PostgresMode, PostgresSinkTarget};
use crate::engine::OpenSink;
use crate::error::Result;
use crate::plan::StreamPlan;
use crate::sink::postgres::{PostgresSink, PostgresSinkOptions, PostgresTable};
use crate::task;

/// Opens the sink of that name for each try of its query.
pub(super) fn open(
    target: &PostgresSinkTarget,
    name: &str,
    server_id: &str,
    schema: &SchemaRef,
) -> OpenSink {
    let (options, schema) = (options(target, name, server_id), Arc::clone(schema));
    Box::new(move |_| Ok(Box::new(PostgresSink::open(&options, &schema)?)))
}

/// Connects, makes the table if it is not there, and looks whether the rows fit into it.
pub(super) async fn prepare(
    target: &PostgresSinkTarget,
    name: &str,
    server_id: &str,
    plan: Option<&StreamPlan>,
) -> Result<Vec<String>> {
    let options = options(target, name, server_id);
    let schema = plan.map(|plan| Arc::clone(&plan.schema));
    let made = task::spawn_blocking(move || PostgresSink::prepare(&options, schema.as_ref()));
    Ok(match made.await? {
        Some(table) => vec![format!("table \"{table}\" did not exist and was made")],
        None => Vec::new(),
    })
}

fn options(target: &PostgresSinkTarget, name: &str, server_id: &str) -> PostgresSinkOptions {
    PostgresSinkOptions {
        connection: target.connection.clone(),
        table: PostgresTable {
            schema: target.schema.clone(),
            name: target.table.clone(),
        },
        key_columns: match target.mode {
            PostgresMode::Append => Vec::new(),
            PostgresMode::Upsert => target.key_columns.clone(),
        },
        create_table: target.create_table,
        id: format!("headwater-{server_id}-{name}"),
    }
}
