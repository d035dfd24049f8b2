//! Messages of Slack's channels, by Socket Mode.
//!
//! ```text
//! apps.connections.open (app-level token) → URL → websocket → envelopes → message events
//!                                                     ↑ acknowledged when the broker has them
//! ```
//! Slack sends an envelope again that is not acknowledged: at least once. Invariant: an envelope is
//! acknowledged after its message was confirmed, or when it holds none.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::event::message_of;
use crate::clock;
use crate::error::{Error, Result, SqlState};
use crate::feed::backoff::Backoff;
use crate::feed::notes::Notes;
use crate::feed::web::{self, Trouble};
use crate::feed::websocket::Socket;
use crate::feed::{Batch, Source};

/// Slack sends a ping every few seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// Answers of Slack that pass by themselves; all others tell of the token or the app.
const PASSING: &[&str] = &[
    "ratelimited",
    "internal_error",
    "fatal_error",
    "service_unavailable",
    "request_timeout",
];

/// How to reach Slack.
#[derive(Debug, Clone)]
pub struct SocketModeOptions {
    /// The app-level token, `xapp-..`.
    pub token: String,
    /// The API's address, `https://slack.com/api`.
    pub api_url: String,
    /// Only messages of these channels; empty: of all that the app is in.
    pub channels: Vec<String>,
}

/// Stays connected to Slack.
pub(super) struct SocketModeSource {
    client: Client,
    open_url: Url,
    token: String,
    channels: Vec<String>,
    socket: Option<Socket>,
    backoff: Backoff,
    waiting: VecDeque<Event>,
    /// Envelopes whose messages were given out.
    unconfirmed: Vec<String>,
    notes: Arc<Notes>,
}

/// A message, and the envelope it came in.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Event {
    envelope: String,
    payload: Vec<u8>,
}

/// What Slack sends over the websocket.
#[derive(Debug, Deserialize)]
struct Envelope {
    #[serde(rename = "type")]
    kind: String,
    envelope_id: Option<String>,
    reason: Option<String>,
    #[serde(default)]
    payload: Map<String, Value>,
}

/// What to do with an envelope.
#[derive(Debug, PartialEq, Eq)]
enum Act {
    /// Give the message out; acknowledge it then.
    Give(Event),
    /// Acknowledge it: it holds nothing of ours.
    Acknowledge(String),
    /// Connect again: Slack is about to close.
    Reconnect,
    /// The app may not use Socket Mode any more.
    Refused,
    /// A greeting.
    Nothing,
}

impl SocketModeSource {
    /// Prepares; connects later.
    ///
    /// # Errors
    /// When the API's address is none.
    pub(super) fn open(options: SocketModeOptions, notes: Arc<Notes>) -> Result<Self> {
        let address = options.api_url.trim_end_matches('/');
        Ok(Self {
            client: web::client()?,
            open_url: web::url(
                &format!("{address}/apps.connections.open"),
                &["http", "https"],
            )?,
            token: options.token,
            channels: options.channels,
            socket: None,
            backoff: Backoff::default(),
            waiting: VecDeque::new(),
            unconfirmed: Vec::new(),
            notes,
        })
    }

    /// Takes what comes next, connecting first if need be.
    async fn receive(&mut self) -> Result<(), Trouble> {
        let mut socket = match self.socket.take() {
            Some(socket) => socket,
            None => self.connect().await?,
        };
        let bytes = socket.next().await.map_err(Trouble::passing)?;
        let envelope: Envelope = match serde_json::from_slice(&bytes) {
            Ok(envelope) => envelope,
            Err(error) => {
                self.notes
                    .skipped(format_args!("not JSON of Slack: {error}"));
                self.socket = Some(socket);
                return Ok(());
            }
        };
        match act(envelope, &self.channels) {
            Act::Give(event) => {
                self.backoff.succeeded();
                self.waiting.push_back(event);
            }
            Act::Acknowledge(envelope) => {
                self.backoff.succeeded();
                self.notes.passed_over();
                acknowledge(&mut socket, &envelope)
                    .await
                    .map_err(Trouble::passing)?;
            }
            Act::Reconnect => {
                socket.close().await;
                clock::sleep(self.backoff.failed(fastrand::f64(), None)).await;
                return Ok(());
            }
            Act::Refused => {
                let message = "Slack has turned off Socket Mode for this app";
                let error = Error::external(SqlState::ConnectionFailure, false, message);
                return Err(Trouble::Final(error.hint(
                    "Turn it on again in the app's settings, under Socket Mode.",
                )));
            }
            Act::Nothing => {}
        }
        self.socket = Some(socket);
        Ok(())
    }

    async fn connect(&self) -> Result<Socket, Trouble> {
        let request = self.client.post(self.open_url.clone());
        let answer = web::ask(request.bearer_auth(&self.token)).await?;
        let url = socket_url(&answer)?;
        Socket::connect(&url, &[], IDLE_TIMEOUT).await
    }
}

/// Where Slack wants to be connected to, out of the answer of `apps.connections.open`.
fn socket_url(answer: &str) -> Result<Url, Trouble> {
    #[derive(Deserialize)]
    struct Opened {
        ok: bool,
        url: Option<String>,
        error: Option<String>,
    }
    let opened: Opened = serde_json::from_str(answer)
        .map_err(|_| Trouble::passing("Slack's answer cannot be read"))?;
    if opened.ok {
        let url = opened.url.unwrap_or_default();
        return web::url(&url, &["ws", "wss"])
            .map_err(|_| Trouble::passing("Slack's answer has no URL to connect to"));
    }
    let reason = opened.error.unwrap_or_default();
    let what = format!("Slack answered \"{reason}\"");
    if PASSING.contains(&reason.as_str()) {
        return Err(Trouble::passing(what));
    }
    let state = SqlState::InvalidAuthorizationSpecification;
    Err(Trouble::Final(Error::external(state, false, what).hint(
        "Use an app-level token (xapp-..) with the scope connections:write, of an app with Socket Mode \
         turned on.",
    )))
}

/// Decides about an envelope.
fn act(envelope: Envelope, channels: &[String]) -> Act {
    match (envelope.kind.as_str(), envelope.reason.as_deref()) {
        ("disconnect", Some("link_disabled")) => return Act::Refused,
        ("disconnect", _) => return Act::Reconnect,
        _ => {}
    }
    let Some(id) = envelope.envelope_id else {
        return Act::Nothing;
    };
    let message = match envelope.kind.as_str() {
        "events_api" => message_of(envelope.payload, channels),
        _ => None,
    };
    match message {
        Some(payload) => Act::Give(Event {
            envelope: id,
            payload,
        }),
        None => Act::Acknowledge(id),
    }
}

async fn acknowledge(socket: &mut Socket, envelope: &str) -> Result<(), String> {
    let id = Value::from(envelope);
    socket.send(&format!("{{\"envelope_id\":{id}}}")).await
}

#[async_trait]
impl Source for SocketModeSource {
    async fn next(&mut self, messages_max: usize) -> Result<Option<Batch>> {
        while self.waiting.is_empty() {
            match self.receive().await {
                Ok(()) => {}
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing { what, retry_after }) => {
                    let wait = self.backoff.failed(fastrand::f64(), retry_after);
                    self.notes.failed(what, wait);
                    clock::sleep(wait).await;
                }
            }
        }
        let count = self.waiting.len().min(messages_max);
        let mut batch = Batch::default();
        for event in self.waiting.drain(..count) {
            batch.payloads.push(event.payload);
            self.unconfirmed.push(event.envelope);
        }
        Ok(Some(batch))
    }

    async fn confirmed(&mut self) {
        let Some(mut socket) = self.socket.take() else {
            self.unconfirmed.clear();
            return;
        };
        for envelope in std::mem::take(&mut self.unconfirmed) {
            // Slack sends again what it hears nothing of.
            if let Err(reason) = acknowledge(&mut socket, &envelope).await {
                self.notes.failed(reason, Duration::ZERO);
                return;
            }
        }
        self.socket = Some(socket);
    }

    async fn close(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.close().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Act, Event, act, socket_url};
    use crate::feed::web::Trouble;

    fn decide(envelope: Value, channels: &[&str]) -> Act {
        let channels: Vec<String> = channels.iter().map(|id| (*id).to_owned()).collect();
        act(serde_json::from_value(envelope).unwrap(), &channels)
    }

    fn message(channel: &str) -> Value {
        json!({
            "type": "events_api",
            "envelope_id": "e1",
            "payload": {
                "team_id": "T", "event_id": "Ev1", "token": "secret",
                "event": {"type": "message", "channel": channel, "text": "hi", "ts": "1.2"},
            },
        })
    }

    #[test]
    fn a_message_is_given_out_with_its_envelope() {
        let Act::Give(Event { envelope, payload }) = decide(message("C1"), &[]) else {
            panic!("it is a message");
        };
        assert_eq!(envelope, "e1");
        let expected = json!({
            "type": "message", "channel": "C1", "text": "hi", "ts": "1.2",
            "team_id": "T", "event_id": "Ev1",
        });
        assert_eq!(serde_json::from_slice::<Value>(&payload).unwrap(), expected);
    }

    #[test]
    fn what_is_no_wanted_message_is_acknowledged_at_once() {
        let acknowledged = Act::Acknowledge("e1".to_owned());
        assert_eq!(decide(message("C1"), &["C2"]), acknowledged);
        assert!(matches!(decide(message("C2"), &["C1", "C2"]), Act::Give(_)));
        let command = json!({"type": "slash_commands", "envelope_id": "e1", "payload": {"a": 1}});
        assert_eq!(decide(command, &[]), acknowledged);
        let reaction = json!({
            "type": "events_api", "envelope_id": "e1",
            "payload": {"event": {"type": "reaction_added"}},
        });
        assert_eq!(decide(reaction, &[]), acknowledged);
    }

    #[test]
    fn a_disconnect_is_followed_by_a_new_connection_unless_the_app_is_turned_off() {
        let disconnect = |reason| json!({"type": "disconnect", "reason": reason});
        assert_eq!(decide(disconnect("refresh_requested"), &[]), Act::Reconnect);
        assert_eq!(decide(disconnect("warning"), &[]), Act::Reconnect);
        assert_eq!(decide(disconnect("link_disabled"), &[]), Act::Refused);
        assert_eq!(
            decide(json!({"type": "hello", "num_connections": 1}), &[]),
            Act::Nothing
        );
    }

    #[test]
    fn a_refused_token_is_final_and_a_busy_slack_is_not() {
        let url = socket_url(r#"{"ok":true,"url":"wss://example.org/link"}"#);
        assert_eq!(url.unwrap().scheme(), "wss");
        let trouble = |answer| socket_url(answer).unwrap_err();
        assert!(matches!(
            trouble(r#"{"ok":false,"error":"invalid_auth"}"#),
            Trouble::Final(_)
        ));
        for answer in [
            r#"{"ok":false,"error":"ratelimited"}"#,
            "<html>",
            r#"{"ok":true}"#,
        ] {
            assert!(
                matches!(trouble(answer), Trouble::Passing { .. }),
                "{answer}"
            );
        }
    }
}
