//! Where a query begins to read.
//!
//! A created query begins where its table says. A live one begins, by default, at the start of the
//! windows that are open now, so that its first row is a whole window; without a window, at the
//! topic's end.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;

use crate::clock;
use crate::error::{Result, from_datafusion};
use crate::plan::{ScanStartup, SourcePlan, StreamPlan};
use crate::scan::Decode;
use crate::source::{ANSWER_TIMEOUT, Cluster, Reader, ReaderOptions};
use crate::types::{EventTime, Offset, PartitionId, PartitionRange, WindowKind};

/// Messages looked at from each partition's end to learn the present event time.
const SAMPLE_ROWS: i64 = 64;
/// How long the look may take.
const SAMPLE_TIMEOUT: Duration = Duration::from_secs(3);

/// Where a live query begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LiveStart {
    /// At the start of the windows open now; without windows at the topic's end.
    #[default]
    Now,
    /// At the topic's end.
    Latest,
    /// At the topic's beginning.
    Earliest,
    /// At the first message whose Kafka timestamp is not before this.
    Timestamp(EventTime),
}

/// Where each partition is read from.
#[derive(Debug, Clone)]
pub(super) struct Begin {
    /// The first offset to read, and the offset after the last one there was.
    pub partitions: Vec<PartitionRange>,
    /// Rows of windows that end at or before this are passed over.
    pub ignore_until: EventTime,
}

/// Where a created query begins, by its table's `scan_startup`.
pub(super) fn created(source: &SourcePlan) -> Result<Begin> {
    let (cluster, ranges) = look(source)?;
    let partitions = match &source.startup {
        ScanStartup::Earliest => ranges,
        ScanStartup::Latest => ranges.into_iter().map(at_end).collect(),
        ScanStartup::Timestamp(time) => at_time(&cluster, source, ranges, time.0 / 1_000)?,
        ScanStartup::Offsets(offsets) => ranges
            .into_iter()
            .map(|r| begin_at(r, offsets.get(&r.partition).copied().unwrap_or(r.start)))
            .collect(),
    };
    Ok(Begin {
        partitions,
        ignore_until: EventTime::MIN,
    })
}

/// Where a query begins that goes on with what an earlier run had reached.
pub(super) fn resumed(
    source: &SourcePlan,
    reached: &BTreeMap<PartitionId, Offset>,
    ignore_until: EventTime,
) -> Result<Begin> {
    let (_, ranges) = look(source)?;
    let partitions = ranges
        .into_iter()
        .map(|r| begin_at(r, reached.get(&r.partition).copied().unwrap_or(r.start)))
        .collect();
    Ok(Begin {
        partitions,
        ignore_until,
    })
}

/// Where a live query begins.
pub(super) fn live(plan: &StreamPlan, start: &LiveStart) -> Result<Begin> {
    let source = &plan.source;
    let (cluster, ranges) = look(source)?;
    let window = plan
        .aggregate
        .as_ref()
        .and_then(|a| a.window.as_ref())
        .map(|w| w.kind);
    match (start, window) {
        (LiveStart::Earliest, _) => Ok(Begin {
            partitions: ranges,
            ignore_until: EventTime::MIN,
        }),
        (LiveStart::Timestamp(time), _) => {
            let partitions = at_time(&cluster, source, ranges, time.0 / 1_000)?;
            Ok(Begin {
                partitions,
                ignore_until: EventTime::MIN,
            })
        }
        (LiveStart::Latest, _) | (LiveStart::Now, None) => {
            let partitions = ranges.into_iter().map(at_end).collect();
            Ok(Begin {
                partitions,
                ignore_until: EventTime::MIN,
            })
        }
        (LiveStart::Now, Some(window)) => at_open_windows(&cluster, source, ranges, window),
    }
}

fn look(source: &SourcePlan) -> Result<(Cluster, Vec<PartitionRange>)> {
    let cluster = Cluster::connect(&source.scan.connection)?;
    let cluster = cluster.read_committed(source.scan.read_committed);
    let partitions = cluster.partitions(&source.scan.topic, ANSWER_TIMEOUT)?;
    let ranges = cluster.offsets(&source.scan.topic, &partitions, ANSWER_TIMEOUT)?;
    Ok((cluster, ranges))
}

fn begin_at(range: PartitionRange, offset: Offset) -> PartitionRange {
    // An offset that retention has removed moves up to the first that is left.
    PartitionRange {
        start: offset.max(range.start),
        ..range
    }
}

fn at_end(range: PartitionRange) -> PartitionRange {
    PartitionRange {
        start: range.end,
        ..range
    }
}

fn at_time(
    cluster: &Cluster,
    source: &SourcePlan,
    ranges: Vec<PartitionRange>,
    time_ms: i64,
) -> Result<Vec<PartitionRange>> {
    let partitions: Vec<PartitionId> = ranges.iter().map(|range| range.partition).collect();
    let found =
        cluster.offsets_for_time(&source.scan.topic, &partitions, time_ms, ANSWER_TIMEOUT)?;
    let found: BTreeMap<PartitionId, Offset> = found.into_iter().collect();
    Ok(ranges
        .into_iter()
        .map(|range| {
            begin_at(
                range,
                found.get(&range.partition).copied().unwrap_or(range.start),
            )
        })
        .collect())
}

/// The latest row, as a look at the partitions' ends shows it. Microseconds.
#[derive(Debug, Clone, Copy)]
struct Latest {
    event: i64,
    watermark: i64,
    kafka: i64,
}

fn at_open_windows(
    cluster: &Cluster,
    source: &SourcePlan,
    ranges: Vec<PartitionRange>,
    window: WindowKind,
) -> Result<Begin> {
    let Some(latest) = sample(source, &ranges)? else {
        return Ok(Begin {
            partitions: ranges,
            ignore_until: EventTime::MIN,
        });
    };
    let Some(open) = window.start_of(latest.watermark) else {
        return Ok(Begin {
            partitions: ranges,
            ignore_until: EventTime::MIN,
        });
    };
    // A message is written when its event has happened: one of the open windows has no earlier
    // Kafka timestamp than the windows' start, unless event times run ahead of the broker's clock.
    let ahead = latest.event.saturating_sub(latest.kafka).max(0);
    let time_ms = open.saturating_sub(ahead) / 1_000 - 1;
    let partitions = at_time(cluster, source, ranges, time_ms)?;
    let before = open.saturating_add(window.size() - 1);
    Ok(Begin {
        partitions,
        ignore_until: EventTime(before),
    })
}

/// Reads the last messages of each partition; `None` when no row is found.
fn sample(source: &SourcePlan, ranges: &[PartitionRange]) -> Result<Option<Latest>> {
    let filled: Vec<&PartitionRange> = ranges.iter().filter(|r| r.end > r.start).collect();
    if filled.is_empty() {
        return Ok(None);
    }
    let from = |r: &&PartitionRange| (r.partition, Offset((r.end.0 - SAMPLE_ROWS).max(r.start.0)));
    let mut reader = Reader::open(ReaderOptions {
        connection: source.scan.connection.clone(),
        topic: source.scan.topic.clone(),
        assignment: filled.iter().map(from).collect(),
        read_committed: source.scan.read_committed,
        with_keys: true,
        with_headers: true,
        rows_max: 1_024,
        bytes_max: 1 << 20,
        end_wait: Duration::from_millis(10),
    })?;
    let mut decode = Decode::try_new(&source.scan)?;
    let mut open: std::collections::BTreeSet<PartitionId> =
        filled.iter().map(|range| range.partition).collect();
    let mut latest: Option<Latest> = None;
    let deadline = clock::instant() + SAMPLE_TIMEOUT;
    while !open.is_empty() && clock::instant() < deadline {
        let read = reader.read(Duration::from_millis(100))?;
        let decoded = decode.decode(&read.batch)?;
        let evaluate = |expr: &std::sync::Arc<dyn datafusion::physical_expr::PhysicalExpr>| {
            expr.evaluate(&decoded.batch)
                .and_then(|value| value.into_array(decoded.batch.num_rows()))
                .map_err(from_datafusion)
        };
        let (event, says) = (
            evaluate(&source.event_time.time)?,
            evaluate(&source.event_time.watermark)?,
        );
        let event = event.as_primitive::<TimestampMicrosecondType>();
        let says = says.as_primitive::<TimestampMicrosecondType>();
        for row in 0..event.len() {
            let message = decoded
                .source_rows
                .as_ref()
                .map_or(row, |rows| rows[row] as usize);
            let later = latest.is_none_or(|latest| says.value(row) > latest.watermark);
            if event.is_valid(row) && says.is_valid(row) && later {
                latest = Some(Latest {
                    event: event.value(row),
                    watermark: says.value(row),
                    kafka: read.batch.messages[message]
                        .timestamp_ms
                        .saturating_mul(1_000),
                });
            }
        }
        for end in &read.ends {
            open.remove(&end.partition);
        }
    }
    Ok(latest)
}
