//! The changes of a materialized view on their way to those who follow it.
//!
//! ```text
//! view's thread ─ send ─► queue of each subscriber (bounded) ─► Subscription: rows, then errors
//! ```
//! Invariant: the view never waits for a subscriber; one that falls behind is cut off and told so.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use arrow::datatypes::SchemaRef;
use futures::Stream;
use tokio::sync::mpsc;

use super::output::{Emitted, Moment, Progress};
use crate::error::{Error, Result, SqlState};
use crate::types::ChangeBatch;

/// Micro-batches that wait for a subscriber at the most.
const QUEUED_MAX: usize = 1_024;
/// Bytes that wait for a subscriber at the most, unless one micro-batch has more.
const QUEUED_BYTES_MAX: usize = 64 << 20;

/// The rows of a materialized view and then each change, once; dropping it ends it.
pub struct Subscription {
    schema: SchemaRef,
    queue: mpsc::Receiver<Queued>,
    bytes: Arc<AtomicUsize>,
    fate: Arc<OnceLock<Option<Error>>>,
    /// Taken from the queue and not given yet.
    left: std::vec::IntoIter<Emitted>,
    ended: bool,
}

/// One micro-batch's changes, with their size.
type Queued = (Vec<Emitted>, usize);

/// A subscriber, as the view knows it.
#[derive(Debug)]
pub(super) struct Subscriber {
    queue: mpsc::Sender<Queued>,
    bytes: Arc<AtomicUsize>,
    /// How it ended; `None` inside: as it should.
    fate: Arc<OnceLock<Option<Error>>>,
    progress: Progress,
}

/// A subscriber and its view's side; it begins with these rows.
pub(super) fn subscription(
    schema: SchemaRef,
    first: Vec<Emitted>,
    progress: bool,
) -> (Subscriber, Subscription) {
    let (sender, queue) = mpsc::channel(QUEUED_MAX);
    let subscriber = Subscriber {
        queue: sender,
        bytes: Arc::default(),
        fate: Arc::default(),
        progress: Progress::new(progress),
    };
    let subscription = Subscription {
        schema,
        queue,
        bytes: Arc::clone(&subscriber.bytes),
        fate: Arc::clone(&subscriber.fate),
        left: first.into_iter(),
        ended: false,
    };
    (subscriber, subscription)
}

impl Subscriber {
    /// Hands over a micro-batch's changes; false when this subscriber gets no more.
    pub(super) fn send(&mut self, changes: &[ChangeBatch], moment: Moment) -> bool {
        let at = moment.at;
        let mut all: Vec<Emitted> = changes
            .iter()
            .map(|changes| Emitted::Changes {
                changes: changes.clone(),
                at,
            })
            .collect();
        all.extend(self.progress.moved(moment));
        if all.is_empty() {
            return !self.queue.is_closed();
        }
        let size = changes
            .iter()
            .map(|batch| batch.rows().get_array_memory_size())
            .sum();
        let before = self.bytes.fetch_add(size, Ordering::AcqRel);
        let too_much = before > 0 && before + size > QUEUED_BYTES_MAX;
        if too_much || self.queue.try_send((all, size)).is_err() {
            let _ = self.fate.set(Some(fell_behind()));
            return false;
        }
        true
    }

    /// Ends it; with an error unless the view has come to its end.
    pub(super) fn end(self, error: Option<Error>) {
        let _ = self.fate.set(error);
    }

    /// True when its client has gone.
    pub(super) fn is_gone(&self) -> bool {
        self.queue.is_closed()
    }
}

impl Subscription {
    /// What the rows look like.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// The last thing that it says.
    fn last_word(&mut self) -> Option<Result<Emitted>> {
        if std::mem::replace(&mut self.ended, true) {
            return None;
        }
        let error = match self.fate.get() {
            Some(fate) => fate.clone(),
            None => Some(dropped()),
        };
        error.map(Err)
    }
}

impl Stream for Subscription {
    type Item = Result<Emitted>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(next) = self.left.next() {
                return Poll::Ready(Some(Ok(next)));
            }
            match self.queue.poll_recv(context) {
                Poll::Ready(Some((changes, size))) => {
                    self.bytes.fetch_sub(size, Ordering::AcqRel);
                    self.left = changes.into_iter();
                }
                Poll::Ready(None) => return Poll::Ready(self.last_word()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

fn fell_behind() -> Error {
    Error::user(
        SqlState::ConfigurationLimitExceeded,
        "the subscription fell behind its view",
    )
    .detail(format!(
        "More than {QUEUED_MAX} micro-batches or {} MiB of changes waited for the client.",
        QUEUED_BYTES_MAX >> 20
    ))
    .hint("Read faster, or subscribe again: the rows as of then come first.")
}

fn dropped() -> Error {
    Error::user(
        SqlState::ObjectNotInPrerequisiteState,
        "the materialized view was dropped",
    )
}

/// The error of a view that has other rows than those that were told.
pub(super) fn went_back() -> Error {
    Error::external(
        SqlState::ObjectNotInPrerequisiteState,
        true,
        "the materialized view went back to its last checkpoint",
    )
    .hint("Subscribe again: the rows as of then come first.")
}
