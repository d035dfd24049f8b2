//! The time of an alert: how far event time has certainly come, going on with the wall clock while the
//! stream is idle.
//!
//! Invariant: it never goes back.

use std::time::Duration;

use crate::types::EventTime;

/// The time of an alert.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AlertClock {
    time: Option<EventTime>,
    /// What it was when the stream fell silent.
    silent_from: Option<EventTime>,
}

impl AlertClock {
    /// One that goes on from a time.
    pub(super) fn at(time: Option<EventTime>) -> Self {
        let silent_from = None;
        Self { time, silent_from }
    }

    /// What it shows, if anything came yet.
    pub(super) fn now(&self) -> Option<EventTime> {
        self.time
    }

    /// The watermark stands here, and everything was read and nothing came for so long.
    pub(super) fn advance(&mut self, watermark: Option<EventTime>, silent: Duration) {
        self.time = self.time.max(watermark);
        if silent.is_zero() {
            self.silent_from = None;
            return;
        }
        let Some(time) = self.time else { return };
        let from = *self.silent_from.get_or_insert(time);
        let micros = i64::try_from(silent.as_micros()).unwrap_or(i64::MAX);
        self.time = Some(time.max(EventTime(from.0.saturating_add(micros))));
    }

    /// How long a silent stream must go on being so until the clock shows this.
    pub(super) fn until(&self, due: EventTime) -> Option<Duration> {
        let micros = due.0.saturating_sub(self.time?.0);
        Some(Duration::from_micros(u64::try_from(micros).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_follows_the_watermark_and_goes_on_in_silence() {
        let mut clock = AlertClock::default();
        let mut at = |watermark: Option<i64>, silent| {
            clock.advance(watermark.map(EventTime), Duration::from_micros(silent));
            clock.now().map(|time| time.0)
        };
        assert_eq!(at(None, 5), None, "nothing came yet");
        assert_eq!(at(Some(100), 0), Some(100));
        assert_eq!(at(Some(100), 7), Some(107));
        assert_eq!(at(Some(100), 9), Some(109));
        assert_eq!(at(Some(105), 0), Some(109), "it never goes back");
        assert_eq!(at(Some(105), 1), Some(110));
        assert_eq!(at(Some(200), 2), Some(200), "the watermark is further");
    }
}
