//! The message in what Slack sends, however it comes. Pure.

use serde_json::{Map, Value};

/// What Slack tells about an event that belongs into the message beside the event's own fields.
const ABOUT_EVENT: &[&str] = &["team_id", "event_id", "event_time"];

/// The message event of a payload, with what Slack tells about it; `None` if it is another event or
/// of another channel. Without channels every channel is wanted.
pub(super) fn message_of(mut payload: Map<String, Value>, channels: &[String]) -> Option<Vec<u8>> {
    let Some(Value::Object(mut event)) = payload.remove("event") else {
        return None;
    };
    let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
    let is_wanted =
        channels.is_empty() || channels.iter().any(|channel| channel == text("channel"));
    if text("type") != "message" || !is_wanted {
        return None;
    }
    for name in ABOUT_EVENT {
        if let Some(value) = payload.remove(*name) {
            event.entry(*name).or_insert(value);
        }
    }
    Some(Value::Object(event).to_string().into_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::message_of;

    fn message(payload: Value, channels: &[&str]) -> Option<Value> {
        let channels: Vec<String> = channels.iter().map(|id| (*id).to_owned()).collect();
        let Value::Object(payload) = payload else {
            panic!("a payload is an object");
        };
        let bytes = message_of(payload, &channels)?;
        Some(serde_json::from_slice(&bytes).unwrap())
    }

    fn payload(channel: &str) -> Value {
        json!({
            "team_id": "T", "event_id": "Ev1", "token": "secret",
            "event": {"type": "message", "channel": channel, "text": "hi", "ts": "1.2"},
        })
    }

    #[test]
    fn a_message_is_its_event_and_what_tells_it_from_others() {
        let expected = json!({
            "type": "message", "channel": "C1", "text": "hi", "ts": "1.2",
            "team_id": "T", "event_id": "Ev1",
        });
        assert_eq!(message(payload("C1"), &[]), Some(expected));
    }

    #[test]
    fn other_events_and_other_channels_are_no_message() {
        assert_eq!(message(payload("C1"), &["C2"]), None);
        assert!(message(payload("C2"), &["C1", "C2"]).is_some());
        let reaction = json!({"event": {"type": "reaction_added", "channel": "C1"}});
        assert_eq!(message(reaction, &[]), None);
        assert_eq!(message(json!({"event": "message"}), &[]), None);
        assert_eq!(message(json!({}), &[]), None);
    }
}
