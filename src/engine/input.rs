//! A query's fetch threads and the bounded queue in which they meet it.
//!
//! ```text
//! reader of lane 0 ─┐
//! reader of lane 1 ─┴→ queue (READS_QUEUED_MAX a lane) → collect(): what is there, up to ROWS_MAX
//! ```
//! A full queue stops the readers, and they stop the fetching: that is the back-pressure.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use crate::clock;
use crate::error::{Error, Result};
use crate::plan::{SourcePlan, StreamPlan};
use crate::source::{FetchedBy, PartitionEnd, Problem, Read, Reader, ReaderOptions, Waker};
use crate::task;
use crate::types::{InputPartition, MessageBatch, MetadataColumn, Offset, PartitionId};

/// Reads that wait in the queue, a reader.
const READS_QUEUED_MAX: usize = 4;
/// Reads of one micro-batch at the most, a lane.
const READS_TAKEN_MAX: usize = 8;
/// How long a reader waits before it looks whether the query is still there.
const READ_WAIT: Duration = Duration::from_secs(1);
/// How often a topic is asked for partitions that were added.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the answer may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the broker keeps an empty fetch.
const END_WAIT: Duration = Duration::from_millis(500);

/// Brings a query its messages.
pub(super) trait Collect {
    /// Waits up to `timeout` for something and takes what is there.
    ///
    /// # Errors
    /// When nothing more can come.
    fn collect(&mut self, timeout: Duration) -> Result<Collected>;
}

/// The receiving side of all lanes.
pub(super) struct Inputs {
    queue: Receiver<Input>,
    wakers: Vec<Waker>,
    stop: Arc<AtomicBool>,
    lanes: usize,
    /// For readers that are started later.
    sender: SyncSender<Input>,
    plan: Arc<StreamPlan>,
    read_max: (usize, usize),
}

enum Input {
    Read {
        lane: usize,
        input: usize,
        read: Read,
    },
    /// The topic of an input has partitions that nobody reads.
    Grown {
        input: usize,
        partitions: Vec<PartitionId>,
    },
    /// Who fetches the messages of some partitions from now on.
    Fetched {
        input: usize,
        partitions: Arc<[PartitionId]>,
        by: FetchedBy,
    },
    Failed(Error),
    Wake,
}

/// Ends the wait of a query.
#[derive(Debug, Clone)]
pub(super) struct WakeQuery(SyncSender<Input>);

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Read { .. } => "Read",
            Self::Grown { .. } => "Grown",
            Self::Fetched { .. } => "Fetched",
            Self::Failed(_) => "Failed",
            Self::Wake => "Wake",
        })
    }
}

impl WakeQuery {
    /// Wakes it; if its queue is full it is awake.
    pub(super) fn wake(&self) {
        let _ = self.0.try_send(Input::Wake);
    }
}

/// What the lanes had ready.
pub(super) struct Collected {
    /// Messages by lane, each batch with its input's number.
    pub lanes: Vec<Vec<(usize, MessageBatch)>>,
    /// Partitions that stood at their end at some moment, with their input.
    pub ends: Vec<(usize, PartitionEnd)>,
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
            problems: Vec::new(),
            added: Vec::new(),
            fetched: Vec::new(),
        }
    }
}

impl Inputs {
    /// Starts a reader for each assignment; there are so many lanes.
    pub(super) fn open(
        plan: &Arc<StreamPlan>,
        assignments: &[Assignment],
        lanes: usize,
        read_max: (usize, usize),
    ) -> Result<(Self, WakeQuery)> {
        let (sender, queue) = sync_channel(READS_QUEUED_MAX * assignments.len().max(1));
        let mut inputs = Self {
            queue,
            wakers: Vec::with_capacity(assignments.len()),
            stop: Arc::default(),
            lanes,
            sender: sender.clone(),
            plan: Arc::clone(plan),
            read_max,
        };
        let mut watched = BTreeSet::new();
        for assignment in assignments {
            let of_input = || assignments.iter().filter(|a| a.input == assignment.input);
            // One reader of each input looks for partitions that are added.
            let known = watched.insert(assignment.input).then(|| {
                let partitions = of_input().flat_map(|a| &a.partitions);
                partitions.map(|(partition, _)| *partition).collect()
            });
            inputs.start(assignment, of_input().count(), known)?;
        }
        Ok((inputs, WakeQuery(sender)))
    }

    fn start(
        &mut self,
        assignment: &Assignment,
        readers: usize,
        known: Option<BTreeSet<PartitionId>>,
    ) -> Result<()> {
        let source = &self.plan.inputs[assignment.input].source;
        let partitions = assignment.partitions.clone();
        let ids = partitions.iter().map(|(partition, _)| *partition);
        let ids: Arc<[PartitionId]> = ids.collect();
        let reader = Reader::open(options(source, partitions, self.read_max))?;
        self.wakers.push(reader.waker());
        let fetch = Fetch {
            lane: assignment.lane,
            input: assignment.input,
            queue: self.sender.clone(),
            stop: Arc::clone(&self.stop),
            rows_per_second: source
                .max_rows_per_second
                .map(|rate| (f64::from(rate) / readers as f64).max(1.0)),
            known,
            looked_at: clock::instant(),
            partitions: ids,
            told: None,
        };
        task::spawn_thread(&format!("fetch {}", source.scan.table), move || {
            fetch.run(reader)
        })
        .map(drop)
        .map_err(|error| Error::internal(format!("no thread to fetch on: {error}")))
    }

    /// Reads partitions that were added, each from its first message on.
    fn add(&mut self, input: usize, partitions: &[PartitionId]) -> Result<Vec<InputPartition>> {
        let lane = lane_of(partitions[0], self.lanes);
        let table = &self.plan.inputs[input].source.scan.table;
        tracing::info!(table = %table, partitions = partitions.len(), "partitions added");
        let assignment = Assignment {
            lane,
            input,
            partitions: partitions.iter().map(|p| (*p, Offset(0))).collect(),
        };
        self.start(&assignment, 1, None)?;
        let added = partitions.iter();
        Ok(added
            .map(|partition| InputPartition {
                input,
                partition: *partition,
            })
            .collect())
    }
}

impl Collect for Inputs {
    fn collect(&mut self, timeout: Duration) -> Result<Collected> {
        let mut collected = Collected::nothing(self.lanes);
        let mut reads = 0;
        let mut next = match self.queue.recv_timeout(timeout) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Err(readers_gone()),
        };
        while let Some(input) = next {
            match input {
                Input::Read { lane, input, read } => {
                    reads += 1;
                    if !read.batch.messages.is_empty() {
                        collected.lanes[lane].push((input, read.batch));
                    }
                    let ends = read.ends.into_iter();
                    collected.ends.extend(ends.map(|end| (input, end)));
                    let problems = read.problems.into_iter();
                    collected
                        .problems
                        .extend(problems.map(|problem| (input, problem)));
                }
                Input::Grown { input, partitions } => {
                    collected.added.extend(self.add(input, &partitions)?);
                }
                Input::Fetched {
                    input,
                    partitions,
                    by,
                } => {
                    let place = |partition: &PartitionId| InputPartition {
                        input,
                        partition: *partition,
                    };
                    let fetched = partitions.iter().map(|partition| (place(partition), by));
                    collected.fetched.extend(fetched);
                }
                Input::Failed(error) => return Err(error),
                Input::Wake => {}
            }
            if reads >= READS_TAKEN_MAX * self.lanes {
                break;
            }
            next = match self.queue.try_recv() {
                Ok(input) => Some(input),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return Err(readers_gone()),
            };
        }
        Ok(collected)
    }
}

impl Drop for Inputs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for waker in &self.wakers {
            waker.wake();
        }
    }
}

/// Who of so many lanes takes the messages of a partition that was added.
pub(super) fn lane_of(partition: PartitionId, lanes: usize) -> usize {
    partition.0.unsigned_abs() as usize % lanes
}

fn readers_gone() -> Error {
    Error::internal("the query's readers have ended")
}

fn options(
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

/// One fetch thread.
struct Fetch {
    lane: usize,
    input: usize,
    queue: SyncSender<Input>,
    stop: Arc<AtomicBool>,
    rows_per_second: Option<f64>,
    /// The partitions that are read, if this thread looks for others.
    known: Option<BTreeSet<PartitionId>>,
    /// When it looked last.
    looked_at: Instant,
    /// Those that it reads, and who was last told to fetch them.
    partitions: Arc<[PartitionId]>,
    told: Option<FetchedBy>,
}

impl Fetch {
    fn run(mut self, mut reader: Reader) {
        while !self.stop.load(Ordering::Acquire) {
            self.look_for_partitions(&mut reader);
            self.tell_who_fetches(&reader);
            let began = clock::instant();
            let read = match reader.read(READ_WAIT) {
                Ok(read) => read,
                Err(error) => {
                    let _ = self.queue.send(Input::Failed(error));
                    return;
                }
            };
            let rows = read.batch.messages.len();
            if rows == 0 && read.ends.is_empty() && read.problems.is_empty() {
                continue;
            }
            if self
                .queue
                .send(Input::Read {
                    lane: self.lane,
                    input: self.input,
                    read,
                })
                .is_err()
            {
                return; // The query is gone.
            }
            if let Some(rate) = self.rows_per_second {
                let due = Duration::from_secs_f64(rows as f64 / rate);
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
        }
    }

    fn tell_who_fetches(&mut self, reader: &Reader) {
        let by = reader.fetched_by();
        if self.told != Some(by) {
            self.told = Some(by);
            let _ = self.queue.send(Input::Fetched {
                input: self.input,
                partitions: Arc::clone(&self.partitions),
                by,
            });
        }
    }

    fn look_for_partitions(&mut self, reader: &mut Reader) {
        let Some(known) = &mut self.known else { return };
        if self.looked_at.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked_at = clock::instant();
        let found = reader.partitions(LOOK_TIMEOUT).unwrap_or_default();
        let added: Vec<PartitionId> = found.into_iter().filter(|p| known.insert(*p)).collect();
        if !added.is_empty() {
            let _ = self.queue.send(Input::Grown {
                input: self.input,
                partitions: added,
            });
        }
    }
}
