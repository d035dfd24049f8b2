//! Rows a second over the last seconds.

use std::collections::VecDeque;
use std::time::Duration;

/// How far back is looked.
const SPAN: Duration = Duration::from_secs(10);
/// The grain of the look.
const STEP: Duration = Duration::from_secs(1);

/// Counts by second. Times are on the caller's monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Rate {
    steps: VecDeque<(Duration, u64)>,
}

impl Rate {
    /// So many came now.
    pub(super) fn add(&mut self, now: Duration, count: u64) {
        match self.steps.back_mut() {
            Some((began, sum)) if now.saturating_sub(*began) < STEP => *sum += count,
            _ => self.steps.push_back((now, count)),
        }
        while self
            .steps
            .front()
            .is_some_and(|(began, _)| now.saturating_sub(*began) > SPAN)
        {
            self.steps.pop_front();
        }
    }

    /// The mean over the span.
    pub(super) fn per_second(&self, now: Duration) -> f64 {
        let Some((began, _)) = self.steps.front() else {
            return 0.0;
        };
        let sum: u64 = self.steps.iter().map(|(_, count)| count).sum();
        sum as f64 / now.saturating_sub(*began).max(STEP).as_secs_f64()
    }
}
