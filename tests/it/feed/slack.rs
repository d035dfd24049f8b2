//! Slack's Socket Mode, with a made-up Slack.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::http::{HeaderMap, Uri};
use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{Bench, ended_badly, ended_well};
use crate::support::process::Process;

const TOKEN: &str = "xapp-test";

/// Slack's API: `apps.connections.open` for those who have the token.
async fn api(socket_url: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let router = Router::new().fallback(move |uri: Uri, headers: HeaderMap| {
        assert_eq!(
            uri.path(),
            "/api/apps.connections.open",
            "the one method that is asked"
        );
        let given = headers
            .get("authorization")
            .and_then(|given| given.to_str().ok());
        std::future::ready(match given {
            Some("Bearer xapp-test") => format!(r#"{{"ok":true,"url":"{socket_url}"}}"#),
            _ => r#"{"ok":false,"error":"invalid_auth"}"#.to_owned(),
        })
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}/api")
}

/// An envelope with a message event.
fn message(envelope: &str, text: &str) -> String {
    format!(
        r#"{{"type":"events_api","envelope_id":"{envelope}","accepts_response_payload":false,"payload":{{"team_id":"T1","event_id":"Ev-{envelope}","event":{{"type":"message","channel":"C1","user":"U1","text":"{text}","ts":"1767225600.000100"}}}}}}"#
    )
}

/// The envelopes that are acknowledged, as they come.
type Acknowledged = Arc<Mutex<Vec<String>>>;

/// Sends the envelopes and waits until all are acknowledged.
async fn talk(
    connection: &mut WebSocketStream<TcpStream>,
    envelopes: &[String],
    heard: &Acknowledged,
) {
    for envelope in envelopes {
        connection
            .send(Message::text(envelope))
            .await
            .expect("it listens");
    }
    let wanted = envelopes
        .iter()
        .filter(|text| text.contains("envelope_id"))
        .count();
    for _ in 0..wanted {
        let answer = connection
            .next()
            .await
            .expect("an answer")
            .expect("it is well");
        let text = answer.into_text().expect("it is text").to_string();
        heard.lock().expect("nobody panicked").push(text);
    }
}

/// The first connection ends by request after two messages, the second one sends another.
async fn socket(heard: Acknowledged) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        let hello = r#"{"type":"hello","num_connections":1}"#.to_owned();
        let command = r#"{"type":"slash_commands","envelope_id":"e2","payload":{}}"#.to_owned();
        let first = [
            hello.clone(),
            message("e1", "hi \\\"you\\\""),
            command,
            message("e3", "two"),
        ];
        let second = [hello, message("e4", "three")];
        for envelopes in [&first[..], &second[..]] {
            let (stream, _) = listener.accept().await.expect("a connection");
            let mut connection = tokio_tungstenite::accept_async(stream)
                .await
                .expect("a websocket");
            talk(&mut connection, envelopes, &heard).await;
            let disconnect = r#"{"type":"disconnect","reason":"refresh_requested"}"#;
            // The feed may have ended: it has what it wants.
            let _ = connection.send(Message::text(disconnect)).await;
            while let Some(Ok(_)) = connection.next().await {}
        }
    });
    format!("ws://{address}/link")
}

fn feed(bench: &Bench, api: &str, token: &str) -> Process {
    let mut command = bench.command(&[
        "slack",
        "--api-url",
        api,
        "--limit",
        "3",
        "--key-path",
        "channel",
    ]);
    command.env("SLACK_APP_TOKEN", token);
    Process::start(&mut command, &bench.log())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_channels_are_acknowledged_when_they_are_in_the_topic() {
    let bench = Bench::start().await;
    let heard = Acknowledged::default();
    let api = api(socket(Arc::clone(&heard)).await).await;
    ended_well(feed(&bench, &api, TOKEN));
    let messages = bench.messages();
    assert_eq!(messages.len(), 3, "{messages:?}");
    let first: serde_json::Value = serde_json::from_str(&messages[0]).expect("it is JSON");
    assert_eq!(first["text"], "hi \"you\"");
    assert_eq!(first["event_id"], "Ev-e1");
    let heard = heard.lock().expect("nobody panicked");
    for envelope in ["e1", "e2", "e3"] {
        assert!(
            heard.contains(&format!(r#"{{"envelope_id":"{envelope}"}}"#)),
            "{heard:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_token_ends_it_and_is_not_shown() {
    let bench = Bench::start().await;
    let api = api("ws://127.0.0.1:1".to_owned()).await;
    let (code, output) = ended_badly(feed(&bench, &api, "xapp-revoked"));
    assert_eq!(code, 1, "{output}");
    assert!(
        output.contains("invalid_auth") && !output.contains("xapp-revoked"),
        "{output}"
    );
}
