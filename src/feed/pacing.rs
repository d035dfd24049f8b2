//! When the next message may go out. Pure: who asks says what time it is.

use std::time::Duration;

/// Replays messages at the pace of a time in them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Replay {
    /// How many seconds of the messages' time pass in one second; above zero.
    speed: f64,
    /// The time of the first message, microseconds.
    first: Option<i64>,
}

impl Replay {
    /// `speed` 1 is as fast as it was, 60 a minute in a second.
    pub(super) fn new(speed: f64) -> Self {
        assert!(speed > 0.0, "a replay goes forward");
        Self { speed, first: None }
    }

    /// When a message of that time is due, counted from the first message on. One that is older
    /// than the first is due at once.
    pub(super) fn due(&mut self, time_micros: i64) -> Duration {
        let first = *self.first.get_or_insert(time_micros);
        let passed = time_micros.saturating_sub(first).max(0);
        #[expect(clippy::cast_precision_loss, reason = "exact for 285 years")]
        let seconds = passed as f64 / 1e6 / self.speed;
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

/// So many messages a second at the most, in ten portions a second.
#[derive(Debug, Clone)]
pub(super) struct Rate {
    per_second: u32,
    /// When the next portion may go, counted from the start.
    next: Duration,
}

impl Rate {
    pub(super) fn new(per_second: u32) -> Self {
        assert!(per_second > 0, "something goes out");
        Self {
            per_second,
            next: Duration::ZERO,
        }
    }

    /// Messages of one portion.
    pub(super) fn portion(&self) -> usize {
        (self.per_second / 10).max(1) as usize
    }

    /// How long a portion of that many messages has to wait. It counts as sent then.
    pub(super) fn wait(&mut self, now: Duration, messages: usize) -> Duration {
        let start = self.next.max(now);
        let count = u32::try_from(messages).unwrap_or(u32::MAX);
        self.next = start + Duration::from_secs(1) * count / self.per_second;
        start - now
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Rate, Replay};

    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_minute_passes_in_a_second_at_speed_60() {
        let mut replay = Replay::new(60.0);
        assert_eq!(replay.due(1_000 * SECOND), Duration::ZERO);
        assert_eq!(replay.due(1_060 * SECOND), Duration::from_secs(1));
        assert_eq!(replay.due(1_030 * SECOND), Duration::from_millis(500));
        assert_eq!(
            replay.due(900 * SECOND),
            Duration::ZERO,
            "older than the first"
        );
    }

    #[test]
    fn a_second_has_no_more_messages_than_its_rate() {
        let mut rate = Rate::new(100);
        assert_eq!(rate.portion(), 10);
        let mut now = Duration::ZERO;
        let mut sent_within_a_second = 0;
        while now < Duration::from_secs(1) {
            now += rate.wait(now, 10);
            if now < Duration::from_secs(1) {
                sent_within_a_second += 10;
            }
        }
        assert_eq!(sent_within_a_second, 100);
    }

    #[test]
    fn time_without_messages_is_not_made_up_for() {
        let mut rate = Rate::new(10);
        assert_eq!(rate.wait(Duration::ZERO, 1), Duration::ZERO);
        let later = Duration::from_secs(60);
        assert_eq!(rate.wait(later, 1), Duration::ZERO);
        assert_eq!(rate.wait(later, 1), Duration::from_millis(100));
    }

    #[test]
    fn one_message_in_a_second_is_a_portion() {
        assert_eq!(Rate::new(1).portion(), 1);
    }
}
