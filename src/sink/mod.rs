//! Handing a query's rows to the outside world, an epoch at a time.
//!
//! Owns what "handed over" means for each kind of sink. Knows nothing of checkpoints: the engine says
//! when an epoch ends.
//! Invariant: when [`Sink::commit`] returns, every row staged before it is durable outside.

pub mod kafka;

use crate::error::Result;
use crate::types::{ChangeBatch, ProcessingTime};

/// Takes the rows of one query. Its calls block and come from one thread.
///
/// ```text
/// stage(rows) .. stage(rows) → commit(epoch)      the usual course
///                            → abort()            the epoch will be run again: its rows must not count
/// ```
pub trait Sink: Send {
    /// Takes rows over, with the time of their micro-batch. A sink that promises "at least once" may
    /// publish them at once.
    ///
    /// # Errors
    /// When the rows cannot be written as this sink writes them, or the outside refuses them.
    fn stage(&mut self, rows: &ChangeBatch, at: ProcessingTime) -> Result<()>;

    /// Ends an epoch: all rows staged since the last one are durable outside when it returns.
    ///
    /// # Errors
    /// When one of them could not be delivered. The epoch must be run again.
    fn commit(&mut self, epoch: u64) -> Result<()>;

    /// Gives up what was staged since the last commit. Rows that are published already stay; under
    /// "at least once" they come again.
    ///
    /// # Errors
    /// When the outside cannot be told.
    fn abort(&mut self) -> Result<()>;

    /// Rows, or messages made of them, that the outside has not confirmed yet.
    fn backlog(&self) -> u64;
}
