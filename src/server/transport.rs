//! The two directions of a connection, with their buffers.
//!
//! Knows frames and bytes, nothing of what they mean. Works over any stream, so that TLS can lie
//! beneath it.
//! Invariants: both sides are cancel-safe: a future dropped half-way loses and repeats nothing; a
//! message is in the outgoing buffer either wholly or not at all.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use pgwire::messages::PgWireBackendMessage;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::frontend::{self, Frame, Frontend, Opening};
use crate::clock;
use crate::error::{Error, Result, SqlState};

/// Bytes that are read ahead while a statement runs; then the client has to wait.
const READ_AHEAD_BYTES_MAX: usize = 1024 * 1024;
/// Bytes at which the outgoing buffer is written although more is coming.
const WRITE_BYTES: usize = 64 * 1024;
/// How errors begin that mean the loss of the client.
pub(super) const LOST: &str = "connection to the client lost";
/// A client that closes right after its last statement is given this long to see it finished.
const CLOSE_GRACE: Duration = Duration::from_millis(200);

/// What the client sends.
pub(super) struct Incoming<R> {
    reader: R,
    received: BytesMut,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            received: BytesMut::with_capacity(8 * 1024),
        }
    }

    /// The first packets; `None` if the client went away.
    pub(super) async fn opening(&mut self) -> Result<Option<Opening>> {
        loop {
            if let Some(head) = self.received.first_chunk::<4>() {
                let length = usize::try_from(i32::from_be_bytes(*head)).unwrap_or(0);
                if !(8..=frontend::STARTUP_BYTES_MAX).contains(&length) {
                    return Err(Error::user(
                        SqlState::ProtocolViolation,
                        "invalid length of startup packet",
                    ));
                }
                if self.received.len() >= length {
                    let mut packet = self.received.split_to(length);
                    packet.advance(4);
                    return frontend::opening(packet.freeze()).map(Some);
                }
            }
            if self.more().await? == 0 {
                return Ok(None);
            }
        }
    }

    /// The next message; `None` if the client went away.
    pub(super) async fn message(&mut self) -> Result<Option<Frontend>> {
        loop {
            match frontend::frame(&mut self.received)? {
                Frame::Whole { kind, body } => return frontend::message(kind, body).map(Some),
                Frame::TooLong { kind, bytes } => {
                    if !self.skip(bytes).await? {
                        return Ok(None);
                    }
                    return Ok(Some(frontend::too_long(kind, bytes)));
                }
                Frame::Partial => {
                    if self.more().await? == 0 {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Returns when the client has gone away. What it sends meanwhile is kept for later.
    pub(super) async fn gone(&mut self) {
        while self.received.len() < READ_AHEAD_BYTES_MAX {
            match self.more().await {
                Ok(0) | Err(_) => {
                    clock::sleep(CLOSE_GRACE).await;
                    return;
                }
                Ok(_) => {}
            }
        }
        std::future::pending().await
    }

    async fn more(&mut self) -> Result<usize> {
        self.reader
            .read_buf(&mut self.received)
            .await
            .map_err(|error| lost(&error))
    }

    async fn skip(&mut self, mut bytes: usize) -> Result<bool> {
        loop {
            let here = bytes.min(self.received.len());
            self.received.advance(here);
            bytes -= here;
            if bytes == 0 {
                return Ok(true);
            }
            if self.more().await? == 0 {
                return Ok(false);
            }
        }
    }
}

/// What the client gets.
pub(super) struct Outgoing<W> {
    writer: W,
    buffer: BytesMut,
}

impl<W: AsyncWrite + Unpin> Outgoing<W> {
    pub(super) fn new(writer: W) -> Self {
        Self {
            writer,
            buffer: BytesMut::with_capacity(8 * 1024),
        }
    }

    /// Adds a message to the buffer.
    pub(super) fn message(&mut self, message: &PgWireBackendMessage) -> Result<()> {
        let start = self.buffer.len();
        message.encode(&mut self.buffer).map_err(|error| {
            self.buffer.truncate(start);
            Error::internal(error.to_string())
        })
    }

    /// Adds a message whose body is written by `body`.
    pub(super) fn raw(
        &mut self,
        kind: u8,
        body: impl FnOnce(&mut BytesMut) -> Result<()>,
    ) -> Result<()> {
        let start = self.buffer.len();
        self.buffer.extend_from_slice(&[kind, 0, 0, 0, 0]);
        let written = body(&mut self.buffer).and_then(|()| {
            i32::try_from(self.buffer.len() - start - 1).map_err(|_| {
                Error::user(
                    SqlState::ProgramLimitExceeded,
                    "a message is larger than 2 GB",
                )
            })
        });
        match written {
            Ok(length) => {
                self.buffer[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
                Ok(())
            }
            Err(error) => {
                self.buffer.truncate(start);
                Err(error)
            }
        }
    }

    /// Adds bytes that are no message: the one-byte answers of the opening.
    pub(super) fn bytes(&mut self, bytes: &'static [u8]) {
        self.buffer.extend_from_slice(&Bytes::from_static(bytes));
    }

    /// Writes the buffer if much has come together.
    pub(super) async fn flush_if_full(&mut self) -> Result<()> {
        if self.buffer.len() >= WRITE_BYTES {
            self.flush().await
        } else {
            Ok(())
        }
    }

    /// Writes everything.
    pub(super) async fn flush(&mut self) -> Result<()> {
        while !self.buffer.is_empty() {
            let written = self
                .writer
                .write_buf(&mut self.buffer)
                .await
                .map_err(|error| lost(&error))?;
            if written == 0 {
                return Err(lost(&std::io::ErrorKind::WriteZero.into()));
            }
        }
        self.writer.flush().await.map_err(|error| lost(&error))
    }

    /// Writes everything and says that nothing more comes.
    pub(super) async fn close(&mut self) -> Result<()> {
        self.flush().await?;
        self.writer.shutdown().await.map_err(|error| lost(&error))
    }
}

fn lost(error: &std::io::Error) -> Error {
    Error::external(
        SqlState::ConnectionFailure,
        false,
        format!("{LOST}: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn a_message_longer_than_the_limit_is_skipped_and_the_next_one_is_read() {
        let (mut client, server) = duplex(64 * 1024);
        let mut incoming = Incoming::new(server);
        let body = frontend::MESSAGE_BYTES_MAX;
        let sender = crate::task::spawn("sender", async move {
            client.write_u8(b'Q').await.unwrap();
            client
                .write_i32(i32::try_from(body + 4).unwrap())
                .await
                .unwrap();
            for _ in 0..body / (1024 * 1024) {
                client.write_all(&vec![b'x'; 1024 * 1024]).await.unwrap();
            }
            client.write_all(b"S\0\0\0\x04").await.unwrap();
            client
        });
        let first = incoming.message().await.unwrap();
        assert!(
            matches!(
                first,
                Some(Frontend::Refused {
                    extended: false,
                    ..
                })
            ),
            "{first:?}"
        );
        assert!(
            incoming.received.capacity() < 2 * 1024 * 1024,
            "the body was not kept"
        );
        assert!(matches!(
            incoming.message().await.unwrap(),
            Some(Frontend::Sync)
        ));
        drop(sender.await.unwrap().unwrap());
        assert!(incoming.message().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_comes_while_waiting_for_the_end_is_not_lost() {
        let (mut client, server) = duplex(1024);
        let mut incoming = Incoming::new(server);
        client.write_all(b"S\0\0\0\x04").await.unwrap();
        drop(client);
        incoming.gone().await;
        assert!(matches!(
            incoming.message().await.unwrap(),
            Some(Frontend::Sync)
        ));
    }

    #[tokio::test]
    async fn a_body_that_fails_leaves_no_part_of_its_message() {
        let mut outgoing = Outgoing::new(Vec::new());
        outgoing
            .raw(b'D', |out| {
                out.extend_from_slice(b"ok");
                Ok(())
            })
            .unwrap();
        let failed = outgoing.raw(b'D', |out| {
            out.extend_from_slice(b"half");
            Err(Error::internal("no"))
        });
        assert!(failed.is_err());
        outgoing.flush().await.unwrap();
        assert_eq!(outgoing.writer, b"D\0\0\0\x06ok");
    }
}
