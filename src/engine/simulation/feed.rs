//! Stands in for a query's fetch threads, and is where a simulated world moves on: between two
//! micro-batches.
//!
//! Invariant: the messages of a partition come in the order of their offsets, each once a try.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::buffer::MutableBuffer;
use arrow::datatypes::{DataType, Field, Schema};

use super::follower::Follower;
use super::topic::{Entry, Event, Topics};
use super::world::World;
use crate::engine::committer::ByHand;
use crate::engine::input::{Collect, Collected, Gather, lane_of};
use crate::engine::shared_scan::{Common, Fetched, Prefix, UnionDecode};
use crate::engine::status::QueryShared;
use crate::error::Result;
use crate::plan::{ScanColumn, ScanOrigin, ScanSpec, StreamPlan};
use crate::source::{PartitionEnd, Problem};
use crate::types::{InputPartition, Message, MessageBatch, Offset, PartitionId, PathStep, Span};

/// Between two micro-batches the process dies, and the source fails, once in so many times.
const FAULTS: u64 = 80;
/// A run that needs more steps does not come to an end.
const STEPS_MAX: usize = 5_000;
/// Steps after the last message, in which windows close and epochs end.
const LAST_STEPS: usize = 3;
/// A column that only another query reads.
const OTHER: &str = "w";

/// Brings the messages of simulated topics.
pub(super) struct Feed {
    pub world: Arc<World>,
    pub topics: Arc<Mutex<Topics>>,
    pub shared: Arc<QueryShared>,
    /// The last epoch that was said to last.
    pub told: Arc<Mutex<u64>>,
    pub lanes: usize,
    pub reading: BTreeMap<InputPartition, Reading>,
    /// Who makes epochs last.
    pub hand: Option<ByHand>,
    /// Who follows the view, if it is one.
    pub follower: Option<Arc<Mutex<Follower>>>,
    /// Stops before it brings anything.
    pub only_looks: bool,
    pub steps: usize,
    /// Steps in which nothing was left to read.
    pub quiet: usize,
    /// Somebody waits for a FLUSH.
    pub flushes: bool,
    /// For each input how its messages are decoded when others read them too.
    pub shared_reads: Vec<SharedReads>,
}

/// Makes of messages what a scan makes of them that has several members.
pub(super) struct SharedReads {
    decode: UnionDecode,
    common: Common,
}

impl SharedReads {
    /// For an input of a plan whose query is created.
    pub(super) fn of(plan: &StreamPlan, input: usize) -> Result<Self> {
        let spec = &plan.inputs[input].source.scan;
        let mut decode = UnionDecode::of([spec, &of_another(spec)].into_iter())?;
        let prefix = Prefix::of(plan, input, true).map(Prefix::for_any_batch);
        let common = Common {
            prefix: prefix.map(Arc::new),
            ..Common::of(plan, input, true)
        };
        decode.share_all(&common);
        Ok(Self { decode, common })
    }
}

/// The scan of a query that reads a column besides, which is not always what it should be.
fn of_another(spec: &ScanSpec) -> ScanSpec {
    let field = Arc::new(Field::new(OTHER, DataType::Int64, true));
    let path = vec![PathStep::Key(OTHER.to_owned())];
    let raw_json = false;
    let mut other = spec.clone();
    other.columns.push(ScanColumn {
        field,
        origin: ScanOrigin::Payload { path, raw_json },
    });
    let fields: Vec<_> = other.columns.iter().map(|c| Arc::clone(&c.field)).collect();
    other.schema = Arc::new(Schema::new(fields));
    other
}

/// How a partition is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub lane: usize,
    pub next: Offset,
}

impl Collect for Feed {
    fn collect(&mut self, timeout: Duration, _gather: Gather) -> Result<Collected> {
        self.steps += 1;
        assert!(self.steps < STEPS_MAX, "a run comes to an end");
        self.look();
        if self.only_looks {
            self.shared.stop();
            return Ok(Collected::nothing(self.lanes));
        }
        self.world.may_crash(FAULTS, "between two micro-batches");
        self.work();
        self.meddle();
        self.world.may_refuse(FAULTS, "the source fails")?;
        let mut collected = Collected::nothing(self.lanes);
        self.grow(&mut collected);
        self.read(&mut collected);
        self.pass(timeout, &collected);
        if self.quiet > LAST_STEPS {
            self.shared.stop();
        }
        Ok(collected)
    }

    fn common(&self, input: usize) -> Common {
        self.shared_reads[input].common.clone()
    }
}

impl Feed {
    fn topics<T>(&self, of: impl FnOnce(&mut Topics) -> T) -> T {
        of(&mut self.topics.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes where the query stands, and checks that every message became something.
    fn look(&mut self) {
        let status = self.shared.status();
        let watermark = status.watermark.map(|watermark| watermark.0);
        self.world.note(format!(
            "in {} used {} rejected {} late {} out {} epoch {} watermark {watermark:?}",
            status.rows_in,
            status.rows_used,
            status.rows_rejected,
            status.rows_late,
            status.rows_out,
            status.epochs
        ));
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        *told = (*told).max(status.epochs);
        drop(told);
        let (mut messages, mut broken) = (0, 0);
        for (place, partition) in &status.partitions {
            let next = partition.next.unwrap_or(Offset(0));
            let before = self.topics(|topics| topics.before(place.input, place.partition, next));
            (messages, broken) = (messages + before.0, broken + before.1);
        }
        assert_eq!(
            (status.rows_in, status.rows_rejected),
            (messages, broken),
            "each message that was read is counted once"
        );
        assert_eq!(
            status.rows_in,
            status.rows_used + status.rows_rejected + status.rows_late,
            "rows in = used + rejected + late"
        );
        if let Some(follower) = &self.follower {
            let mut follower = follower.lock().unwrap_or_else(PoisonError::into_inner);
            follower.look();
        }
    }

    /// Some of what was handed over is done.
    fn work(&self) {
        let Some(hand) = &self.hand else { return };
        while !self.world.once_in(3) && hand.step() {}
    }

    /// What people and machines do to a server that runs.
    fn meddle(&mut self) {
        if self.world.once_in(40) {
            self.world.jump();
        }
        if self.world.once_in(30) {
            self.flushes = !self.flushes;
            self.world.note(format!("  flush {}", self.flushes));
            self.shared.flush_waits(self.flushes);
        }
    }

    /// Something is written into the topics, and partitions appear.
    fn grow(&mut self, collected: &mut Collected) {
        let world = Arc::clone(&self.world);
        self.topics(|topics| topics.grow(|below| world.place(below)));
        let inputs = self.reading.keys().map(|place| place.input).max();
        for input in 0..=inputs.unwrap_or(0) {
            for range in self.topics(|topics| topics.ranges(input)) {
                let partition = range.partition;
                let place = InputPartition { input, partition };
                if self.reading.contains_key(&place) || self.world.once_in(2) {
                    continue;
                }
                self.world.note(format!("  added {input}/{}", partition.0));
                let (lane, next) = (lane_of(partition, self.lanes), range.start);
                self.reading.insert(place, Reading { lane, next });
                collected.added.push(place);
            }
        }
    }

    /// Brings some of what is there, and says where partitions end.
    fn read(&mut self, collected: &mut Collected) {
        let places: Vec<InputPartition> = self.reading.keys().copied().collect();
        // A read of a lane has messages of one or of several of its partitions.
        let mut reads: BTreeMap<(usize, usize), Vec<Placed>> = BTreeMap::new();
        for _ in 0..places.len() + self.world.place(3) {
            let Some(place) = places.get(self.world.place(places.len())) else {
                break;
            };
            let read = reads.entry((self.reading[place].lane, place.input));
            let read = read.or_default();
            self.read_one(*place, read, collected);
            if self.world.once_in(2) {
                let read = std::mem::take(read);
                self.put(collected, (self.reading[place].lane, place.input), &read);
            }
        }
        for ((lane, input), read) in reads {
            self.put(collected, (lane, input), &read);
        }
        let mut is_whole = true;
        for place in places {
            is_whole &= self.tell_end(place, collected);
        }
        self.come_to_the_end(is_whole);
    }

    fn read_one(
        &mut self,
        place: InputPartition,
        read: &mut Vec<Placed>,
        collected: &mut Collected,
    ) {
        let InputPartition { input, partition } = place;
        if self.world.fault(10 * FAULTS, "a broker does not answer") {
            let partition = self.world.once_in(2).then_some(partition);
            let message = "no answer".to_owned();
            collected
                .problems
                .push((input, Problem { partition, message }));
        }
        let Reading { lane, next } = self.reading[&place];
        let count = self.world.place(9);
        let entries = self.topics(|topics| topics.entries(input, partition, next, count));
        let Some((last, _)) = entries.last() else {
            return;
        };
        let reached = Offset(last.0 + 1);
        self.world.note(format!(
            "  read {input}/{} {}..{} lane {lane}",
            partition.0, next.0, reached.0
        ));
        let entries = entries.into_iter();
        read.extend(entries.map(|(offset, entry)| (partition, offset, entry)));
        let next = reached;
        self.reading.insert(place, Reading { lane, next });
    }

    /// True when a partition is read to its end, which is told sooner or later.
    fn tell_end(&self, place: InputPartition, collected: &mut Collected) -> bool {
        let InputPartition { input, partition } = place;
        let next = self.reading[&place].next;
        let ranges = self.topics(|topics| topics.ranges(input));
        let range = ranges.iter().find(|range| range.partition == partition);
        let at_end = range.is_some_and(|range| range.end == next);
        if at_end && !self.world.once_in(3) {
            collected
                .ends
                .push((input, PartitionEnd { partition, next }));
        }
        at_end
    }

    /// Hands over a read, as one of this query alone or as one of several.
    fn put(&mut self, collected: &mut Collected, (lane, input): (usize, usize), read: &[Placed]) {
        let batch = batch(read);
        if batch.messages.is_empty() {
            return;
        }
        let fetched = match self.world.once_in(2) {
            true => Fetched::new(batch),
            false => {
                let decode = &mut self.shared_reads[input].decode;
                decode.decode(batch).expect("the batch itself is whole")
            }
        };
        collected.lanes[lane].push((input, Arc::new(fetched)));
    }

    /// When all is read, the last rows come; and when those are read, the run ends.
    fn come_to_the_end(&mut self, is_whole: bool) {
        let partitions = self.topics(|topics| topics.partitions());
        let is_whole = is_whole && self.reading.len() == partitions;
        if !is_whole || !self.topics(|topics| topics.is_all_shown()) {
            self.quiet = 0;
        } else if self.topics(Topics::begin_last) {
            self.world.note("  the last rows come");
        } else {
            self.quiet += 1;
        }
    }

    /// Time passes while the query waits.
    fn pass(&self, timeout: Duration, collected: &Collected) {
        let came = collected.lanes.iter().any(|lane| !lane.is_empty());
        let part = u32::try_from(self.world.below(100)).unwrap_or(0);
        self.world.pass(match came {
            true => timeout * part / 100,
            false => timeout.max(Duration::from_millis(1)),
        });
        if self.world.once_in(100) {
            self.world.long_pause();
        }
    }
}

/// An entry, and where it lies.
type Placed = (PartitionId, Offset, Entry);

/// Entries as a source gives them.
fn batch(entries: &[Placed]) -> MessageBatch {
    let mut buffer = MutableBuffer::new(1_024);
    let mut messages = Vec::new();
    for (partition, offset, entry) in entries {
        let (text, timestamp_ms) = match entry {
            Entry::Row(event) => (text_of(event), event.at / 1_000),
            Entry::Broken(text) => ((*text).to_owned(), -1),
            Entry::Mark => continue,
        };
        let start = u32::try_from(buffer.len()).expect("it is small");
        let len = u32::try_from(text.len()).expect("it is small");
        buffer.extend_from_slice(text.as_bytes());
        messages.push(Message {
            partition: *partition,
            offset: *offset,
            timestamp_ms,
            key: None,
            payload: Some(Span { start, len }),
            headers: None,
        });
    }
    buffer.extend_from_slice(&[0_u8; MessageBatch::PADDING]);
    MessageBatch {
        buffer: buffer.into(),
        messages,
    }
}

fn text_of(event: &Event) -> String {
    let at = chrono::DateTime::from_timestamp_micros(event.at).expect("it is a time of these days");
    let at = at.format("%Y-%m-%d %H:%M:%S%.6f");
    let other = match event.value % 16 {
        0 => "\"none\"",
        _ => "7",
    };
    format!(
        "{{\"k\":\"{}\",\"v\":{},\"at\":\"{at}\",\"{OTHER}\":{other}}}",
        event.key, event.value
    )
}
