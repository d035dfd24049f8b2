//! A sink that writes to a table of PostgreSQL: its table is made or looked at before anything is kept.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::{ID_COLUMN, Writer};
use crate::catalog::{PostgresMode, PostgresSinkTarget};
use crate::engine::OpenSink;
use crate::error::Result;
use crate::session::Services;
use crate::sink::outbox::Relayed;
use crate::sink::postgres::{PostgresSink, PostgresSinkOptions, PostgresTable};
use crate::task;

/// Opens the sink for each try of its query; of one that has an outbox, that.
pub(super) fn open(
    services: &Services,
    target: &PostgresSinkTarget,
    writer: Writer<'_>,
    schema: &SchemaRef,
) -> OpenSink {
    let options = options(target, &writer.name(), services.catalog.server_id());
    let outbox = target.outbox.map(|outbox| writer.outbox(outbox));
    let (schema, outboxes) = (Arc::clone(schema), Arc::clone(&services.outboxes));
    Box::new(move |_| {
        Ok(match &outbox {
            None => Box::new(PostgresSink::open(&options, &schema)?),
            Some(outbox) => {
                let relayed = Relayed {
                    outbox,
                    schema: &schema,
                    key_column: ID_COLUMN,
                };
                Box::new(PostgresSink::relayed(&options, &relayed, &outboxes)?)
            }
        })
    })
}

/// Connects, makes the table if it is not there, and looks whether rows of the schema fit into it.
pub(super) async fn prepare(
    target: &PostgresSinkTarget,
    name: &str,
    server_id: &str,
    schema: SchemaRef,
) -> Result<Vec<String>> {
    let options = options(target, name, server_id);
    let made = task::spawn_blocking(move || PostgresSink::prepare(&options, &schema));
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
