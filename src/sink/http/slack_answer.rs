//! What Slack's answers to `chat.postMessage` mean. Pure.
//!
//! Slack says no with status 200 and `{"ok":false,"error":".."}`.

use serde_json::Value;

use super::answer::Answer;
use crate::sink::outbox::Verdict;
use crate::types::ProcessingTime;

/// Errors that a new try may get over, or a person: a token that is allowed again, for example.
const PASSING: [(&str, &str); 14] = [
    ("ratelimited", "too many messages"),
    ("rate_limited", "too many messages"),
    ("internal_error", "Slack has trouble"),
    ("fatal_error", "Slack has trouble"),
    ("service_unavailable", "Slack has trouble"),
    ("request_timeout", "Slack has trouble"),
    ("invalid_auth", "the token is not valid"),
    ("not_authed", "no token was given"),
    ("token_revoked", "the token was revoked"),
    ("token_expired", "the token has expired"),
    ("account_inactive", "the token's account was removed"),
    ("missing_scope", "the token lacks the scope chat:write"),
    ("no_permission", "the token may not write messages"),
    ("org_login_required", "the workspace is being moved"),
];

/// Errors that the message or its channel has for ever, as far as one can tell.
const LASTING: [(&str, &str); 6] = [
    (
        "channel_not_found",
        "there is no such channel, or the bot may not see it",
    ),
    ("not_in_channel", "the bot must be invited to the channel"),
    ("is_archived", "the channel is archived"),
    (
        "restricted_action",
        "the channel does not let the bot write",
    ),
    ("msg_too_long", "the text is too long"),
    ("no_text", "the text is empty"),
];

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Posted {
    /// It is there, under this time stamp.
    At(String),
    /// It is not: the message that it was to answer is gone.
    ThreadGone,
    /// It is not.
    Not(Verdict),
}

/// Reads an answer of the API.
pub(super) fn read(answer: &Answer, now: ProcessingTime) -> Posted {
    match answer.verdict(now) {
        Verdict::Taken { .. } => {}
        other => return Posted::Not(other),
    }
    let again = |reason: String| {
        Posted::Not(Verdict::Again {
            reason,
            after: answer.after(now),
        })
    };
    let Ok(Value::Object(told)) = serde_json::from_slice(&answer.body) else {
        let text = answer.excerpt();
        return again(format!("Slack's answer is not JSON: \"{text}\""));
    };
    if told.get("ok") == Some(&Value::Bool(true)) {
        let stamp = told.get("ts").and_then(Value::as_str).unwrap_or_default();
        return Posted::At(stamp.to_owned());
    }
    let Some(code) = told.get("error").and_then(Value::as_str) else {
        let text = answer.excerpt();
        return again(format!(
            "Slack's answer says neither yes nor no: \"{text}\""
        ));
    };
    if code == "thread_not_found" {
        return Posted::ThreadGone;
    }
    let meaning = |known: &[(&str, &'static str)]| {
        let found = known.iter().find(|(name, _)| *name == code);
        found.map(|(_, meaning)| *meaning)
    };
    if let Some(meaning) = meaning(&PASSING) {
        return again(format!("Slack says {code}: {meaning}"));
    }
    let reason = match meaning(&LASTING) {
        Some(meaning) => format!("Slack says {code}: {meaning}"),
        None => format!("Slack says {code}"),
    };
    let status = None;
    Posted::Not(Verdict::Refused { status, reason })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn read_from(status: u16, body: &str) -> Posted {
        let answer = Answer {
            status,
            retry_after: (status == 429).then(|| "3".to_owned()),
            body: body.as_bytes().to_vec(),
        };
        read(&answer, ProcessingTime(0))
    }

    fn reason(posted: Posted) -> (bool, String) {
        match posted {
            Posted::Not(Verdict::Again { reason, .. }) => (true, reason),
            Posted::Not(Verdict::Refused { reason, .. }) => (false, reason),
            other => panic!("it was not taken: {other:?}"),
        }
    }

    #[test]
    fn a_message_that_is_there_has_a_time_stamp() {
        let posted = read_from(
            200,
            r#"{"ok":true,"channel":"C1","ts":"1503435956.000247"}"#,
        );
        assert_eq!(posted, Posted::At("1503435956.000247".to_owned()));
    }

    #[test]
    fn errors_are_told_clearly_and_kept_apart() {
        for (code, again, word) in [
            ("channel_not_found", false, "no such channel"),
            ("is_archived", false, "archived"),
            ("something_new", false, "something_new"),
            ("invalid_auth", true, "not valid"),
            ("token_revoked", true, "revoked"),
            ("ratelimited", true, "too many"),
        ] {
            let body = format!(r#"{{"ok":false,"error":"{code}"}}"#);
            let (is_again, text) = reason(read_from(200, &body));
            assert_eq!(is_again, again, "{code}");
            assert!(text.contains(code) && text.contains(word), "{text}");
        }
    }

    #[test]
    fn a_thread_that_is_gone_is_told_apart() {
        let posted = read_from(200, r#"{"ok":false,"error":"thread_not_found"}"#);
        assert_eq!(posted, Posted::ThreadGone);
    }

    #[test]
    fn an_answer_that_is_no_json_is_tried_again_and_told() {
        for body in ["", "ok", "<html>sign in</html>", "[1]", "{\"ok\":tr"] {
            let (again, text) = reason(read_from(200, body));
            assert!(again && text.contains("not JSON"), "{body}: {text}");
        }
        let (again, text) = reason(read_from(200, "{}"));
        assert!(again && text.contains("neither yes nor no"), "{text}");
    }

    #[test]
    fn too_many_requests_are_paused_as_long_as_slack_wants() {
        match read_from(429, "") {
            Posted::Not(Verdict::Again { after, .. }) => {
                assert_eq!(after, Some(Duration::from_secs(3)));
            }
            other => panic!("it comes again: {other:?}"),
        }
    }
}
