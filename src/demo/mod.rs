//! Made-up data that looks like the real thing: trades of five exchanges, words of customers.
//!
//! Owns what the messages say. Knows nothing of Kafka, the clock or the command line: a message is
//! a pure function of a seed and an index, so that tests, benchmarks and the demo see the same.
//!
//! ```text
//! (seed, index) → dice → market, time, disorder, price walk → JSON bytes + key + record time
//! ```

mod dice;
mod feedback;
mod trades;
mod walk;

pub use feedback::FeedbackGenerator;
pub use trades::TradeGenerator;

/// When messages of a feed happen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// When the message with index 0 reaches its topic, milliseconds since the Unix epoch.
    pub start_ms: i64,
    /// Messages a second; above zero.
    pub rate: f64,
}

impl Schedule {
    /// When the message with this index reaches its topic, milliseconds since the Unix epoch.
    pub fn time_ms(&self, index: u64) -> i64 {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            reason = "exact to the millisecond for 2^53 messages"
        )]
        let since_start_ms = (index as f64 * 1_000.0 / self.rate) as i64;
        self.start_ms.saturating_add(since_start_ms)
    }

    /// How many messages have reached their topic by this time.
    pub fn count_by(&self, now_ms: i64) -> u64 {
        let since_start_ms = now_ms.saturating_sub(self.start_ms).max(0);
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "not negative; exact for 2^53 milliseconds"
        )]
        let count = (since_start_ms as f64 * self.rate / 1_000.0) as u64;
        count
    }
}

/// What one message is, beside its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageHead {
    /// Its key.
    pub key: &'static str,
    /// When it reaches its topic, milliseconds since the Unix epoch.
    pub record_time_ms: i64,
}

#[cfg(test)]
mod tests {
    use super::Schedule;

    #[test]
    fn the_count_by_a_message_s_time_includes_those_before_it() {
        let schedule = Schedule {
            start_ms: 1_000,
            rate: 250.0,
        };
        assert_eq!(schedule.time_ms(0), 1_000);
        assert_eq!(schedule.time_ms(250), 2_000);
        assert_eq!(schedule.count_by(2_000), 250);
        assert_eq!(schedule.count_by(0), 0);
    }
}
