//! Rows to nowhere: a query runs as for any other sink, and what it gives is counted by the engine and
//! forgotten.

use super::{Outside, Sink};
use crate::error::Result;
use crate::types::{ChangeBatch, ProcessingTime};

/// Takes everything.
#[derive(Debug, Clone, Copy)]
pub struct BlackholeSink;

impl Sink for BlackholeSink {
    fn committed(&mut self) -> Result<Outside> {
        Ok(Outside::Unknown)
    }

    fn stage(&mut self, _rows: &ChangeBatch, _at: ProcessingTime) -> Result<()> {
        Ok(())
    }

    fn commit(&mut self, _epoch: u64) -> Result<()> {
        Ok(())
    }

    fn abort(&mut self) -> Result<()> {
        Ok(())
    }

    fn backlog(&self) -> u64 {
        0
    }
}
