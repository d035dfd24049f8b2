//! The batch answer: plain DataFusion over the rows in one table in memory.
//!
//! Knows none of the product's code. Invariant: values are written as PostgreSQL writes them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::{DataFrame, SessionContext};

use super::generate::{Case, Event};

/// The rows of the answer, `value|value|..`, sorted.
pub(super) async fn batch(case: &Case, events: &[Event]) -> Vec<String> {
    let answer = ask(events, &case.batch_query()).await;
    let batches = answer.collect().await.expect("the query runs");
    let mut lines: Vec<String> = batches.iter().flat_map(lines_of).collect();
    lines.sort();
    lines
}

/// How many of the events the query's WHERE lets through.
pub(super) async fn count(case: &Case, events: &[Event]) -> usize {
    let query = format!("SELECT * FROM events WHERE {}", case.filter);
    let answer = ask(events, &query).await;
    answer.count().await.expect("the query runs")
}

async fn ask(events: &[Event], query: &str) -> DataFrame {
    let context = SessionContext::new();
    let batch = table(events);
    let rows = MemTable::try_new(batch.schema(), vec![vec![batch]]).expect("the schema fits");
    context
        .register_table("events", Arc::new(rows))
        .expect("the name is free");
    context.sql(query).await.expect("the query is valid")
}

fn table(events: &[Event]) -> RecordBatch {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let field = |name: &str, data_type| Field::new(name, data_type, true);
    let schema = Schema::new(vec![
        field("at", time),
        field("k", DataType::Utf8),
        field("b", DataType::Boolean),
        field("v", DataType::Int64),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(
            events
                .iter()
                .map(|event| Some(event.at))
                .collect::<TimestampMicrosecondArray>(),
        ),
        Arc::new(
            events
                .iter()
                .map(|event| event.key.as_deref())
                .collect::<StringArray>(),
        ),
        Arc::new(
            events
                .iter()
                .map(|event| event.flag)
                .collect::<BooleanArray>(),
        ),
        Arc::new(
            events
                .iter()
                .map(|event| event.value)
                .collect::<Int64Array>(),
        ),
    ];
    RecordBatch::try_new(Arc::new(schema), columns).expect("the columns fit the schema")
}

fn lines_of(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new()
        .with_null("NULL")
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
    let columns: Vec<ArrayFormatter<'_>> = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options).expect("every type has a text"))
        .collect();
    let rows = 0..batch.num_rows();
    rows.map(|row| {
        let values: Vec<String> = columns
            .iter()
            .map(|column| shown(column.value(row).to_string()))
            .collect();
        values.join("|")
    })
    .collect()
}

fn shown(value: String) -> String {
    match value.as_str() {
        "true" => "t".to_owned(),
        "false" => "f".to_owned(),
        _ => value,
    }
}
