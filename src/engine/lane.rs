//! One parallel slice of a query: decode, event time, row stages and partial state.
//!
//! Invariant (conservation): messages in = rows used + rejected + late.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;

use super::event_time::{RowTimes, Standing, Times, row_times};
use super::input::OfInput;
use super::shared_scan::{Common, Fetched, MemberRows, Selection, Wanted};
use crate::error::{Result, from_arrow};
use crate::operator::{Aggregate, Lateness, Partial, RefusedRow, RowPipeline, Rows, TableUse};
use crate::plan::{AggregatePlan, Changelog, RowStage, SourcePlan, StreamPlan};
use crate::scan::{Decode, DecodedRows};
use crate::types::{EventTime, InputPartition, MessageBatch, Offset, PartitionId, Watermark};

/// Why a row whose window had closed is set aside.
const LATE: &str = "late";

/// A lane's decoders, stages and groups.
pub(super) struct Lane {
    inputs: Vec<LaneInput>,
    /// `None`: the rows themselves come out.
    pub aggregate: Option<Aggregate>,
}

/// What a lane does with the messages of one input.
struct LaneInput {
    source: Arc<SourcePlan>,
    visible: Vec<usize>,
    /// For messages that were not decoded for all who read them.
    decode: Decode,
    wanted: Wanted,
    /// What it may have in common with others who read along.
    common: Common,
    stages: Stages,
    /// What makes the groups that it has in common with others pane by pane, if that is less work.
    paned: Option<(Stages, Arc<AggregatePlan>)>,
    /// Bytes kept of a message that cannot be used.
    kept_max: usize,
}

/// The stages before the aggregate.
struct Stages {
    all: RowPipeline,
    /// What is left to do with rows that were picked for several.
    rest: Option<(Arc<Selection>, RowPipeline)>,
}

/// What a lane made of its messages in one micro-batch.
#[derive(Default)]
pub(super) struct LaneOutput {
    /// The rows, if the query has no aggregate.
    pub rows: Vec<RecordBatch>,
    /// How many messages became what.
    pub counted: Counted,
    /// Messages that are no rows, with their input.
    pub rejected: Vec<(usize, Rejection)>,
    /// Rows whose window had closed, with their input.
    pub late: Vec<(usize, LateMessage)>,
    /// The greatest that each partition said of the watermark.
    pub said: BTreeMap<InputPartition, Watermark>,
    /// The greatest event time of each partition's rows.
    pub greatest_events: BTreeMap<InputPartition, EventTime>,
    /// The next offset of each partition.
    pub next: BTreeMap<InputPartition, Offset>,
    /// The timestamp of each partition's last message, milliseconds since the Unix epoch; -1: none.
    pub written_ms: BTreeMap<InputPartition, i64>,
}

impl LaneOutput {
    /// Counts the messages of a batch and notes how far it reads.
    fn count(&mut self, input: usize, fetched: &Fetched) {
        for reach in &fetched.reach {
            let partition = reach.partition;
            let place = InputPartition { input, partition };
            self.next.insert(place, reach.next);
            self.written_ms.insert(place, reach.written_ms);
            self.counted.messages += reach.count;
            self.counted.bytes += reach.bytes;
        }
    }
}

/// How many messages became what.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    /// Messages that came in.
    pub messages: u64,
    /// Those that were no rows.
    pub rejected: u64,
    /// Rows whose window had closed.
    pub late: u64,
    /// Rows that passed the conditions before the aggregate, late ones among them.
    pub passed: u64,
    /// Bytes of all payloads and keys.
    pub bytes: u64,
}

/// A message that is no row of the table.
#[derive(Debug, Clone)]
pub struct Rejection {
    /// Where it lies.
    pub partition: PartitionId,
    /// Where it lies.
    pub offset: Offset,
    /// The record's timestamp, milliseconds since the Unix epoch.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its bytes; cut at [`Rejection::BYTES_MAX`], unless they go to a topic too.
    pub payload: Option<Vec<u8>>,
    /// Its headers, if they were read: a JSON object.
    pub headers: Option<Vec<u8>>,
    /// Why.
    pub reason: String,
}

impl Rejection {
    /// Of a longer message only so many bytes are kept.
    pub const BYTES_MAX: usize = 64 * 1024;

    /// Why, and where it lies.
    pub(super) fn told(&self) -> String {
        format!(
            "{} (offset {} of partition {})",
            self.reason, self.offset.0, self.partition.0
        )
    }

    /// Copies what is told of a message.
    pub fn of(batch: &MessageBatch, row: usize, reason: String) -> Self {
        Self::up_to(Self::BYTES_MAX, batch, row, reason)
    }

    /// The same, all of it.
    pub(super) fn whole(batch: &MessageBatch, row: usize, reason: String) -> Self {
        Self::up_to(usize::MAX, batch, row, reason)
    }

    /// The same with another bound.
    fn up_to(bytes_max: usize, batch: &MessageBatch, row: usize, reason: String) -> Self {
        let message = &batch.messages[row];
        let copy = |bytes: &[u8]| bytes[..bytes.len().min(bytes_max)].to_vec();
        Self {
            partition: message.partition,
            offset: message.offset,
            timestamp_ms: message.timestamp_ms,
            key: batch.key(row).map(copy),
            payload: batch.payload(row).map(copy),
            headers: message.headers.map(|span| copy(span.of(&batch.buffer))),
            reason,
        }
    }
}

/// A row that came after its window had closed.
#[derive(Debug, Clone)]
pub struct LateMessage {
    /// Where it lies, and its bytes.
    pub message: Rejection,
    /// When it happened.
    pub event_time: EventTime,
    /// Its window.
    pub window: (EventTime, EventTime),
    /// The watermark when it came.
    pub watermark: Watermark,
}

impl LaneOutput {
    /// Sets messages aside.
    fn reject(&mut self, input: usize, rejected: impl Iterator<Item = Rejection>) {
        let before = self.rejected.len();
        self.rejected
            .extend(rejected.map(|rejected| (input, rejected)));
        self.counted.rejected += (self.rejected.len() - before) as u64;
    }

    /// Notes the times of a batch, of which so many rows passed the conditions.
    fn note(&mut self, times: &Times, passed: usize) {
        self.counted.passed += passed as u64;
        for (partition, said) in &times.said {
            self.said.insert(*partition, *said);
        }
        for (partition, greatest) in &times.greatest_events {
            let known = self.greatest_events.entry(*partition);
            let known = known.or_insert(EventTime::MIN);
            *known = (*known).max(*greatest);
        }
    }
}

/// What the tables of a plan's aggregate are for.
pub(super) fn table_use(plan: &StreamPlan, durable: bool) -> TableUse {
    TableUse {
        readable: plan.changelog() == Changelog::Update,
        durable,
    }
}

impl Lane {
    /// A lane of a plan; a durable one gives images of its state.
    pub(super) fn try_new(
        plan: &StreamPlan,
        sources: &[Arc<SourcePlan>],
        durable: bool,
    ) -> Result<Self> {
        let wanted = table_use(plan, durable);
        let ttl = plan.options.state_ttl;
        let ttl = ttl.map(|ttl| i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX));
        let aggregate = plan
            .aggregate
            .as_ref()
            .map(|aggregate| Aggregate::try_new(Arc::new(aggregate.clone()), wanted, ttl))
            .transpose()?;
        let inputs = plan
            .inputs
            .iter()
            .zip(sources)
            .map(|(input, source)| {
                Ok(LaneInput {
                    source: Arc::clone(source),
                    visible: (0..source.visible_columns).collect(),
                    decode: Decode::try_new(&source.scan)?,
                    wanted: Wanted::new(&source.scan),
                    common: Common::default(),
                    stages: Stages::new(&input.rows, None),
                    paned: None,
                    kept_max: match (&source.dead_letter_topic, &source.late_topic) {
                        (None, None) => Rejection::BYTES_MAX,
                        _ => usize::MAX,
                    },
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { inputs, aggregate })
    }

    /// What each input may have in common with others who read along.
    pub(super) fn share(&mut self, common: impl Fn(usize) -> Common) {
        for (number, input) in self.inputs.iter_mut().enumerate() {
            input.common = common(number);
            let selection = input.common.selection.as_ref();
            input.stages = Stages::new(input.stages.all.stages(), selection);
            let paned = input.common.prefix.as_ref().and_then(|p| p.paned());
            input.paned =
                paned.map(|(rows, plan)| (Stages::new(rows, selection), Arc::clone(plan)));
        }
    }

    /// Runs messages through the lane.
    pub(super) fn process(
        &mut self,
        batches: &[OfInput],
        standing: &Standing,
    ) -> Result<LaneOutput> {
        let mut output = LaneOutput::default();
        let mut standing = standing.clone();
        for (input, batch) in batches {
            self.take((*input, batch), &mut standing, &mut output)?;
        }
        Ok(output)
    }

    /// Takes a batch whole, or part by part.
    fn take(
        &mut self,
        (input, fetched): (usize, &Fetched),
        standing: &mut Standing,
        output: &mut LaneOutput,
    ) -> Result<()> {
        let lane_input = &mut self.inputs[input];
        let rows = fetched.rows_of(&mut lane_input.wanted, &mut lane_input.decode)?;
        let parts = rows.as_ref().map(|rows| lane_input.parts(fetched, rows));
        if let Some(parts) = parts.transpose()?.flatten() {
            let mut parts = parts.iter();
            return parts.try_for_each(|part| self.take((input, part), standing, output));
        }
        let decoded = match rows {
            Some(rows) => rows.all()?,
            None => (lane_input.decode.decode(&fetched.messages)?, false),
        };
        self.one((input, fetched), decoded, standing, output)?;
        for (partition, said) in &output.said {
            if let Some((own, _)) = standing.partitions.get_mut(partition) {
                *own = (*own).max(*said);
            }
        }
        Ok(())
    }

    fn one(
        &mut self,
        (input, fetched): (usize, &Fetched),
        (mut decoded, is_shared): (DecodedRows, bool),
        standing: &Standing,
        output: &mut LaneOutput,
    ) -> Result<()> {
        output.count(input, fetched);
        let messages = &fetched.messages;
        let lane_input = &mut self.inputs[input];
        let kept_max = lane_input.kept_max;
        let broken = std::mem::take(&mut decoded.rejected).into_iter();
        let broken = broken.map(|r| Rejection::up_to(kept_max, messages, r.message, r.reason));
        let partition_of = |row: usize| messages.messages[decoded.message_of(row)].partition;
        let event_time = &lane_input.source.event_time;
        let tell = || row_times(event_time, &decoded.batch, partition_of);
        let times = match is_shared {
            true => fetched.times(tell)?,
            false => Arc::new(tell()?),
        };
        let batch = decoded
            .batch
            .project(&lane_input.visible)
            .map_err(from_arrow)?;
        let groups = match is_shared {
            true => self.groups_of((input, fetched), &batch, &times),
            false => None,
        };
        if let Some(groups) = groups
            && self.takes(groups, times.compared_at_most(input, standing))?
        {
            let times = times.of(input, standing, false);
            output.note(&times, groups.rows());
            output.reject(input, broken);
            return Ok(());
        }
        let times = times.of(input, standing, self.aggregate.is_some());
        let shared = is_shared.then_some(fetched);
        let (rows, mut refused) = self.inputs[input].rows(shared, &batch, &times)?;
        let mut passed = rows.batch.num_rows();
        let mut late = Vec::new();
        if let Some(aggregate) = &mut self.aggregate {
            let lateness = Lateness {
                row_watermarks: &times.row_watermarks,
                greatest: times.greatest,
            };
            let taken = aggregate.process(&rows, lateness)?;
            passed -= taken.refused.len();
            refused.extend(taken.refused);
            late = taken.late;
        } else if passed > 0 {
            output.rows.push(rows.batch);
        }
        output.note(&times, passed);
        let mut unusable = times.unusable;
        unusable.extend(refused.into_iter().map(|r| (r.row, r.error.to_string())));
        // A row that stands for several windows may be late for some and refused by others.
        late.retain(|late| !unusable.contains_key(&late.row));
        output.counted.late += late.len() as u64;
        let set_aside = |row: usize, why| {
            let message = decoded.message_of(row);
            Rejection::up_to(kept_max, messages, message, why)
        };
        let refused = unusable.into_iter().map(|(row, why)| set_aside(row, why));
        output.reject(input, broken.chain(refused));
        let late = late.into_iter().map(|late| LateMessage {
            message: set_aside(late.row, LATE.to_owned()),
            event_time: EventTime(times.event.value(late.row)),
            window: (late.window_start, late.window_end),
            watermark: late.watermark,
        });
        output.late.extend(late.map(|late| (input, late)));
        Ok(())
    }

    /// The groups of a batch whose rows all have a time, if others make the same ones.
    fn groups_of<'a>(
        &self,
        (input, fetched): (usize, &'a Fetched),
        batch: &RecordBatch,
        times: &RowTimes,
    ) -> Option<&'a Partial> {
        let lane_input = &self.inputs[input];
        let prefix = lane_input.common.prefix.as_ref();
        let (aggregate, prefix) = self.aggregate.as_ref().zip(prefix)?;
        if times.has_unusable() || !prefix.is_for(batch.num_rows()) {
            return None;
        }
        fetched.partial(prefix, || {
            let said_before = times.said_before();
            let groups = lane_input.partial(aggregate, (fetched, batch), said_before);
            groups.filter(|groups| prefix.is_worth(groups.groups(), batch.num_rows()))
        })
    }

    /// Takes in a batch's groups; false when its rows must be looked at one by one.
    fn takes(&mut self, groups: &Partial, compared_at_most: Watermark) -> Result<bool> {
        let aggregate = self.aggregate.as_mut();
        let Some(aggregate) = aggregate.filter(|a| a.may_take(groups, compared_at_most)) else {
            return Ok(false);
        };
        aggregate.take_partial(groups)?;
        Ok(true)
    }
}

impl Stages {
    fn new(stages: &[RowStage], selection: Option<&Arc<Selection>>) -> Self {
        let all = RowPipeline::new(stages);
        Self {
            rest: selection.cloned().zip(all.behind_first_condition()),
            all,
        }
    }

    /// What they make of a batch, and the rows with which they fail. `shared`: all who read along have these rows.
    fn through(
        &self,
        shared: Option<&Fetched>,
        batch: &RecordBatch,
    ) -> Result<(Rows, Vec<RefusedRow>)> {
        if let (Some(fetched), Some((selection, rest))) = (shared, &self.rest)
            && let Some(picked) = fetched.picked(selection, batch)
            && let Ok(rows) = rest.process_rows(picked.clone())
        {
            return Ok((rows, Vec::new()));
        }
        self.all.process_each(batch)
    }
}

impl LaneInput {
    /// A batch in parts, if its rows are otherwise not to be taken as all others take them.
    fn parts<'a>(&self, fetched: &'a Fetched, rows: &MemberRows) -> Result<Option<&'a [Fetched]>> {
        let messages = &fetched.messages.messages;
        let partition_of = |row: usize| messages[rows.shared.message_of(row)].partition;
        let batch = &rows.shared.batch;
        let times = fetched.times(|| row_times(&self.source.event_time, batch, partition_of))?;
        Ok(match rows.own.is_some() || times.has_unusable() {
            true => fetched.parts(times.unusable()),
            false => None,
        })
    }

    /// The groups of a batch whose rows all have a time; `None` when they are better taken one by one.
    fn partial(
        &self,
        aggregate: &Aggregate,
        (fetched, batch): (&Fetched, &RecordBatch),
        said_before: &[i64],
    ) -> Option<Partial> {
        // What fails here fails once more row by row, which finds the rows that are at fault.
        let (stages, paned) = match &self.paned {
            Some((stages, plan)) => (stages, Some(plan)),
            None => (&self.stages, None),
        };
        let (rows, refused) = stages.through(Some(fetched), batch).ok()?;
        let partial = aggregate.partial(paned, &rows, said_before).ok()?;
        partial.filter(|_| refused.is_empty())
    }

    /// What the stages before the aggregate make of the rows that have a time, and the rows with which they fail.
    /// `shared`: all who read along have these rows.
    fn rows(
        &self,
        shared: Option<&Fetched>,
        batch: &RecordBatch,
        times: &Times,
    ) -> Result<(Rows, Vec<RefusedRow>)> {
        if times.event.null_count() == 0 {
            return self.stages.through(shared, batch);
        }
        let valid: BooleanArray = (0..batch.num_rows())
            .map(|r| Some(times.event.is_valid(r)))
            .collect();
        let kept = filter_record_batch(batch, &valid).map_err(from_arrow)?;
        let origin: Vec<u32> = valid.values().set_indices_u32().collect();
        let (mut rows, mut refused) = self.stages.all.process_each(&kept)?;
        let through = |row: usize| origin[rows.origin_of(row)];
        rows.origin = Some((0..rows.batch.num_rows()).map(through).collect());
        for refused in &mut refused {
            refused.row = origin[refused.row] as usize;
        }
        Ok((rows, refused))
    }
}
