//! Waiting for a condition: the only place of the tests that polls.
//!
//! Invariant: a wait ends by its condition or, with a message, at its deadline; no test depends on how long it took.

use std::time::{Duration, Instant};

/// Far beyond what anything takes, also on two busy cores; reaching it is a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const PACE: Duration = Duration::from_millis(20);

/// Asks until there is an answer.
pub(crate) fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, ask).unwrap_or_else(|| panic!("no {what} within {PATIENCE:?}"))
}

/// Asks until there is an answer or the time is over.
pub(crate) fn within<T>(time: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + time;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(PACE);
    }
}

/// Lets something else get on first. The outcome must be right without it as well.
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// Asks a server until there is an answer.
pub(crate) async fn until_async<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "no {what} within {PATIENCE:?}");
        tokio::time::sleep(PACE).await;
    }
}
