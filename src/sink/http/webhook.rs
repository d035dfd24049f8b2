//! Rows to any URL: a request a row, or one for some of them.
//!
//! Invariant: which rows go together follows from their epoch alone, so that a request that comes again has
//! the same rows under the same key.

use std::time::Duration;

use arrow::datatypes::{Schema, SchemaRef};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};

use super::client::{Client, ClientSettings, Failure, Request};
use super::hosts;
use super::signature::sign;
use super::template::{Escape, Template};
use crate::config::SinkRules;
use crate::error::{Culprit, Error, Result, SqlState};
use crate::sink::outbox::{
    Courier, Message, Outbox, OutboxSettings, OutboxSink, Outboxes, Pick, Verdict,
};
use crate::task::Shutdown;
use crate::types::ProcessingTime;

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("x-headwater-signature");
pub(super) const TIMESTAMP: HeaderName = HeaderName::from_static("x-headwater-timestamp");

/// Headers that follow from the request: nobody chooses them.
const RESERVED: [&str; 14] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-headwater-signature",
    "x-headwater-timestamp",
];

/// How a request asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookMethod {
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
}

/// Where rows go, and in what form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookOptions {
    /// The URL.
    pub url: String,
    /// How a request asks.
    pub method: WebhookMethod,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// The body's template; `None`: the row as JSON, or an array of the rows that go together.
    pub body: Option<String>,
    /// What the body is.
    pub content_type: String,
    /// So many rows of an epoch go together.
    pub batch_rows: u32,
    /// How long a request may take with its answer.
    pub timeout: Duration,
    /// The secret of the signature, if there is to be one.
    pub hmac_secret: Option<String>,
    /// Whether a certificate must be valid.
    pub tls_verify: bool,
    /// The column with the rows' idempotency keys, if rows bring them.
    pub key_column: Option<String>,
    /// The outbox.
    pub outbox: OutboxSettings,
}

/// Opens sinks whose rows go to a URL.
#[derive(Debug)]
pub struct WebhookSink;

impl WebhookSink {
    /// Looks whether rows of a schema can be sent so; nothing is sent.
    ///
    /// # Errors
    /// A URL that is none or not allowed, a header that cannot be, a template that does not fit.
    pub fn check(options: &WebhookOptions, schema: &Schema, rules: &SinkRules) -> Result<()> {
        Form::try_new(options, schema, rules).map(drop)
    }

    /// A sink for rows of a schema, by its outbox.
    ///
    /// # Errors
    /// As [`Self::check`], and what the disk says.
    pub fn open(
        options: &WebhookOptions,
        schema: &SchemaRef,
        rules: &SinkRules,
        outboxes: &Outboxes,
    ) -> Result<OutboxSink> {
        let form = Form::try_new(options, schema, rules)?;
        let settings = ClientSettings {
            rules: rules.clone(),
            timeout: options.timeout,
            tls_verify: options.tls_verify,
        };
        let courier = |shutdown: Shutdown| {
            let client = Client::new(&settings, shutdown)?;
            Ok(Box::new(Webhook { form, client }) as Box<dyn Courier>)
        };
        let made_of = format!("{options:?} {rules:?}");
        let outbox = outboxes.open(&options.outbox, made_of, courier)?;
        OutboxSink::open(outbox, schema, options.key_column.as_deref())
    }
}

/// The requests of a sink, without who sends them.
#[derive(Debug)]
struct Form {
    url: Url,
    method: Method,
    headers: HeaderMap,
    body: Option<Template>,
    batch_rows: u64,
    hmac_secret: Option<String>,
}

impl Form {
    fn try_new(options: &WebhookOptions, schema: &Schema, rules: &SinkRules) -> Result<Self> {
        if options.url.contains("{{") || options.url.contains("{%") {
            let text = "option \"url\" is no template: all rows go to the same URL";
            return Err(Error::user(SqlState::InvalidParameterValue, text)
                .hint("Put the value into the body, or create a sink for each URL.")
                .about(Culprit::Option("url".to_owned())));
        }
        let url = hosts::parse("url", &options.url, rules)?;
        let body = options.body.as_deref();
        let body = body
            .map(|text| Template::try_new("body", text, schema, Escape::Nothing))
            .transpose()?;
        if options.batch_rows > 1 && body.as_ref().is_some_and(|body| !body.uses_rows()) {
            let text =
                "the template in option \"body\" uses only the first of the rows that go together";
            return Err(Error::user(SqlState::InvalidParameterValue, text)
                .hint("With batch_rows write {% for row in rows %}..{% endfor %}, or leave batch_rows out.")
                .about(Culprit::Option("body".to_owned())));
        }
        Ok(Self {
            url,
            method: match options.method {
                WebhookMethod::Post => Method::POST,
                WebhookMethod::Put => Method::PUT,
                WebhookMethod::Patch => Method::PATCH,
            },
            headers: headers(options)?,
            body,
            batch_rows: u64::from(options.batch_rows.max(1)),
            hmac_secret: options.hmac_secret.clone(),
        })
    }

    /// How many of the waiting messages go together: the rest of the first one's share of its epoch.
    fn together(&self, waiting: &[Message]) -> usize {
        let share = |message: &Message| (message.epoch, message.row / self.batch_rows);
        let first = waiting.first().map(share);
        let same = waiting
            .iter()
            .take_while(|message| Some(share(message)) == first);
        same.count()
    }

    /// The body, or why there is none.
    fn body(&self, messages: &[Message]) -> Result<Vec<u8>, String> {
        let rows: Vec<&[u8]> = messages.iter().map(|m| m.payload.as_slice()).collect();
        match (&self.body, self.batch_rows) {
            (Some(template), _) => template.render(&rows).map(String::into_bytes),
            (None, 1) => Ok(rows.concat()),
            (None, _) => {
                let list = rows.join(&b","[..]);
                Ok([&b"["[..], &list, &b"]"[..]].concat())
            }
        }
    }

    fn request(&self, messages: &[Message], now: ProcessingTime) -> Result<Request, String> {
        let body = self.body(messages)?;
        let mut headers = self.headers.clone();
        let key = messages.first().map_or("", |message| message.key.as_str());
        headers.insert(IDEMPOTENCY_KEY, text_value(&visible(key))?);
        if let Some(secret) = &self.hmac_secret {
            let seconds = now.0.div_euclid(1_000_000);
            headers.insert(TIMESTAMP, HeaderValue::from(seconds));
            headers.insert(SIGNATURE, text_value(&sign(secret, seconds, &body))?);
        }
        Ok(Request {
            method: self.method.clone(),
            url: self.url.clone(),
            headers,
            body,
        })
    }
}

fn headers(options: &WebhookOptions) -> Result<HeaderMap> {
    let invalid = |name: &str, why: &str| {
        let text = format!("invalid value for option \"{name}\": {why}");
        Error::user(SqlState::InvalidParameterValue, text)
            .hint("For example: 'header.X-Team' = 'markets'.")
            .about(Culprit::Option(name.to_owned()))
    };
    let mut headers = HeaderMap::new();
    let content_type = HeaderValue::from_str(&options.content_type)
        .map_err(|_| invalid("content_type", "it cannot be in a header"))?;
    headers.insert(CONTENT_TYPE, content_type);
    for (name, value) in &options.headers {
        let option = format!("header.{name}");
        let header = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| invalid(&option, "the name cannot be a header's"))?;
        if RESERVED.contains(&header.as_str()) {
            return Err(invalid(&option, "the sink sets this header itself"));
        }
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| invalid(&option, "the value cannot be in a header"))?;
        value.set_sensitive(true);
        headers.append(header, value);
    }
    Ok(headers)
}

fn text_value(text: &str) -> Result<HeaderValue, String> {
    HeaderValue::from_str(text).map_err(|error| format!("a header cannot be: {error}"))
}

/// A key as it may stand in a header.
fn visible(key: &str) -> String {
    let mut text = String::with_capacity(key.len());
    for byte in key.bytes() {
        match byte {
            0x21..=0x7e => text.push(char::from(byte)),
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// Sends the requests.
struct Webhook {
    form: Form,
    client: Client,
}

impl Courier for Webhook {
    fn look_ahead(&self) -> usize {
        usize::try_from(self.form.batch_rows).unwrap_or(usize::MAX)
    }

    fn pick(&mut self, waiting: &[Message], _outbox: &Outbox) -> Result<Pick> {
        Ok(Pick::Go((0..self.form.together(waiting)).collect()))
    }

    fn deliver(&mut self, messages: &[Message], outbox: &Outbox) -> Result<Verdict> {
        let request = match self.form.request(messages, outbox.now()) {
            Ok(request) => request,
            Err(reason) => {
                let status = None;
                return Ok(Verdict::Refused { status, reason });
            }
        };
        Ok(match self.client.send(request) {
            Ok(answer) => answer.verdict(outbox.now()),
            Err(Failure::Stopped) => Verdict::Stopped,
            Err(Failure::NoAnswer(reason)) => {
                let after = None;
                Verdict::Again { reason, after }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::sink::outbox::OutboxName;

    fn options() -> WebhookOptions {
        WebhookOptions {
            url: "https://example.com/hook".to_owned(),
            method: WebhookMethod::Post,
            headers: vec![("X-Team".to_owned(), "markets".to_owned())],
            body: None,
            content_type: "application/json".to_owned(),
            batch_rows: 1,
            timeout: Duration::from_secs(1),
            hmac_secret: None,
            tls_verify: true,
            key_column: None,
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

    fn form(options: &WebhookOptions) -> Result<Form> {
        let schema = Schema::new(vec![Arc::new(Field::new("n", DataType::Int64, true))]);
        Form::try_new(options, &schema, &SinkRules::default())
    }

    fn messages(rows: &[(u64, u64)]) -> Vec<Message> {
        let message = |(number, (epoch, row)): (u64, &(u64, u64))| Message {
            number,
            epoch: *epoch,
            row: *row,
            at: ProcessingTime(0),
            key: format!("schön-{epoch}-{row}"),
            payload: format!("{{\"n\":{number}}}").into_bytes(),
        };
        (0..).zip(rows).map(message).collect()
    }

    #[test]
    fn rows_go_together_by_their_place_in_their_epoch() {
        let batched = WebhookOptions {
            batch_rows: 3,
            ..options()
        };
        let form = form(&batched).unwrap();
        let together = |rows: &[(u64, u64)]| form.together(&messages(rows));
        assert_eq!(together(&[(1, 0), (1, 1), (1, 2), (1, 3)]), 3);
        assert_eq!(
            together(&[(1, 3), (2, 0), (2, 1)]),
            1,
            "not with another epoch"
        );
        assert_eq!(together(&[(2, 0), (2, 1)]), 2, "the epoch has no more");
        let some = messages(&[(1, 0), (1, 1)]);
        assert_eq!(form.body(&some).unwrap(), br#"[{"n":0},{"n":1}]"#);
        assert_eq!(
            form.body(&some[..1]).unwrap(),
            br#"[{"n":0}]"#,
            "always an array"
        );
    }

    #[test]
    fn a_request_has_its_key_and_is_signed_with_its_time() {
        let signed = WebhookOptions {
            hmac_secret: Some("key".to_owned()),
            method: WebhookMethod::Put,
            body: Some("{\"n\":{{ n + 1 }}}".to_owned()),
            ..options()
        };
        let at = ProcessingTime(1_700_000_000_900_000);
        let request = form(&signed)
            .unwrap()
            .request(&messages(&[(1, 0)]), at)
            .unwrap();
        assert_eq!(request.method, Method::PUT);
        assert_eq!(request.body, br#"{"n":1}"#);
        let header = |name: &str| request.headers[name].to_str().unwrap();
        assert_eq!(header("idempotency-key"), "sch%C3%B6n-1-0");
        assert_eq!(header("x-team"), "markets");
        assert_eq!(header("content-type"), "application/json");
        assert_eq!(header("x-headwater-timestamp"), "1700000000");
        assert_eq!(
            header("x-headwater-signature"),
            "sha256=fb65f9bd0a02faafbd7bb3a9fe9f62c2809b0ed738871c173e25db852f7ff138"
        );
    }

    #[test]
    fn headers_that_cannot_be_or_are_the_sink_s_own_are_refused() {
        for (name, value) in [
            ("Host", "x"),
            ("Idempotency-Key", "x"),
            ("a b", "x"),
            ("", "x"),
            ("X-A", "two\nlines"),
            ("X-A", "two\r\nX-B: lines"),
            ("Content-Length", "1"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "close"),
            ("Upgrade", "h2c"),
        ] {
            let with = WebhookOptions {
                headers: vec![(name.to_owned(), value.to_owned())],
                ..options()
            };
            let error = form(&with).unwrap_err();
            assert_eq!(error.state(), SqlState::InvalidParameterValue, "{name}");
        }
    }

    #[test]
    fn a_url_is_no_template() {
        for url in [
            "https://example.com/{{ n }}",
            "https://example.com/{% if n %}a{% endif %}",
        ] {
            let with = WebhookOptions {
                url: url.to_owned(),
                ..options()
            };
            let error = form(&with).unwrap_err();
            assert_eq!(
                error.culprit(),
                Some(&Culprit::Option("url".to_owned())),
                "{url}"
            );
        }
    }

    #[test]
    fn a_template_for_many_rows_must_use_them() {
        let with = |body: &str| WebhookOptions {
            body: Some(body.to_owned()),
            batch_rows: 2,
            ..options()
        };
        assert!(form(&with("{{ n }}")).is_err());
        form(&with("{% for r in rows %}{{ r.n }} {% endfor %}")).unwrap();
    }
}
