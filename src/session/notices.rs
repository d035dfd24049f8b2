//! Messages to the client that are no errors, as they come up while a statement runs.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::Notice;

/// Those that the client has not seen; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Notices {
    unseen: Arc<Mutex<Vec<Notice>>>,
    added: Arc<Notify>,
}

impl Notices {
    /// Keeps a message for the client.
    pub fn add(&self, notice: Notice) {
        let mut unseen = self.unseen.lock().unwrap_or_else(PoisonError::into_inner);
        unseen.push(notice);
        self.added.notify_one();
    }

    /// The messages that the client has not seen: it is shown them now.
    pub fn take(&self) -> Vec<Notice> {
        let mut unseen = self.unseen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *unseen)
    }

    /// Waits for a message.
    pub async fn added(&self) {
        self.added.notified().await;
    }
}
