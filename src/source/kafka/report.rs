//! What the client library tells on its own: log lines and errors that belong to no call.
//!
//! Lines go to the log, few of them: a dead broker makes the library say the same thing twenty times
//! a second. The last failure is kept, because it says why a question found no answer.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka_sys::rd_kafka_resp_err_t as Resp;

use super::code::{Code, Meaning};
use crate::clock;

/// Lines of one client that reach the log in each [`PERIOD`].
const LINES_MAX: u32 = 5;
const PERIOD: Duration = Duration::from_secs(30);
/// Errors kept until they are taken; more are dropped, and so are those that repeat one.
const ERRORS_MAX: usize = 32;

/// syslog's numbers, as the library gives them.
const LEVEL_WARNING: i32 = 4;
const LEVEL_NOTICE: i32 = 5;

/// Collects what one client tells. Called from the library's own threads.
#[derive(Debug)]
pub(crate) struct Reports {
    /// The servers, for the log's reader.
    servers: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    limit: Limit,
    errors: Vec<(Code, String)>,
    last_failure: Option<String>,
    /// The broker did not take this client's credentials.
    credentials_refused: bool,
}

impl Reports {
    pub(crate) fn new(servers: &str) -> Self {
        Self {
            servers: servers.to_owned(),
            state: Mutex::new(State {
                limit: Limit {
                    start: clock::instant(),
                    passed: 0,
                    held_back: 0,
                },
                errors: Vec::new(),
                last_failure: None,
                credentials_refused: false,
            }),
        }
    }

    /// A log line of the library.
    pub(crate) fn log(&self, level: i32, facility: &str, text: &str) {
        let text = without_thread(text);
        if facility == "CONFWARN" || level > LEVEL_NOTICE {
            tracing::debug!(target: "kafka", facility, "{text}");
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if level < LEVEL_WARNING && facility != "ERROR" {
            state.last_failure = Some(text.to_owned());
        }
        let Some(held_back) = state.limit.pass(clock::instant()) else {
            return;
        };
        drop(state);
        if level <= LEVEL_WARNING {
            tracing::warn!(target: "kafka", servers = %self.servers, facility, held_back, "{text}");
        } else {
            tracing::info!(target: "kafka", servers = %self.servers, facility, held_back, "{text}");
        }
    }

    /// An error that belongs to no partition.
    pub(crate) fn error(&self, code: Code, reason: &str) {
        let reason = without_thread(reason);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // "All are down" says less than why the last one is.
        if !code.is(Resp::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
            state.last_failure = Some(reason.to_owned());
        }
        state.credentials_refused |= code.meaning() == Meaning::NotAuthenticated;
        let repeats = state.errors.iter().any(|(_, told)| told == reason);
        if !repeats && state.errors.len() < ERRORS_MAX {
            state.errors.push((code, reason.to_owned()));
        }
    }

    /// The errors since the last call.
    pub(crate) fn take_errors(&self) -> Vec<(Code, String)> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.errors)
    }

    /// Whether the broker did not take this client's credentials since this was last asked.
    pub(crate) fn take_credentials_refused(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.credentials_refused)
    }

    /// Why the connection failed, as last told.
    pub(crate) fn last_failure(&self) -> Option<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last_failure.as_deref().map(bare).map(str::to_owned)
    }
}

/// Cuts `[thrd:..]: ` and the broker's own repetition of it off a line.
fn without_thread(text: &str) -> &str {
    let Some(rest) = text.strip_prefix("[thrd:") else {
        return text;
    };
    rest.split_once("]: ").map_or(text, |(_, rest)| rest)
}

/// Cuts the broker's name before a failure off, and the library's own state behind it.
fn bare(failure: &str) -> &str {
    let failure = failure.split_once(": ").map_or(failure, |(_, rest)| rest);
    failure
        .rfind(" (after ")
        .map_or(failure, |end| &failure[..end])
}

/// Lets so many lines through in each period and counts the rest.
#[derive(Debug)]
struct Limit {
    start: Instant,
    passed: u32,
    held_back: u64,
}

impl Limit {
    /// The number of lines held back before this one, if this one may pass.
    fn pass(&mut self, now: Instant) -> Option<u64> {
        if now.duration_since(self.start) >= PERIOD {
            self.start = now;
            self.passed = 0;
        }
        if self.passed == LINES_MAX {
            self.held_back += 1;
            return None;
        }
        self.passed += 1;
        Some(std::mem::take(&mut self.held_back))
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, LINES_MAX, Limit, PERIOD, Reports, Resp, without_thread};
    use crate::clock;

    #[test]
    fn the_lines_held_back_are_told_with_the_next_one() {
        let start = clock::instant();
        let mut limit = Limit {
            start,
            passed: 0,
            held_back: 0,
        };
        for _ in 0..LINES_MAX {
            assert_eq!(limit.pass(start), Some(0));
        }
        assert_eq!(limit.pass(start), None);
        assert_eq!(limit.pass(start), None);
        assert_eq!(limit.pass(start + PERIOD), Some(2));
        assert_eq!(limit.pass(start + PERIOD), Some(0));
    }

    #[test]
    fn the_last_failure_says_why_without_the_thread() {
        let reports = Reports::new("a:1");
        let line = "[thrd:a:1/bootstrap]: a:1/bootstrap: Connection refused (after 0ms in state X)";
        reports.log(3, "FAIL", line);
        assert_eq!(reports.last_failure().unwrap(), "Connection refused");
        let down = Resp::RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN as i32;
        reports.error(Code(down), "1/1 brokers are down");
        reports.error(Code(down), "1/1 brokers are down");
        assert_eq!(reports.last_failure().unwrap(), "Connection refused");
        assert_eq!(reports.take_errors().len(), 1);
        assert_eq!(without_thread("plain"), "plain");
    }
}
