//! How a query gets its messages: its part in reading each of its topics, and what comes of that.
//!
//! ```text
//! scans ──→ queue (bounded in bytes) → parts → collect(): what is there, by lane
//! ```
//! A full queue stops the scans, and they stop the fetching: that is the back-pressure.

use std::sync::Arc;
use std::time::Duration;

use super::shared_scan::{Common, Fetched, Manner, Note, Part, Passed, Queue, SharedScans};
use super::status::ScanStatus;
use crate::clock;
use crate::error::Result;
use crate::plan::{SourcePlan, StreamPlan};
use crate::source::{FetchedBy, PartitionEnd, Problem, ReaderOptions};
use crate::types::{InputPartition, MetadataColumn, Offset, PartitionId};

/// Reads that wait in the queue, a lane.
const READS_QUEUED_MAX: usize = 4;
/// How long the broker keeps an empty fetch.
const END_WAIT: Duration = Duration::from_millis(500);

/// How much is taken at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gather {
    /// Reads a lane at the most.
    pub reads_max: usize,
    /// How long it is waited for further reads when one was there.
    pub patience: Duration,
}

/// Brings a query its messages.
pub(super) trait Collect {
    /// Waits up to `timeout` for something and takes what is there.
    ///
    /// # Errors
    /// When nothing more can come.
    fn collect(&mut self, timeout: Duration, gather: Gather) -> Result<Collected>;

    /// Of these partitions messages are wanted next, where what comes can be chosen.
    fn want(&mut self, _partitions: &[InputPartition]) {}

    /// True if what has come is not all given out.
    fn has_more(&self) -> bool {
        false
    }

    /// By whom they are read.
    fn scans(&self) -> Vec<ScanStatus> {
        Vec::new()
    }

    /// What the plan of an input may have in common with others.
    fn common(&self, _input: usize) -> Common {
        Common::default()
    }
}

/// The receiving side of all lanes.
pub(super) struct Inputs {
    scans: Arc<SharedScans>,
    queue: Arc<Queue>,
    lanes: usize,
    plan: Arc<StreamPlan>,
    read_max: (usize, usize),
    manner: Manner,
    parts: Vec<InputPart>,
}

/// A part in reading some partitions of an input.
struct InputPart {
    input: usize,
    /// The lane of each scan.
    lanes: Vec<usize>,
    /// Its partitions.
    partitions: Vec<PartitionId>,
    part: Part,
}

/// Ends the wait of a query.
#[derive(Clone)]
pub(super) struct WakeQuery(Arc<Queue>);

impl std::fmt::Debug for WakeQuery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WakeQuery")
    }
}

impl WakeQuery {
    /// Wakes it.
    pub(super) fn wake(&self) {
        self.0.wake();
    }
}

/// Messages of an input.
pub(super) type OfInput = (usize, Arc<Fetched>);

/// What the lanes had ready.
pub(super) struct Collected {
    /// Messages by lane, each batch with its input's number.
    pub lanes: Vec<Vec<OfInput>>,
    /// Partitions that stood at their end at some moment, with their input.
    pub ends: Vec<(usize, PartitionEnd)>,
    /// Where partitions end as far as that is known, with their input.
    pub known_ends: Vec<(usize, PartitionEnd)>,
    /// Trouble that passes by itself, with the input.
    pub problems: Vec<(usize, Problem)>,
    /// Partitions that were added to a topic, and are read from now on.
    pub added: Vec<InputPartition>,
    /// Who fetches which partition from now on.
    pub fetched: Vec<(InputPartition, FetchedBy)>,
}

impl Collected {
    /// Nothing, for so many lanes.
    pub(super) fn nothing(lanes: usize) -> Self {
        Self {
            lanes: (0..lanes).map(|_| Vec::new()).collect(),
            ends: Vec::new(),
            known_ends: Vec::new(),
            problems: Vec::new(),
            added: Vec::new(),
            fetched: Vec::new(),
        }
    }
}

impl Inputs {
    /// Begins to read each assignment; there are so many lanes. So many messages and bytes come of one
    /// read at the most.
    pub(super) fn open(
        scans: &Arc<SharedScans>,
        plan: &Arc<StreamPlan>,
        assignments: &[Assignment],
        lanes: usize,
        (read_max, manner): ((usize, usize), Manner),
    ) -> Result<(Self, WakeQuery)> {
        let readers = assignments.len().max(1);
        let queue = Arc::new(Queue::new(READS_QUEUED_MAX * readers * read_max.1));
        let mut inputs = Self {
            scans: Arc::clone(scans),
            queue: Arc::clone(&queue),
            lanes,
            plan: Arc::clone(plan),
            read_max,
            manner,
            parts: Vec::new(),
        };
        for input in 0..plan.inputs.len() {
            let of_input = assignments.iter().filter(|a| a.input == input);
            inputs.start(input, of_input.cloned().collect())?;
        }
        Ok((inputs, WakeQuery(queue)))
    }

    fn start(&mut self, input: usize, assignments: Vec<Assignment>) -> Result<()> {
        let source = &self.plan.inputs[input].source;
        let lanes = assignments
            .iter()
            .map(|assignment| assignment.lane)
            .collect();
        let all = assignments
            .iter()
            .flat_map(|assignment| &assignment.partitions);
        let partitions = all.map(|(partition, _)| *partition).collect();
        let readers = assignments.into_iter();
        let readers = readers.map(|a| options(source, a.partitions, self.read_max));
        let readers = readers.collect();
        let common = Common::of(&self.plan, input, self.manner.is_created());
        let (queue, source) = (&self.queue, (source, common));
        let part = Part::begin(&self.scans, queue, source, readers, self.manner)?;
        self.parts.push(InputPart {
            input,
            lanes,
            partitions,
            part,
        });
        Ok(())
    }

    /// Reads partitions that were added, each from its first message on.
    fn add(
        &mut self,
        input: usize,
        mut partitions: Vec<PartitionId>,
    ) -> Result<Vec<InputPartition>> {
        let known = self.parts.iter().filter(|part| part.input == input);
        let known: Vec<PartitionId> = known.flat_map(|part| part.partitions.clone()).collect();
        partitions.retain(|partition| !known.contains(partition));
        let Some(first) = partitions.first() else {
            return Ok(Vec::new());
        };
        let lane = lane_of(*first, self.lanes);
        let table = &self.plan.inputs[input].source.scan.table;
        tracing::info!(table = %table, partitions = partitions.len(), "partitions added");
        let assignment = Assignment {
            lane,
            input,
            partitions: partitions.iter().map(|p| (*p, Offset(0))).collect(),
        };
        self.start(input, vec![assignment])?;
        let added = partitions.into_iter();
        Ok(added
            .map(|partition| InputPartition { input, partition })
            .collect())
    }

    /// Takes what a scan has told; true when it was a read.
    fn take(&mut self, note: Note, collected: &mut Collected) -> Result<bool> {
        let Some(membership) = note.membership() else {
            return Ok(false);
        };
        let is_read = matches!(note, Note::Read { .. });
        // What comes late of a group that was left is for nobody.
        let part = self.parts.iter_mut().find(|part| part.part.has(membership));
        let Some(InputPart {
            input, lanes, part, ..
        }) = part
        else {
            return Ok(false);
        };
        let (input, mut passed) = (*input, Passed::default());
        part.take(note, &mut passed)?;
        for (scan, batch) in passed.batches {
            collected.lanes[lanes[scan]].push((input, batch));
        }
        let ends = passed.ends.into_iter().map(|end| (input, end));
        collected.ends.extend(ends);
        let known_ends = passed.known_ends.into_iter().map(|end| (input, end));
        collected.known_ends.extend(known_ends);
        let problems = passed.problems.into_iter();
        collected
            .problems
            .extend(problems.map(|problem| (input, problem)));
        let fetched = passed.fetched.into_iter();
        let fetched = fetched.map(|(partition, by)| (InputPartition { input, partition }, by));
        collected.fetched.extend(fetched);
        if !passed.grown.is_empty() {
            collected.added.extend(self.add(input, passed.grown)?);
        }
        Ok(is_read)
    }
}

impl Collect for Inputs {
    fn collect(&mut self, timeout: Duration, gather: Gather) -> Result<Collected> {
        for part in &mut self.parts {
            part.part.look();
        }
        let mut collected = Collected::nothing(self.lanes);
        let mut reads = 0;
        let mut next = self.queue.take(timeout);
        let until = clock::instant() + gather.patience;
        let reads_max = gather.reads_max * self.lanes;
        while let Some(note) = next {
            reads += usize::from(self.take(note, &mut collected)?);
            if reads >= reads_max {
                break;
            }
            next = self.queue.take(Duration::ZERO);
            if next.is_none() && reads > 0 && !gather.patience.is_zero() {
                self.queue.await_more(reads_max - reads, until);
                next = self.queue.take(Duration::ZERO);
            }
        }
        Ok(collected)
    }

    fn scans(&self) -> Vec<ScanStatus> {
        let scans = self.parts.iter().map(|InputPart { input, part, .. }| {
            let (group, queries) = part.group();
            ScanStatus {
                input: *input,
                group,
                queries,
                alike: part.alike(),
            }
        });
        scans.collect()
    }

    fn common(&self, input: usize) -> Common {
        let part = self.parts.iter().find(|part| part.input == input);
        part.map_or_else(Common::default, |part| part.part.common().clone())
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// Who of so many lanes takes the messages of a partition that was added.
pub(super) fn lane_of(partition: PartitionId, lanes: usize) -> usize {
    partition.0.unsigned_abs() as usize % lanes
}

/// What the reader of some partitions of a source is asked.
pub(super) fn options(
    source: &SourcePlan,
    assignment: Vec<(PartitionId, Offset)>,
    (rows_max, bytes_max): (usize, usize),
) -> ReaderOptions {
    let wants = |column| {
        source
            .scan
            .columns
            .iter()
            .any(|c| c.origin == crate::plan::ScanOrigin::Metadata(column))
    };
    // A message that may go to another topic goes there whole.
    let goes_on = source.dead_letter_topic.is_some() || source.late_topic.is_some();
    let paced = source
        .max_rows_per_second
        .map_or(rows_max, |rate| rate as usize / 10 + 1);
    ReaderOptions {
        connection: source.scan.connection.clone(),
        topic: source.scan.topic.clone(),
        assignment,
        read_committed: source.scan.read_committed,
        with_keys: goes_on || wants(MetadataColumn::Key),
        with_headers: goes_on || wants(MetadataColumn::Headers),
        rows_max: rows_max.min(paced),
        bytes_max,
        end_wait: END_WAIT,
        fetch: source.scan.fetch,
    }
}

/// The partitions that one reader reads, and who takes its messages.
#[derive(Debug, Clone)]
pub(super) struct Assignment {
    /// The lane.
    pub lane: usize,
    /// The input.
    pub input: usize,
    /// Each partition with its first offset.
    pub partitions: Vec<(PartitionId, Offset)>,
}
