//! `schema = 'infer'`: the columns, the event time and the watermark's delay from messages that the
//! topic holds.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

use crate::catalog::TableDefinition;
use crate::clock;
use crate::error::{Error, Result, SqlState};
use crate::format::{InferredColumn, InferredType, infer as infer_columns};
use crate::source::{ANSWER_TIMEOUT, Cluster, Reader, ReaderOptions};
use crate::sql::{self, CreateTable, OptionClause, OptionValue, Statement};
use crate::task;
use crate::types::{Offset, PartitionId};

/// Messages looked at, from the ends of the partitions.
const SAMPLE_ROWS_MAX: i64 = 2_000;
/// How long the look may take.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(5);
/// The watermark's delay is at least this.
const DELAY_MIN_SECONDS: i64 = 1;

/// True when the statement leaves the columns to us.
pub(super) fn is_asked_for(clause: &CreateTable) -> bool {
    clause.options.iter().any(is_infer)
}

fn is_infer(option: &OptionClause) -> bool {
    let (OptionValue::Text(value) | OptionValue::Word(value)) = &option.value else {
        return false;
    };
    option.name == "schema" && value == "infer"
}

/// The statement without what speaks of columns that are not known yet.
pub(super) fn without_columns(clause: &CreateTable) -> CreateTable {
    CreateTable {
        primary_key: Vec::new(),
        watermark: None,
        ..clause.clone()
    }
}

/// The statement with its columns. `table` has the options.
pub(super) async fn infer(clause: &CreateTable, table: &TableDefinition) -> Result<CreateTable> {
    let options = table.options.clone();
    let columns = task::spawn_blocking(move || Ok(columns(&sample(&options)?))).await?;
    if columns.is_empty() {
        return Err(Error::user(
            SqlState::ObjectNotInPrerequisiteState,
            format!(
                "topic \"{}\" has no JSON object to infer columns from",
                table.options.topic
            ),
        )
        .hint("Write the columns, or produce some messages first."));
    }
    let text = statement(clause, &columns);
    match sql::parse(&text)?.pop().map(|parsed| parsed.statement) {
        Some(Statement::CreateTable(inferred)) => Ok(inferred),
        _ => Err(Error::internal(format!(
            "the inferred statement is none: {text}"
        ))),
    }
}

/// The columns of all messages; the disorder is the worst of any partition, in its own order.
fn columns(sampled: &BTreeMap<PartitionId, Vec<Vec<u8>>>) -> Vec<InferredColumn> {
    let slices = |messages: &'_ [Vec<u8>]| -> Vec<InferredColumn> {
        infer_columns(&messages.iter().map(Vec::as_slice).collect::<Vec<_>>())
    };
    let all: Vec<&[u8]> = sampled.values().flatten().map(Vec::as_slice).collect();
    let mut columns = infer_columns(&all);
    for column in &mut columns {
        column.disorder_us = column.disorder_us.map(|_| 0);
    }
    for of_partition in sampled.values().map(|messages| slices(messages)) {
        for part in of_partition {
            let found = columns.iter_mut().find(|column| column.name == part.name);
            if let Some(column) = found {
                column.disorder_us = column.disorder_us.max(part.disorder_us);
            }
        }
    }
    columns
}

/// The last messages of each partition.
fn sample(
    options: &crate::catalog::KafkaTableOptions,
) -> Result<BTreeMap<PartitionId, Vec<Vec<u8>>>> {
    let cluster = Cluster::connect(&options.connection)?.read_committed(options.read_committed);
    let partitions = cluster.partitions(&options.topic, ANSWER_TIMEOUT)?;
    let ranges = cluster.offsets(&options.topic, &partitions, ANSWER_TIMEOUT)?;
    let filled: Vec<_> = ranges
        .into_iter()
        .filter(|range| range.end > range.start)
        .collect();
    if filled.is_empty() {
        return Ok(BTreeMap::new());
    }
    let each = SAMPLE_ROWS_MAX / i64::try_from(filled.len()).unwrap_or(1).max(1) + 1;
    let mut open: BTreeSet<PartitionId> = filled.iter().map(|range| range.partition).collect();
    let mut reader = Reader::open(ReaderOptions {
        connection: options.connection.clone(),
        topic: options.topic.clone(),
        assignment: filled
            .iter()
            .map(|range| {
                (
                    range.partition,
                    Offset((range.end.0 - each).max(range.start.0)),
                )
            })
            .collect(),
        read_committed: options.read_committed,
        with_keys: false,
        with_headers: false,
        rows_max: 1_024,
        bytes_max: 4 << 20,
        end_wait: Duration::from_millis(10),
        fetch: options.fetch,
    })?;
    let mut messages: BTreeMap<PartitionId, Vec<Vec<u8>>> = BTreeMap::new();
    let deadline = clock::instant() + SAMPLE_TIMEOUT;
    while !open.is_empty() && clock::instant() < deadline {
        let read = reader.read(Duration::from_millis(100))?;
        for row in 0..read.batch.messages.len() {
            if let Some(payload) = read.batch.payload(row) {
                let partition = read.batch.messages[row].partition;
                messages
                    .entry(partition)
                    .or_default()
                    .push(payload.to_vec());
            }
        }
        for end in &read.ends {
            open.remove(&end.partition);
        }
    }
    Ok(messages)
}

/// The statement that the user could have written.
fn statement(clause: &CreateTable, columns: &[InferredColumn]) -> String {
    let mut lines: Vec<String> = columns
        .iter()
        .map(|column| format!("  {} {}", sql::quote(&column.name), column.sql_type))
        .collect();
    if !clause.primary_key.is_empty() {
        let key: Vec<String> = clause
            .primary_key
            .iter()
            .map(|column| sql::quote(&column.name))
            .collect();
        lines.push(format!("  PRIMARY KEY ({})", key.join(", ")));
    }
    match (&clause.watermark, event_time(columns)) {
        (Some(given), _) => {
            let name = sql::quote(&given.column);
            lines.push(format!("  WATERMARK FOR {name} AS {}", given.expr));
        }
        (None, Some((time, delay))) => {
            let name = sql::quote(&time.name);
            let delay = sql::interval::format(delay.saturating_mul(1_000_000));
            let delay = format!("INTERVAL '{delay}'");
            lines.push(format!("  WATERMARK FOR {name} AS {name} - {delay}"));
        }
        (None, None) => {}
    }
    let mut text = format!(
        "CREATE TABLE {} (\n{}\n) WITH (",
        sql::quote(&clause.name.name),
        lines.join(",\n")
    );
    let kept = clause.options.iter().filter(|option| !is_infer(option));
    for (index, option) in kept.enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        let value = match &option.value {
            OptionValue::Text(text) | OptionValue::Word(text) => sql::literal(text),
            OptionValue::Number(number) => number.clone(),
            OptionValue::Interval(micros) => sql::literal(&sql::interval::format(*micros)),
            OptionValue::Secret(secret) => secret.sql(),
        };
        let _ = write!(text, "{comma}{} = {value}", option.name);
    }
    text.push(')');
    text
}

/// The column that tells when something happened, and the delay in seconds that covers the disorder
/// seen: of the time columns that are always there, the one with the least disorder.
fn event_time(columns: &[InferredColumn]) -> Option<(&InferredColumn, i64)> {
    columns
        .iter()
        .filter(|c| c.sql_type == InferredType::TimestampTz && c.null_share == 0.0)
        .filter_map(|column| Some((column, column.disorder_us?)))
        .min_by_key(|(_, disorder)| *disorder)
        .map(|(column, disorder)| {
            // Twice what a sample shows: the whole topic holds worse.
            (
                column,
                (disorder.saturating_mul(2) / 1_000_000 + 1).max(DELAY_MIN_SECONDS),
            )
        })
}
