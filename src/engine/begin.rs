//! Where a query begins to read.
//!
//! A created query begins where its table says. A live one begins, by default, at the start of the
//! windows that are open now, so that its first row is a whole window; without a window, at the
//! topic's end.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMicrosecondType;

use crate::checkpoint::Checkpoint;
use crate::clock;
use crate::error::{Error, Result, SqlState, from_datafusion};
use crate::plan::{ScanStartup, SourcePlan, StreamPlan};
use crate::scan::Decode;
use crate::source::{ANSWER_TIMEOUT, Cluster, Reader, ReaderOptions};
use crate::types::{EventTime, InputPartition, Offset, PartitionId, PartitionRange, WindowKind};

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
    /// For each input, the first offset to read of each partition, and the offset after the last
    /// one there was.
    pub inputs: Vec<Vec<PartitionRange>>,
    /// For each input what tells its topic from a later one of its name, if the cluster says.
    pub topic_ids: Vec<Option<String>>,
    /// Rows of windows that end at or before this are passed over.
    pub ignore_until: EventTime,
    /// Sessions that start before this are passed over.
    pub ignore_before: EventTime,
}

/// What there is of an input's topic.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// What tells the topic from a later one of its name, if the cluster says.
    pub id: Option<String>,
    /// The offsets that each partition holds.
    pub ranges: Vec<PartitionRange>,
}

impl Begin {
    /// All that the inputs' topics hold.
    pub(super) fn everything(inputs: Vec<Vec<PartitionRange>>) -> Self {
        Self {
            topic_ids: vec![None; inputs.len()],
            inputs,
            ignore_until: EventTime::MIN,
            ignore_before: EventTime::MIN,
        }
    }

    /// The partitions of all inputs.
    pub(super) fn partitions(&self) -> impl Iterator<Item = (InputPartition, PartitionRange)> + '_ {
        self.inputs.iter().enumerate().flat_map(|(input, ranges)| {
            ranges.iter().map(move |range| {
                let partition = range.partition;
                (InputPartition { input, partition }, *range)
            })
        })
    }
}

/// Where a created query begins, by its tables' `scan_startup`.
pub(super) fn created(plan: &StreamPlan) -> Result<Begin> {
    let (mut inputs, mut topic_ids) = (Vec::new(), Vec::new());
    for input in &plan.inputs {
        let (cluster, ranges) = look(&input.source)?;
        topic_ids.push(cluster.topic_id(&input.source.scan.topic, ANSWER_TIMEOUT)?);
        inputs.push(created_input(&input.source, &cluster, ranges)?);
    }
    Ok(Begin {
        topic_ids,
        ..Begin::everything(inputs)
    })
}

fn created_input(
    source: &SourcePlan,
    cluster: &Cluster,
    ranges: Vec<PartitionRange>,
) -> Result<Vec<PartitionRange>> {
    Ok(match &source.startup {
        ScanStartup::Earliest => ranges,
        ScanStartup::Latest => ranges.into_iter().map(at_end).collect(),
        ScanStartup::Timestamp(time) => at_time(cluster, source, ranges, time.0 / 1_000)?,
        ScanStartup::Offsets(offsets) => ranges
            .into_iter()
            .map(|r| begin_at(r, offsets.get(&r.partition).copied().unwrap_or(r.start)))
            .collect(),
    })
}

/// Where a query begins that goes on from a checkpoint.
///
/// # Errors
/// When messages that were not read are there no more, or the topic is another one.
pub(super) fn resumed(plan: &StreamPlan, checkpoint: &Checkpoint) -> Result<Begin> {
    let found = plan.inputs.iter().map(|input| {
        let (cluster, ranges) = look(&input.source)?;
        let id = cluster.topic_id(&input.source.scan.topic, ANSWER_TIMEOUT)?;
        Ok(Found { id, ranges })
    });
    go_on(plan, checkpoint, found.collect::<Result<_>>()?)
}

/// The same, by what was found of each input's topic.
///
/// # Errors
/// As [`resumed`].
pub(super) fn go_on(
    plan: &StreamPlan,
    checkpoint: &Checkpoint,
    found: Vec<Found>,
) -> Result<Begin> {
    let (mut inputs, mut topic_ids) = (Vec::new(), Vec::new());
    for (index, (input, Found { id, ranges })) in plan.inputs.iter().zip(found).enumerate() {
        let mark = checkpoint.inputs.get(index);
        let read = mark.and_then(|mark| mark.topic_id.clone());
        if let (Some(read), Some(id)) = (&read, &id)
            && read != id
        {
            let detail = format!("The one that was read has the id {read}, this one {id}.");
            return Err(another_topic(&input.source, detail));
        }
        topic_ids.push(id.or(read));
        let reached = |range: &PartitionRange| {
            let partition = mark.and_then(|mark| mark.partitions.get(&range.partition));
            partition.map(|partition| partition.next)
        };
        let ranges = ranges.into_iter();
        let ranges = ranges.map(|range| match reached(&range) {
            Some(next) => go_on_at(&input.source, range, next),
            None => Ok(range),
        });
        inputs.push(ranges.collect::<Result<_>>()?);
    }
    Ok(Begin {
        topic_ids,
        ..Begin::everything(inputs)
    })
}

/// The topic is not the one that the query has read so far.
fn another_topic(source: &SourcePlan, detail: String) -> Error {
    let topic = &source.scan.topic;
    Error::external(
        SqlState::ObjectNotInPrerequisiteState,
        false,
        format!("topic \"{topic}\" is not the one that was read"),
    )
    .detail(detail)
    .hint("If it was made anew, or this is another cluster, drop the query and create it again.")
}

/// A partition from an offset on that must be there, or be the end.
fn go_on_at(source: &SourcePlan, range: PartitionRange, next: Offset) -> Result<PartitionRange> {
    let topic = &source.scan.topic;
    let (partition, read, start, end) = (range.partition.0, next.0, range.start.0, range.end.0);
    let wrong = |text| Error::external(SqlState::ObjectNotInPrerequisiteState, false, text);
    if next > range.end {
        let detail =
            format!("Partition {partition} was read up to offset {read} and ends at {end}.");
        return Err(another_topic(source, detail));
    }
    if next < range.start && source.fails_on_data_loss {
        return Err(wrong(format!(
            "messages of topic \"{topic}\" were removed before they were read"
        ))
        .detail(format!(
            "Partition {partition} was read up to offset {read} and begins at {start}."
        ))
        .hint(format!(
            "To go on with what is left, ALTER TABLE {} SET (on_data_loss = 'continue').",
            source.scan.table
        )));
    }
    if next < range.start {
        let lost = start - read;
        tracing::warn!(
            topic,
            partition,
            lost,
            "messages were removed before they were read"
        );
    }
    Ok(begin_at(range, next))
}

/// Where a live query begins.
pub(super) fn live(plan: &StreamPlan, start: &LiveStart) -> Result<Begin> {
    let looks: Vec<(Cluster, Vec<PartitionRange>)> = plan
        .inputs
        .iter()
        .map(|input| look(&input.source))
        .collect::<Result<_>>()?;
    let windows = plan.aggregates().filter_map(|a| a.window.as_ref());
    let windows: Vec<WindowKind> = windows.map(|window| window.kind).collect();
    let ends = |(_, ranges): (Cluster, Vec<PartitionRange>)| ranges.into_iter().map(at_end);
    Ok(Begin::everything(match (start, windows.is_empty()) {
        (LiveStart::Earliest, _) => looks.into_iter().map(|(_, ranges)| ranges).collect(),
        (LiveStart::Timestamp(time), _) => at_times(plan, looks, time.0 / 1_000)?,
        (LiveStart::Latest, _) | (LiveStart::Now, true) => looks
            .into_iter()
            .map(|looked| ends(looked).collect())
            .collect(),
        (LiveStart::Now, false) => return at_open_windows(plan, looks, &windows),
    }))
}

/// Each input from the first message whose Kafka timestamp is not before a time.
fn at_times(
    plan: &StreamPlan,
    looks: Vec<(Cluster, Vec<PartitionRange>)>,
    time_ms: i64,
) -> Result<Vec<Vec<PartitionRange>>> {
    let inputs = plan.inputs.iter().zip(looks);
    inputs
        .map(|(input, (cluster, ranges))| at_time(&cluster, &input.source, ranges, time_ms))
        .collect()
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

/// The windows that are open now, by the input that is furthest behind.
fn at_open_windows(
    plan: &StreamPlan,
    looks: Vec<(Cluster, Vec<PartitionRange>)>,
    windows: &[WindowKind],
) -> Result<Begin> {
    let outermost = windows[windows.len() - 1];
    let mut earliest: Option<(i64, i64)> = None;
    for (input, (_, ranges)) in plan.inputs.iter().zip(&looks) {
        if let Some(latest) = sample(&input.source, ranges)? {
            let open = outermost.start_of(latest.watermark);
            let Some(open) = open else {
                return Ok(all_of(looks));
            };
            // A message is written when its event has happened: one of the open windows has no
            // earlier Kafka timestamp than the windows' start, unless event times run ahead of the
            // broker's clock.
            let ahead = latest.event.saturating_sub(latest.kafka).max(0);
            let (start, lead) = earliest.unwrap_or((open, ahead));
            earliest = Some((start.min(open), lead.max(ahead)));
        }
    }
    let Some((open, ahead)) = earliest else {
        return Ok(all_of(looks));
    };
    let before = match outermost {
        WindowKind::Tumble { size, .. } | WindowKind::Hop { size, .. } => {
            open.saturating_add(size - 1)
        }
        WindowKind::Cumulate { .. } | WindowKind::Session { .. } => open,
    };
    let begin = windows[..windows.len() - 1]
        .iter()
        .rev()
        .fold(open, |open, below| match below {
            WindowKind::Session { gap } => open.saturating_sub(*gap),
            below => below.start_of(open).unwrap_or(open),
        });
    // A session that begins less than a gap after the first row may be the rest of a longer one.
    let (begin, ignore_before) = match outermost {
        WindowKind::Session { gap } => (begin.saturating_sub(gap), EventTime(open)),
        _ => (begin, EventTime::MIN),
    };
    Ok(Begin {
        topic_ids: vec![None; plan.inputs.len()],
        inputs: at_times(plan, looks, begin.saturating_sub(ahead) / 1_000 - 1)?,
        ignore_until: EventTime(before),
        ignore_before,
    })
}

fn all_of(looks: Vec<(Cluster, Vec<PartitionRange>)>) -> Begin {
    Begin::everything(looks.into_iter().map(|(_, ranges)| ranges).collect())
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
        fetch: source.scan.fetch,
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
