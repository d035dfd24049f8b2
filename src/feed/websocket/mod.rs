//! Messages of a websocket.
//!
//! ```text
//! connect → subscribe → messages → items ─┐
//!    ↑ back-off with jitter               │ the connection is lost
//!    └────────────────────────────────────┘
//! ```
//! A websocket has no position: what is sent while there is no connection is not received.

mod socket;
mod tls;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::Url;

use super::backoff::Backoff;
use super::json_path::JsonPath;
use super::notes::Notes;
use super::web::{self, Header, Trouble};
use super::{Batch, Source};
use crate::clock;
use crate::error::Result;
pub(super) use socket::Socket;

/// Messages that are taken together when they have come already.
const TOGETHER_MAX: usize = 5_000;

/// Where to connect, and what to say there.
#[derive(Debug, Clone)]
pub struct WebsocketOptions {
    /// The endpoint: `ws://` or `wss://`.
    pub url: String,
    /// Sent with the request to connect.
    pub headers: Vec<(String, String)>,
    /// Sent after each connect, in their order.
    pub subscribe: Vec<String>,
    /// Where the items of a message are; `None`: the message is one.
    pub array_path: Option<JsonPath>,
    /// After so long without a sign the connection is taken for lost.
    pub idle_timeout: Duration,
}

/// Stays connected.
pub(super) struct WebsocketSource {
    url: Url,
    headers: Vec<Header>,
    subscribe: Vec<String>,
    array_path: Option<JsonPath>,
    idle_timeout: Duration,
    socket: Option<Socket>,
    backoff: Backoff,
    waiting: VecDeque<Vec<u8>>,
    notes: Arc<Notes>,
}

impl WebsocketSource {
    /// Prepares; connects later.
    ///
    /// # Errors
    /// When the URL or a header cannot be one.
    pub(super) fn open(options: WebsocketOptions, notes: Arc<Notes>) -> Result<Self> {
        web::headers(&options.headers)?;
        Ok(Self {
            url: web::url(&options.url, &["ws", "wss"])?,
            headers: options.headers,
            subscribe: options.subscribe,
            array_path: options.array_path,
            idle_timeout: options.idle_timeout,
            socket: None,
            backoff: Backoff::default(),
            waiting: VecDeque::new(),
            notes,
        })
    }

    /// Takes what comes next, connecting first if need be.
    async fn receive(&mut self) -> Result<(), Trouble> {
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(
                connect(&self.url, &self.headers, self.idle_timeout, &self.subscribe).await?,
            ),
        };
        let mut came = vec![socket.next().await.map_err(Trouble::passing)?];
        // What is lost after these is told when the next one is waited for.
        while let Ok(Some(bytes)) = socket.ready() {
            came.push(bytes);
            if came.len() == TOGETHER_MAX {
                break;
            }
        }
        self.backoff.succeeded();
        for bytes in came {
            self.take(bytes);
        }
        Ok(())
    }

    /// The items of one message.
    fn take(&mut self, bytes: Vec<u8>) {
        let Some(path) = &self.array_path else {
            self.waiting.push_back(bytes);
            return;
        };
        let items = match std::str::from_utf8(&bytes) {
            Ok(text) => path.items(text),
            Err(_) => Err("not UTF-8".to_owned()),
        };
        match items {
            Ok(Some(items)) => {
                let items = items.into_iter().map(|item| item.as_bytes().to_vec());
                self.waiting.extend(items);
            }
            Ok(None) => self.notes.passed_over(),
            Err(reason) => self.notes.skipped(reason),
        }
    }
}

/// Connects and says what is wanted.
async fn connect(
    url: &Url,
    headers: &[Header],
    idle_timeout: Duration,
    subscribe: &[String],
) -> Result<Socket, Trouble> {
    let mut socket = Socket::connect(url, headers, idle_timeout).await?;
    for message in subscribe {
        socket.send(message).await.map_err(Trouble::passing)?;
    }
    Ok(socket)
}

#[async_trait]
impl Source for WebsocketSource {
    async fn next(&mut self, messages_max: usize) -> Result<Option<Batch>> {
        while self.waiting.is_empty() {
            match self.receive().await {
                Ok(()) => {}
                Err(Trouble::Final(error)) => return Err(error),
                Err(Trouble::Passing { what, retry_after }) => {
                    self.socket = None;
                    let wait = self.backoff.failed(fastrand::f64(), retry_after);
                    self.notes.failed(what, wait);
                    clock::sleep(wait).await;
                }
            }
        }
        let count = self.waiting.len().min(messages_max);
        Ok(Some(Batch {
            payloads: self.waiting.drain(..count).collect(),
            position: None,
        }))
    }

    async fn close(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.close().await;
        }
    }
}
