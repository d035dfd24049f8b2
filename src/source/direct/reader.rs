//! Reads the messages of some partitions of one topic from their leaders.
//!
//! ```text
//! leaders (who leads?) ─┐
//! node 1 ── answer ─────┼→ ready ─→ chunk ─→ read(): up to rows_max messages, in place
//! node 2 ── answer ─────┘
//! ```
//! All of it runs on the caller's thread, while it reads. Keeps offsets only to ask for the next
//! messages, commits nothing. Invariant: within a partition messages come in offset order, each once;
//! a lost connection is a [`Problem`], never an error, and reading goes on where it stood.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::buffer::Buffer;
use mio::{Events, Poll};

use super::Stop;
use super::backoff::Backoff;
use super::batch::Fault;
use super::delivery::{Chunk, Delivery, Unreadable, Wish};
use super::leaders::Leaders;
use super::node::Node;
use super::protocol::Wanted;
use super::setup::Setup;
use super::signal::{DirectWaker, Signal};
use crate::clock;
use crate::error::Error;
use crate::source::kafka::errors::corrupt;
use crate::source::read::{PartitionEnd, Problem, Read, ReaderOptions, WhyLibrary};
use crate::types::{MessageBatch, Offset, PartitionId};

/// Sockets that are told of at once; more wait for the next time.
const EVENTS_MAX: usize = 64;
/// A wait that is over already is made this long: what is due is done, so waiting for it again would
/// only keep a processor busy.
const WAIT_MIN: Duration = Duration::from_millis(1);
/// The longest wait at once.
const WAIT_MAX: Duration = Duration::from_secs(3600);
/// Problems kept until they are taken; more are dropped.
const PROBLEMS_MAX: usize = 64;
/// For so long a partition that was read is asked again before its offset is taken for gone.
const DENIED_MAX: Duration = Duration::from_secs(3);

/// Reads messages.
#[derive(Debug)]
pub(crate) struct DirectReader {
    pub(super) options: ReaderOptions,
    pub(super) setup: Arc<Setup>,
    poll: Poll,
    events: Events,
    pub(super) signal: Arc<Signal>,
    pub(super) leaders: Leaders,
    pub(super) nodes: BTreeMap<i32, Node>,
    pub(super) parts: Vec<Part>,
    /// Answers in the order in which they came.
    pub(super) ready: VecDeque<Delivery>,
    /// What is being handed out of the first of them.
    chunk: Option<Chunk>,
    pub(super) problems: Vec<Problem>,
    /// What ended the reading while it was asked something else.
    stop: Option<Stop>,
    wish: Wish,
}

/// A partition that is read.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) id: PartitionId,
    /// The offset to fetch next.
    pub(super) next: i64,
    pub(super) leader: Option<i32>,
    pub(super) backoff: Backoff,
    /// The end that was told last: it is told once.
    pub(super) end_told: Option<i64>,
    /// Its leader denies that it exists.
    pub(super) is_doubted: bool,
    /// Since when leaders deny that its offset exists.
    pub(super) denied_since: Option<Instant>,
    /// Bytes to ask for, once a batch was larger than the usual.
    pub(super) bytes_max: Option<i32>,
    /// The end that its leader told last, whether it is read up to there or not.
    pub(super) known_end: Option<i64>,
}

impl Part {
    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.is_doubted && self.backoff.is_over(now)
    }

    /// True when a leader's word that the offset does not exist is to be believed. One that has just
    /// become the leader may not know yet how far the one before had come.
    pub(super) fn is_gone(&mut self, now: Instant) -> bool {
        let since = *self.denied_since.get_or_insert(now);
        self.known_end.is_none() || now.duration_since(since) >= DENIED_MAX
    }

    /// Its leader has answered.
    pub(super) fn answered(&mut self) {
        self.backoff.succeeded();
        self.denied_since = None;
    }

    /// Its end, when it stands there and that is not told yet.
    pub(super) fn end(&mut self, limit: i64) -> Option<PartitionEnd> {
        let is_new = self.next >= limit && self.end_told != Some(self.next);
        is_new.then(|| {
            self.end_told = Some(self.next);
            PartitionEnd {
                partition: self.id,
                next: Offset(self.next),
            }
        })
    }

    /// Asks for more bytes than the last time, which gave no whole batch.
    pub(super) fn grow(&mut self, announced: Option<usize>, asked: &Wanted, bytes_max: usize) {
        let doubled = asked.bytes_max.saturating_mul(2);
        let announced = announced.and_then(|bytes| i32::try_from(bytes).ok());
        let bytes_max = i32::try_from(bytes_max).unwrap_or(i32::MAX);
        self.bytes_max = Some(announced.unwrap_or(doubled).max(doubled).min(bytes_max));
    }
}

impl DirectReader {
    /// Begins to read; does not wait for a broker.
    ///
    /// # Errors
    /// What a property is refused for, or why this is for librdkafka.
    pub(crate) fn open(options: &ReaderOptions) -> Result<Self, Stop> {
        let setup = Setup::of(options)?;
        let no_poll =
            |error| Stop::Failed(Error::internal(format!("waiting for sockets: {error}")));
        let poll = Poll::new().map_err(no_poll)?;
        let signal = Signal::new(poll.registry()).map_err(no_poll)?;
        let parts = options.assignment.iter().map(|(id, next)| Part {
            id: *id,
            next: next.0,
            leader: None,
            backoff: Backoff::default(),
            end_told: None,
            known_end: None,
            is_doubted: false,
            denied_since: None,
            bytes_max: None,
        });
        Ok(Self {
            parts: parts.collect(),
            setup: Arc::new(setup),
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            signal,
            leaders: Leaders::new(),
            nodes: BTreeMap::new(),
            ready: VecDeque::new(),
            chunk: None,
            problems: Vec::new(),
            stop: None,
            wish: Wish {
                keys: options.with_keys,
                headers: options.with_headers,
                rows_max: options.rows_max,
                bytes_max: options.bytes_max,
                read_committed: options.read_committed,
            },
            options: options.clone(),
        })
    }

    /// Waits up to `timeout` for messages, an end or a problem.
    ///
    /// # Errors
    /// What does not pass by itself, or why reading is to go on by librdkafka.
    pub(crate) fn read(&mut self, timeout: Duration) -> Result<Read, Stop> {
        let began = clock::instant();
        let until = began.checked_add(timeout).unwrap_or(began + WAIT_MAX);
        let mut looked = false;
        loop {
            if let Some(read) = self.hand_out()? {
                return Ok(read);
            }
            if let Some(stop) = self.stop.take() {
                return Err(stop);
            }
            let now = clock::instant();
            if looked && (self.signal.take_woken() || now >= until) {
                return Ok(self.only(Vec::new()));
            }
            self.go_on(until, now)?;
            looked = true;
        }
    }

    /// A handle with which another thread ends a waiting read.
    pub(crate) fn waker(&self) -> DirectWaker {
        DirectWaker::new(&self.signal)
    }

    /// The partitions that the topic has now; `None` when no broker answers in time.
    pub(crate) fn partitions(&mut self, timeout: Duration) -> Option<Vec<PartitionId>> {
        let began = clock::instant();
        let until = began.checked_add(timeout)?;
        let answers = self.leaders.answers;
        self.leaders.wanted = true;
        while self.stop.is_none() && self.leaders.answers == answers {
            let now = clock::instant();
            if now >= until {
                return None;
            }
            if let Err(stop) = self.go_on(until, now) {
                self.stop = Some(stop);
            }
        }
        self.leaders.partitions.clone()
    }

    /// Where reading has come: each partition's first message that was not handed out.
    pub(crate) fn positions(&self) -> Vec<(PartitionId, Offset)> {
        let position = |part: &Part| {
            let delivered = self.ready.iter().filter_map(|left| left.position(part.id));
            let chunk = self
                .chunk
                .iter()
                .filter_map(|chunk| chunk.position(part.id));
            let next = delivered.chain(chunk).min().unwrap_or(part.next);
            (part.id, Offset(next.min(part.next)))
        };
        self.parts.iter().map(position).collect()
    }

    /// The ends that the leaders told last.
    pub(crate) fn known_ends(&self) -> Vec<PartitionEnd> {
        let ends = self.parts.iter().filter_map(|part| {
            let next = Offset(part.known_end?);
            Some(PartitionEnd {
                partition: part.id,
                next,
            })
        });
        ends.collect()
    }

    /// What is ready: the next messages, or else ends and problems.
    fn hand_out(&mut self) -> Result<Option<Read>, Stop> {
        loop {
            if let Some(chunk) = &mut self.chunk {
                let batch = chunk.take(self.wish);
                let mut ends = Vec::new();
                if chunk.is_empty() {
                    self.chunk = None;
                    if self.ready.front().is_some_and(Delivery::is_handed_out) {
                        ends = self.end_delivery();
                    }
                }
                return Ok(Some(Read {
                    batch,
                    ends,
                    problems: std::mem::take(&mut self.problems),
                }));
            }
            let Some(delivery) = self.ready.front_mut() else {
                break;
            };
            match delivery.next_chunk(self.wish) {
                Ok(Some(chunk)) => self.chunk = Some(chunk),
                Ok(None) => {
                    let ends = self.end_delivery();
                    if !ends.is_empty() {
                        return Ok(Some(self.only(ends)));
                    }
                }
                Err(unreadable) => return Err(self.unreadable(unreadable)),
            }
        }
        let told = !self.problems.is_empty();
        Ok(told.then(|| self.only(Vec::new())))
    }

    /// The first delivery is handed out; gives the ends that it told.
    fn end_delivery(&mut self) -> Vec<PartitionEnd> {
        let Some(delivery) = self.ready.pop_front() else {
            return Vec::new();
        };
        if let Some(node) = self.nodes.get_mut(&delivery.node) {
            node.waiting -= 1;
        }
        delivery.ends
    }

    fn unreadable(&self, Unreadable { partition, fault }: Unreadable) -> Stop {
        match fault {
            Fault::OldFormat => Stop::Unserved(WhyLibrary::OldFormat),
            Fault::Corrupt(reason) => {
                Stop::Failed(corrupt(&self.options.topic, Some(partition), &reason))
            }
        }
    }

    /// A read without messages.
    fn only(&mut self, ends: Vec<PartitionEnd>) -> Read {
        Read {
            batch: MessageBatch {
                buffer: Buffer::from_vec(vec![0_u8; MessageBatch::PADDING]),
                messages: Vec::new(),
            },
            ends,
            problems: std::mem::take(&mut self.problems),
        }
    }

    /// Asks what is to be asked, waits until something happens, and takes what came.
    fn go_on(&mut self, until: Instant, now: Instant) -> Result<(), Stop> {
        let ids: Vec<i32> = self.nodes.keys().copied().collect();
        self.ask_leaders(now);
        for id in &ids {
            self.ask_node(*id, now);
        }
        self.wait(until, now)?;
        let now = clock::instant();
        self.hear_leaders(now)?;
        let ids: Vec<i32> = self.nodes.keys().copied().collect();
        for id in ids {
            self.hear_node(id, now)?;
        }
        self.problems.truncate(PROBLEMS_MAX);
        Ok(())
    }

    fn wait(&mut self, until: Instant, now: Instant) -> Result<(), Stop> {
        let nodes = self.nodes.values().filter_map(Node::timer);
        let parts = self.parts.iter().filter_map(|part| part.backoff.until());
        let timers = nodes.chain(parts).chain(self.leaders.timer());
        let next = timers.filter(|timer| *timer > now).min();
        let wait = next.map_or(until, |timer| timer.min(until));
        let mut wait = wait.saturating_duration_since(now).min(WAIT_MAX);
        if until > now {
            wait = wait.max(WAIT_MIN);
        }
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => Err(Stop::Failed(
                Error::internal(format!("waiting for sockets: {error}")),
            )),
            _ => Ok(()),
        }
    }
}
