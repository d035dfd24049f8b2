//! One request and its answer, from a thread that may wait.
//!
//! Invariants: a request ends within its time, and at once when the sink is stopped; no error names the URL,
//! which may be a secret itself.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::{Action, Attempt, Policy};
use reqwest::{Method, Url};

use super::answer::Answer;
use super::hosts::Resolver;
use super::mask::Mask;
use crate::config::SinkRules;
use crate::error::{Error, Result};
use crate::task::{Shutdown, Waiting};

/// So much of an answer is read.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// So many redirects are followed.
const REDIRECTS_MAX: usize = 5;

/// What is asked.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// How a client is to be.
#[derive(Debug, Clone)]
pub(super) struct ClientSettings {
    pub(super) rules: SinkRules,
    /// How long a request may take with its answer.
    pub(super) timeout: Duration,
    /// Whether a certificate must be valid.
    pub(super) tls_verify: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// The sink was stopped.
    Stopped,
    /// The destination cannot be reached, or closes, or is slow.
    NoAnswer(String),
}

/// Sends requests, and keeps the connection between them.
pub(super) struct Client {
    client: reqwest::Client,
    waiting: Waiting,
    shutdown: Shutdown,
    timeout: Duration,
}

impl Client {
    /// A client that ends what it is about when the shutdown is requested.
    ///
    /// # Errors
    /// When the system has no thread left, or no usable certificates.
    pub(super) fn new(settings: &ClientSettings, shutdown: Shutdown) -> Result<Self> {
        let resolver = Resolver {
            allow_private: settings.rules.allow_private_addresses,
        };
        let client = reqwest::Client::builder()
            .user_agent(concat!("headwater/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(resolver))
            // A proxy would connect in our place, past the rules about addresses.
            .no_proxy()
            .referer(false)
            .redirect(Policy::custom(redirected))
            .danger_accept_invalid_certs(!settings.tls_verify)
            .build()
            .map_err(|error| Error::internal(format!("no HTTP client: {}", text_of(&error))))?;
        Ok(Self {
            client,
            waiting: Waiting::new("http sink")?,
            shutdown,
            timeout: settings.timeout,
        })
    }

    /// Sends a request and waits for its answer.
    ///
    /// # Errors
    /// When there is none.
    pub(super) fn send(&self, request: Request) -> Result<Answer, Failure> {
        let mut shutdown = self.shutdown.clone();
        self.waiting.on(async {
            tokio::select! {
                biased;
                () = shutdown.requested() => Err(Failure::Stopped),
                answer = self.answer(request) => answer,
            }
        })
    }

    async fn answer(&self, request: Request) -> Result<Answer, Failure> {
        let no_answer = |error: reqwest::Error| {
            Failure::NoAnswer(match error.is_timeout() {
                true => format!("no answer within {} ms", self.timeout.as_millis()),
                false => format!("no answer: {}", text_of(&error.without_url())),
            })
        };
        let mask = Mask::of(&request.url, &request.headers);
        let sent = self
            .client
            .request(request.method, request.url)
            .headers(request.headers)
            .timeout(self.timeout)
            .body(request.body)
            .send();
        let mut response = sent.await.map_err(no_answer)?;
        let retry_after = response.headers().get(RETRY_AFTER);
        let retry_after = retry_after.and_then(|value| value.to_str().ok());
        let mut answer = Answer {
            status: response.status().as_u16(),
            retry_after: retry_after.map(str::to_owned),
            body: Vec::new(),
        };
        // The status has told what became of the request: a text that breaks off changes nothing.
        while answer.body.len() < ANSWER_BYTES_MAX
            && let Ok(Some(chunk)) = response.chunk().await
        {
            answer.body.extend_from_slice(&chunk);
        }
        answer.body.truncate(ANSWER_BYTES_MAX);
        answer.body = mask.applied(&answer.body);
        Ok(answer)
    }
}

/// Follows a redirect that keeps the host and the request's body; else the redirect is the answer.
fn redirected(attempt: Attempt<'_>) -> Action {
    let keeps_body = matches!(attempt.status().as_u16(), 307 | 308);
    let next = attempt.url();
    let before = attempt.previous().last();
    let same_host = before.is_some_and(|before| {
        (
            before.scheme(),
            before.host_str(),
            before.port_or_known_default(),
        ) == (next.scheme(), next.host_str(), next.port_or_known_default())
    });
    match keeps_body && same_host && attempt.previous().len() <= REDIRECTS_MAX {
        true => attempt.follow(),
        false => attempt.stop(),
    }
}

/// The innermost reason: what is around it says only that a request failed.
fn text_of(error: &reqwest::Error) -> String {
    let mut innermost: &dyn StdError = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
