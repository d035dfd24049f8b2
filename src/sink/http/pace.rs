//! How often a channel may be written to, by however many sinks. The time is handed in.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

/// Slack takes one message a second and channel, and says no to more.
const EVERY: Duration = Duration::from_secs(1);

/// When each channel may be written to again.
#[derive(Debug, Default)]
pub(super) struct Pace {
    free_at: BTreeMap<String, Duration>,
}

impl Pace {
    /// How long a channel is not to be written to.
    pub(super) fn left(&self, channel: &str, now: Duration) -> Duration {
        let free_at = self.free_at.get(channel).copied().unwrap_or_default();
        free_at.saturating_sub(now)
    }

    /// The channel was written to.
    pub(super) fn note(&mut self, channel: &str, now: Duration) {
        self.free_at.retain(|_, free_at| *free_at > now);
        self.free_at.insert(channel.to_owned(), now + EVERY);
    }
}

/// The paces of all workspaces that are written to: sinks of one share its channels.
static PACES: LazyLock<Mutex<BTreeMap<String, Weak<Mutex<Pace>>>>> = LazyLock::new(Mutex::default);

/// The pace of who writes by this URL and as this user.
#[derive(Debug, Clone)]
pub(super) struct SharedPace(Arc<Mutex<Pace>>);

impl SharedPace {
    /// That of a workspace, which all who write there share.
    pub(super) fn of(workspace: &str) -> Self {
        let mut paces = PACES.lock().unwrap_or_else(PoisonError::into_inner);
        paces.retain(|_, pace| pace.strong_count() > 0);
        let found = paces.get(workspace).and_then(Weak::upgrade);
        let pace = found.unwrap_or_default();
        paces.insert(workspace.to_owned(), Arc::downgrade(&pace));
        Self(pace)
    }

    /// For who looks and writes without another one in between.
    pub(super) fn lock(&self) -> MutexGuard<'_, Pace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_written_to_once_a_second_and_keeps_no_other_waiting() {
        let at = Duration::from_millis;
        let mut pace = Pace::default();
        assert_eq!(pace.left("a", at(5_000)), Duration::ZERO);
        pace.note("a", at(5_000));
        assert_eq!(pace.left("a", at(5_400)), at(600));
        assert_eq!(pace.left("b", at(5_400)), Duration::ZERO);
        assert_eq!(pace.left("a", at(6_000)), Duration::ZERO);
        pace.note("b", at(6_000));
        assert_eq!(pace.free_at.len(), 1, "what is over is forgotten");
    }
    #[test]
    fn who_writes_to_one_workspace_shares_its_channels() {
        let at = Duration::from_secs(5);
        let (one, two) = (SharedPace::of("w x"), SharedPace::of("w x"));
        one.lock().note("a", at);
        assert_eq!(two.lock().left("a", at), EVERY);
        assert_eq!(SharedPace::of("w y").lock().left("a", at), Duration::ZERO);
        drop((one, two));
        let anew = SharedPace::of("w x").lock().left("a", at);
        assert_eq!(anew, Duration::ZERO, "nobody writes there any more");
    }
}
