//! How far a query has read a topic, told to a consumer group: the usual tools show its lag then.
//!
//! Invariant: nothing here is waited for, and nothing depends on it: an error is a line in the log.

#![expect(
    unsafe_code,
    reason = "an answer that is not waited for comes by a queue of the C interface"
)]

use std::collections::BTreeMap;
use std::ffi::CString;
use std::time::{Duration, Instant};

use rdkafka_sys as sys;

use super::client::{Client, c_string};
use super::code::Code;
use super::metadata::milliseconds;
use super::properties;
use crate::clock;
use crate::error::Result;
use crate::task;
use crate::types::{KafkaConnection, Offset, PartitionId};

/// How often the group is told at the most.
const PACE: Duration = Duration::from_secs(1);
/// After so long without an answer it is told again.
const ANSWER_MAX: Duration = Duration::from_secs(60);
/// How long the last offsets may take.
const FAREWELL: Duration = Duration::from_secs(5);

/// The next offset to read of each partition.
type Next = BTreeMap<PartitionId, Offset>;

/// Tells one group about one topic. Its calls do not block.
pub struct GroupOffsets {
    /// `None` only while it is dropped.
    line: Option<Line>,
    /// As last known.
    next: Next,
    /// What the group was told last.
    told: Next,
    /// When that was, and whether it has answered.
    at: Option<(Instant, bool)>,
}

impl GroupOffsets {
    /// Prepares a client; the first offsets connect.
    ///
    /// # Errors
    /// When a property under `kafka.` is unknown or invalid.
    pub fn open(connection: &KafkaConnection, topic: &str, group: &str) -> Result<Self> {
        let topic = c_string(topic)?;
        let client = Client::new(&properties::for_offsets(connection, group)?)?;
        // SAFETY: the handle is valid; the queue is owned here and goes before it.
        let queue = Queue(unsafe { sys::rd_kafka_queue_new(client.as_ptr()) });
        Ok(Self {
            line: Some(Line {
                queue,
                client,
                topic,
            }),
            next: Next::new(),
            told: Next::new(),
            at: None,
        })
    }

    /// The next offsets to read are these now. The group hears of them soon.
    pub fn commit(&mut self, next: Next) {
        self.next = next;
        self.tick();
    }

    /// Tells the group what it does not know yet, if it is time to.
    pub fn tick(&mut self) {
        let Some(line) = &self.line else {
            return;
        };
        line.client.take_errors();
        while let Some(code) = line.queue.poll(Duration::ZERO) {
            if let Some((_, answered)) = &mut self.at {
                *answered = true;
            }
            if !code.is_ok() {
                tracing::debug!(target: "kafka", error = %code, "a group did not take offsets");
                self.told.clear();
            }
        }
        let due = self.at.is_none_or(|(at, answered)| {
            let wait = if answered { PACE } else { ANSWER_MAX };
            at.elapsed() >= wait
        });
        if due && self.told != self.next {
            line.tell(&self.next);
            self.told.clone_from(&self.next);
            self.at = Some((clock::instant(), false));
        }
    }
}

impl Drop for GroupOffsets {
    /// Returns at once: the last offsets are still told, on a thread of its own.
    fn drop(&mut self) {
        let Some(line) = self.line.take() else {
            return;
        };
        let awaited = self.at.is_some_and(|(_, answered)| !answered);
        let untold = (self.told != self.next).then(|| std::mem::take(&mut self.next));
        if !awaited && untold.is_none() {
            return;
        }
        let last = move || {
            let answers = usize::from(awaited) + usize::from(untold.is_some());
            if let Some(next) = untold {
                line.tell(&next);
            }
            for _ in 0..answers {
                line.queue.poll(FAREWELL);
            }
        };
        if let Err(error) = task::spawn_thread("kafka-drop", last) {
            tracing::debug!(target: "kafka", %error, "no thread to tell the last offsets on");
        }
    }
}

/// The client, and where its answers arrive.
struct Line {
    // Before the client: it is made from its handle.
    queue: Queue,
    client: Client,
    topic: CString,
}

impl Line {
    /// Sends offsets; their answer will be in the queue.
    fn tell(&self, next: &Next) {
        let size = i32::try_from(next.len()).unwrap_or(i32::MAX);
        // SAFETY: all pointers are valid for the calls; the library copies the list. Without a
        // callback the answer is an event of the queue.
        let code = unsafe {
            let list = sys::rd_kafka_topic_partition_list_new(size);
            for (partition, next) in next {
                let item =
                    sys::rd_kafka_topic_partition_list_add(list, self.topic.as_ptr(), partition.0);
                (*item).offset = next.0;
            }
            let code = sys::rd_kafka_commit_queue(
                self.client.as_ptr(),
                list,
                self.queue.0,
                None,
                std::ptr::null_mut(),
            );
            sys::rd_kafka_topic_partition_list_destroy(list);
            Code(code as i32)
        };
        if !code.is_ok() {
            tracing::debug!(target: "kafka", error = %code, "offsets are not told to their group");
        }
    }
}

struct Queue(*mut sys::rd_kafka_queue_t);

// SAFETY: the library promises that a queue may be used from every thread.
unsafe impl Send for Queue {}

impl Queue {
    /// The next answer's code.
    fn poll(&self, timeout: Duration) -> Option<Code> {
        // SAFETY: the queue is valid; the event is owned here and destroyed after its last use.
        unsafe {
            let event = sys::rd_kafka_queue_poll(self.0, milliseconds(timeout));
            if event.is_null() {
                return None;
            }
            let code = Code(sys::rd_kafka_event_error(event) as i32);
            sys::rd_kafka_event_destroy(event);
            Some(code)
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: owned here and not used again; the client lives still.
        unsafe { sys::rd_kafka_queue_destroy(self.0) };
    }
}
