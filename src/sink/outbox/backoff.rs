//! How long to wait before something is sent again. Pure.

use std::time::Duration;

/// The first pause; it doubles each time.
const FIRST: Duration = Duration::from_millis(500);
/// The longest pause that nobody asked for.
const MAX: Duration = Duration::from_secs(60);
/// The longest pause that a destination can ask for.
const ASKED_MAX: Duration = Duration::from_secs(60 * 60);

/// Pauses that grow, each shortened by chance, so that many who wait for one server do not come at once.
#[derive(Debug)]
pub(in crate::sink) struct Backoff {
    chance: fastrand::Rng,
    next: Duration,
}

impl Backoff {
    /// The same pauses for the same seed.
    pub(in crate::sink) fn new(seed: u64) -> Self {
        Self {
            chance: fastrand::Rng::with_seed(seed),
            next: FIRST,
        }
    }

    /// The next pause; not shorter than the destination asked for.
    pub(in crate::sink) fn pause(&mut self, asked: Option<Duration>) -> Duration {
        let whole = self.next;
        self.next = (whole * 2).min(MAX);
        let own = whole.mul_f64(0.5 + self.chance.f64() / 2.0);
        own.max(asked.unwrap_or_default().min(ASKED_MAX))
    }

    /// It went well: the next pause is a short one.
    pub(in crate::sink) fn reset(&mut self) {
        self.next = FIRST;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_chance_takes_half_at_most() {
        let mut backoff = Backoff::new(7);
        let mut whole = FIRST;
        for _ in 0..20 {
            let pause = backoff.pause(None);
            assert!(
                whole / 2 <= pause && pause <= whole,
                "{pause:?} of {whole:?}"
            );
            whole = (whole * 2).min(MAX);
        }
        backoff.reset();
        assert!(backoff.pause(None) <= FIRST);
    }

    #[test]
    fn chance_follows_from_the_seed() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(seed);
            (0..5).map(|_| backoff.pause(None)).collect::<Vec<_>>()
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
    }

    #[test]
    fn a_pause_that_was_asked_for_is_kept_within_an_hour() {
        let mut backoff = Backoff::new(1);
        let ten = Duration::from_secs(10);
        assert_eq!(backoff.pause(Some(ten)), ten);
        assert_eq!(backoff.pause(Some(Duration::MAX)), ASKED_MAX);
        backoff.reset();
        assert!(
            backoff.pause(Some(Duration::ZERO)) >= FIRST / 2,
            "it never spins"
        );
    }
}
