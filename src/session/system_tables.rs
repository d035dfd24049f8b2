//! The system tables of schema `headwater`: what the server says of itself, as of the moment it is
//! asked.

mod definitions;
mod outboxes;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int32Array, Int64Array,
    IntervalMonthDayNanoArray, StringViewArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, IntervalMonthDayNano, Schema};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use datafusion::catalog::{SchemaProvider, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::Result;

use super::alert_tables;
use super::handler::explain_progress;
use crate::catalog::Catalog;
use crate::clock::SharedClock;
use crate::engine::{Engine, LateRecord, PartitionStatus, QueryShared, QueryStatus, Rejection};
use crate::sink::outbox::Outboxes;
use crate::types::{EventTime, InputPartition, ProcessingTime};

/// The tables' names.
const NAMES: [&str; 10] = [
    "alert_events",
    "alerts",
    "dead_letters",
    "late_rows",
    "outbox_dead_letters",
    "outboxes",
    "partitions",
    "queries",
    "secrets",
    "sinks",
];

/// The schema `headwater`.
#[derive(Debug)]
pub(super) struct SystemTables {
    engine: Engine,
    catalog: Catalog,
    outboxes: Arc<Outboxes>,
    clock: SharedClock,
}

impl SystemTables {
    /// The tables of an engine, a catalog and outboxes.
    pub(super) fn new(
        engine: Engine,
        catalog: Catalog,
        outboxes: Arc<Outboxes>,
        clock: SharedClock,
    ) -> Self {
        Self {
            engine,
            catalog,
            outboxes,
            clock,
        }
    }
}

#[async_trait]
impl SchemaProvider for SystemTables {
    fn table_names(&self) -> Vec<String> {
        NAMES.iter().map(|name| (*name).to_owned()).collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>> {
        let batch = match name {
            "alert_events" => alert_tables::alert_events(&self.engine)?,
            "alerts" => alert_tables::alerts(&self.engine)?,
            "queries" => queries(&self.engine, &self.outboxes, self.clock.now())?,
            "partitions" => partitions(&self.engine)?,
            "dead_letters" => dead_letters(&self.engine)?,
            "late_rows" => late_rows(&self.engine)?,
            "outbox_dead_letters" => outboxes::dead_letters(&self.outboxes)?,
            "outboxes" => outboxes::outboxes(&self.outboxes)?,
            "sinks" => definitions::sinks(&self.engine, &self.outboxes, &self.catalog.snapshot())?,
            "secrets" => definitions::secrets(&self.catalog.snapshot())?,
            _ => return Ok(None),
        };
        Ok(Some(Arc::new(MemTable::try_new(
            batch.schema(),
            vec![vec![batch]],
        )?)))
    }

    fn table_exist(&self, name: &str) -> bool {
        NAMES.contains(&name)
    }
}

/// A query and its numbers.
type Watched = (Arc<QueryShared>, QueryStatus);

fn queries(engine: &Engine, outboxes: &Outboxes, now: ProcessingTime) -> Result<RecordBatch> {
    let rows: Vec<Watched> = engine
        .queries()
        .into_iter()
        .map(|query| (Arc::clone(&query), query.status()))
        .collect();
    let explained = |(query, status): &Watched| {
        let outboxes = outboxes.of_query(&query.name);
        explain_progress::sentence(query, status, &outboxes, now)
    };
    let mut columns = identities(&rows);
    columns.extend(numbers(&rows, now));
    columns.extend(lags(&rows));
    columns.extend(scans(&rows));
    columns.extend(times_and_troubles(&rows, explained));
    batch(columns)
}

fn identities(rows: &[Watched]) -> Vec<(&'static str, ArrayRef)> {
    let column = Columns { rows };
    vec![
        ("id", column.int8(|(query, _)| Some(query.id))),
        ("name", column.text(|(query, _)| Some(query.name.clone()))),
        (
            "kind",
            column.text(|(query, _)| Some(query.kind.name().to_owned())),
        ),
        (
            "state",
            column.text(|(_, status)| Some(status.state.name().to_owned())),
        ),
        (
            "table_name",
            column.text(|(query, _)| Some(query.tables.join(", "))),
        ),
    ]
}

/// How far it is behind; of a query that does not read nobody knows.
fn lags(rows: &[Watched]) -> Vec<(&'static str, ArrayRef)> {
    let column = Columns { rows };
    vec![
        (
            "lag",
            column.int8(|(_, status)| status.reads().then(|| status.lag())),
        ),
        (
            "caught_up",
            column.float8(|(_, status)| status.caught_up().filter(|_| status.reads())),
        ),
        (
            "catch_up_eta",
            column.length(|(_, status)| status.catch_up().filter(|_| status.reads())),
        ),
    ]
}

fn numbers(rows: &[Watched], now: ProcessingTime) -> Vec<(&'static str, ArrayRef)> {
    let column = Columns { rows };
    vec![
        ("rows_in", column.int8(|(_, status)| Some(status.rows_in))),
        (
            "rows_used",
            column.int8(|(_, status)| Some(status.rows_used)),
        ),
        (
            "rows_rejected",
            column.int8(|(_, status)| Some(status.rows_rejected)),
        ),
        (
            "rows_late",
            column.int8(|(_, status)| Some(status.rows_late)),
        ),
        ("rows_out", column.int8(|(_, status)| Some(status.rows_out))),
        (
            "rows_failed",
            column.int8(|(_, status)| Some(status.rows_failed)),
        ),
        (
            "rows_in_per_second",
            column.float8(|(_, status)| Some(status.rows_in_per_second)),
        ),
        (
            "rows_out_per_second",
            column.float8(|(_, status)| Some(status.rows_out_per_second)),
        ),
        ("bytes_in", column.int8(|(_, status)| Some(status.bytes_in))),
        (
            "watermark",
            column.time(|(_, status)| status.watermark.map(|EventTime(at)| at)),
        ),
        (
            "watermark_delay",
            column.length(|(_, status)| status.delay(now)),
        ),
        (
            "next_window_end",
            column.time(|(_, status)| status.next_close.map(|(span, _)| span.end)),
        ),
        (
            "next_close_at",
            column.time(|(_, status)| status.next_close.map(|(_, EventTime(at))| at)),
        ),
        (
            "sink_backlog",
            column.int8(|(_, status)| Some(status.sink_backlog)),
        ),
        (
            "state_rows",
            column.int8(|(_, status)| Some(status.state_rows)),
        ),
        (
            "state_bytes",
            column.int8(|(_, status)| Some(status.state_bytes)),
        ),
        (
            "micro_batches",
            column.int8(|(_, status)| Some(status.micro_batches)),
        ),
        ("epochs", column.int8(|(_, status)| Some(status.epochs))),
    ]
}

/// By whom its messages are read.
fn scans(rows: &[Watched]) -> Vec<(&'static str, ArrayRef)> {
    let column = Columns { rows };
    vec![
        (
            "scan_group",
            column.text(|(_, status)| {
                let groups = status.scans.iter().map(|scan| scan.group.to_string());
                let groups: Vec<String> = groups.collect();
                (!groups.is_empty()).then(|| groups.join(", "))
            }),
        ),
        (
            "scan_queries",
            column.int8(|(_, status)| {
                let queries = status.scans.iter().map(|scan| scan.queries as u64);
                queries.max()
            }),
        ),
        (
            "aggregate_queries",
            column.int8(|(_, status)| {
                let alike = status.scans.iter().map(|scan| scan.alike as u64);
                alike.max().filter(|alike| *alike > 0)
            }),
        ),
    ]
}

fn times_and_troubles(
    rows: &[Watched],
    explained: impl Fn(&Watched) -> String,
) -> Vec<(&'static str, ArrayRef)> {
    let column = Columns { rows };
    vec![
        (
            "started_at",
            column.time(|(_, status)| Some(status.started_at.0)),
        ),
        (
            "last_rows_at",
            column.time(|(_, s)| s.last_rows_at.map(|ProcessingTime(at)| at)),
        ),
        (
            "last_error",
            column.text(|(_, s)| s.last_error.as_ref().map(ToString::to_string)),
        ),
        (
            "last_error_at",
            column.time(|(_, s)| s.last_error_at.map(|ProcessingTime(at)| at)),
        ),
        (
            "next_try_at",
            column.time(|(_, s)| s.next_try().map(|ProcessingTime(at)| at)),
        ),
        (
            "last_failure",
            column.text(|(_, status)| status.last_failure.clone()),
        ),
        (
            "last_problem",
            column.text(|(_, status)| status.last_problem.clone()),
        ),
        (
            "explanation",
            column.text(|watched| Some(explained(watched))),
        ),
        ("query", column.text(|(query, _)| Some(query.text.clone()))),
    ]
}

fn partitions(engine: &Engine) -> Result<RecordBatch> {
    let rows: Vec<(Arc<QueryShared>, InputPartition, PartitionStatus)> = engine
        .queries()
        .into_iter()
        .flat_map(|query| {
            let partitions = query.status().partitions;
            partitions
                .into_iter()
                .map(move |(id, status)| (Arc::clone(&query), id, status))
        })
        .collect();
    let column = Columns { rows: &rows };
    batch(vec![
        ("query", column.text(|(query, ..)| Some(query.name.clone()))),
        (
            "table_name",
            column.text(|(query, place, _)| query.tables.get(place.input).cloned()),
        ),
        ("partition", column.int4(|(_, place, _)| place.partition.0)),
        (
            "start_offset",
            column.offset(|(.., status)| status.start.map(|offset| offset.0)),
        ),
        (
            "next_offset",
            column.offset(|(.., status)| status.next.map(|offset| offset.0)),
        ),
        (
            "committed_offset",
            column.offset(|(.., s)| s.committed.map(|offset| offset.0)),
        ),
        (
            "end_offset",
            column.offset(|(.., status)| status.last_end().map(|offset| offset.0)),
        ),
        ("lag", column.int8(|(.., status)| status.lag())),
        (
            "watermark",
            column.time(|(.., status)| status.watermark.map(|EventTime(at)| at)),
        ),
        (
            "greatest_event_time",
            column.time(|(.., status)| status.greatest_event.map(|EventTime(at)| at)),
        ),
        ("idle", column.bool(|(.., status)| status.idle)),
        (
            "silent_since",
            column.time(|(.., status)| status.silent_since.map(|ProcessingTime(at)| at)),
        ),
        (
            "fetch",
            column.text(|(.., status)| Some(status.fetched_by?.word().to_owned())),
        ),
        (
            "fetch_reason",
            column.text(|(.., status)| Some(status.fetched_by?.reason()?.to_string())),
        ),
    ])
}

fn dead_letters(engine: &Engine) -> Result<RecordBatch> {
    let rows = engine
        .set_aside()
        .dead_letters()
        .map_err(super::tables::external)?;
    let column = Columns { rows: &rows };
    batch(vec![
        (
            "table_name",
            column.text(|letter| Some(letter.table.clone())),
        ),
        ("topic", column.text(|letter| Some(letter.topic.clone()))),
        (
            "partition",
            column.int4(|letter| letter.message.partition.0),
        ),
        (
            "offset",
            column.offset(|letter| Some(letter.message.offset.0)),
        ),
        (
            "timestamp",
            column.time(|letter| record_time(&letter.message)),
        ),
        (
            "reason",
            column.text(|letter| Some(letter.message.reason.clone())),
        ),
        ("message", column.text(|letter| readable(&letter.message))),
        ("raw", column.bytes(|letter| letter.message.payload.clone())),
        ("key", column.bytes(|letter| letter.message.key.clone())),
        ("rejected_at", column.time(|letter| Some(letter.at.0))),
    ])
}

fn late_rows(engine: &Engine) -> Result<RecordBatch> {
    let rows = engine
        .set_aside()
        .late_rows()
        .map_err(super::tables::external)?;
    let column = Columns { rows: &rows };
    batch(vec![
        ("query", column.text(|record| Some(record.query.clone()))),
        (
            "table_name",
            column.text(|record| Some(record.table.clone())),
        ),
        (
            "partition",
            column.int4(|record| record.late.message.partition.0),
        ),
        (
            "offset",
            column.offset(|record| Some(record.late.message.offset.0)),
        ),
        (
            "event_time",
            column.time(|record| Some(record.late.event_time.0)),
        ),
        (
            "window_start",
            column.time(|record| Some(record.late.window.0.0)),
        ),
        (
            "window_end",
            column.time(|record| Some(record.late.window.1.0)),
        ),
        (
            "watermark",
            column.time(|record| Some(record.late.watermark.0.0)),
        ),
        ("late_by", late_by(&rows)),
        (
            "message",
            column.text(|record| readable(&record.late.message)),
        ),
        ("met_at", column.time(|record| Some(record.at.0))),
    ])
}

/// How far the watermark stood beyond the window's end.
fn late_by(rows: &[LateRecord]) -> ArrayRef {
    let after = |record: &LateRecord| {
        let micros = record
            .late
            .watermark
            .0
            .0
            .saturating_sub(record.late.window.1.0);
        IntervalMonthDayNano::new(0, 0, micros.saturating_mul(1_000))
    };
    Arc::new(IntervalMonthDayNanoArray::from_iter_values(
        rows.iter().map(after),
    ))
}

fn record_time(message: &Rejection) -> Option<i64> {
    (message.timestamp_ms >= 0).then(|| message.timestamp_ms.saturating_mul(1_000))
}

fn readable(message: &Rejection) -> Option<String> {
    message
        .payload
        .as_ref()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

/// Makes columns of rows.
struct Columns<'a, R> {
    rows: &'a [R],
}

impl<R> Columns<'_, R> {
    fn text(&self, value: impl Fn(&R) -> Option<String>) -> ArrayRef {
        Arc::new(self.rows.iter().map(value).collect::<StringViewArray>())
    }

    fn int8(&self, value: impl Fn(&R) -> Option<u64>) -> ArrayRef {
        let value = |row| value(row).map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        Arc::new(self.rows.iter().map(value).collect::<Int64Array>())
    }

    fn offset(&self, value: impl Fn(&R) -> Option<i64>) -> ArrayRef {
        Arc::new(self.rows.iter().map(value).collect::<Int64Array>())
    }

    fn int4(&self, value: impl Fn(&R) -> i32) -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(self.rows.iter().map(value)))
    }

    fn float8(&self, value: impl Fn(&R) -> Option<f64>) -> ArrayRef {
        Arc::new(self.rows.iter().map(value).collect::<Float64Array>())
    }

    fn bool(&self, value: impl Fn(&R) -> bool) -> ArrayRef {
        Arc::new(BooleanArray::from_iter(
            self.rows.iter().map(|row| Some(value(row))),
        ))
    }

    fn bytes(&self, value: impl Fn(&R) -> Option<Vec<u8>>) -> ArrayRef {
        Arc::new(self.rows.iter().map(value).collect::<BinaryArray>())
    }

    fn length(&self, micros: impl Fn(&R) -> Option<i64>) -> ArrayRef {
        let nanos = |micros: i64| IntervalMonthDayNano::new(0, 0, micros.saturating_mul(1_000));
        let lengths = self.rows.iter().map(|row| micros(row).map(nanos));
        Arc::new(lengths.collect::<IntervalMonthDayNanoArray>())
    }

    fn time(&self, micros: impl Fn(&R) -> Option<i64>) -> ArrayRef {
        let times: TimestampMicrosecondArray = self.rows.iter().map(micros).collect();
        Arc::new(times.with_timezone("+00:00"))
    }
}
