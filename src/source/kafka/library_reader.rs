//! Reads the messages of some partitions of one topic, from given offsets on.
//!
//! ```text
//! broker -> library's threads -> queue (bounded) -> read(): up to rows_max messages in one buffer
//! ```
//! Owns the fetching client. Keeps no offsets beyond the library's own position, commits nothing.
//! Invariant: within a partition messages come in offset order, each once; a lost connection is a
//! [`Problem`], never an error, and reading goes on where it stood.

#![expect(unsafe_code, reason = "the batch queue exists only in the C interface")]

use std::collections::VecDeque;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Weak};
use std::time::Duration;

use rdkafka_sys as sys;

use super::client::{Client, c_string};
use super::cluster::ANSWER_TIMEOUT;
use super::code::{Code, Meaning};
use super::errors::{corrupt, gone, not_authenticated, offset_gone, refused, unreadable};
use super::gather::{Gather, Item, Parts};
use super::metadata::{self, milliseconds};
use super::properties::{self, Fetching};
use crate::error::{Error, Result};
use crate::source::read::{PartitionEnd, Problem, Read, ReaderOptions};
use crate::types::{Offset, PartitionId};

/// Messages taken off the library's queue at once.
const TAKE_MAX: usize = 1024;
/// Bytes of a batch at the most, whatever is asked for: spans are 32 bits wide.
const BYTES_MAX: usize = 1 << 30;

/// Reads messages. Its calls block, so it belongs on a thread of its own; dropping it returns at
/// once.
#[derive(Debug)]
pub(crate) struct LibraryReader {
    /// Taken off the library's queue and not read yet. Freed before the client.
    taken: VecDeque<Item>,
    source: Arc<Source>,
    options: ReaderOptions,
    /// Bytes and rows of the last batch: the room for the next.
    last: (usize, usize),
}

/// The queue and the client it belongs to.
#[derive(Debug)]
struct Source {
    queue: NonNull<sys::rd_kafka_queue_t>,
    client: Client,
}

// SAFETY: the library's queues may be used from every thread.
unsafe impl Send for Source {}
// SAFETY: as above.
unsafe impl Sync for Source {}

impl Drop for Source {
    fn drop(&mut self) {
        // SAFETY: owned and not used again; the client is dropped after this.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// Ends a waiting [`LibraryReader::read`] early, from another thread.
#[derive(Debug, Clone)]
pub(crate) struct LibraryWaker(Weak<Source>);

impl LibraryWaker {
    /// Makes the read that waits now, or the next one, return at once. Does nothing when the reader
    /// is gone.
    pub(crate) fn wake(&self) {
        if let Some(source) = self.0.upgrade() {
            // SAFETY: the queue lives as long as the source.
            unsafe { sys::rd_kafka_queue_yield(source.queue.as_ptr()) };
        }
    }
}

impl LibraryReader {
    /// Begins to fetch. Does not wait for a broker.
    ///
    /// # Errors
    /// When a property under `kafka.` is unknown or invalid, or nothing is assigned.
    pub(crate) fn open(options: ReaderOptions) -> Result<Self> {
        assert!(options.rows_max > 0, "a read takes at least one message");
        let fetching = Fetching {
            read_committed: options.read_committed,
            rows_max: options.rows_max,
            bytes_max: options.bytes_max,
            end_wait_ms: u32::try_from(milliseconds(options.end_wait)).unwrap_or(0),
        };
        let client = Client::new(&properties::for_reader(&options.connection, fetching)?)?;
        // SAFETY: the handle is valid. Its events come through the consumer's queue from now on.
        let queue = unsafe {
            sys::rd_kafka_poll_set_consumer(client.as_ptr());
            sys::rd_kafka_queue_get_consumer(client.as_ptr())
        };
        let queue = NonNull::new(queue)
            .ok_or_else(|| Error::internal("the kafka client has no consumer queue"))?;
        let source = Source { queue, client };
        source.assign(&options.topic, &options.assignment)?;
        let source = Arc::new(source);
        Ok(Self {
            taken: VecDeque::new(),
            source,
            options,
            last: (0, 0),
        })
    }

    /// Waits up to `timeout` for one message, a partition's end or a problem, and returns with all
    /// that is there by then, up to the limits.
    ///
    /// # Errors
    /// What does not pass by itself: the topic is gone, an offset is no longer there, the broker
    /// refuses the user, a record cannot be read.
    pub(crate) fn read(&mut self, timeout: Duration) -> Result<Read> {
        let parts = Parts {
            keys: self.options.with_keys,
            headers: self.options.with_headers,
        };
        let (bytes, rows) = self.last;
        let mut gather = Gather::new(parts, bytes + bytes / 4, rows + rows / 4);
        let mut ends = Vec::new();
        let mut problems = Vec::new();
        let bytes_max = self.options.bytes_max.min(BYTES_MAX);
        if self.taken.is_empty() {
            self.take(1, timeout);
        }
        while !self.taken.is_empty() {
            while let Some(item) = self.taken.pop_front() {
                match item.code() {
                    Code::OK => gather.add(&item),
                    code => {
                        let told = Told {
                            code,
                            partition: Some(item.partition()).filter(|partition| partition.0 >= 0),
                            offset: item.offset(),
                            text: item.text(),
                        };
                        self.judge(told, &mut ends, &mut problems)?;
                    }
                }
                if gather.rows() == self.options.rows_max || gather.bytes() >= bytes_max {
                    break;
                }
            }
            if gather.rows() == self.options.rows_max || gather.bytes() >= bytes_max {
                break;
            }
            self.take(
                (self.options.rows_max - gather.rows()).min(TAKE_MAX),
                Duration::ZERO,
            );
        }
        for (code, text) in self.source.client.reports().take_errors() {
            // What the library tells of a topic that vanished comes this way, too.
            let told = Told {
                code,
                partition: None,
                offset: Offset(-1),
                text,
            };
            self.judge(told, &mut ends, &mut problems)?;
        }
        self.last = (gather.bytes(), gather.rows());
        Ok(Read {
            batch: gather.finish(),
            ends,
            problems,
        })
    }

    /// The ends that the brokers told last.
    pub(crate) fn known_ends(&self) -> Vec<PartitionEnd> {
        let assigned = self.options.assignment.iter();
        let ends = assigned.filter_map(|(partition, _)| {
            let next = self.source.known_end(&self.options.topic, *partition)?;
            Some(PartitionEnd {
                partition: *partition,
                next,
            })
        });
        ends.collect()
    }

    /// A handle with which another thread ends a waiting read.
    pub(crate) fn waker(&self) -> LibraryWaker {
        LibraryWaker(Arc::downgrade(&self.source))
    }

    /// Takes up to `count` items off the queue. With a timeout it waits until all are there, so it
    /// waits only for one.
    fn take(&mut self, count: usize, timeout: Duration) {
        let mut items: [*mut sys::rd_kafka_message_t; TAKE_MAX] = [ptr::null_mut(); TAKE_MAX];
        assert!(count <= TAKE_MAX, "there is room for {TAKE_MAX} items");
        // SAFETY: the queue is valid, and `items` has room for `count`.
        let taken = unsafe {
            sys::rd_kafka_consume_batch_queue(
                self.source.queue.as_ptr(),
                milliseconds(timeout),
                items.as_mut_ptr(),
                count,
            )
        };
        let taken = usize::try_from(taken).unwrap_or(0);
        // SAFETY: the library filled the first `taken` places and gave the messages to us.
        self.taken.extend(
            items[..taken]
                .iter()
                .map(|item| unsafe { Item::new(*item) }),
        );
    }

    /// What it means that was told beside the messages: an end, a problem that passes, or an error.
    fn judge(
        &self,
        told: Told,
        ends: &mut Vec<PartitionEnd>,
        problems: &mut Vec<Problem>,
    ) -> Result<()> {
        let topic = &self.options.topic;
        let servers = &self.options.connection.bootstrap_servers;
        let Told {
            code,
            partition,
            offset,
            text,
        } = told;
        match code.meaning() {
            Meaning::End => {
                ends.extend(partition.map(|partition| PartitionEnd {
                    partition,
                    next: offset,
                }));
                Ok(())
            }
            Meaning::Passing | Meaning::Moving | Meaning::Unreachable => {
                problems.push(Problem {
                    partition,
                    message: text,
                });
                Ok(())
            }
            Meaning::TopicGone if self.topic_is_there(partition) => {
                problems.push(Problem {
                    partition,
                    message: text,
                });
                Ok(())
            }
            Meaning::TopicGone => Err(gone(topic)),
            Meaning::OffsetGone => Err(offset_gone(topic, partition, offset, &text)),
            Meaning::Refused => Err(refused(topic)),
            Meaning::NotAuthenticated => {
                let reason = self.source.client.reports().last_failure();
                Err(not_authenticated(servers, Some(&reason.unwrap_or(text))))
            }
            Meaning::Corrupt => Err(corrupt(topic, partition, &text)),
            Meaning::Fatal => Err(unreadable(topic, &text)),
        }
    }

    /// The partitions that the topic has now; `None` when the broker does not answer in time.
    pub(crate) fn partitions(&self, timeout: Duration) -> Option<Vec<PartitionId>> {
        let topic = &self.options.topic;
        let answer = metadata::fetch(&self.source.client, Some(topic), timeout);
        let topics = answer.ok()?.ok()?;
        let found = topics.into_iter().find(|found| found.name == *topic)?;
        found.code.is_ok().then_some(found.partitions)
    }

    /// A broker that has just started may deny a topic that it will know in a moment: another one
    /// is asked, and only a clear no counts.
    fn topic_is_there(&self, partition: Option<PartitionId>) -> bool {
        let topic = &self.options.topic;
        let answer = metadata::fetch(&self.source.client, Some(topic), ANSWER_TIMEOUT);
        let Ok(Ok(topics)) = answer else { return true };
        topics
            .iter()
            .filter(|found| found.name == *topic)
            .all(|found| {
                let missing = partition.is_some_and(|partition| {
                    found.code.is_ok() && !found.partitions.contains(&partition)
                });
                found.code.meaning() != Meaning::TopicGone && !missing
            })
    }
}

/// What the library told beside messages.
struct Told {
    code: Code,
    partition: Option<PartitionId>,
    offset: Offset,
    text: String,
}

impl Source {
    /// The end of a partition as it was told with its last messages; nobody is asked.
    fn known_end(&self, topic: &str, partition: PartitionId) -> Option<Offset> {
        let topic = c_string(topic).ok()?;
        let (mut first, mut end) = (-1, -1);
        // SAFETY: handle and topic are valid; both numbers are written before the call returns.
        let code = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                self.client.as_ptr(),
                topic.as_ptr(),
                partition.0,
                &raw mut first,
                &raw mut end,
            )
        };
        (Code(code as i32).is_ok() && end >= 0).then_some(Offset(end))
    }

    fn assign(&self, topic: &str, assignment: &[(PartitionId, Offset)]) -> Result<()> {
        let topic = c_string(topic)?;
        // SAFETY: handle and topic are valid; the library copies the list.
        let code = unsafe {
            let list = sys::rd_kafka_topic_partition_list_new(
                i32::try_from(assignment.len()).unwrap_or(i32::MAX),
            );
            for (partition, offset) in assignment {
                let item =
                    sys::rd_kafka_topic_partition_list_add(list, topic.as_ptr(), partition.0);
                (*item).offset = offset.0;
            }
            let code = sys::rd_kafka_assign(self.client.as_ptr(), list);
            sys::rd_kafka_topic_partition_list_destroy(list);
            Code(code as i32)
        };
        if code.is_ok() {
            return Ok(());
        }
        Err(Error::internal(format!("assigning partitions: {code}")))
    }
}
