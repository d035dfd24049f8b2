//! CREATE TABLE: a topic gets a schema. Checked against the broker before anything is kept.

use std::sync::Arc;

use super::{define, infer, is_there, mode, notice};
use crate::catalog::{Definition, TableDefinition};
use crate::error::{Error, Result, SqlState};
use crate::plan::ScanStartup;
use crate::planner::check_table;
use crate::session::{Outcome, Session};
use crate::source::{ANSWER_TIMEOUT, Cluster};
use crate::sql::CreateTable;
use crate::task;
use crate::types::PartitionId;

const TAG: &str = "CREATE TABLE";

pub(in crate::session) async fn run(session: &mut Session, clause: CreateTable) -> Result<Outcome> {
    if clause.if_not_exists && is_there(session, &clause.name) {
        return Ok(Outcome::done(TAG));
    }
    let services = Arc::clone(session.services());
    let mode = mode(clause.if_not_exists, clause.or_replace);
    let defaults = services.config.kafka.connection();
    let (clause, place) = if infer::is_asked_for(&clause) {
        (inferred(session, &clause).await?, None)
    } else {
        let place = clause.name.position;
        (clause, Some(place))
    };
    let table = Arc::new(TableDefinition::try_new(&clause, defaults.as_ref())?);
    let definition = Definition::Table(Arc::clone(&table));
    services
        .catalog
        .check(&definition, mode)
        .map_err(|error| error.at(place))?;
    let state = session.state()?;
    check_table(&table, &state)?;
    find_topic(&table, &clause).await?;
    make_other_topics(session, &table).await?;
    let seen = session.services().catalog.snapshot();
    define(session, (definition, seen), mode, |_| Ok(())).await?;
    Ok(Outcome::done(TAG))
}

/// The statement with the columns that the topic's messages have; the client is shown it.
async fn inferred(session: &mut Session, clause: &CreateTable) -> Result<CreateTable> {
    let defaults = session.services().config.kafka.connection();
    let wanted = TableDefinition::try_new(&infer::without_columns(clause), defaults.as_ref())?;
    if wanted.options.create_topic {
        return Err(Error::user(
            SqlState::InvalidParameterValue,
            "schema = 'infer' needs a topic with messages: create_topic cannot be true",
        )
        .at(Some(clause.name.position)));
    }
    let mode = mode(clause.if_not_exists, clause.or_replace);
    let definition = Definition::Table(Arc::new(wanted));
    let at = |error: Error| error.at(Some(clause.name.position));
    session
        .services()
        .catalog
        .check(&definition, mode)
        .map_err(at)?;
    let Definition::Table(wanted) = &definition else {
        return Err(Error::internal("a table's definition is one of a table"));
    };
    find_topic(wanted, clause).await?;
    let found = infer::infer(clause, wanted).await?;
    let shown = TableDefinition::try_new(&found, defaults.as_ref())?;
    let text = format!("inferred the columns:\n{}", shown.sql);
    notice(session, Error::user(SqlState::SuccessfulCompletion, text));
    Ok(found)
}

/// Looks for the table's topic, or makes it if that was asked for.
pub(super) async fn find_topic(table: &TableDefinition, clause: &CreateTable) -> Result<()> {
    let options = table.options.clone();
    let found = task::spawn_blocking(move || {
        let cluster = Cluster::connect(&options.connection)?;
        if options.create_topic && !cluster.topics(ANSWER_TIMEOUT)?.contains(&options.topic) {
            cluster.create_topic(&options.topic, options.partitions.unwrap_or(1), None)?;
        }
        let partitions = cluster.partitions(&options.topic, ANSWER_TIMEOUT)?;
        check_offsets(&options.topic, &options.scan_startup, &partitions)
    })
    .await;
    let place = |name: &str| {
        let option = clause.options.iter().find(|option| option.name == name);
        option.map(|option| option.value_position)
    };
    found.map_err(|error| match error.state() {
        SqlState::UndefinedTable => error.at(place("topic")),
        SqlState::InvalidParameterValue => error.at(place("scan_startup")),
        _ => error,
    })
}

/// Makes the topics for what cannot be used, where they are not there.
pub(super) async fn make_other_topics(
    session: &mut Session,
    table: &TableDefinition,
) -> Result<()> {
    let options = table.options.clone();
    let others = options.dead_letter_topic.iter().chain(&options.late_topic);
    let others: Vec<String> = others.cloned().collect();
    if others.is_empty() {
        return Ok(());
    }
    let made = task::spawn_blocking(move || {
        let cluster = Cluster::connect(&options.connection)?;
        let there = cluster.topics(ANSWER_TIMEOUT)?;
        let mut made = Vec::new();
        for topic in others {
            if !there.contains(&topic) && !made.contains(&topic) {
                cluster.create_topic(&topic, 1, None)?;
                made.push(topic);
            }
        }
        Ok(made)
    })
    .await?;
    for topic in made {
        let text = format!("topic \"{topic}\" did not exist and was made");
        notice(session, Error::user(SqlState::SuccessfulCompletion, text));
    }
    Ok(())
}

/// Refuses a start in a partition that the topic does not have.
fn check_offsets(topic: &str, startup: &ScanStartup, partitions: &[PartitionId]) -> Result<()> {
    let ScanStartup::Offsets(offsets) = startup else {
        return Ok(());
    };
    let unknown = offsets.keys().find(|named| !partitions.contains(named));
    unknown.map_or(Ok(()), |unknown| {
        let message = format!("topic \"{topic}\" has no partition {}", unknown.0);
        let error = Error::user(SqlState::InvalidParameterValue, message);
        Err(error.hint(format!("It has {} partitions, from 0.", partitions.len())))
    })
}
