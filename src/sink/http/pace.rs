//! How often a channel may be written to. Pure: the time is handed in.

use std::collections::BTreeMap;
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
}
