//! Places where a test lets the process die, to see what is left then, or wait, to see what others do meanwhile.
//!
//! Each place to die at is passed by number: with `HEADWATER_CRASH_AT=n` in the environment the n-th that is
//! reached aborts the process, so that a test tries all of them by counting up. A place to wait at is passed by
//! name: `HEADWATER_WAIT_AT=name`. Builds without debug assertions have none of it.

/// Ends the process if this is the place at which it is to die.
#[cfg(not(debug_assertions))]
#[inline]
pub fn reach(_place: &str) {}

/// Ends the process if this is the place at which it is to die.
#[cfg(debug_assertions)]
pub fn reach(place: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static DIES_AT: LazyLock<Option<u64>> = LazyLock::new(|| {
        crate::config::environment("HEADWATER_CRASH_AT")?
            .parse()
            .ok()
    });
    static REACHED: AtomicU64 = AtomicU64::new(0);
    let Some(at) = *DIES_AT else { return };
    if REACHED.fetch_add(1, Ordering::Relaxed) + 1 == at {
        tracing::error!(place, "crash point");
        std::process::abort();
    }
}

/// Waits a second if this is the place to wait at.
#[cfg(not(debug_assertions))]
#[inline]
pub fn wait_at(_place: &str) {}

/// Waits a second if this is the place to wait at.
#[cfg(debug_assertions)]
pub fn wait_at(place: &str) {
    use std::sync::LazyLock;

    static WAITS_AT: LazyLock<Option<String>> =
        LazyLock::new(|| crate::config::environment("HEADWATER_WAIT_AT"));
    if WAITS_AT.as_deref() == Some(place) {
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}
