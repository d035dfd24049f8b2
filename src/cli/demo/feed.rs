//! The demo's feed: made-up messages, at the pace of the clock.
//!
//! Trades are numbered from a fixed day on, not from the start of the demo: prices go on where they
//! were when the demo is started again, and no trade has the number of another.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::clock;
use crate::demo::{FeedbackGenerator, MessageHead, Schedule, TradeGenerator};
use crate::error::{Error, Result};
use crate::sink::kafka::{Outgoing, Producer};
use crate::source::{ANSWER_TIMEOUT, Cluster};
use crate::task;
use crate::types::KafkaConnection;

/// The topics, and their partitions.
const TOPICS: [(&str, u32); 2] = [("trades", 4), ("feedback", 1)];
/// When the numbers of trades begin: 2026-01-01.
const FIRST_DAY_MS: i64 = 1_767_225_600_000;
/// Trades for each message of a customer.
const TRADES_PER_FEEDBACK: f64 = 200.0;
/// How long the feed waits between two looks at the clock.
const PACE: Duration = Duration::from_millis(5);
/// Messages between two signs of life while the history is written.
const MESSAGES_PER_SIGN: u64 = 5_000;

/// What the feed is told.
#[derive(Debug, Clone)]
pub(super) struct FeedOptions {
    /// Where the topics are.
    pub(super) connection: KafkaConnection,
    /// Trades a second.
    pub(super) rate: f64,
    /// The same seed makes the same messages.
    pub(super) seed: u64,
    /// The messages of so many seconds are there from the start.
    pub(super) history: Duration,
}

/// The feed, between two messages.
pub(super) struct Feed {
    trades: Topic<TradeGenerator>,
    feedback: Topic<FeedbackGenerator>,
}

/// Makes the messages of a topic.
trait Generate: Send + 'static {
    fn write(&self, index: u64, payload: &mut Vec<u8>) -> MessageHead;
}

impl Generate for TradeGenerator {
    fn write(&self, index: u64, payload: &mut Vec<u8>) -> MessageHead {
        Self::write(self, index, payload)
    }
}

impl Generate for FeedbackGenerator {
    fn write(&self, index: u64, payload: &mut Vec<u8>) -> MessageHead {
        Self::write(self, index, payload)
    }
}

/// How long a message may take to arrive.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(30);

/// One topic of the feed.
struct Topic<G> {
    producer: Producer,
    generator: G,
    schedule: Schedule,
    /// The number of the next message.
    next: u64,
}

impl<G: Generate> Topic<G> {
    fn open(
        options: &FeedOptions,
        topic: &str,
        rate: f64,
        generator: impl FnOnce(Schedule) -> G,
    ) -> Result<Self> {
        let schedule = Schedule {
            start_ms: FIRST_DAY_MS,
            rate,
        };
        Ok(Self {
            producer: Producer::connect(&options.connection, topic, DELIVERY_TIMEOUT)?,
            generator: generator(schedule),
            schedule,
            next: schedule.count_by(now_ms()),
        })
    }

    /// Sends what is due by this time, at most so many messages; gives their number.
    fn send_due(&mut self, now_ms: i64, messages_max: u64) -> Result<u64> {
        let due = self.schedule.count_by(now_ms);
        let end = due.min(self.next.saturating_add(messages_max));
        let sent = end.saturating_sub(self.next);
        let mut payload = Vec::new();
        while self.next < end {
            let head = self.generator.write(self.next, &mut payload);
            self.producer.send(Outgoing {
                key: Some(head.key.as_bytes()),
                value: Some(&payload),
                headers: &[],
                timestamp_ms: Some(head.record_time_ms),
            })?;
            self.next += 1;
        }
        self.producer.check()?;
        Ok(sent)
    }
}

impl Feed {
    /// Makes the topics, if they are not there, and stands at the present.
    ///
    /// # Errors
    /// When the broker does not make them.
    pub(super) fn open(options: &FeedOptions) -> Result<Self> {
        let cluster = Cluster::connect(&options.connection)?;
        for (topic, partitions) in TOPICS {
            cluster.create_topic(topic, partitions, None)?;
        }
        let seed = options.seed;
        let [(trades, _), (feedback, _)] = TOPICS;
        Ok(Self {
            trades: Topic::open(options, trades, options.rate, |schedule| {
                TradeGenerator::new(seed, schedule)
            })?,
            feedback: Topic::open(
                options,
                feedback,
                options.rate / TRADES_PER_FEEDBACK,
                |schedule| FeedbackGenerator::new(seed, schedule),
            )?,
        })
    }

    /// Sends the messages of the time before now, if the topic is still empty; tells after some
    /// messages how many of how many are sent, and ends early when that says no.
    ///
    /// # Errors
    /// When the broker does not take them.
    pub(super) fn send_history(
        &mut self,
        options: &FeedOptions,
        mut go_on: impl FnMut(u64, u64) -> bool,
    ) -> Result<()> {
        let cluster = Cluster::connect(&options.connection)?;
        let (topic, _) = TOPICS[0];
        let partitions = cluster.partitions(topic, ANSWER_TIMEOUT)?;
        let ranges = cluster.offsets(topic, &partitions, ANSWER_TIMEOUT)?;
        if ranges.iter().any(|range| range.end.0 > 0) {
            return Ok(());
        }
        let now_ms = now_ms();
        let history_ms = i64::try_from(options.history.as_millis()).unwrap_or(i64::MAX);
        let from_ms = now_ms.saturating_sub(history_ms);
        self.trades.next = self.trades.schedule.count_by(from_ms);
        self.feedback.next = self.feedback.schedule.count_by(from_ms);
        let total = self.trades.schedule.count_by(now_ms) - self.trades.next;
        let mut done = 0;
        while go_on(done, total) {
            let sent = self.trades.send_due(now_ms, MESSAGES_PER_SIGN)?;
            if sent == 0 {
                break;
            }
            done += sent;
        }
        self.feedback.send_due(now_ms, u64::MAX)?;
        self.trades.producer.drain()?;
        self.feedback.producer.drain()
    }

    /// Goes on at the pace of the clock, on a thread of its own, until it is stopped.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn go_on(self) -> Result<Feeding> {
        let (stop, stopped) = sync_channel(1);
        let thread = task::spawn_thread("feed", move || self.run(&stopped))
            .map_err(|error| Error::internal(format!("no thread for the feed: {error}")))?;
        Ok(Feeding { stop, thread })
    }

    fn run(mut self, stopped: &Receiver<()>) {
        while stopped.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
            let now_ms = now_ms();
            let sent = self
                .trades
                .send_due(now_ms, u64::MAX)
                .and_then(|_| self.feedback.send_due(now_ms, u64::MAX));
            if let Err(error) = sent {
                tracing::error!(%error, "the feed has stopped");
                return;
            }
        }
    }
}

/// The feed on its thread.
pub(super) struct Feeding {
    stop: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Feeding {
    /// Ends it and waits for that.
    pub(super) fn stop(self) {
        // An error means that it has ended by itself.
        let _ = self.stop.try_send(());
        if self.thread.join().is_err() {
            tracing::error!("the feed panicked");
        }
    }
}

fn now_ms() -> i64 {
    clock::wall_micros() / 1_000
}
