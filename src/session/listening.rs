//! LISTEN: a session that hears what alerts tell.
//!
//! There is one channel, `alerts`; who listens to others hears nothing.
//! Invariant: what it is told is kept already.

use std::sync::Arc;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::{Notice, Session, Severity};
use crate::error::{Error, SqlState};

/// The channel of alerts.
pub(crate) const CHANNEL: &str = "alerts";

/// Where notifications come from.
pub(super) type Heard = Receiver<Arc<str>>;

impl Session {
    /// Listens to a channel.
    pub(super) fn listen(&mut self, channel: &str) {
        if channel == CHANNEL && self.heard.is_none() {
            self.heard = Some(self.services.engine.alert_events().listen());
        }
    }

    /// Listens no more; `None` is every channel.
    pub(super) fn unlisten(&mut self, channel: Option<&str>) {
        if channel.is_none_or(|channel| channel == CHANNEL) {
            self.heard = None;
        }
    }

    /// The next that an alert tells: a JSON object. Waits for ever if nobody listens. Cancel-safe.
    pub(crate) async fn hear(&mut self) -> Arc<str> {
        loop {
            let Some(heard) = &mut self.heard else {
                return std::future::pending().await;
            };
            match heard.recv().await {
                Ok(told) => return told,
                Err(RecvError::Lagged(missed)) => self.missed(missed),
                Err(RecvError::Closed) => self.heard = None,
            }
        }
    }

    /// The same without waiting.
    pub(crate) fn heard(&mut self) -> Option<Arc<str>> {
        loop {
            match self.heard.as_mut()?.try_recv() {
                Ok(told) => return Some(told),
                Err(TryRecvError::Lagged(missed)) => self.missed(missed),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }

    /// A client that is slower than the alerts is told so.
    fn missed(&mut self, count: u64) {
        let text = format!("{count} notifications of alerts were missed");
        self.notice(Notice {
            severity: Severity::Warning,
            content: Error::user(SqlState::SuccessfulCompletion, text)
                .hint("They are in headwater.alert_events."),
        });
    }
}
