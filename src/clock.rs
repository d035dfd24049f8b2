//! The one door to the time of day, so that tests can bring their own.
//!
//! Invariant: nothing else in the crate reads a clock.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::types::ProcessingTime;

/// Tells the time.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The wall clock.
    fn now(&self) -> ProcessingTime;
    /// Time since an arbitrary start; never goes back.
    fn monotonic(&self) -> Duration;
    /// Keeps the calling thread for so long.
    fn wait(&self, duration: Duration);
}

/// A clock that several owners read.
pub type SharedClock = Arc<dyn Clock>;

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// The machine's clock, ready to share.
    pub fn shared() -> SharedClock {
        Arc::new(Self { start: instant() })
    }
}

impl Clock for SystemClock {
    fn now(&self) -> ProcessingTime {
        ProcessingTime(wall_micros())
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn wait(&self, duration: Duration) {
        std::thread::sleep(duration);
    }
}

/// The wall clock in microseconds since the Unix epoch, for code that only stamps what it writes.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn wall_micros() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A point on the monotonic clock, for time-outs.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn instant() -> Instant {
    Instant::now()
}

/// Waits without blocking the runtime.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}
