//! What a query's supervisor opens for each try: where to begin, what brings the messages, who makes
//! epochs last.
//!
//! Invariant: everything else of a try is the same, whoever connects it: Kafka, or a simulation.

use std::sync::Arc;

use super::begin::{self, Begin};
use super::committer::{Committer, Keeper};
use super::input::{Assignment, Collect, Inputs, WakeQuery};
use super::pulled::{self, Pulled};
use super::shared_scan::{Manner, SharedScans};
use super::status::{QueryKind, QueryShared};
use crate::checkpoint::{Checkpoint, CheckpointStore};
use crate::error::Result;
use crate::plan::{StreamPlan, Trigger};

/// Where a query reads on, and how many slices take it.
#[derive(Clone, Copy)]
pub(super) struct Places<'a> {
    pub begin: &'a Begin,
    pub assignments: &'a [Assignment],
    pub lanes: usize,
}

/// Connects the tries of a query.
pub(super) trait Connect: Send {
    /// Where a created query begins, or goes on from a checkpoint.
    ///
    /// # Errors
    /// When the topics are not there, or not those that the checkpoint has read.
    fn begin(&self, plan: &StreamPlan, checkpoint: Option<&Checkpoint>) -> Result<Begin>;

    /// What brings the messages to so many lanes, and what ends its wait, if anything does. So many
    /// messages and bytes come of one read of one lane at the most.
    ///
    /// # Errors
    /// When the topics cannot be read.
    fn inputs(
        &self,
        plan: &Arc<StreamPlan>,
        places: Places<'_>,
        read_max: (usize, usize),
    ) -> Result<(Box<dyn Collect>, Option<WakeQuery>)>;

    /// Who makes the query's epochs last.
    ///
    /// # Errors
    /// When the system has no thread left.
    fn committer(
        &self,
        name: &str,
        keeper: Keeper,
        checkpoints: CheckpointStore,
    ) -> Result<Committer>;
}

/// The clusters that the plan names, and threads.
pub(super) struct Kafka {
    /// Who reads there already.
    pub scans: Arc<SharedScans>,
    pub shared: Arc<QueryShared>,
}

impl Connect for Kafka {
    fn begin(&self, plan: &StreamPlan, checkpoint: Option<&Checkpoint>) -> Result<Begin> {
        match checkpoint {
            Some(checkpoint) => begin::resumed(plan, checkpoint),
            None => begin::created(plan),
        }
    }

    fn inputs(
        &self,
        plan: &Arc<StreamPlan>,
        places: Places<'_>,
        read_max: (usize, usize),
    ) -> Result<(Box<dyn Collect>, Option<WakeQuery>)> {
        let Places {
            begin,
            assignments,
            lanes,
        } = places;
        let is_pulled = plan.options.by_time && plan.options.trigger == Trigger::AvailableNow;
        if is_pulled && begin.partitions().count() <= pulled::PARTITIONS_MAX {
            return Ok((Box::new(Pulled::open(plan, begin, read_max)?), None));
        }
        let trigger = self.shared.dial.tuning().trigger;
        let manner = Manner::of(trigger, self.shared.kind != QueryKind::Live);
        let scans = &self.scans;
        let (inputs, wake) = Inputs::open(scans, plan, assignments, lanes, (read_max, manner))?;
        Ok((Box::new(inputs), Some(wake)))
    }

    fn committer(
        &self,
        name: &str,
        keeper: Keeper,
        checkpoints: CheckpointStore,
    ) -> Result<Committer> {
        Committer::start(name, keeper, checkpoints)
    }
}
