//! Something that is done again and again, not more often than at a given pace.

use std::time::Duration;

use crate::plan::{Emission, Trigger};

/// When the next time is. Times are on the caller's monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    interval: Duration,
    last: Duration,
}

impl Pace {
    /// Due for the first time one interval after `now`.
    pub(super) fn new(interval: Duration, now: Duration) -> Self {
        Self {
            interval,
            last: now,
        }
    }

    /// When a query emits.
    pub(super) fn of_emission(emission: Emission, now: Duration) -> Self {
        match emission {
            Emission::Every(pace) => Self::new(pace, now),
            Emission::Final | Emission::Changes => Self::always(),
        }
    }

    /// When a query's micro-batches begin.
    pub(super) fn of_trigger(trigger: Trigger, now: Duration) -> Self {
        match trigger {
            Trigger::Interval(interval) => Self::new(interval, now),
            Trigger::Continuous | Trigger::AvailableNow => Self::always(),
        }
    }

    /// Always due.
    pub(super) fn always() -> Self {
        Self {
            interval: Duration::ZERO,
            last: Duration::ZERO,
        }
    }

    /// From now on at this pace.
    pub(super) fn set_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    /// True when the interval is over; the caller then calls [`Self::done`].
    pub(super) fn is_due(&self, now: Duration) -> bool {
        now >= self.last + self.interval
    }

    /// It was done.
    pub(super) fn done(&mut self, now: Duration) {
        self.last = now;
    }

    /// When it is due next; `now` if it is due.
    pub(super) fn next(&self, now: Duration) -> Duration {
        (self.last + self.interval).max(now)
    }
}
