//! Slack's Events API, with a made-up Slack that sends requests.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::SystemTime;

use ring::hmac;
use serde_json::{Value, json};

use super::{Bench, ended_badly, ended_well};
use crate::support::process::Process;
use crate::support::wait;

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

/// A Slack that knows where the feed listens.
struct Slack {
    client: reqwest::Client,
    url: String,
}

impl Slack {
    fn of(address: SocketAddr) -> Self {
        let client = reqwest::Client::builder().no_proxy().build();
        Self {
            client: client.expect("a client"),
            url: format!("http://{address}/slack/events"),
        }
    }

    /// Sends a request as Slack does; the answer's status and text.
    async fn send(&self, body: &str) -> (u16, String) {
        self.send_signed(body, SECRET, now()).await
    }

    async fn send_signed(&self, body: &str, secret: &str, seconds: i64) -> (u16, String) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        let tag = hmac::sign(&key, format!("v0:{seconds}:{body}").as_bytes());
        let hex: String = tag.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        let request = self
            .client
            .post(&self.url)
            .header("Content-Type", "application/json")
            .header("X-Slack-Request-Timestamp", seconds.to_string())
            .header("X-Slack-Signature", format!("v0={hex}"))
            .body(body.to_owned());
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.text().await.expect("a text"))
    }
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let seconds = since.expect("it is after 1970").as_secs();
    i64::try_from(seconds).expect("it is before the end of time")
}

fn event(id: &str, kind: &str, channel: &str) -> String {
    json!({
        "type": "event_callback", "token": "t", "team_id": "T1", "event_id": id,
        "event": {"type": kind, "channel": channel, "user": "U1", "text": "hi", "ts": "1.2"},
    })
    .to_string()
}

fn feed(bench: &Bench, listen: &str) -> Process {
    let mut command = bench.command(&["slack", "--listen", listen, "--channel", "C1"]);
    command.env("SLACK_SIGNING_SECRET", SECRET);
    Process::start(&mut command, &bench.log())
}

/// The ids of the events that are in the topic.
fn event_ids(bench: &Bench) -> Vec<String> {
    let id = |text: &String| {
        let message: Value = serde_json::from_str(text).expect("it is JSON");
        message["event_id"].as_str().expect("it has one").to_owned()
    };
    bench.messages().iter().map(id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_slack_has_signed_are_in_the_topic_when_they_are_answered() {
    let bench = Bench::start().await;
    let mut feed = feed(&bench, "127.0.0.1:0");
    let slack = Slack::of(feed.announced("slack"));
    let challenge = json!({"type": "url_verification", "token": "t", "challenge": "3eZbrw1a"});
    let answer = slack.send(&challenge.to_string()).await;
    assert_eq!(answer, (200, "3eZbrw1a".to_owned()));

    let first = event("Ev1", "message", "C1");
    assert_eq!(slack.send(&first).await.0, 200);
    assert_eq!(event_ids(&bench), ["Ev1"], "it is there with the answer");

    let forged = event("Ev2", "message", "C1");
    assert_eq!(slack.send_signed(&forged, "guessed", now()).await.0, 401);
    let old = event("Ev3", "message", "C1");
    assert_eq!(slack.send_signed(&old, SECRET, now() - 400).await.0, 401);
    let reaction = event("Ev4", "reaction_added", "C1");
    assert_eq!(slack.send(&reaction).await.0, 200);
    let elsewhere = event("Ev5", "message", "C2");
    assert_eq!(slack.send(&elsewhere).await.0, 200);
    assert_eq!(slack.send("{\"type\":").await.0, 400);

    let last = event("Ev6", "message", "C1");
    assert_eq!(slack.send(&last).await.0, 200);
    assert_eq!(event_ids(&bench), ["Ev1", "Ev6"]);
    feed.signal("TERM");
    let output = ended_well(feed);
    assert!(
        output.contains("2 messages to topic \"fed\", 3 skipped, 2 without items\n"),
        "{output}"
    );
    assert!(!output.contains(SECRET), "{output}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_kafka_does_not_confirm_is_to_be_sent_again() {
    let mut bench = Bench::start().await;
    let mut feed = feed(&bench, "127.0.0.1:0");
    let slack = Slack::of(feed.announced("slack"));
    let message = event("Ev1", "message", "C1");
    bench.broker.kill();
    let (status, text) = slack.send(&message).await;
    assert_eq!(status, 503, "nothing has confirmed it: {text}");
    bench.broker.start_again();
    bench.await_messages(1, &feed);
    assert_eq!(slack.send(&message).await.0, 200);
    // The first one was taken too: Slack may have given up by then.
    let ids = event_ids(&bench);
    assert!(ids.len() >= 2, "{ids:?}");
    assert!(ids.iter().all(|id| id == "Ev1"), "{ids:?}");
}

/// Sends the head of a request and a part of its body; the first line of the answer.
fn begun(address: SocketAddr, length: u64) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(wait::PATIENCE))
        .expect("it takes a time");
    let head = format!(
        "POST /slack/events HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).expect("it reads");
    let mut line = String::new();
    let mut answer = BufReader::new(stream);
    answer.read_line(&mut line).expect("it answers");
    line.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_too_long_or_does_not_end_is_answered_all_the_same() {
    let bench = Bench::start().await;
    let mut feed = feed(&bench, "127.0.0.1:0");
    let address = feed.announced("slack");
    assert_eq!(begun(address, 1 << 40), "HTTP/1.1 413 Payload Too Large");
    assert_eq!(
        begun(address, (1 << 20) + 1),
        "HTTP/1.1 413 Payload Too Large"
    );
    assert_eq!(begun(address, 100), "HTTP/1.1 408 Request Timeout");
    for id in ["Ev1", "Ev2"] {
        let message = event(id, "message", "C1");
        assert_eq!(Slack::of(address).send(&message).await.0, 200);
    }
    feed.signal("TERM");
    let output = ended_well(feed);
    assert!(
        output.contains("2 messages to topic \"fed\", 3 skipped"),
        "{output}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_is_told_with_the_flag_that_changes_it() {
    let bench = Bench::start().await;
    let other = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = other.local_addr().expect("it is bound").to_string();
    let (code, output) = ended_badly(feed(&bench, &address));
    assert_eq!(code, 1, "{output}");
    assert!(
        output.contains(&format!("could not listen on {address}")) && output.contains("--listen"),
        "{output}"
    );
}
