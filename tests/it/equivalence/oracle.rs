//! The batch answer: each row with the windows that it lies in, and plain DataFusion over them in memory.
//!
//! Knows none of the product's code. Invariant: values are written as PostgreSQL writes them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::case::{Case, Emit, Event, Shape, Spelling};
use super::question;
use super::windows::{Fate, Span, Window, fates};

/// A day that the rows' days lie around: 2026-01-01.
pub(super) const DAY: i32 = 20_454;

/// What the query must have said.
#[derive(Debug)]
pub(super) struct Expected {
    /// The rows, values as text, in no order.
    pub(super) rows: Vec<Vec<String>>,
    /// How many rows were late.
    pub(super) late: usize,
}

/// The answer over rows in the order in which they came. Of windows that close, only those that have.
pub(super) async fn batch(case: &Case, rows: &[Event]) -> Expected {
    let kept = conditions(case, rows).await;
    let after = filters_after_windows(case);
    // A session over all rows has them as members, also those that the condition leaves out afterwards.
    let keys: Vec<Option<String>> = kept
        .iter()
        .map(|(key, keep)| (*keep || after).then(|| key.clone()))
        .collect();
    // A snapshot has no watermark.
    let lag = (case.beyond && case.emit != Emit::Snapshot).then_some(case.bound);
    let fates = fates(case.window, rows, &keys, lag);
    let closed = match (case.emit, case.window) {
        (Emit::Changes | Emit::Snapshot, _) | (_, Window::None) => i64::MAX,
        (Emit::Final | Emit::Every, _) => case.watermark(rows).unwrap_or(i64::MIN),
    };
    let mut placed: Vec<(usize, Span)> = Vec::new();
    for (place, fate) in fates.iter().enumerate() {
        if let (Fate::Used(spans), (_, true)) = (fate, &kept[place]) {
            let spans = spans.iter().filter(|(_, end)| *end <= closed);
            placed.extend(spans.map(|span| (place, *span)));
        }
    }
    let late = fates.iter().filter(|fate| **fate == Fate::Late).count();
    Expected {
        rows: ask(&table(rows, &placed), &question::plain(case)).await,
        late,
    }
}

/// Whether WHERE stands behind the window: only a session can tell.
pub(super) fn filters_after_windows(case: &Case) -> bool {
    let own = matches!(
        case.spelling,
        Spelling::Clause | Spelling::Group | Spelling::Spark
    );
    let before = case.shape == Shape::View || question::has_filter_inside(case);
    matches!(case.window, Window::Session { .. }) && !own && !before
}

/// For each row its keys as one text, and whether the condition lets it through.
async fn conditions(case: &Case, rows: &[Event]) -> Vec<(String, bool)> {
    let plain = !matches!(case.window, Window::Session { .. });
    if rows.is_empty() || (case.filter == "true" && (plain || case.keys.is_empty())) {
        return vec![(String::new(), true); rows.len()];
    }
    let placed: Vec<(usize, Span)> = (0..rows.len()).map(|place| (place, (0, 0))).collect();
    let keys: String = case.keys.iter().map(|key| format!(", {key}")).collect();
    let question = format!("SELECT id, ({}) IS TRUE{keys} FROM rows", case.filter);
    let mut kept = vec![(String::new(), false); rows.len()];
    for row in ask(&table(rows, &placed), &question).await {
        let place: usize = row[0].parse().expect("an id is a number");
        kept[place] = (row[2..].join("|"), row[1] == "t");
    }
    kept
}

async fn ask(batch: &RecordBatch, question: &str) -> Vec<Vec<String>> {
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .with_information_schema(false);
    let context = SessionContext::new_with_config(config);
    let rows = MemTable::try_new(batch.schema(), vec![vec![batch.clone()]]);
    let rows = Arc::new(rows.expect("the schema fits"));
    context
        .register_table("rows", rows)
        .expect("the name is free");
    let answer = context.sql(question).await;
    let answer = answer.unwrap_or_else(|error| panic!("{question}\n{error}"));
    let batches = answer.collect().await;
    let batches = batches.unwrap_or_else(|error| panic!("{question}\n{error}"));
    batches.iter().flat_map(texts_of).collect()
}

fn table(rows: &[Event], placed: &[(usize, Span)]) -> RecordBatch {
    let events: Vec<&Event> = placed.iter().map(|(place, _)| &rows[*place]).collect();
    let ids = placed.iter().map(|(place, _)| i64::try_from(*place).ok());
    let starts: TimestampMicrosecondArray = placed.iter().map(|one| Some(one.1.0)).collect();
    let ends: TimestampMicrosecondArray = placed.iter().map(|one| Some(one.1.1)).collect();
    let times: TimestampMicrosecondArray = events.iter().map(|row| Some(row.at)).collect();
    let keys: StringArray = events.iter().map(|row| row.key.as_deref()).collect();
    let flags: BooleanArray = events.iter().map(|row| row.flag).collect();
    let values: Int64Array = events.iter().map(|row| row.value).collect();
    let floats: Float64Array = events.iter().map(|row| row.other.map(float)).collect();
    let days: Date32Array = events.iter().map(|row| row.other.map(day)).collect();
    let decimals: Decimal128Array = events.iter().map(|row| row.other.map(i128::from)).collect();
    let decimals = decimals
        .with_precision_and_scale(10, 2)
        .expect("they are small");
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("window_start", Arc::new(starts)),
        ("window_end", Arc::new(ends)),
        ("at", Arc::new(times)),
        ("k", Arc::new(keys)),
        ("b", Arc::new(flags)),
        ("v", Arc::new(values)),
        ("f", Arc::new(floats)),
        ("d", Arc::new(decimals)),
        ("day", Arc::new(days)),
        ("id", Arc::new(ids.collect::<Int64Array>())),
    ];
    let field =
        |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(schema), columns).expect("the columns fit the schema")
}

/// The column `f` of a row: quarters, whose sums are exact.
pub(super) fn float(other: i64) -> f64 {
    let other = i32::try_from(other).expect("it is small");
    f64::from(other) / 4.0
}

/// The column `day` of a row.
pub(super) fn day(other: i64) -> i32 {
    DAY + i32::try_from(other.rem_euclid(3)).expect("it is small")
}

fn texts_of(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::new()
        .with_null("NULL")
        .with_timestamp_format(Some("%Y-%m-%d %H:%M:%S%.f"));
    let columns: Vec<(&DataType, ArrayFormatter<'_>)> = batch
        .columns()
        .iter()
        .map(|column| {
            let texts = ArrayFormatter::try_new(column, &options).expect("every type has a text");
            (column.data_type(), texts)
        })
        .collect();
    let text = |row: usize| {
        let values = columns
            .iter()
            .map(|(ty, column)| shown(ty, column.value(row).to_string()));
        values.collect()
    };
    (0..batch.num_rows()).map(text).collect()
}

fn shown(ty: &DataType, value: String) -> String {
    match (ty, value.as_str()) {
        (DataType::Boolean, "true") => "t".to_owned(),
        (DataType::Boolean, "false") => "f".to_owned(),
        (DataType::Timestamp(..), text) if text.contains('.') => {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        _ => value,
    }
}
