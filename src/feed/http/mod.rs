//! Polling a JSON endpoint.
//!
//! ```text
//! position → query → answer → pages (what is new in it) → batches, each with its position
//! ```

mod pages;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use reqwest::{Client, Url};

use super::backoff::Backoff;
use super::json_path::JsonPath;
use super::notes::Notes;
use super::position::Position;
use super::web::{self, Header, Trouble};
use super::{Batch, Source};
use crate::clock;
use crate::error::Result;
use pages::Pages;
pub use pages::Paging;

/// What is asked, and how often.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// The endpoint.
    pub url: String,
    /// Sent with each request.
    pub headers: Vec<(String, String)>,
    /// The time between two polls.
    pub every: Duration,
    /// Where the items of an answer are; `None`: the answer is one message.
    pub array_path: Option<JsonPath>,
    /// How to ask for what was not given yet.
    pub paging: Paging,
}

/// Asks again and again.
pub(super) struct HttpSource {
    client: Client,
    url: Url,
    headers: Vec<Header>,
    every: Duration,
    pages: Pages,
    /// When it may ask again.
    next_poll: Instant,
    backoff: Backoff,
    notes: Arc<Notes>,
}

impl HttpSource {
    /// Prepares to go on at a position; asks nothing yet.
    ///
    /// # Errors
    /// When the URL or a header cannot be one.
    pub(super) fn open(
        options: HttpOptions,
        position: Option<Position>,
        notes: Arc<Notes>,
    ) -> Result<Self> {
        web::headers(&options.headers)?;
        Ok(Self {
            client: web::client()?,
            url: web::url(&options.url, &["http", "https"])?,
            headers: options.headers,
            every: options.every,
            pages: Pages::new(options.paging, options.array_path, position),
            next_poll: clock::instant(),
            backoff: Backoff::default(),
            notes,
        })
    }

    /// Asks once, and says when to ask again.
    async fn poll(&mut self) -> Result<()> {
        let start = clock::instant();
        let answer = match self.ask().await {
            Ok(answer) => self.pages.take_in(&answer).map_err(Trouble::passing),
            Err(trouble) => Err(trouble),
        };
        match answer {
            Ok(taken) => {
                self.backoff.succeeded();
                taken
                    .skipped
                    .iter()
                    .for_each(|reason| self.notes.skipped(reason));
                self.next_poll = if taken.more {
                    start
                } else {
                    start + self.every
                };
                Ok(())
            }
            Err(Trouble::Final(error)) => Err(error),
            Err(Trouble::Passing { what, retry_after }) => {
                let wait = self.backoff.failed(fastrand::f64(), retry_after);
                self.notes.failed(what, wait);
                self.next_poll = clock::instant() + wait;
                Ok(())
            }
        }
    }

    async fn ask(&self) -> Result<String, Trouble> {
        let mut url = self.url.clone();
        if let Some((name, value)) = self.pages.parameter() {
            let others: Vec<(String, String)> = url
                .query_pairs()
                .filter(|(other, _)| other != name)
                .map(|(other, value)| (other.into_owned(), value.into_owned()))
                .collect();
            url.query_pairs_mut()
                .clear()
                .extend_pairs(others)
                .append_pair(name, value);
        }
        let headers = web::headers(&self.headers).map_err(Trouble::Final)?;
        web::ask(self.client.get(url).headers(headers)).await
    }
}

#[async_trait]
impl Source for HttpSource {
    async fn next(&mut self, messages_max: usize) -> Result<Option<Batch>> {
        while self.pages.is_empty() {
            let wait = self.next_poll.saturating_duration_since(clock::instant());
            clock::sleep(wait).await;
            self.poll().await?;
        }
        Ok(Some(self.pages.give(messages_max)))
    }
}
