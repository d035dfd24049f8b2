//! What is told of an alert: one row, in `headwater.alert_events`, to its sinks and to who listens.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::{Error, Result, from_arrow};
use crate::format::JsonKind;
use crate::types::EventTime;

/// One transition of one key. Times are microseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Notification {
    /// The same whenever this transition is told.
    pub id: String,
    pub alert: String,
    /// `firing` or `resolved`.
    pub state: String,
    pub severity: String,
    /// A JSON object.
    pub key: String,
    /// The row as a JSON object.
    pub values: String,
    pub message: String,
    pub window_start: Option<EventTime>,
    pub window_end: Option<EventTime>,
    pub event_time: EventTime,
    /// By table and partition, the first and the last offset of the messages among which the row was
    /// made: a JSON object.
    pub offsets: Option<String>,
    /// Which transition of its key.
    pub number: u64,
    /// It is kept, and nobody is told.
    pub silenced: bool,
    /// When it was noticed.
    pub at: i64,
}

impl Notification {
    /// As who listens gets it: a JSON object in one line.
    pub fn to_json(&self) -> String {
        let value = |text: &str| serde_json::from_str::<Value>(text).unwrap_or(Value::Null);
        let time = |at: Option<EventTime>| at.map(|at| text_of(at.0));
        json!({
            "id": self.id, "alert": self.alert, "state": self.state, "severity": self.severity,
            "key": value(&self.key), "values": value(&self.values), "message": self.message,
            "window_start": time(self.window_start), "window_end": time(self.window_end),
            "event_time": text_of(self.event_time.0),
            "offsets": self.offsets.as_deref().map(value),
            "number": self.number, "at": text_of(self.at),
        })
        .to_string()
    }
}

/// A time as JSON has it.
pub(super) fn text_of(micros: i64) -> String {
    let time = chrono::DateTime::from_timestamp_micros(micros);
    time.map_or_else(
        || micros.to_string(),
        |time| time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
    )
}

/// The columns of notifications as rows.
pub fn notification_schema() -> SchemaRef {
    let text = |name: &str| Field::new(name, DataType::Utf8, true);
    let json = |field: Field| JsonKind::RawJson.mark(field);
    let time = |name: &str| {
        let kind = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        Field::new(name, kind, true)
    };
    Arc::new(Schema::new(vec![
        text("id"),
        text("alert"),
        text("state"),
        text("severity"),
        json(text("key")),
        json(text("values")),
        text("message"),
        time("window_start"),
        time("window_end"),
        time("event_time"),
        json(text("offsets")),
        Field::new("number", DataType::Int64, true),
        Field::new("silenced", DataType::Boolean, true),
        time("at"),
    ]))
}

/// Notifications as rows of that schema.
///
/// # Errors
/// None that notifications can give.
pub fn notification_rows(notifications: &[Notification]) -> Result<RecordBatch> {
    let all = || notifications.iter();
    let text = |of: fn(&Notification) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(all().map(of)))
    };
    let time = |of: fn(&Notification) -> Option<i64>| -> ArrayRef {
        let times: TimestampMicrosecondArray = all().map(of).collect();
        Arc::new(times.with_timezone("UTC"))
    };
    let offsets: StringArray = all().map(|one| one.offsets.as_deref()).collect();
    let number = |one: &Notification| Some(i64::try_from(one.number).unwrap_or(i64::MAX));
    let numbers: Int64Array = all().map(number).collect();
    let silenced: BooleanArray = all().map(|one| Some(one.silenced)).collect();
    let columns: Vec<ArrayRef> = vec![
        text(|one| &one.id),
        text(|one| &one.alert),
        text(|one| &one.state),
        text(|one| &one.severity),
        text(|one| &one.key),
        text(|one| &one.values),
        text(|one| &one.message),
        time(|one| one.window_start.map(|at| at.0)),
        time(|one| one.window_end.map(|at| at.0)),
        time(|one| Some(one.event_time.0)),
        Arc::new(offsets),
        Arc::new(numbers),
        Arc::new(silenced),
        time(|one| Some(one.at)),
    ];
    RecordBatch::try_new(notification_schema(), columns).map_err(from_arrow)
}

/// What [`notification_rows`] made rows of.
///
/// # Errors
/// When they are other rows.
pub fn notifications_of(rows: &RecordBatch) -> Result<Vec<Notification>> {
    let odd = || Error::internal("rows that are no notifications");
    let column = |index: usize| rows.columns().get(index).ok_or_else(odd);
    let text = |index: usize| column(index)?.as_string_opt::<i32>().ok_or_else(odd);
    let times = |index: usize| {
        let column = column(index)?;
        column
            .as_primitive_opt::<TimestampMicrosecondType>()
            .ok_or_else(odd)
    };
    let texts = (0..7).map(text).collect::<Result<Vec<_>>>()?;
    let (starts, ends, events, at) = (times(7)?, times(8)?, times(9)?, times(13)?);
    let offsets = text(10)?;
    let numbers = column(11)?
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(odd)?;
    let silenced = column(12)?.as_boolean_opt().ok_or_else(odd)?;
    let of = |index: usize, row: usize| texts[index].value(row).to_owned();
    let time = |times: &TimestampMicrosecondArray, row: usize| {
        times.is_valid(row).then(|| EventTime(times.value(row)))
    };
    let one = |row: usize| Notification {
        id: of(0, row),
        alert: of(1, row),
        state: of(2, row),
        severity: of(3, row),
        key: of(4, row),
        values: of(5, row),
        message: of(6, row),
        window_start: time(starts, row),
        window_end: time(ends, row),
        event_time: EventTime(events.value(row)),
        offsets: offsets.is_valid(row).then(|| offsets.value(row).to_owned()),
        number: u64::try_from(numbers.value(row)).unwrap_or(0),
        silenced: silenced.value(row),
        at: at.value(row),
    };
    Ok((0..rows.num_rows()).map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_notifications_give_them_back() {
        let one = Notification {
            id: "1".to_owned(),
            alert: "a".to_owned(),
            state: "firing".to_owned(),
            severity: "page".to_owned(),
            key: "{\"symbol\":\"BTC\"}".to_owned(),
            values: "{\"price\":7}".to_owned(),
            message: "BTC at 7".to_owned(),
            window_start: None,
            window_end: Some(EventTime(60_000_000)),
            event_time: EventTime(59_000_000),
            offsets: Some("{\"trades\":{\"0\":[3,4]}}".to_owned()),
            number: 3,
            silenced: false,
            at: 61_500_000,
        };
        let all = [
            one.clone(),
            Notification {
                offsets: None,
                silenced: true,
                ..one.clone()
            },
        ];
        assert_eq!(
            notifications_of(&notification_rows(&all).unwrap()).unwrap(),
            all
        );
        let json: Value = serde_json::from_str(&one.to_json()).unwrap();
        assert_eq!(json["key"]["symbol"], "BTC");
        assert_eq!(json["window_end"], "1970-01-01T00:01:00Z");
        assert_eq!(json["at"], "1970-01-01T00:01:01.500Z");
    }
}
