//! Messages of Slack's channels, by the Events API: Slack sends each event in a request of its own.
//!
//! ```text
//! request → signature → message event → queue → the broker has it → 200
//!                                             → not in time, or a stop → 503
//! ```
//! Slack sends again what is not answered with 200, a few times: at least once. Invariant: a request is
//! answered with 200 after its message was confirmed, or when it holds none.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use futures::StreamExt;
use serde_json::{Map, Value};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::event::message_of;
use super::signature::{Signed, SigningSecret};
use crate::clock;
use crate::error::{Error, Result, SqlState};
use crate::feed::notes::Notes;
use crate::feed::{Batch, Source};
use crate::task::{self, Scoped, Shutdown, Stop};

/// Slack waits three seconds for an answer, and the answer has to reach it.
const ANSWER_TIME_MAX: Duration = Duration::from_millis(2_500);
/// How long the last answers may take at the end.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(3);
/// Bytes of a request at the most. Slack's are far smaller.
const REQUEST_BYTES_MAX: usize = 1 << 20;
/// How long a request may take to come. Slack's come at once.
const BODY_TIME_MAX: Duration = Duration::from_secs(5);
/// Messages that wait to be given out; when there are more, requests wait.
const WAITING_MAX: usize = 256;

/// Where Slack sends its events to, and how they are known to be Slack's.
#[derive(Debug, Clone)]
pub struct EventsApiOptions {
    /// Where to listen; port 0 is any free one.
    pub listen: SocketAddr,
    /// The path of the requests: a slash, then letters, digits and slashes.
    pub path: String,
    /// The app's signing secret.
    pub signing_secret: String,
    /// Only messages of these channels; empty: of all that the app is in.
    pub channels: Vec<String>,
}

/// Listens for Slack.
pub(super) struct EventsApiSource {
    address: SocketAddr,
    arrivals: mpsc::Receiver<Arrival>,
    /// Requests whose messages were given out.
    unconfirmed: Vec<oneshot::Sender<()>>,
    stop: Stop,
    server: Scoped<std::io::Result<()>>,
}

/// A message, and the request that waits for its confirmation.
#[derive(Debug)]
struct Arrival {
    payload: Vec<u8>,
    confirmed: oneshot::Sender<()>,
}

impl EventsApiSource {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the address is taken, or is not this machine's.
    pub(super) async fn open(options: EventsApiOptions, notes: Arc<Notes>) -> Result<Self> {
        let refused = |error: std::io::Error| refused(options.listen, &error);
        let listener = TcpListener::bind(options.listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let (sender, arrivals) = mpsc::channel(WAITING_MAX);
        let endpoint = Endpoint {
            secret: SigningSecret::new(&options.signing_secret),
            channels: options.channels,
            arrivals: sender,
            notes,
        };
        let routes = routes(&options.path, Arc::new(endpoint));
        let (stop, shutdown) = task::shutdown();
        Ok(Self {
            address,
            arrivals,
            unconfirmed: Vec::new(),
            stop,
            server: task::spawn_scoped("slack events", serve(listener, routes, shutdown)),
        })
    }
}

fn refused(address: SocketAddr, error: &std::io::Error) -> Error {
    let message = format!("could not listen on {address} for Slack's events: {error}");
    Error::external(SqlState::ObjectInUse, false, message).hint(
        "Is another server running there? Choose another address with --listen; port 0 takes any \
         free one.",
    )
}

async fn serve(
    listener: TcpListener,
    routes: Router,
    mut shutdown: Shutdown,
) -> std::io::Result<()> {
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move { shutdown.requested().await })
        .await
}

fn routes(path: &str, endpoint: Arc<Endpoint>) -> Router {
    let answer = move |request: Request| async move {
        let (head, body) = request.into_parts();
        match read(&head.headers, body).await {
            Ok(body) => endpoint.answer(&head.headers, &body).await,
            Err((status, reason)) => endpoint.refuse(status, reason),
        }
    };
    Router::new().route(path, post(answer))
}

/// Why a request is refused, and with which status.
type Refusal = (StatusCode, &'static str);

const TOO_LONG: Refusal = (StatusCode::PAYLOAD_TOO_LARGE, "a request is too long");

/// Reads a request's body; one that says that it is too long is not read at all.
///
/// # Errors
/// It is too long, does not come to its end in time, or breaks off.
async fn read(headers: &HeaderMap, body: Body) -> Result<Vec<u8>, Refusal> {
    let length = text(headers, "content-length").parse::<u64>();
    if length.is_ok_and(|length| length > REQUEST_BYTES_MAX as u64) {
        return Err(TOO_LONG);
    }
    let late = (StatusCode::REQUEST_TIMEOUT, "a request does not end");
    timeout(BODY_TIME_MAX, whole(body))
        .await
        .unwrap_or(Err(late))
}

async fn whole(body: Body) -> Result<Vec<u8>, Refusal> {
    let (mut parts, mut whole) = (body.into_data_stream(), Vec::new());
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| (StatusCode::BAD_REQUEST, "a request breaks off"))?;
        if whole.len() + part.len() > REQUEST_BYTES_MAX {
            return Err(TOO_LONG);
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole)
}

/// Answers Slack's requests.
struct Endpoint {
    secret: SigningSecret,
    channels: Vec<String>,
    arrivals: mpsc::Sender<Arrival>,
    notes: Arc<Notes>,
}

/// A status, and a text for who looks into the log of requests.
type Answer = (StatusCode, String);

impl Endpoint {
    async fn answer(&self, headers: &HeaderMap, body: &[u8]) -> Answer {
        let signed = Signed {
            timestamp: text(headers, "x-slack-request-timestamp"),
            signature: text(headers, "x-slack-signature"),
            body,
        };
        if let Err(reason) = self.secret.check(signed, clock::wall_micros() / 1_000_000) {
            return self.refuse(StatusCode::UNAUTHORIZED, reason);
        }
        match asked(body, &self.channels) {
            Ok(Asked::Challenge(challenge)) => (StatusCode::OK, challenge),
            Ok(Asked::Message(payload)) => self.pass_on(payload).await,
            Ok(Asked::Nothing) => {
                self.notes.passed_over();
                (StatusCode::OK, String::new())
            }
            Err(reason) => self.refuse(StatusCode::BAD_REQUEST, &reason),
        }
    }

    fn refuse(&self, status: StatusCode, reason: &str) -> Answer {
        self.notes.skipped(reason);
        (status, format!("{reason}\n"))
    }

    /// Gives a message out and waits until it is confirmed. One that comes too late for Slack is
    /// delivered nevertheless: Slack may have given up by then.
    async fn pass_on(&self, payload: Vec<u8>) -> Answer {
        let (confirmed, confirmation) = oneshot::channel();
        let passed_on = async {
            let arrival = Arrival { payload, confirmed };
            self.arrivals.send(arrival).await.ok()?;
            confirmation.await.ok()
        };
        let why = match timeout(ANSWER_TIME_MAX, passed_on).await {
            Ok(Some(())) => return (StatusCode::OK, String::new()),
            Ok(None) => "the feed stops",
            Err(_) => "kafka did not confirm it in time",
        };
        self.notes.put_off(why);
        (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"))
    }
}

/// A header's value; empty if there is none.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    /// To be answered with this: so Slack makes sure that the address is the app's.
    Challenge(String),
    /// To take a message.
    Message(Vec<u8>),
    /// Nothing of ours: another event, another channel.
    Nothing,
}

/// Reads a request.
///
/// # Errors
/// What cannot be read.
fn asked(body: &[u8], channels: &[String]) -> Result<Asked, String> {
    let payload: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| format!("not JSON of Slack: {error}"))?;
    let text = |name: &str| payload.get(name).and_then(Value::as_str);
    match text("type") {
        Some("url_verification") => match text("challenge") {
            Some(challenge) => Ok(Asked::Challenge(challenge.to_owned())),
            None => Err("a challenge of Slack is empty".to_owned()),
        },
        Some("event_callback") => {
            Ok(message_of(payload, channels).map_or(Asked::Nothing, Asked::Message))
        }
        _ => Ok(Asked::Nothing),
    }
}

#[async_trait]
impl Source for EventsApiSource {
    fn address(&self) -> Option<SocketAddr> {
        Some(self.address)
    }

    async fn next(&mut self, messages_max: usize) -> Result<Option<Batch>> {
        let mut arrivals = Vec::new();
        if self.arrivals.recv_many(&mut arrivals, messages_max).await == 0 {
            return Err(Error::internal("the HTTP side for Slack's events is gone"));
        }
        let mut batch = Batch::default();
        for arrival in arrivals {
            batch.payloads.push(arrival.payload);
            self.unconfirmed.push(arrival.confirmed);
        }
        Ok(Some(batch))
    }

    async fn confirmed(&mut self) {
        for request in self.unconfirmed.drain(..) {
            // An error means that it has its answer: it was too late for Slack.
            let _ = request.send(());
        }
    }

    async fn close(&mut self) {
        // Who still waits hears that the feed stops.
        self.unconfirmed.clear();
        self.arrivals.close();
        while self.arrivals.try_recv().is_ok() {}
        self.stop.request();
        // A client that holds it up is cut off.
        let _ = timeout(CLOSE_TIME_MAX, self.server.join()).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::http::StatusCode;
    use serde_json::{Value, json};
    use tokio::sync::mpsc;

    use super::{Asked, Endpoint, SigningSecret, asked};
    use crate::feed::notes::Notes;

    fn read(request: &Value) -> Asked {
        asked(request.to_string().as_bytes(), &["C1".to_owned()]).unwrap()
    }

    fn event(kind: &str, channel: &str) -> Value {
        json!({
            "type": "event_callback", "event_id": "Ev1",
            "event": {"type": kind, "channel": channel, "text": "hi"},
        })
    }

    #[test]
    fn a_challenge_is_answered_and_a_message_taken_and_the_rest_passed_over() {
        let challenge = json!({"type": "url_verification", "token": "t", "challenge": "3eZbrw1a"});
        assert_eq!(read(&challenge), Asked::Challenge("3eZbrw1a".to_owned()));
        assert!(matches!(read(&event("message", "C1")), Asked::Message(_)));
        for other in [
            event("message", "C2"),
            event("reaction_added", "C1"),
            json!({"type": "app_rate_limited"}),
            json!({}),
        ] {
            assert_eq!(read(&other), Asked::Nothing, "{other}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        for body in ["", "{\"type\":", "[1]", "{\"type\":\"url_verification\"}"] {
            assert!(asked(body.as_bytes(), &[]).is_err(), "{body}");
        }
    }

    #[tokio::test]
    async fn a_message_is_answered_well_when_it_is_confirmed_and_not_at_a_stop() {
        let (sender, mut arrivals) = mpsc::channel(1);
        let notes = Arc::new(Notes::default());
        let endpoint = Endpoint {
            secret: SigningSecret::new("secret"),
            channels: Vec::new(),
            arrivals: sender,
            notes: Arc::clone(&notes),
        };
        let confirm = async {
            let arrival = arrivals.recv().await.unwrap();
            assert_eq!(arrival.payload, b"one", "it is the message");
            arrival.confirmed.send(()).unwrap();
        };
        let (answer, ()) = tokio::join!(endpoint.pass_on(b"one".to_vec()), confirm);
        assert_eq!(answer.0, StatusCode::OK);
        let stop = async { drop(arrivals.recv().await) };
        let (answer, ()) = tokio::join!(endpoint.pass_on(b"two".to_vec()), stop);
        assert_eq!(answer.0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(notes.counts().errors, 1, "it is told");
    }
}
