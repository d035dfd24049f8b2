//! How long to leave alone what failed. Pure.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
const MAX: Duration = Duration::from_secs(5);

/// Waits that double from failure to failure.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    pub(super) fn failed(&mut self, now: Instant) {
        let wait = FIRST.saturating_mul(1 << self.failures.min(16)).min(MAX);
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now + wait);
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// True when it may be tried.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn waits_double_up_to_some_seconds_and_begin_anew_after_a_success() {
        let now = crate::clock::instant();
        let mut backoff = Backoff::default();
        assert!(backoff.is_over(now), "nothing failed yet");
        let mut waits = Vec::new();
        for _ in 0..8 {
            backoff.failed(now);
            waits.push(backoff.until().unwrap().duration_since(now).as_millis());
        }
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
        assert!(!backoff.is_over(now + Duration::from_secs(4)));
        backoff.succeeded();
        backoff.failed(now);
        assert!(backoff.is_over(now + Duration::from_millis(100)));
    }
}
