//! One websocket connection: messages out of it, and a sign when the other side has gone silent.
//!
//! Invariant: a connection from which nothing comes for the idle time-out is an error, also when the
//! network says nothing of its loss.

use std::time::{Duration, Instant};

use futures::{FutureExt, SinkExt, StreamExt};
use reqwest::Url;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::tls;
use crate::clock;
use crate::error::{Error, Result};
use crate::feed::web::{self, Header, Trouble};

/// How long it may take to connect, and to send a message.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a polite end may take.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);
/// Bytes of a message at the most; a longer one ends the connection.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A connection.
pub(in crate::feed) struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    idle_timeout: Duration,
    /// When something came last.
    heard: Instant,
    /// The other side was asked for a sign since then.
    was_asked: bool,
}

impl Socket {
    /// Connects.
    pub(in crate::feed) async fn connect(
        url: &Url,
        headers: &[Header],
        idle_timeout: Duration,
    ) -> Result<Self, Trouble> {
        let mut request = url
            .as_str()
            .into_client_request()
            .map_err(|error| Trouble::Final(Error::internal(format!("websocket: {error}"))))?;
        let headers = web::headers(headers).map_err(Trouble::Final)?;
        request.headers_mut().extend(headers);
        let connector = match url.scheme() {
            "wss" => Some(tls::connector().map_err(Trouble::Final)?),
            _ => None,
        };
        let limits = WebSocketConfig::default()
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let connecting = tokio_tungstenite::connect_async_tls_with_config(
            request,
            Some(limits),
            true,
            connector,
        );
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        let (stream, _) = connected
            .map_err(|_| Trouble::passing("the endpoint did not answer in time"))?
            .map_err(not_connected)?;
        Ok(Self {
            stream,
            idle_timeout,
            heard: clock::instant(),
            was_asked: false,
        })
    }

    /// Sends a text.
    ///
    /// # Errors
    /// What happened to the connection.
    pub(in crate::feed) async fn send(&mut self, text: &str) -> Result<(), String> {
        self.send_message(Message::text(text)).await
    }

    async fn send_message(&mut self, message: Message) -> Result<(), String> {
        let sent = tokio::time::timeout(SEND_TIMEOUT, self.stream.send(message)).await;
        sent.map_err(|_| "the endpoint takes no messages".to_owned())?
            .map_err(|error| lost(&error))
    }

    /// Waits for the next message. After half of the idle time-out without one the other side is asked
    /// for a sign.
    ///
    /// # Errors
    /// Why the connection is no more.
    pub(in crate::feed) async fn next(&mut self) -> Result<Vec<u8>, String> {
        loop {
            let quiet = self.heard.elapsed();
            if quiet >= self.idle_timeout {
                let seconds = self.idle_timeout.as_secs();
                return Err(format!("nothing came for {seconds} s"));
            }
            let until = if self.was_asked {
                self.idle_timeout
            } else {
                self.idle_timeout / 2
            };
            tokio::select! {
                message = self.stream.next() => {
                    if let Some(bytes) = self.heard(message)? {
                        return Ok(bytes);
                    }
                }
                () = clock::sleep(until.saturating_sub(quiet)) => {
                    if !self.was_asked {
                        self.was_asked = true;
                        self.send_message(Message::Ping(Vec::new().into())).await?;
                    }
                }
            }
        }
    }

    /// A message that has come already.
    ///
    /// # Errors
    /// Why the connection is no more.
    pub(in crate::feed) fn ready(&mut self) -> Result<Option<Vec<u8>>, String> {
        while let Some(message) = self.stream.next().now_or_never() {
            if let Some(bytes) = self.heard(message)? {
                return Ok(Some(bytes));
            }
        }
        Ok(None)
    }

    /// The content of what came, if it has one. The library answers pings.
    fn heard(
        &mut self,
        message: Option<Result<Message, SocketError>>,
    ) -> Result<Option<Vec<u8>>, String> {
        let message = message
            .ok_or_else(|| "the endpoint closed the connection".to_owned())?
            .map_err(|error| lost(&error))?;
        self.heard = clock::instant();
        self.was_asked = false;
        match message {
            Message::Text(text) => Ok(Some(text.as_bytes().to_vec())),
            Message::Binary(bytes) => Ok(Some(bytes.to_vec())),
            Message::Close(frame) => {
                let reason = frame.map(|frame| format!(" ({} {})", frame.code, frame.reason));
                let reason = reason.unwrap_or_default();
                Err(format!("the endpoint closed the connection{reason}"))
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
        }
    }

    /// Says goodbye, if that goes quickly.
    pub(in crate::feed) async fn close(mut self) {
        // Whether the other side hears it does not matter.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.stream.close(None)).await;
    }
}

fn not_connected(error: SocketError) -> Trouble {
    match error {
        SocketError::Http(answer) => {
            let status = answer.status();
            if web::is_final(status) {
                return Trouble::Final(web::final_error(status));
            }
            Trouble::passing(format!("the endpoint answered {status}"))
        }
        SocketError::Url(_) => Trouble::Final(Error::internal(format!("websocket: {error}"))),
        other => Trouble::passing(format!("could not connect ({other})")),
    }
}

fn lost(error: &SocketError) -> String {
    match error {
        SocketError::ConnectionClosed | SocketError::AlreadyClosed => {
            "the endpoint closed the connection".to_owned()
        }
        other => format!("the connection was lost ({other})"),
    }
}
