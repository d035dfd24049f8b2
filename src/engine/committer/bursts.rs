//! Rows of micro-batches that come close together go to a sink in bursts: each one costs a destination that sends at
//! once a request or two, however few rows it has.
//!
//! Invariant: rows that come alone wait for nothing.

use std::time::{Duration, Instant};

/// When rows are handed to a sink.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    began: Option<Instant>,
}

impl Bursts {
    /// How long rows that come now are to wait for others, if bursts begin so far apart at least.
    pub(super) fn rest(&self, apart: Duration, now: Instant) -> Duration {
        let since = self.began.map(|began| now.saturating_duration_since(began));
        since.map_or(Duration::ZERO, |since| apart.saturating_sub(since))
    }

    /// A burst begins.
    pub(super) fn begin(&mut self, now: Instant) {
        self.began = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn only_rows_that_come_soon_after_others_wait_and_for_the_rest_alone() {
        let apart = Duration::from_micros(400);
        let at = |start: Instant, micros: u64| start + Duration::from_micros(micros);
        let (start, mut bursts) = (clock::instant(), Bursts::default());
        assert_eq!(bursts.rest(apart, start), Duration::ZERO);
        bursts.begin(start);
        assert_eq!(
            bursts.rest(apart, at(start, 100)),
            Duration::from_micros(300)
        );
        assert_eq!(bursts.rest(apart, at(start, 400)), Duration::ZERO);
        assert_eq!(bursts.rest(Duration::ZERO, at(start, 100)), Duration::ZERO);
    }
}
