//! Handing a query's rows to the outside world, an epoch at a time.
//!
//! Owns what "handed over" means for each kind of sink. Knows nothing of checkpoints: the engine says
//! when an epoch ends.
//! Invariant: when [`Sink::commit`] returns, every row staged before it is durable outside.
//! Invariant: a sink of which the outside keeps the epoch lets no row be seen before its epoch's commit.

pub mod blackhole;
pub mod file;
pub mod http;
pub mod kafka;
pub mod outbox;
pub mod postgres;
pub mod print;
mod texts;

use std::sync::Arc;
use std::time::Duration;

use crate::error::Result;
use crate::types::{ChangeBatch, ProcessingTime};

/// What the outside says of the epochs that it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// It keeps no epoch: rows of an epoch that is run again may be there twice.
    Unknown,
    /// The last epoch that was committed counts, and nothing after it does. `None`: none ever was, or
    /// the outside has forgotten it.
    Epoch(Option<u64>),
}

/// Says whether the query of a sink is to stop or to stand still.
pub type Stopping = Arc<dyn Fn() -> bool + Send + Sync>;

/// Takes the rows of one query. Its calls block and come from one thread.
///
/// ```text
/// committed() → stage(rows) .. stage(rows) → commit(epoch)   the usual course
///                                          → abort()         the epoch will be run again
/// ```
pub trait Sink: Send {
    /// Which epoch the outside has last taken. Asked once, when the sink was opened and before anything
    /// is staged: what an earlier process left open is given up by then.
    ///
    /// # Errors
    /// When the outside does not answer.
    fn committed(&mut self) -> Result<Outside>;

    /// Whoever commits from now on has this number. A sink of which the outside keeps the epoch lets it
    /// keep that too.
    fn sign(&mut self, _writer: u64) {}

    /// Who committed the epoch that [`Sink::committed`] tells, if the outside knows.
    fn committed_by(&self) -> Option<u64> {
        None
    }

    /// A wait of this sink ends, with an error of SQLSTATE 57014, when this says so.
    fn heed(&mut self, _stopping: Stopping) {}

    /// Makes known outside that this writer has the sink, before its first epoch has ended: the epoch before
    /// that one is handed in. Does nothing where nobody else could take it.
    ///
    /// # Errors
    /// As [`Sink::commit`].
    fn claim(&mut self, _epoch: u64) -> Result<()> {
        Ok(())
    }

    /// Takes rows over, with the time of their micro-batch. A sink that promises "at least once" may
    /// publish them at once.
    ///
    /// # Errors
    /// When the rows cannot be written as this sink writes them, or the outside refuses them.
    fn stage(&mut self, rows: &ChangeBatch, at: ProcessingTime) -> Result<()>;

    /// Ends an epoch: all rows staged since the last one are durable outside when it returns, and the
    /// outside knows the epoch's number if it keeps one. An epoch may have no rows.
    ///
    /// # Errors
    /// When one of them could not be delivered, or it is not known whether the epoch was taken. The
    /// sink must be opened again, and tells then by [`Sink::committed`].
    fn commit(&mut self, epoch: u64) -> Result<()>;

    /// Gives up what was staged since the last commit. Rows that are published already stay; under
    /// "at least once" they come again.
    ///
    /// # Errors
    /// When the outside cannot be told.
    fn abort(&mut self) -> Result<()>;

    /// Rows, or messages made of them, that the outside has not confirmed yet.
    fn backlog(&self) -> u64;

    /// So far apart what comes close together is better staged, since it goes out at once and each time costs.
    fn bursts_apart(&self) -> Duration {
        Duration::ZERO
    }

    /// So many bytes of rows may still be staged before their epoch is to end, since nothing else makes room for
    /// more; `None`: it need not end for that.
    fn room(&self) -> Option<u64> {
        None
    }
}
