//! Websockets, with a server that drops its connections.

use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use super::{Bench, assert_all_there, ended_badly, ended_well, numbered};

type Connection = WebSocketStream<TcpStream>;

/// Calls `serve` with each connection and its number, one after the other.
async fn server<F>(serve: impl Fn(usize, Connection) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.expect("a connection");
            if let Ok(connection) = tokio_tungstenite::accept_async(stream).await {
                serve(number, connection).await;
            }
        }
    });
    format!("ws://{address}/feed")
}

/// What the client says next.
async fn said(connection: &mut Connection) -> String {
    let message = connection.next().await.expect("it says something");
    message
        .expect("it is well")
        .into_text()
        .expect("it is text")
        .to_string()
}

async fn say(connection: &mut Connection, text: &str) {
    connection
        .send(Message::text(text))
        .await
        .expect("it listens");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_connection_is_made_again_and_subscribed_to_again() {
    let bench = Bench::start().await;
    let url = server(|number, mut connection| async move {
        assert_eq!(said(&mut connection).await, r#"{"op":"subscribe"}"#);
        assert_eq!(said(&mut connection).await, "second");
        say(&mut connection, r#"{"type":"subscribed"}"#).await;
        let items: Vec<_> = (number * 5..number * 5 + 4).map(numbered).collect();
        let text = format!(r#"{{"events":[{{"trades":[{}]}}]}}"#, items.join(","));
        say(&mut connection, &text).await;
        connection
            .send(Message::Ping(Vec::new().into()))
            .await
            .expect("it listens");
        say(&mut connection, "not JSON").await;
        let text = format!(
            r#"{{"events":[{{"trades":[{}]}}]}}"#,
            numbered(number * 5 + 4)
        );
        connection
            .send(Message::binary(text.into_bytes()))
            .await
            .expect("it listens");
        // Gone without a goodbye.
    })
    .await;
    let feed = bench.feed(&[
        "websocket",
        &url,
        "--subscribe",
        r#"{"op":"subscribe"}"#,
        "--subscribe",
        "second",
        "--array-path",
        "events.trades",
        "--limit",
        "20",
    ]);
    let output = ended_well(feed);
    assert_all_there(&bench.messages(), 20, 0);
    assert!(
        output.contains("20 messages to topic \"fed\", 4 skipped, 4 without items"),
        "{output}"
    );
    assert!(output.contains("tried again in"), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_given_up_and_one_that_answers_is_kept() {
    let bench = Bench::start().await;
    let url = server(|number, mut connection| async move {
        if number == 0 {
            // Says nothing and hears nothing, until the client hangs up.
            let mut stream = connection.into_inner();
            let mut buffer = [0; 64];
            while tokio::io::AsyncReadExt::read(&mut stream, &mut buffer)
                .await
                .is_ok_and(|n| n > 0)
            {}
            return;
        }
        // The library answers pings while it reads; the second one ends the silence.
        for _ in 0..2 {
            let ping = connection
                .next()
                .await
                .expect("a ping")
                .expect("it is well");
            assert!(ping.is_ping(), "{ping:?}");
        }
        say(&mut connection, "here").await;
        // Waits for the end.
        while let Some(Ok(_)) = connection.next().await {}
    })
    .await;
    let feed = bench.feed(&["websocket", &url, "--idle-timeout", "600ms", "--limit", "1"]);
    let output = ended_well(feed);
    assert!(
        output.contains("1 message to topic \"fed\", 1 error"),
        "{output}"
    );
    assert_eq!(bench.messages(), ["here"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_no_websocket_or_is_away_is_told() {
    let bench = Bench::start().await;
    let (code, output) = ended_badly(bench.feed(&["websocket", "http://127.0.0.1:1"]));
    assert_eq!(code, 1, "{output}");
    assert!(output.contains("ws:// or wss://"), "{output}");
    let feed = bench.feed(&["websocket", "ws://127.0.0.1:1"]);
    crate::support::wait::until("word of the outage", || {
        feed.output().contains("could not connect").then_some(())
    });
    feed.signal("INT");
    ended_well(feed);
}
