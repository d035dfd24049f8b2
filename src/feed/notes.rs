//! What is counted and told while a feed runs.
//!
//! Invariant: everything is counted; log lines are bounded, and a line says how many were held back.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// Log lines in one period at the most.
const LINES_MAX: u32 = 5;
const PERIOD: Duration = Duration::from_secs(10);

/// Counts what a feed does; several may read it meanwhile.
#[derive(Debug)]
pub struct Notes {
    messages: AtomicU64,
    skipped: AtomicU64,
    passed_over: AtomicU64,
    errors: AtomicU64,
    start: Instant,
    about_messages: Mutex<Bounded>,
    about_outside: Mutex<Bounded>,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages that the broker has confirmed.
    pub messages: u64,
    /// Messages that could not be used.
    pub skipped: u64,
    /// What a source sent that holds no item: confirmations, heartbeats.
    pub passed_over: u64,
    /// Failures of the source or of Kafka that were tried again, here or by who sent a message.
    pub errors: u64,
}

impl Default for Notes {
    fn default() -> Self {
        Self {
            messages: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            passed_over: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            start: clock::instant(),
            about_messages: Mutex::default(),
            about_outside: Mutex::default(),
        }
    }
}

impl Notes {
    /// The counts now.
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Counts {
            messages: read(&self.messages),
            skipped: read(&self.skipped),
            passed_over: read(&self.passed_over),
            errors: read(&self.errors),
        }
    }

    /// The broker has confirmed so many messages more.
    pub(super) fn delivered(&self, messages: usize) {
        self.messages.fetch_add(messages as u64, Ordering::Relaxed);
    }

    /// A message cannot be used.
    pub(super) fn skipped(&self, reason: impl Display) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
        if let Some(more) = self.may_tell(&self.about_messages) {
            tracing::warn!(target: "feed", "a message was skipped: {reason}{more}");
        }
    }

    /// The source sent something that holds no item.
    pub(super) fn passed_over(&self) {
        self.passed_over.fetch_add(1, Ordering::Relaxed);
    }

    /// The outside failed; it is tried again after `wait`.
    pub(super) fn failed(&self, what: impl Display, wait: Duration) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        if let Some(more) = self.may_tell(&self.about_outside) {
            let wait = wait.as_secs_f64();
            tracing::warn!(target: "feed", "{what}; tried again in {wait:.1} s{more}");
        }
    }

    /// Who sent a message was told to send it again.
    pub(super) fn put_off(&self, why: impl Display) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        if let Some(more) = self.may_tell(&self.about_outside) {
            tracing::warn!(target: "feed", "a message was put off: {why}{more}");
        }
    }

    fn may_tell(&self, about: &Mutex<Bounded>) -> Option<String> {
        let mut about = about.lock().unwrap_or_else(PoisonError::into_inner);
        let held_back = about.line(self.start.elapsed())?;
        Some(match held_back {
            0 => String::new(),
            _ => format!(" ({held_back} more like this were not shown)"),
        })
    }
}

/// Lets a few lines through in each period.
#[derive(Debug, Default)]
struct Bounded {
    /// Which period it is.
    period: u64,
    lines: u32,
    held_back: u64,
}

impl Bounded {
    /// May a line be shown now? Then with how many were not since the last one.
    fn line(&mut self, now: Duration) -> Option<u64> {
        let period = now.as_secs() / PERIOD.as_secs();
        if period != self.period {
            self.period = period;
            self.lines = 0;
        }
        if self.lines == LINES_MAX {
            self.held_back += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Bounded, Notes};

    #[test]
    fn a_few_lines_a_period_are_shown_and_the_next_one_tells_of_the_others() {
        let mut bounded = Bounded::default();
        let shown: Vec<_> = (0..8).map(|_| bounded.line(Duration::ZERO)).collect();
        assert_eq!(shown[..5], [Some(0); 5]);
        assert_eq!(shown[5..], [None; 3]);
        assert_eq!(bounded.line(Duration::from_secs(10)), Some(3));
        assert_eq!(bounded.line(Duration::from_secs(10)), Some(0));
    }

    #[test]
    fn everything_is_counted_whether_it_is_told_or_not() {
        let notes = Notes::default();
        for _ in 0..100 {
            notes.skipped("not JSON");
        }
        notes.delivered(7);
        let counts = notes.counts();
        assert_eq!((counts.skipped, counts.messages), (100, 7));
    }
}
