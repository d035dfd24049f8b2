//! One running query: the loop that turns messages into emitted rows.
//!
//! ```text
//! collect → lanes (side by side) → watermark → close windows, merge the lanes → output stages
//!         → sink → epoch
//! ```
//! Invariant: the end of a micro-batch is a barrier: no row is in flight.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::{RecordBatch, RecordBatchOptions};

use super::ahead::Ahead;
use super::aside::Aside;
use super::begin::Begin;
use super::durable::UnderWay;
use super::emitter::Emitter;
use super::event_time::Standing;
use super::groups::Groups;
use super::held_memory::{HeldMemory, Share};
use super::input::{Collect, Collected, Gather, OfInput};
use super::lane::{Counted, Lane, LaneOutput};
use super::output::{Moment, Output};
use super::pace::Pace;
use super::replay::Replaying;
use super::report::Untold;
use super::set_aside::SetAside;
use super::status::{PartitionStatus, QueryKind, QueryShared};
use super::tuning::Tuning;
use crate::clock::SharedClock;
use crate::error::{Result, from_arrow};
use crate::operator::Refusals;
use crate::plan::{Emission, OnError, SourcePlan, StreamPlan, Trigger};
use crate::task;
use crate::types::{ChangeBatch, EventTime, InputPartition, Offset, Watermark};
use crate::watermark::{CatchUp, Watermarks};

/// How long a query sleeps at the most before it looks whether its client is still there.
const TICK: Duration = Duration::from_secs(1);
/// `EMIT EVERY` looks not more often than this.
const EVERY_MIN: Duration = Duration::from_millis(1);
/// How often a query that waits for its trigger looks whether it is to end.
const HOLD_LOOK: Duration = Duration::from_millis(20);
/// A broker forgets a sink's last epoch after some days.
pub(super) const RENEW_EVERY: Duration = Duration::from_secs(3_600);
/// How often an epoch ends for somebody who waits for all that the topics hold, while much of it is still to be
/// read: a file and a broker's answer for each micro-batch would cost many times the reading.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// Reads of one micro-batch at the most, a lane.
const READS_MAX: usize = 8;
/// How long a micro-batch of a query that is far behind waits for so many. So many times as long when others read
/// along, for each of them once: there is enough to do meanwhile.
const PATIENCE: Duration = Duration::from_millis(10);
const PATIENCE_TIMES_MAX: u32 = 5;
/// Lanes work side by side from so many rows on, times the queries that read along, which have threads of their own:
/// for fewer a thread costs more than it saves.
const ROWS_WORTH_A_THREAD: usize = 8 * 1024;
/// How often the memory of the groups is measured.
const MEASURE_EVERY: Duration = Duration::from_millis(200);

/// What a query needs of its surroundings.
#[derive(Debug, Clone)]
pub(super) struct Surroundings {
    pub clock: SharedClock,
    pub set_aside: Arc<SetAside>,
    /// The memory budget of a query's groups.
    pub state_bytes_max: u64,
    /// What all queries hold.
    pub held: HeldMemory,
    /// The number of this process: no other one has it.
    pub writer: u64,
    /// Messages and bytes of one read of one lane at the most.
    pub read_max: (usize, usize),
    /// Changed groups that are taken down together at an epoch's end, beside those of its last
    /// micro-batch.
    pub image_groups: usize,
}

/// What a query is connected to.
pub(super) struct Wiring {
    pub inputs: Box<dyn Collect>,
    /// How many slices it runs in.
    pub lanes: usize,
    pub output: Output,
    pub shared: Arc<QueryShared>,
    pub surroundings: Surroundings,
}

/// A query under way.
pub(super) struct Query {
    pub(super) plan: Arc<StreamPlan>,
    pub(super) sources: Vec<Arc<SourcePlan>>,
    /// For each input what tells its topic from a later one of its name, if that is known.
    pub(super) topic_ids: Vec<Option<String>>,
    pub(super) lanes: Vec<Lane>,
    pub(super) inputs: Box<dyn Collect>,
    pub(super) watermarks: Watermarks,
    pub(super) emitter: Emitter,
    pub(super) output: Output,
    pub shared: Arc<QueryShared>,
    pub(super) surroundings: Surroundings,
    pub(super) partitions: BTreeMap<InputPartition, PartitionStatus>,
    /// Where the partitions ended when it began, of those that have not been read up to there; of one that takes
    /// messages by their times.
    catch_up: BTreeMap<InputPartition, Offset>,
    /// Rows that the limit still allows.
    pub(super) left: Option<u64>,
    /// How it runs, as it was last told.
    pub(super) tuning: Tuning,
    /// When a micro-batch may begin.
    pub(super) trigger: Pace,
    pub(super) epoch: Pace,
    /// When an epoch ends although nothing came, so that the outside does not forget the last one.
    pub(super) renew: Pace,
    /// The same for somebody who waits for all of it, while much is still to be read.
    pub(super) flush: Pace,
    pub(super) groups: Groups,
    pub(super) epochs: u64,
    /// The epoch that is on its way to last.
    pub(super) under_way: Option<UnderWay>,
    /// Rejected and late messages that did not reach their topics.
    pub(super) rows_not_sent: u64,
    /// True when the next image of the state stands for itself.
    pub(super) whole: bool,
    /// What of the next image has been taken down.
    pub(super) ahead: Ahead,
    /// True when something was staged or read since the last epoch.
    pub(super) dirty: bool,
    pub(super) untold: Untold,
    pub(super) aside: Aside,
    pub(super) replaying: Replaying,
    /// When the groups' memory is measured again: that costs.
    pub(super) measure: Pace,
    /// True when rows came since.
    pub(super) unmeasured: bool,
    /// Groups held, and the bytes that they hold, when last measured.
    pub(super) held: (u64, u64),
    /// The part in what all queries hold.
    pub(super) share: Share,
    /// When it is told again with whom it reads.
    pub(super) scans_told: Pace,
    /// How many queries read with it as it was last told, itself among them; at least one.
    pub(super) reading: usize,
    /// The longest that the end of an epoch has taken of this thread at once.
    pub(super) checkpoint_pause_max: Duration,
}

/// Why a query ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was asked to, or nobody takes its rows.
    Stopped,
    /// Its limit is reached, or there is nothing more to read.
    Complete,
    /// It is to stand still, and all that it held lasts.
    Paused,
    /// It is to go on at once from what lasts.
    Again,
}

/// Where each partition begins; those that are empty are at their end.
fn partitions_of(
    begin: &Begin,
    watermarks: &mut Watermarks,
) -> BTreeMap<InputPartition, PartitionStatus> {
    let mut partitions = BTreeMap::new();
    for (place, range) in begin.partitions() {
        if range.start >= range.end {
            watermarks.reached_end(place);
        }
        let (start, end) = (Some(range.start), Some(range.end));
        let status = PartitionStatus {
            start,
            next: start,
            committed: start,
            end,
            ..Default::default()
        };
        partitions.insert(place, status);
    }
    partitions
}

impl Query {
    /// Prepares a query that reads what the wiring's inputs bring.
    pub(super) fn try_new(plan: &Arc<StreamPlan>, begin: &Begin, wiring: Wiring) -> Result<Self> {
        let Wiring {
            inputs,
            lanes,
            output,
            shared,
            surroundings,
        } = wiring;
        let sources: Vec<_> = plan
            .inputs
            .iter()
            .map(|input| Arc::new(input.source.clone()))
            .collect();
        let durable = output.is_durable();
        let mut lanes: Vec<Lane> = (0..lanes)
            .map(|_| Lane::try_new(plan, &sources, durable))
            .collect::<Result<_>>()?;
        lanes
            .iter_mut()
            .for_each(|lane| lane.share(|input| inputs.common(input)));
        let created = shared.kind != QueryKind::Live;
        let groups = Groups::open(sources.iter().map(|source| &**source), created)?;
        let aside = Aside::try_new((&shared.name, created), &surroundings.set_aside, &sources)?;
        let share = surroundings.held.share(shared.id);
        let (now, tuning) = (surroundings.clock.monotonic(), shared.dial.take());
        let mut emitter = Emitter::try_new(plan, durable, now)?;
        emitter.ignore(&mut lanes, begin.ignore_until, begin.ignore_before);
        let ids = begin.partitions();
        let ids = ids.map(|(place, _)| (place, sources[place.input].idle_timeout));
        let mut watermarks = Watermarks::new(ids, now);
        let partitions = partitions_of(begin, &mut watermarks);
        let by_time = begin.partitions().filter(|_| plan.options.by_time);
        Ok(Self {
            catch_up: by_time.map(|(place, range)| (place, range.end)).collect(),
            emitter,
            left: plan.limit,
            tuning,
            epoch: Pace::new(tuning.checkpoint_interval, now),
            renew: Pace::new(RENEW_EVERY, now),
            flush: Pace::new(FLUSH_EVERY, now),
            groups,
            plan: Arc::clone(plan),
            sources,
            topic_ids: begin.topic_ids.clone(),
            lanes,
            inputs,
            watermarks,
            output,
            shared,
            surroundings,
            partitions,
            trigger: Pace::of_trigger(tuning.trigger, now),
            epochs: 0,
            under_way: None,
            rows_not_sent: 0,
            whole: true,
            ahead: Ahead::default(),
            dirty: false,
            untold: Untold::default(),
            aside,
            replaying: Replaying::default(),
            measure: Pace::new(MEASURE_EVERY, now),
            share,
            unmeasured: false,
            held: (0, 0),
            scans_told: Pace::always(),
            reading: 1,
            checkpoint_pause_max: Duration::ZERO,
        })
    }

    /// Runs until the query is stopped, complete, or meets an error that it cannot get over.
    pub(super) fn run(&mut self) -> Result<Ended> {
        // What came back from a checkpoint counts before the first message.
        self.measure()?;
        self.publish(Counted::default(), (0, Refusals::default()), None);
        if self.left == Some(0) {
            return Ok(Ended::Complete);
        }
        loop {
            if let Some(ended) = self.obey()? {
                return Ok(ended);
            }
            if !self.inputs.has_more() {
                self.hold();
            }
            if self.shared.dial.tuning() != self.tuning && !self.shared.stopping() {
                continue;
            }
            let input = self.inputs.collect(self.wait(), self.gather())?;
            if self.shared.stopping() || self.output.is_gone() {
                self.finish_epoch()?;
                return Ok(Ended::Stopped);
            }
            if let Some(ended) = self.micro_batch(input)? {
                self.finish_epoch()?;
                return Ok(ended);
            }
        }
    }

    /// Waits for the trigger's time; what comes meanwhile waits in its bounded queue.
    fn hold(&mut self) {
        let now = || self.surroundings.clock.monotonic();
        let told = || self.shared.stopping() || self.shared.dial.tuning() != self.tuning;
        let done = || told() || self.shared.flush_wanted() || self.output.is_gone();
        while !self.trigger.is_due(now()) && !done() {
            let left = self.trigger.next(now()).saturating_sub(now());
            self.surroundings.clock.wait(left.min(HOLD_LOOK));
        }
        self.trigger.done(now());
    }

    fn micro_batch(&mut self, mut input: Collected) -> Result<Option<Ended>> {
        self.note_epoch()?;
        let before = self.positions();
        self.note_added(&input);
        self.plan.batch_time.set(self.surroundings.clock.now());
        let mut outputs = self.process(std::mem::take(&mut input.lanes))?;
        outputs.extend(self.replay()?);
        let counted = self.account(&outputs)?;
        let rows = self.emit(outputs, &input)?;
        let refusals = self.refusals()?;
        let (rows, emitted) = self.within_limit(rows)?;
        let watermark = self.watermarks.current();
        let moment = Moment {
            at: self.plan.batch_time.get(),
            watermark: (watermark > Watermark::MIN).then_some(watermark.0),
        };
        self.note_seen(before.as_ref(), &counted, &input);
        let taken = self.output.stage(rows, moment, || self.shared.stopping())?;
        self.unmeasured |= counted.messages > 0;
        self.measure()?;
        self.dirty |= counted.messages > 0 || emitted > 0;
        self.publish(counted, (emitted, refusals), Some(&input));
        if !taken {
            // What nobody took must come again: this is no end of an epoch.
            self.dirty = false;
            return Ok(Some(Ended::Stopped));
        }
        self.may_end_epoch(counted.messages)?;
        self.groups.tick();
        let complete = self.left == Some(0)
            || (self.tuning.trigger == Trigger::AvailableNow && self.is_caught_up());
        Ok(complete.then_some(Ended::Complete))
    }

    /// How much a micro-batch takes: what is there, and more of what is about to come when the query is
    /// far behind, so that each costs less a row. Little while an epoch's image is taken down.
    fn gather(&self) -> Gather {
        let reads_max = match self.ahead.is_under_way() {
            true => 1,
            false => READS_MAX,
        };
        let lag = self.partitions.values().filter_map(PartitionStatus::lag);
        let micro_batch = READS_MAX * self.lanes.len() * self.surroundings.read_max.0;
        let is_far_behind = lag.sum::<u64>() > micro_batch as u64;
        let reading = u32::try_from(self.reading).unwrap_or(u32::MAX);
        Gather {
            reads_max,
            patience: match is_far_behind {
                true => PATIENCE * reading.min(PATIENCE_TIMES_MAX),
                false => Duration::ZERO,
            },
        }
    }

    /// How long there is nothing to do unless messages come.
    fn wait(&self) -> Duration {
        let now = self.surroundings.clock.monotonic();
        let mut until = now + TICK;
        let urgent = self.output.is_urgent() && self.under_way.is_none();
        if (self.dirty && self.is_flush_due(now)) || self.has_replay() || urgent {
            return Duration::ZERO;
        }
        if self.dirty && self.shared.flush_wanted() {
            until = until.min(self.flush.next(now));
        }
        if let Some(next) = self.output.next() {
            until = until.min(now + next.max(EVERY_MIN));
        }
        if self.dirty && self.under_way.is_none() {
            until = until.min(self.epoch.next(now));
        }
        if self.unmeasured {
            until = until.min(self.measure.next(now));
        }
        if let Emission::Every(_) = self.plan.emission {
            until = until.min(self.emitter.next(now).max(now + EVERY_MIN));
        }
        if self
            .plan
            .aggregate
            .as_ref()
            .is_some_and(|a| a.window.is_some())
            && let Some(change) = self.watermarks.next_change(now, self.next_close())
        {
            until = until.min(change);
        }
        until.saturating_sub(now)
    }

    /// The watermark at which the next window closes.
    fn next_close(&self) -> Option<EventTime> {
        let next = self.emitter.next_close(&self.lanes);
        next.map(|(_, at)| at)
    }

    /// Runs each lane's messages, side by side when there are many.
    pub(super) fn process(&mut self, messages: Vec<Vec<OfInput>>) -> Result<Vec<LaneOutput>> {
        let partitions = self
            .watermarks
            .partitions()
            .map(|(id, state)| (id, (state.watermark, self.watermarks.others(id))))
            .collect();
        let standing = Standing {
            query: self.watermarks.current(),
            partitions,
        };
        if self.lanes.len() == 1 {
            // A query of one lane takes the messages of all readers.
            let messages: Vec<_> = messages.into_iter().flatten().collect();
            return Ok(vec![self.lanes[0].process(&messages, &standing)?]);
        }
        let work: Vec<_> = self
            .lanes
            .iter_mut()
            .zip(messages)
            .filter(|(_, messages)| !messages.is_empty())
            .collect();
        let rows = work.iter().flat_map(|(_, messages)| messages);
        let rows: usize = rows.map(|(_, batch)| batch.messages.messages.len()).sum();
        let process =
            |(lane, messages): (&mut Lane, Vec<OfInput>)| lane.process(&messages, &standing);
        match rows < ROWS_WORTH_A_THREAD * self.reading {
            true => work.into_iter().map(process).collect(),
            false => task::in_parallel(work, process).into_iter().collect(),
        }
    }

    /// Counts what the lanes set aside, and keeps it.
    fn account(&mut self, outputs: &[LaneOutput]) -> Result<Counted> {
        let mut sum = Counted::default();
        let at = self.surroundings.clock.now();
        for output in outputs {
            sum.messages += output.counted.messages;
            sum.rejected += output.counted.rejected;
            sum.late += output.counted.late;
            sum.passed += output.counted.passed;
            sum.bytes += output.counted.bytes;
            for (partition, next) in &output.next {
                let status = self.partitions.entry(*partition).or_default();
                (status.next, status.silent_since) = (Some(*next), Some(at));
                let greatest = output.greatest_events.get(partition).copied();
                status.greatest_event = status.greatest_event.max(greatest);
            }
            if let Some((_, last)) = output.rejected.last() {
                self.untold.rejection = Some(last.told());
            }
            self.aside.take(output, at)?;
        }
        Ok(sum)
    }

    /// Moves the watermark on and gives what is to be emitted.
    fn emit(&mut self, outputs: Vec<LaneOutput>, input: &Collected) -> Result<Vec<ChangeBatch>> {
        let now = self.surroundings.clock.monotonic();
        let mut rows = Vec::new();
        for output in outputs {
            for (partition, said) in output.said {
                let age = self.age_of(output.written_ms.get(&partition));
                self.watermarks.observe(partition, said, (now, age));
            }
            rows.extend(output.rows);
        }
        self.note_ends(input);
        let partitions = &self.partitions;
        self.catch_up.retain(|place, end| {
            let next = partitions.get(place).and_then(|status| status.next);
            next.is_none_or(|next| next < *end)
        });
        self.watermarks.catch_up(match self.tuning.trigger {
            _ if self.catch_up.is_empty() => CatchUp::Done,
            Trigger::AvailableNow => CatchUp::Finite,
            _ => CatchUp::Live,
        });
        let watermark = self.watermarks.advance(now);
        self.emitter.emit(&mut self.lanes, rows, watermark, now)
    }

    /// How long ago a message was written that has this timestamp, milliseconds since the Unix epoch; one without has just been.
    fn age_of(&self, written_ms: Option<&i64>) -> Duration {
        let written_ms = written_ms.copied().filter(|written| *written >= 0);
        let age = written_ms.map_or(0, |written| {
            let now = self.surroundings.clock.now().0;
            now.saturating_sub(written.saturating_mul(1_000))
        });
        u64::try_from(age).map_or(Duration::ZERO, Duration::from_micros)
    }

    /// Partitions that appeared hold the watermark back until they have said something, or are idle.
    fn note_added(&mut self, input: &Collected) {
        let now = self.surroundings.clock.monotonic();
        for place in &input.added {
            let idle_timeout = self.sources[place.input].idle_timeout;
            self.watermarks.add(*place, idle_timeout, now);
            let start = Some(Offset(0));
            let status = PartitionStatus {
                start,
                next: start,
                committed: start,
                ..Default::default()
            };
            self.partitions.entry(*place).or_insert(status);
        }
    }

    fn note_ends(&mut self, input: &Collected) {
        for (index, end) in &input.ends {
            let place = InputPartition {
                input: *index,
                partition: end.partition,
            };
            let status = self.partitions.entry(place).or_default();
            status.end = Some(status.end.map_or(end.next, |known| known.max(end.next)));
            // After a transaction the end lies beyond the last message.
            if status.next.is_none_or(|next| end.next >= next) {
                status.next = Some(end.next);
                self.watermarks.reached_end(place);
                self.dirty = true;
            }
        }
        for (index, end) in &input.known_ends {
            let place = InputPartition {
                input: *index,
                partition: end.partition,
            };
            let status = self.partitions.entry(place).or_default();
            status.known_end = status.known_end.max(Some(end.next));
        }
        for (place, by) in &input.fetched {
            self.partitions.entry(*place).or_default().fetched_by = Some(*by);
        }
        for (index, problem) in &input.problems {
            let behind = self.partitions.keys().filter(|place| {
                let named = problem
                    .partition
                    .is_none_or(|named| named == place.partition);
                place.input == *index && named
            });
            behind.for_each(|place| self.watermarks.behind(*place));
        }
        for status in self.partitions.values_mut() {
            status.end = status.end.max(status.next);
        }
    }

    /// The rows that the limit still allows, under the output's names. Rows that leave do not count.
    fn within_limit(&mut self, rows: Vec<ChangeBatch>) -> Result<(Vec<ChangeBatch>, u64)> {
        let mut kept = Vec::with_capacity(rows.len());
        let mut emitted = 0;
        for batch in rows {
            let (batch, added) = match self.left {
                Some(left) => batch.first(left),
                None => {
                    let added = batch.added_count();
                    (batch, added)
                }
            };
            if let Some(left) = &mut self.left {
                *left -= added;
            }
            emitted += added;
            if batch.rows().num_rows() > 0 {
                kept.push(self.named(batch)?);
            }
        }
        Ok((kept, emitted))
    }

    fn named(&self, batch: ChangeBatch) -> Result<ChangeBatch> {
        batch.map(|rows| {
            let (_, columns, rows) = rows.into_parts();
            let options = RecordBatchOptions::new().with_row_count(Some(rows));
            RecordBatch::try_new_with_options(Arc::clone(&self.plan.schema), columns, &options)
                .map_err(from_arrow)
        })
    }

    /// Whether an epoch ends because somebody waits for all that the topics hold.
    pub(super) fn is_flush_due(&self, now: Duration) -> bool {
        self.shared.flush_wanted() && (self.is_caught_up() || self.flush.is_due(now))
    }

    fn is_caught_up(&self) -> bool {
        self.partitions.values().all(|p| p.next >= p.end)
    }

    /// Rows of the result that cannot be computed; an error where a table wants that to be one.
    fn refusals(&mut self) -> Result<Refusals> {
        let refusals = self.emitter.take_refusals();
        let Some(error) = &refusals.last else {
            return Ok(refusals);
        };
        let fails = |source: &Arc<SourcePlan>| source.on_error == OnError::Fail;
        if self.sources.iter().any(fails) {
            return Err(error.clone());
        }
        let (query, count) = (&self.shared.name, refusals.count);
        tracing::warn!(query, count, %error, "rows of the result cannot be computed");
        Ok(refusals)
    }
}
