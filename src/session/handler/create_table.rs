//! CREATE TABLE: a topic gets a schema. Checked against the broker before anything is kept.

use std::sync::Arc;

use super::{infer, is_there, mode, notice};
use crate::catalog::{Definition, TableDefinition};
use crate::error::{Error, Result, SqlState};
use crate::planner::check_table;
use crate::session::{Outcome, Session};
use crate::source::{ANSWER_TIMEOUT, Cluster};
use crate::sql::CreateTable;
use crate::task;

const TAG: &str = "CREATE TABLE";

pub(in crate::session) async fn run(
    session: &mut Session,
    mut clause: CreateTable,
) -> Result<Outcome> {
    if clause.if_not_exists && is_there(session, &clause.name) {
        return Ok(Outcome::done(TAG));
    }
    let services = Arc::clone(session.services());
    let defaults = services.config.kafka.connection();
    if infer::is_asked_for(&clause) {
        let wanted = TableDefinition::try_new(&clause, defaults.as_ref())?;
        find_topic(&wanted).await?;
        clause = infer::infer(&clause, &wanted).await?;
        let text = format!("inferred the columns of \"{}\"", clause.name.name);
        let told = Error::user(SqlState::SuccessfulCompletion, text).detail(clause.text.clone());
        notice(session, told);
    }
    let table = TableDefinition::try_new(&clause, defaults.as_ref())?;
    let state = session.state()?;
    check_table(&table, &state)?;
    find_topic(&table).await?;
    let mode = mode(clause.if_not_exists, clause.or_replace);
    services
        .catalog
        .create(Definition::Table(Arc::new(table)), mode)?;
    Ok(Outcome::done(TAG))
}

/// Looks for the table's topic, or makes it if that was asked for.
async fn find_topic(table: &TableDefinition) -> Result<()> {
    let options = table.options.clone();
    task::spawn_blocking(move || {
        let cluster = Cluster::connect(&options.connection)?;
        if options.create_topic && !cluster.topics(ANSWER_TIMEOUT)?.contains(&options.topic) {
            cluster.create_topic(&options.topic, options.partitions.unwrap_or(1), None)?;
        }
        cluster.partitions(&options.topic, ANSWER_TIMEOUT).map(drop)
    })
    .await
}
