//! What an answer says of the messages that it answers. Pure.

use std::time::Duration;

use chrono::DateTime;

use crate::sink::outbox::Verdict;
use crate::types::ProcessingTime;

/// So much of an answer's text is told.
const EXCERPT_CHARS: usize = 200;

/// An answer as it came: its text may be cut off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The header `Retry-After`.
    pub(super) retry_after: Option<String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// What the status says: 2xx is taken; 408, 429 and 5xx may be later; all else never is.
    pub(super) fn verdict(&self, now: ProcessingTime) -> Verdict {
        match self.status {
            200..=299 => Verdict::Taken { notes: Vec::new() },
            408 | 429 | 500.. => Verdict::Again {
                reason: self.told(),
                after: self.after(now),
            },
            _ => Verdict::Refused {
                status: Some(self.status),
                reason: self.told(),
            },
        }
    }

    /// When the destination wants to be asked again.
    pub(super) fn after(&self, now: ProcessingTime) -> Option<Duration> {
        retry_after(self.retry_after.as_deref()?, now)
    }

    fn told(&self) -> String {
        match self.excerpt() {
            text if text.is_empty() => format!("HTTP status {}", self.status),
            text => format!("HTTP status {}: {text}", self.status),
        }
    }

    /// The beginning of the text, on one line.
    pub(super) fn excerpt(&self) -> String {
        let text = String::from_utf8_lossy(&self.body);
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let printable = words.chars().filter(|char| !char.is_control());
        let mut excerpt: String = printable.take(EXCERPT_CHARS + 1).collect();
        if excerpt.chars().count() > EXCERPT_CHARS {
            excerpt = excerpt.chars().take(EXCERPT_CHARS).collect();
            excerpt.push_str("..");
        }
        excerpt
    }
}

/// `Retry-After`: seconds, or a date of HTTP.
fn retry_after(text: &str, now: ProcessingTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    let left = date.timestamp_micros().saturating_sub(now.0);
    Some(Duration::from_micros(u64::try_from(left).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1994-11-06 08:49:37 UTC.
    const NOW: ProcessingTime = ProcessingTime(784_111_777_000_000);

    fn answer(status: u16, retry_after: Option<&str>, body: &str) -> Answer {
        Answer {
            status,
            retry_after: retry_after.map(str::to_owned),
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let secs = |text| retry_after(text, NOW).map(|after| after.as_secs());
        assert_eq!(secs("120"), Some(120));
        assert_eq!(secs(" 0 "), Some(0));
        assert_eq!(secs("Sun, 06 Nov 1994 08:51:37 GMT"), Some(120));
        assert_eq!(secs("Sun, 06 Nov 1994 08:00:00 GMT"), Some(0), "it is over");
        for broken in ["", "-1", "1.5", "soon", "Sun, 99 Nov 1994 08:00:00 GMT"] {
            assert_eq!(secs(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_status_says_whether_messages_were_taken_may_be_later_or_never_will_be() {
        let kind = |status| match answer(status, None, "").verdict(NOW) {
            Verdict::Taken { .. } => "taken",
            Verdict::Again { .. } => "again",
            Verdict::Refused { .. } => "refused",
            Verdict::Apart => "apart",
            Verdict::Stopped => "stopped",
        };
        for status in [200, 201, 202, 204] {
            assert_eq!(kind(status), "taken", "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504, 599] {
            assert_eq!(kind(status), "again", "{status}");
        }
        for status in [301, 302, 400, 401, 403, 404, 410, 413, 422] {
            assert_eq!(kind(status), "refused", "{status}");
        }
    }

    #[test]
    fn a_refusal_tells_the_status_and_the_beginning_of_the_text() {
        let refused = |body: &str| match answer(400, None, body).verdict(NOW) {
            Verdict::Refused { status, reason } => (status, reason),
            other => panic!("it is refused: {other:?}"),
        };
        assert_eq!(refused(""), (Some(400), "HTTP status 400".to_owned()));
        assert_eq!(
            refused("no\r\n such\tfield\0").1,
            "HTTP status 400: no such field"
        );
        let long = refused(&"é".repeat(1_000)).1;
        assert_eq!(long, format!("HTTP status 400: {}..", "é".repeat(200)));
    }

    #[test]
    fn an_answer_that_asks_for_a_pause_gets_it() {
        let verdict = answer(429, Some("7"), "slow down").verdict(NOW);
        let reason = "HTTP status 429: slow down".to_owned();
        let after = Some(Duration::from_secs(7));
        assert_eq!(verdict, Verdict::Again { reason, after });
    }
}
