//! What a sink writes into: the outside world, which keeps the epoch or does not.
//!
//! Invariant: of a sink that keeps the epoch nothing is seen before the commit; of the other every row
//! is there after it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::lines::{Line, changes, told};
use super::world::{World, passing};
use crate::error::Result;
use crate::sink::{Outside as Told, Sink};
use crate::types::{ChangeBatch, Op, ProcessingTime};

/// A call fails once in so many times, at each of its moments.
const FAULTS: u64 = 40;

/// What is outside; all clones are the same.
#[derive(Clone)]
pub(super) struct Outside {
    world: Arc<World>,
    keeps_epoch: bool,
    held: Arc<Mutex<Held>>,
}

#[derive(Default)]
struct Held {
    epoch: Option<u64>,
    staged: Vec<(Op, Line)>,
    seen: Vec<(Op, Line)>,
}

impl Outside {
    pub(super) fn new(world: &Arc<World>, keeps_epoch: bool) -> Self {
        Self {
            world: Arc::clone(world),
            keeps_epoch,
            held: Arc::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last epoch that counts.
    pub(super) fn epoch(&self) -> Option<u64> {
        self.lock().epoch
    }

    /// All that a reader sees, in order.
    pub(super) fn seen(&self) -> Vec<(Op, Line)> {
        self.lock().seen.clone()
    }

    /// The first of the rows on their way arrive.
    fn arrive(&self, count: usize) {
        let Held { staged, seen, .. } = &mut *self.lock();
        seen.extend(staged.drain(..count));
    }
}

impl Sink for Outside {
    fn committed(&mut self) -> Result<Told> {
        self.world.may_refuse(FAULTS, "the sink does not answer")?;
        let on_the_way = self.lock().staged.len();
        if self.keeps_epoch {
            self.lock().staged.clear();
            return Ok(Told::Epoch(self.epoch()));
        }
        // Of what a process has sent and not heard of some has arrived.
        self.arrive(self.world.place(on_the_way + 1));
        self.lock().staged.clear();
        Ok(Told::Unknown)
    }

    fn stage(&mut self, rows: &ChangeBatch, _at: ProcessingTime) -> Result<()> {
        self.world.may_refuse(FAULTS, "the sink takes no rows")?;
        let rows = changes(rows);
        for row in &rows {
            self.world.note(format!("  {}", told(row)));
        }
        self.lock().staged.extend(rows);
        if !self.keeps_epoch {
            let on_the_way = self.lock().staged.len();
            self.arrive(self.world.place(on_the_way + 1));
        }
        self.world.may_crash(FAULTS, "with staged rows");
        Ok(())
    }

    fn commit(&mut self, epoch: u64) -> Result<()> {
        self.world.may_refuse(FAULTS, "the sink does not commit")?;
        self.world.may_crash(FAULTS, "before the sink commits");
        let on_the_way = self.lock().staged.len();
        self.arrive(on_the_way);
        if self.keeps_epoch {
            let before = self.lock().epoch.replace(epoch);
            assert!(before < Some(epoch), "epoch {epoch} comes after {before:?}");
        }
        self.world.note(format!("  committed {epoch}"));
        self.world.may_crash(FAULTS, "after the sink committed");
        match self.world.fault(FAULTS, "committed, and nobody says so") {
            true => Err(passing("no answer")),
            false => Ok(()),
        }
    }

    fn abort(&mut self) -> Result<()> {
        self.lock().staged.clear();
        Ok(())
    }

    fn backlog(&self) -> u64 {
        self.lock().staged.len() as u64
    }
}
