//! The options of a sink that sends requests to a URL.

use std::time::Duration;

use super::http::{self, DeliveryOptions};
use crate::catalog::options::{Options, invalid};
use crate::error::Result;
use crate::sql::CreateSink;

/// A URL, and how rows are sent to it.
#[derive(Debug, Clone)]
pub struct WebhookSinkTarget {
    /// The URL.
    pub url: String,
    /// How a request asks.
    pub method: HttpMethod,
    /// Further headers; the names are in lower case.
    pub headers: Vec<(String, String)>,
    /// The body's template.
    pub body: Option<String>,
    /// What the body is.
    pub content_type: String,
    /// So many rows of an epoch go together.
    pub batch_rows: u32,
    /// The secret of the signature.
    pub hmac_secret: Option<String>,
    /// Whether a certificate must be valid.
    pub tls_verify: bool,
    /// The column with the rows' idempotency keys.
    pub key_column: Option<String>,
    /// How long what waits is tried.
    pub delivery: DeliveryOptions,
}

/// How a request asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HttpMethod {
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
}

const METHODS: [(&str, HttpMethod); 3] = [
    ("post", HttpMethod::Post),
    ("put", HttpMethod::Put),
    ("patch", HttpMethod::Patch),
];

/// Rows of one request at the most: they are in memory together.
const BATCH_ROWS_MAX: u32 = 10_000;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Takes the options.
pub(super) fn target(options: &mut Options<'_>, clause: &CreateSink) -> Result<WebhookSinkTarget> {
    http::refuse_key(clause, "webhook")?;
    let batch_rows = options.count("batch_rows")?.unwrap_or(1);
    if let Some(given) = options.given("batch_rows")
        && batch_rows > BATCH_ROWS_MAX
    {
        return Err(invalid(given, "a whole number up to 10000"));
    }
    Ok(WebhookSinkTarget {
        url: options.required("url", "https://example.com/hook")?,
        method: options.word("method", &METHODS, HttpMethod::Post)?,
        headers: options.under("header."),
        body: options.text("body")?,
        content_type: options
            .text("content_type")?
            .unwrap_or_else(|| "application/json".to_owned()),
        batch_rows,
        hmac_secret: options
            .text("hmac_secret")?
            .filter(|secret| !secret.is_empty()),
        tls_verify: options.flag("tls_verify", true)?,
        key_column: options.text("key_column")?,
        delivery: http::delivery(options, TIMEOUT)?,
    })
}

impl WebhookSinkTarget {
    /// Where to, without what may be secret.
    pub(super) fn place(&self) -> String {
        http::origin(&self.url)
    }
}
