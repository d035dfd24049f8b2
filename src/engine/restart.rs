//! A created query goes on by another plan, from its last epoch.
//!
//! Invariant: a view stays readable meanwhile, and who follows it goes on following.

use std::sync::Arc;
use std::time::Duration;

use super::supervisor::Destination;
use super::{AlertSetup, Engine, OpenSink, QueryKind};
use crate::crash_point;
use crate::error::{Error, Result, SqlState};
use crate::plan::StreamPlan;

/// How long the last epoch by the old plan may take.
const LAST_EPOCH_TIMEOUT: Duration = Duration::from_secs(60);

/// What a query that goes on by another plan is for.
#[expect(clippy::large_enum_variant, reason = "there is one at a time")]
pub enum GoesOnAs {
    /// A view.
    View,
    /// A sink, opened so.
    Sink(OpenSink),
    /// An alert.
    Alert(AlertSetup),
}

impl std::fmt::Debug for GoesOnAs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::View => "View",
            Self::Sink(_) => "Sink",
            Self::Alert(_) => "Alert",
        })
    }
}

impl Engine {
    /// Ends a view's, sink's or alert's query at the end of an epoch and starts it by another plan of the same
    /// statement.
    ///
    /// # Errors
    /// When it does not end in time: then it goes on by the other plan after the next start of the
    /// server. When there is no thread for it.
    pub fn restart_query(&self, name: &str, plan: StreamPlan, goes_on: GoesOnAs) -> Result<()> {
        let found = self.find(name);
        let mut view = None;
        if let Some((shared, control)) = &found {
            // One that has failed has told its followers.
            view = self.materialized(name).filter(|_| !control.has_ended());
            shared.stop();
            control.wake();
            if !control.join(LAST_EPOCH_TIMEOUT) {
                let text = format!("query \"{name}\" does not end");
                return Err(Error::user(SqlState::ObjectInUse, text)
                    .detail("The change is kept, and the query goes on without it.")
                    .hint("Restart the server when the query's sink answers again."));
            }
        }
        crash_point::wait_at("a query has ended, its successor not started");
        let checkpoints = self.checkpoints(name);
        let (kind, destination) = match goes_on {
            GoesOnAs::Sink(open) => (QueryKind::Sink, Destination::Sink { open, checkpoints }),
            GoesOnAs::Alert(setup) => {
                let alert = self.alert_target(&plan, setup, false)?;
                (QueryKind::Alert, Destination::Alert(alert))
            }
            GoesOnAs::View => {
                let view = view.filter(|view| view.schema() == plan.schema);
                let view = view.unwrap_or_else(|| self.rows_of(&plan));
                let kind = QueryKind::MaterializedView;
                (kind, Destination::View { view, checkpoints })
            }
        };
        self.start(kind, Some(name), plan, destination)?;
        if let Some((old, _)) = found {
            self.lock()
                .retain(|_, entry| !Arc::ptr_eq(&entry.shared, &old));
        }
        Ok(())
    }
}
