//! `headwater.alerts` and `headwater.alert_events`: how alerts stand, and what they have told.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::error::Result;

use crate::alert::{Key, Phase, notification_rows};
use crate::engine::{AlertRecord, Engine, QueryKind};
use crate::format::JsonKind;
use crate::types::EventTime;

/// A row of `headwater.alerts`.
#[derive(Debug, Default)]
struct Line {
    alert: String,
    key: Option<String>,
    state: &'static str,
    since: Option<i64>,
    values: Option<String>,
    severity: String,
    acked: Option<bool>,
    silenced_until: Option<i64>,
    notified: u64,
    query_state: &'static str,
}

/// Each alert, and each of its keys that is not well.
pub(super) fn alerts(engine: &Engine) -> Result<RecordBatch> {
    let mut lines = Vec::new();
    let queries = engine.queries();
    let alerts = queries
        .iter()
        .filter(|query| query.kind == QueryKind::Alert);
    for query in alerts {
        let record = engine
            .alert_events()
            .record(&query.name)
            .unwrap_or_default();
        let shared = engine.alert(&query.name);
        let keys = shared
            .as_ref()
            .map(|shared| shared.keys())
            .unwrap_or_default();
        let rules = shared.map(|shared| shared.rules()).unwrap_or_default();
        let waits = !rules.rules.no_data;
        let own: Vec<Line> = keys
            .iter()
            .filter_map(|key| line(key, waits, &record))
            .collect();
        let worst = ["firing", "pending"];
        let worst = worst
            .into_iter()
            .find(|state| own.iter().any(|line| line.state == *state));
        let query_state = query.status().state.name();
        let common = |line: Line| Line {
            alert: query.name.clone(),
            severity: rules.severity.clone(),
            silenced_until: record.silenced_until,
            query_state,
            ..line
        };
        lines.push(common(Line {
            state: worst.unwrap_or("ok"),
            notified: keys.iter().map(|(_, key)| key.state.transitions()).sum(),
            ..Line::default()
        }));
        lines.extend(own.into_iter().map(common));
    }
    batch(&lines)
}

/// A key that is not well; one that is silent is so only when that has lasted.
fn line((key, own): &(String, Key), waits: bool, record: &AlertRecord) -> Option<Line> {
    let (state, EventTime(since)) = match own.state.phase() {
        Phase::Firing { since } => ("firing", since),
        Phase::Pending { since } if waits => ("pending", since),
        Phase::Pending { .. } | Phase::Ok => return None,
    };
    let acked = record.acked.get(key) == Some(&own.state.transitions());
    Some(Line {
        key: Some(key.clone()),
        state,
        since: Some(since),
        values: Some(own.facts.values.clone()),
        acked: Some(acked),
        notified: own.state.transitions(),
        ..Line::default()
    })
}

/// What alerts have told, oldest first.
pub(super) fn alert_events(engine: &Engine) -> Result<RecordBatch> {
    let told = engine
        .alert_events()
        .all()
        .map_err(super::tables::external)?;
    notification_rows(&told).map_err(super::tables::external)
}

fn batch(lines: &[Line]) -> Result<RecordBatch> {
    let text = |of: fn(&Line) -> Option<&str>| -> ArrayRef {
        Arc::new(lines.iter().map(of).collect::<StringArray>())
    };
    let time = |of: fn(&Line) -> Option<i64>| -> ArrayRef {
        let times: TimestampMicrosecondArray = lines.iter().map(of).collect();
        Arc::new(times.with_timezone("UTC"))
    };
    let acked: BooleanArray = lines.iter().map(|line| line.acked).collect();
    let notified = lines.iter().map(|line| i64::try_from(line.notified).ok());
    let notified: Int64Array = notified.collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("alert", text(|line| Some(&line.alert))),
        ("key", text(|line| line.key.as_deref())),
        ("state", text(|line| Some(line.state))),
        ("since", time(|line| line.since)),
        ("values", text(|line| line.values.as_deref())),
        ("severity", text(|line| Some(&line.severity))),
        ("acked", Arc::new(acked)),
        ("silenced_until", time(|line| line.silenced_until)),
        ("notified", Arc::new(notified)),
        ("query_state", text(|line| Some(line.query_state))),
    ];
    let fields = columns.iter().map(|(name, array)| {
        let field = match array.data_type() {
            DataType::Timestamp(..) => {
                let kind = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
                Field::new(*name, kind, true)
            }
            other => Field::new(*name, other.clone(), true),
        };
        match *name {
            "key" | "values" => JsonKind::RawJson.mark(field),
            _ => field,
        }
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    Ok(RecordBatch::try_new(schema, arrays)?)
}
