//! Rows to Slack: texts in channels, one message a second and channel, and answers in threads.
//!
//! ```text
//! waiting   a:1  b:1  a:2  a:3          now  a: "1"      b: "1"
//! in one second to channel a       ─►   then a: "2\n3"
//! ```
//! Invariants: rows of a channel keep their order; when more wait than may be sent, they share a message, and none
//! is left out. Which message began a thread is kept in the outbox.

use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde_json::{Map, Value, json};

use super::client::{Client, ClientSettings, Failure, Request};
use super::hosts;
use super::pace::Pace;
use super::slack_answer::{self, Posted};
use super::template::{Escape, Template};
use crate::clock::SharedClock;
use crate::config::SinkRules;
use crate::error::{Culprit, Error, Result, SqlState};
use crate::sink::outbox::{
    Courier, Message, Outbox, OutboxSettings, OutboxSink, Outboxes, Pick, Verdict,
};
use crate::task::Shutdown;

/// Rows that are looked at for those that share a message.
const LOOK_AHEAD: usize = 500;
/// Characters of a message of many rows: Slack recommends no more than 4,000.
const TEXT_CHARS_MAX: usize = 3_900;

/// Where texts go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlackTarget {
    /// An incoming webhook: its URL is its secret, and it has one channel and no threads.
    Webhook {
        /// The URL.
        url: String,
    },
    /// `chat.postMessage`.
    Api {
        /// The API's base URL.
        url: String,
        /// A bot's token.
        token: String,
        /// The channel of rows that name none.
        channel: Option<String>,
        /// The column with the rows' channels.
        channel_column: Option<String>,
    },
}

/// Which rows belong to one thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Threads {
    /// Rows with the same values here answer the first of them.
    pub columns: Vec<String>,
    /// A row with this value in this column is its thread's last.
    pub end: Option<(String, String)>,
}

/// What goes to Slack, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlackOptions {
    /// Where texts go.
    pub target: SlackTarget,
    /// The text's template; `None`: the row as JSON.
    pub text: Option<String>,
    /// Threads, if there are to be any.
    pub threads: Option<Threads>,
    /// How long a request may take with its answer.
    pub timeout: Duration,
    /// The outbox.
    pub outbox: OutboxSettings,
}

/// Opens sinks whose rows go to Slack.
#[derive(Debug)]
pub struct SlackSink;

impl SlackSink {
    /// Looks whether rows of a schema can be sent so; nothing is sent.
    ///
    /// # Errors
    /// A URL that is none or not allowed, a column that is not there, a template that does not fit.
    pub fn check(options: &SlackOptions, schema: &Schema, rules: &SinkRules) -> Result<()> {
        Form::try_new(options, schema, rules).map(drop)
    }

    /// A sink for rows of a schema, by its outbox. The clock tells when a channel is free again.
    ///
    /// # Errors
    /// As [`Self::check`], and what the disk says.
    pub fn open(
        options: &SlackOptions,
        schema: &SchemaRef,
        (rules, clock): (&SinkRules, &SharedClock),
        outboxes: &Outboxes,
    ) -> Result<OutboxSink> {
        let form = Form::try_new(options, schema, rules)?;
        let settings = ClientSettings {
            rules: rules.clone(),
            timeout: options.timeout,
            tls_verify: true,
        };
        let clock = SharedClock::clone(clock);
        let courier = |shutdown: Shutdown| {
            let client = Client::new(&settings, shutdown)?;
            Ok(Box::new(Slack {
                form,
                client,
                pace: Pace::default(),
                clock,
            }) as Box<dyn Courier>)
        };
        let made_of = format!("{options:?} {rules:?}");
        let outbox = outboxes.open(&options.outbox, made_of, courier)?;
        OutboxSink::open(outbox, schema, None)
    }
}

/// The messages of a sink, without who sends them.
#[derive(Debug)]
struct Form {
    url: Url,
    /// The token, if it is the API that is asked.
    authorization: Option<HeaderValue>,
    channel: Option<String>,
    channel_column: Option<String>,
    text: Template,
    threads: Option<Threads>,
}

/// A row on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    /// Empty where the webhook decides.
    channel: String,
    text: String,
    /// The note of its thread, if it has one.
    thread: Option<String>,
    /// True if it is its thread's last.
    ends: bool,
}

impl Form {
    fn try_new(options: &SlackOptions, schema: &Schema, rules: &SinkRules) -> Result<Self> {
        let text = options.text.as_deref().unwrap_or("{{ row | tojson }}");
        let text = Template::try_new("text", text, schema, Escape::Slack)?;
        let threads = options.threads.clone();
        for column in threads.iter().flat_map(|threads| &threads.columns) {
            is_column("thread_columns", column, schema)?;
        }
        let (url, authorization, channel, channel_column) = match &options.target {
            SlackTarget::Webhook { url } => {
                (hosts::parse("webhook_url", url, rules)?, None, None, None)
            }
            SlackTarget::Api {
                url,
                token,
                channel,
                channel_column,
            } => {
                let url = format!("{}/chat.postMessage", url.trim_end_matches('/'));
                let url = hosts::parse("api_url", &url, rules)?;
                if let Some(column) = channel_column {
                    is_column("channel_column", column, schema)?;
                }
                let value = HeaderValue::from_str(&format!("Bearer {token}"));
                let mut value = value.map_err(|_| {
                    let text = "invalid value for option \"token\": it cannot be in a header";
                    Error::user(SqlState::InvalidParameterValue, text)
                        .about(Culprit::Option("token".to_owned()))
                })?;
                value.set_sensitive(true);
                (url, Some(value), channel.clone(), channel_column.clone())
            }
        };
        Ok(Self {
            url,
            authorization,
            channel,
            channel_column,
            text,
            threads,
        })
    }

    /// What a message is in Slack, or why it cannot be.
    fn row(&self, message: &Message) -> Result<Row, String> {
        let text = self.text.render(&[&message.payload])?;
        let columns: Map<String, Value> = serde_json::from_slice(&message.payload)
            .map_err(|error| format!("the row is no JSON: {error}"))?;
        let of_row = self.channel_column.as_ref();
        let of_row = of_row.and_then(|column| columns.get(column).and_then(Value::as_str));
        let channel = match (of_row.or(self.channel.as_deref()), &self.authorization) {
            (Some(channel), _) if !channel.is_empty() => channel.to_owned(),
            (_, None) => String::new(),
            (_, Some(_)) => return Err("the row names no channel".to_owned()),
        };
        let threads = self
            .threads
            .as_ref()
            .filter(|_| self.authorization.is_some());
        let thread = threads.map(|threads| {
            let values = threads.columns.iter().map(|name| columns.get(name));
            let values: Vec<&Value> = values.map(|value| value.unwrap_or(&Value::Null)).collect();
            json!([channel, values]).to_string()
        });
        let end = threads.and_then(|threads| threads.end.as_ref());
        let ends = end.is_some_and(|(column, last)| {
            columns.get(column).and_then(Value::as_str) == Some(last.as_str())
        });
        Ok(Row {
            channel,
            text,
            thread,
            ends,
        })
    }

    fn request(&self, channel: &str, text: &str, thread: Option<&str>) -> Request {
        let mut body = json!({ "text": text });
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/json; charset=utf-8");
        headers.insert(CONTENT_TYPE, json);
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
            body["channel"] = channel.into();
        }
        if let Some(thread) = thread {
            body["thread_ts"] = thread.into();
        }
        Request {
            method: Method::POST,
            url: self.url.clone(),
            headers,
            body: body.to_string().into_bytes(),
        }
    }
}

fn is_column(option: &str, column: &str, schema: &Schema) -> Result<()> {
    if schema.field_with_name(column).is_ok() {
        return Ok(());
    }
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    let text = format!("column \"{column}\" of {option} is not in the sink's query");
    Err(Error::user(SqlState::UndefinedColumn, text)
        .hint(format!("The query has: {}.", names.join(", ")))
        .about(Culprit::Option(option.to_owned())))
}

/// A row that waits: where it goes, and into which thread; or why it cannot go anywhere.
type Waiting = Result<(Row, Option<String>), String>;

/// Which rows share the next message. `left`: how long a channel is not to be written to.
fn pick(waiting: &[Waiting], left: impl Fn(&str) -> Duration) -> Pick {
    let mut shortest: Option<Duration> = None;
    let mut passed: Vec<&str> = Vec::new();
    for (place, row) in waiting.iter().enumerate() {
        let Ok((row, thread)) = row else {
            return Pick::Go(vec![place]);
        };
        if passed.contains(&row.channel.as_str()) {
            continue;
        }
        let left = left(&row.channel);
        if left.is_zero() {
            return Pick::Go(sharing(
                waiting,
                place,
                (row.channel.as_str(), thread.as_deref()),
            ));
        }
        passed.push(&row.channel);
        shortest = Some(shortest.map_or(left, |shortest| shortest.min(left)));
    }
    Pick::Wait(shortest.unwrap_or_default())
}

/// The rows from one on that go to its channel and its thread, up to the first of the channel that goes
/// elsewhere, and as many as a message holds.
fn sharing(waiting: &[Waiting], from: usize, target: (&str, Option<&str>)) -> Vec<usize> {
    let mut places = Vec::new();
    let mut chars = 0;
    for (place, row) in waiting.iter().enumerate().skip(from) {
        let Ok((row, thread)) = row else { continue };
        if row.channel != target.0 {
            continue;
        }
        chars += row.text.chars().count() + 1;
        let fits = places.is_empty() || chars <= TEXT_CHARS_MAX;
        if thread.as_deref() != target.1 || !fits {
            break;
        }
        places.push(place);
    }
    places
}

/// Sends the messages.
struct Slack {
    form: Form,
    client: Client,
    pace: Pace,
    clock: SharedClock,
}

impl Slack {
    fn waiting(&self, message: &Message, outbox: &Outbox) -> Result<Waiting> {
        let row = match self.form.row(message) {
            Ok(row) => row,
            Err(reason) => return Ok(Err(reason)),
        };
        let thread = match &row.thread {
            Some(note) => outbox.note(note)?,
            None => None,
        };
        Ok(Ok((row, thread)))
    }

    fn post(&mut self, rows: &[Row], thread: Option<&str>, outbox: &Outbox) -> Verdict {
        let channel = rows.first().map_or("", |row| row.channel.as_str());
        let texts: Vec<&str> = rows.iter().map(|row| row.text.as_str()).collect();
        let request = self.form.request(channel, &texts.join("\n"), thread);
        let answer = self.client.send(request);
        self.pace.note(channel, self.clock.monotonic());
        let answer = match answer {
            Ok(answer) => answer,
            Err(Failure::Stopped) => return Verdict::Stopped,
            Err(Failure::NoAnswer(reason)) => {
                let after = None;
                return Verdict::Again { reason, after };
            }
        };
        if self.form.authorization.is_none() {
            return answer.verdict(outbox.now());
        }
        match slack_answer::read(&answer, outbox.now()) {
            Posted::Not(verdict) => verdict,
            // Somebody has deleted its first message: this one begins it anew.
            Posted::ThreadGone if thread.is_some() => self.post(rows, None, outbox),
            Posted::ThreadGone => Verdict::Again {
                reason: "Slack says thread_not_found of a message without a thread".to_owned(),
                after: None,
            },
            Posted::At(stamp) => Verdict::Taken {
                notes: notes(rows, thread, &stamp),
            },
        }
    }
}

/// What is to be known of the threads of rows that share a message: the message begins those that had none.
fn notes(rows: &[Row], thread: Option<&str>, stamp: &str) -> Vec<(String, Option<String>)> {
    let mut notes = Vec::new();
    for row in rows {
        let Some(note) = &row.thread else { continue };
        if row.ends {
            notes.push((note.clone(), None));
        } else if thread.is_none() && !stamp.is_empty() {
            notes.push((note.clone(), Some(stamp.to_owned())));
        }
    }
    notes
}

impl Courier for Slack {
    fn look_ahead(&self) -> usize {
        LOOK_AHEAD
    }

    fn pick(&mut self, waiting: &[Message], outbox: &Outbox) -> Result<Pick> {
        let rows: Result<Vec<Waiting>> = waiting
            .iter()
            .map(|message| self.waiting(message, outbox))
            .collect();
        let now = self.clock.monotonic();
        Ok(pick(&rows?, |channel| self.pace.left(channel, now)))
    }

    fn deliver(&mut self, messages: &[Message], outbox: &Outbox) -> Result<Verdict> {
        let mut rows = Vec::with_capacity(messages.len());
        let mut thread = None;
        for message in messages {
            match self.waiting(message, outbox)? {
                Ok((row, of)) => {
                    rows.push(row);
                    thread = of;
                }
                Err(reason) => {
                    let status = None;
                    return Ok(Verdict::Refused { status, reason });
                }
            }
        }
        Ok(self.post(&rows, thread.as_deref(), outbox))
    }
}

#[cfg(test)]
mod tests {
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
}
