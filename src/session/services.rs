//! What all connections share.

use std::sync::{Arc, OnceLock};

use datafusion::execution::SessionState;

use crate::clock::SharedClock;
use crate::config::Config;
use crate::error::Result;
use crate::task::Compute;

/// What all connections share.
#[derive(Debug)]
pub struct Services {
    /// What was configured.
    pub config: Arc<Config>,
    /// Tells the time.
    pub clock: SharedClock,
    /// Where snapshots are planned and run.
    pub compute: Compute,
    /// The planning state that sessions start from: built once, because it is large.
    base: OnceLock<SessionState>,
}

impl Services {
    /// Brings the parts together.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub fn new(config: Arc<Config>, clock: SharedClock) -> Result<Self> {
        Ok(Self { config, clock, compute: Compute::new()?, base: OnceLock::new() })
    }

    /// The planning state that sessions start from.
    ///
    /// # Errors
    /// When DataFusion refuses its configuration, which is a mistake of ours.
    pub(crate) fn base_state(self: &Arc<Self>) -> Result<&SessionState> {
        if let Some(state) = self.base.get() {
            return Ok(state);
        }
        let built = super::context::base(self)?;
        Ok(self.base.get_or_init(|| built))
    }
}
