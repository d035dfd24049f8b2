//! How long to leave alone what failed: longer from failure to failure, and not all at one time. Pure.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(500);
const MAX: Duration = Duration::from_secs(30);

/// Counts the failures in a row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure. `chance`, between 0 and 1, spreads those who failed together:
    /// at least half of the wait is kept. What was asked for (`Retry-After`) is kept too.
    pub(super) fn failed(&mut self, chance: f64, asked: Option<Duration>) -> Duration {
        let whole = FIRST.saturating_mul(1 << self.failures.min(16)).min(MAX);
        self.failures = self.failures.saturating_add(1);
        let spread = whole.mul_f64(0.5 + chance.clamp(0.0, 1.0) / 2.0);
        spread.max(asked.unwrap_or_default())
    }

    /// It works again.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Backoff;

    #[test]
    fn waits_double_up_to_half_a_minute_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..9)
            .map(|_| backoff.failed(1.0, None).as_millis())
            .collect();
        assert_eq!(
            waits,
            [
                500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000
            ]
        );
        backoff.succeeded();
        assert_eq!(backoff.failed(0.0, None), Duration::from_millis(250));
    }

    #[test]
    fn what_was_asked_for_is_kept() {
        let minute = Duration::from_secs(60);
        assert_eq!(Backoff::default().failed(0.5, Some(minute)), minute);
    }
}
