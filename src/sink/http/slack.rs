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
use super::pace::SharedPace;
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
                pace: SharedPace::of(&form.workspace()),
                form,
                client,
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

    /// Whose limits count: those of a webhook, or of a bot.
    fn workspace(&self) -> String {
        let as_whom = self.authorization.as_ref();
        let as_whom = as_whom.map(HeaderValue::as_bytes).unwrap_or_default();
        format!("{} {}", self.url, String::from_utf8_lossy(as_whom))
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

/// The rows from one on that go to its channel and its thread, up to the thread's last or the first of the channel that
/// goes elsewhere, and as many as a message holds.
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
        if row.ends && thread.is_some() {
            break;
        }
    }
    places
}

/// Sends the messages.
struct Slack {
    form: Form,
    client: Client,
    pace: SharedPace,
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
        self.pace.lock().note(channel, self.clock.monotonic());
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
        let (rows, now) = (rows?, self.clock.monotonic());
        let mut pace = self.pace.lock();
        let picked = pick(&rows, |channel| pace.left(channel, now));
        // Nobody else writes to the channel from here on.
        if let Pick::Go(places) = &picked
            && let Some(Ok((row, _))) = places.first().and_then(|place| rows.get(*place))
        {
            pace.note(&row.channel, now);
        }
        Ok(picked)
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
mod tests;
