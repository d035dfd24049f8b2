//! What rows are in Slack, which share a message, and what is known of threads.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};

use super::*;
use crate::sink::outbox::OutboxName;
use crate::types::ProcessingTime;

fn options(target: SlackTarget) -> SlackOptions {
    SlackOptions {
        target,
        text: Some("{{ message }}".to_owned()),
        threads: Some(Threads {
            columns: vec!["alert".to_owned()],
            end: Some(("state".to_owned(), "resolved".to_owned())),
        }),
        timeout: Duration::from_secs(1),
        outbox: OutboxSettings {
            name: OutboxName {
                query: "s".to_owned(),
                sink: None,
            },
            bytes_max: 1,
            attempts_max: None,
        },
    }
}

fn api() -> SlackTarget {
    SlackTarget::Api {
        url: "https://slack.com/api/".to_owned(),
        token: "xoxb-1".to_owned(),
        channel: Some("#ops".to_owned()),
        channel_column: Some("channel".to_owned()),
    }
}

fn form(target: SlackTarget) -> Result<Form> {
    let field = |name: &str| Arc::new(Field::new(name, DataType::Utf8View, true));
    let schema = Schema::new(["message", "channel", "alert", "state"].map(field).to_vec());
    Form::try_new(&options(target), &schema, &SinkRules::default())
}

fn message(payload: &Value) -> Message {
    Message {
        number: 0,
        epoch: 1,
        row: 0,
        at: ProcessingTime(0),
        key: String::new(),
        payload: payload.to_string().into_bytes(),
    }
}

#[test]
fn a_row_names_its_channel_its_thread_and_its_end() {
    let form = form(api()).unwrap();
    let firing =
        message(&json!({"message": "a<b", "channel": null, "alert": "x", "state": "firing"}));
    let firing = form.row(&firing).unwrap();
    assert_eq!((firing.channel.as_str(), firing.ends), ("#ops", false));
    assert_eq!(firing.text, "a&lt;b");
    let resolved =
        message(&json!({"message": "m", "channel": "C2", "alert": "x", "state": "resolved"}));
    let resolved = form.row(&resolved).unwrap();
    assert_eq!((resolved.channel.as_str(), resolved.ends), ("C2", true));
    assert_ne!(firing.thread, resolved.thread, "a thread is of one channel");
    let request = form.request("#ops", "t", Some("1.2"));
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(
        body,
        json!({"channel": "#ops", "text": "t", "thread_ts": "1.2"})
    );
    assert_eq!(
        request.url.as_str(),
        "https://slack.com/api/chat.postMessage"
    );
    assert_eq!(request.headers[AUTHORIZATION], "Bearer xoxb-1");
}

#[test]
fn an_incoming_webhook_has_neither_channel_nor_threads() {
    let url = "https://hooks.slack.com/services/T/B/X".to_owned();
    let form = form(SlackTarget::Webhook { url }).unwrap();
    let row = form
        .row(&message(&json!({"message": "m", "alert": "x"})))
        .unwrap();
    assert_eq!((row.channel.as_str(), &row.thread), ("", &None));
    let body: Value = serde_json::from_slice(&form.request("", "t", None).body).unwrap();
    assert_eq!(body, json!({"text": "t"}));
}

#[test]
fn a_row_without_a_channel_and_a_column_that_is_not_there_are_told() {
    let without = SlackTarget::Api {
        url: "https://slack.com/api".to_owned(),
        token: "t".to_owned(),
        channel: None,
        channel_column: Some("channel".to_owned()),
    };
    let error = form(without)
        .unwrap()
        .row(&message(&json!({"message": "m"})));
    assert_eq!(error, Err("the row names no channel".to_owned()));
    let wrong = SlackTarget::Api {
        url: "https://slack.com/api".to_owned(),
        token: "t".to_owned(),
        channel: None,
        channel_column: Some("chanel".to_owned()),
    };
    assert_eq!(form(wrong).unwrap_err().state(), SqlState::UndefinedColumn);
}

fn waiting(rows: &[(&str, &str, Option<&str>)]) -> Vec<Waiting> {
    let row = |(channel, text, thread): &(&str, &str, Option<&str>)| {
        let row = Row {
            channel: (*channel).to_owned(),
            text: (*text).to_owned(),
            thread: None,
            ends: false,
        };
        Ok((row, thread.map(str::to_owned)))
    };
    rows.iter().map(row).collect()
}

#[test]
fn rows_of_a_channel_share_a_message_and_other_channels_do_not_wait() {
    let rows = waiting(&[
        ("a", "1", None),
        ("b", "2", None),
        ("a", "3", None),
        ("a", "4", Some("t")),
        ("a", "5", None),
    ]);
    let second = Duration::from_secs(1);
    assert_eq!(
        pick(&rows, |_| Duration::ZERO),
        Pick::Go(vec![0, 2]),
        "row 4 is elsewhere"
    );
    let a_waits = |channel: &str| {
        if channel == "a" {
            second
        } else {
            Duration::ZERO
        }
    };
    assert_eq!(pick(&rows, a_waits), Pick::Go(vec![1]));
    let both = |channel: &str| if channel == "a" { second } else { second / 2 };
    assert_eq!(pick(&rows, both), Pick::Wait(second / 2));
    assert_eq!(
        pick(&rows[3..], |_| Duration::ZERO),
        Pick::Go(vec![0]),
        "order is kept"
    );
}

#[test]
fn a_message_holds_no_more_than_slack_recommends_but_always_one_row() {
    let long = "x".repeat(2_000);
    let rows = waiting(&[("a", &long, None), ("a", "y", None), ("a", &long, None)]);
    assert_eq!(pick(&rows, |_| Duration::ZERO), Pick::Go(vec![0, 1]));
    let longest = "x".repeat(9_000);
    let rows = waiting(&[("a", &longest, None), ("a", "y", None)]);
    assert_eq!(pick(&rows, |_| Duration::ZERO), Pick::Go(vec![0]));
}

#[test]
fn a_row_that_cannot_be_written_goes_alone() {
    let mut rows = waiting(&[("a", "1", None)]);
    rows.insert(0, Err("no channel".to_owned()));
    assert_eq!(pick(&rows, |_| Duration::ZERO), Pick::Go(vec![0]));
}

#[test]
fn threads_begin_with_their_first_message_and_end_with_their_last() {
    let row = |thread: &str, ends| Row {
        channel: "a".to_owned(),
        text: String::new(),
        thread: Some(thread.to_owned()),
        ends,
    };
    let set = |name: &str| (name.to_owned(), Some("1.5".to_owned()));
    let forget = |name: &str| (name.to_owned(), None);
    let firing = [row("x", false), row("y", false)];
    assert_eq!(notes(&firing, None, "1.5"), [set("x"), set("y")]);
    let both = [row("x", false), row("x", true)];
    assert_eq!(notes(&both, None, "1.5"), [set("x"), forget("x")]);
    assert_eq!(notes(&both[1..], Some("1.2"), "1.5"), [forget("x")]);
    assert_eq!(notes(&firing[..1], Some("1.2"), "1.5"), [], "it goes on");
}

#[test]
fn what_comes_after_the_last_of_a_thread_is_not_said_in_it() {
    let of = |thread: Option<&str>, ends| {
        let row = Row {
            channel: "a".to_owned(),
            text: "t".to_owned(),
            thread: Some("x".to_owned()),
            ends,
        };
        Ok((row, thread.map(str::to_owned)))
    };
    let free = |_: &str| Duration::ZERO;
    let known = Some("1.2");
    let rows = [of(known, false), of(known, true), of(known, false)];
    assert_eq!(pick(&rows, free), Pick::Go(vec![0, 1]));
    let rows = [of(None, true), of(None, false)];
    assert_eq!(pick(&rows, free), Pick::Go(vec![0, 1]), "both are in none");
}
