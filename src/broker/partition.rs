//! One partition: its log behind a lock, and the readers that wait for more.
//!
//! Invariant: whoever registers as waiting under the lock in which it saw the log's end is woken by
//! the next append.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use kafka_protocol::ResponseError;
use tokio::sync::Notify;

use super::batch::BatchHeader;
use super::log::{Aborted, Isolation, LogLimits, Marks, PartitionLog, Read};

/// A partition that connections share.
#[derive(Debug)]
pub(crate) struct Partition {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    log: PartitionLog,
    /// At most one entry a connection.
    waiting: Vec<Weak<Notify>>,
    /// Its topic was deleted; clients see it as unknown.
    deleted: bool,
}

/// What a fetch from one partition finds.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) marks: Marks,
    /// `None` at the end.
    pub(crate) read: Option<Read>,
    /// Of the whole range up to the limit; empty unless only committed data is wanted.
    pub(crate) aborted: Vec<Aborted>,
}

impl Partition {
    /// A partition with its log.
    pub(crate) fn new(log: PartitionLog) -> Self {
        Self {
            inner: Mutex::new(Inner {
                log,
                waiting: Vec::new(),
                deleted: false,
            }),
        }
    }

    /// Appends a checked batch; answers with its offset and the log's start.
    ///
    /// # Errors
    /// The code that the producer is to see.
    pub(crate) fn append(
        &self,
        header: &BatchHeader,
        batch: &[u8],
    ) -> Result<(i64, i64), ResponseError> {
        let mut inner = self.existing()?;
        let offset = inner.log.append(header, batch)?;
        inner.wake();
        Ok((offset, inner.log.marks().start))
    }

    /// Ends a producer's transaction here, if one is open.
    ///
    /// # Errors
    /// The marker could not be written.
    pub(crate) fn end_transaction(
        &self,
        producer_id: i64,
        producer_epoch: i16,
        committed: bool,
        timestamp_ms: i64,
    ) -> Result<(), ResponseError> {
        let mut inner = self.inner();
        if !inner.deleted {
            inner
                .log
                .end_transaction(producer_id, producer_epoch, committed, timestamp_ms)?;
            inner.wake();
        }
        Ok(())
    }

    /// The producers whose transactions are open here.
    pub(crate) fn open_transactions(&self) -> Vec<i64> {
        self.inner().log.open_transactions()
    }

    /// What there is to read from an offset; `waiter` is told when there is more.
    ///
    /// # Errors
    /// The code that the reader is to see.
    pub(crate) fn plan(
        &self,
        from: i64,
        isolation: Isolation,
        waiter: &Arc<Notify>,
    ) -> Result<Planned, ResponseError> {
        let mut inner = self.existing()?;
        let read = inner.log.read(from, isolation)?;
        let aborted = match (&read, isolation) {
            (Some(read), Isolation::ReadCommitted) => inner.log.aborted_within(from, read.limit),
            (None, _) | (_, Isolation::ReadUncommitted) => Vec::new(),
        };
        inner.register(waiter);
        Ok(Planned {
            marks: inner.log.marks(),
            read,
            aborted,
        })
    }

    /// Where the log begins and ends.
    ///
    /// # Errors
    /// The topic was deleted.
    pub(crate) fn marks(&self) -> Result<Marks, ResponseError> {
        Ok(self.existing()?.log.marks())
    }

    /// The first record at or after a timestamp, as `(offset, timestamp)`.
    ///
    /// # Errors
    /// The topic was deleted or its file cannot be read.
    pub(crate) fn find_timestamp(
        &self,
        timestamp: i64,
    ) -> Result<Option<(i64, i64)>, ResponseError> {
        // It reads one block, seldom: not worth letting go of the lock for.
        self.existing()?.log.find_timestamp(timestamp)
    }

    /// Deletes records before an offset; answers with the log's start.
    ///
    /// # Errors
    /// The topic was deleted, or the offset lies past the end.
    pub(crate) fn delete_before(&self, offset: Option<i64>) -> Result<i64, ResponseError> {
        let mut inner = self.existing()?;
        let end = inner.log.marks().end;
        let offset = offset.unwrap_or(end);
        if !(0..=end).contains(&offset) {
            return Err(ResponseError::OffsetOutOfRange);
        }
        Ok(inner.log.delete_before(offset))
    }

    /// Drops what is older than the retention time.
    pub(crate) fn retain_time(&self, now_ms: i64) {
        self.inner().log.retain_time(now_ms);
    }

    /// Sets how much is kept.
    pub(crate) fn set_limits(&self, limits: LogLimits) {
        self.inner().log.set_limits(limits);
    }

    /// The topic is gone: clients see it as unknown from now on.
    pub(crate) fn set_deleted(&self) {
        let mut inner = self.inner();
        inner.deleted = true;
        inner.wake();
    }

    /// Leaves the log as the next start wants it; nothing can be written afterwards.
    pub(crate) fn close(&self) {
        self.inner().log.close();
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn existing(&self) -> Result<MutexGuard<'_, Inner>, ResponseError> {
        let inner = self.inner();
        if inner.deleted {
            Err(ResponseError::UnknownTopicOrPartition)
        } else {
            Ok(inner)
        }
    }
}

impl Inner {
    fn register(&mut self, waiter: &Arc<Notify>) {
        let weak = Arc::downgrade(waiter);
        self.waiting
            .retain(|other| other.strong_count() > 0 && !other.ptr_eq(&weak));
        self.waiting.push(weak);
    }

    fn wake(&mut self) {
        for waiter in self.waiting.drain(..) {
            if let Some(waiter) = waiter.upgrade() {
                waiter.notify_one();
            }
        }
    }
}
