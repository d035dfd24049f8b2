//! What a feed says of itself: while it runs, and at its end.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::clock;
use crate::feed::Counts;

/// The speed is that of so long.
const SPEED_WINDOW: Duration = Duration::from_secs(3);

/// Remembers a few counts, for a speed.
#[derive(Debug, Default)]
pub(super) struct Speed {
    samples: VecDeque<(Instant, u64)>,
}

impl Speed {
    /// Messages a second over the last seconds.
    fn sample(&mut self, now: Instant, messages: u64) -> f64 {
        self.samples.push_back((now, messages));
        let is_old = |(at, _): &mut (Instant, u64)| now.duration_since(*at) > SPEED_WINDOW;
        while self.samples.len() > 2 && self.samples.pop_front_if(is_old).is_some() {}
        let (start, before) = self.samples.front().copied().unwrap_or((now, messages));
        let seconds = now.duration_since(start).as_secs_f64();
        if seconds == 0.0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a number to look at")]
        let more = messages.saturating_sub(before) as f64;
        more / seconds
    }
}

/// The line while it runs.
pub(super) fn under_way(counts: Counts, speed: &mut Speed) -> String {
    let speed = speed.sample(clock::instant(), counts.messages);
    format!(
        "{} messages, {speed:.0}/s{}",
        counts.messages,
        others(counts)
    )
}

/// The line at the end.
pub(super) fn at_the_end(counts: Counts, topic: &str) -> String {
    let messages = counted(counts.messages, "message");
    format!("{messages} to topic \"{topic}\"{}", others(counts))
}

/// What is not zero beside the messages.
fn others(counts: Counts) -> String {
    let mut text = String::new();
    if counts.skipped > 0 {
        text.push_str(&format!(", {} skipped", counts.skipped));
    }
    if counts.passed_over > 0 {
        text.push_str(&format!(", {} without items", counts.passed_over));
    }
    if counts.errors > 0 {
        text.push_str(&format!(", {}", counted(counts.errors, "error")));
    }
    text
}

fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Speed, at_the_end};
    use crate::feed::Counts;

    #[test]
    fn the_closing_line_tells_what_was_left_out() {
        let plain = Counts {
            messages: 1,
            ..Counts::default()
        };
        assert_eq!(at_the_end(plain, "t"), "1 message to topic \"t\"");
        let other = Counts {
            messages: 1_200,
            skipped: 3,
            passed_over: 4,
            errors: 1,
        };
        assert_eq!(
            at_the_end(other, "t"),
            "1200 messages to topic \"t\", 3 skipped, 4 without items, 1 error"
        );
    }

    #[test]
    fn the_speed_is_that_of_the_last_seconds() {
        let start = crate::clock::instant();
        let mut speed = Speed::default();
        assert!(speed.sample(start, 0) < 0.1);
        let mut last = 0.0;
        for tenth in 1..100_u32 {
            let messages = if tenth < 50 {
                0
            } else {
                u64::from(tenth - 50) * 10
            };
            last = speed.sample(start + Duration::from_millis(100) * tenth, messages);
        }
        assert!((last - 100.0).abs() < 1.0, "{last}");
    }
}
