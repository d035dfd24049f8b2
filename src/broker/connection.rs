//! One client's connection: requests in, answers out, one after the other.
//!
//! Knows framing and limits, nothing of what requests mean. As with Apache Kafka, a connection's
//! next request waits for the answer to the one before, so answers leave in order.
//! Invariant: whatever bytes arrive, the worst that happens is that this connection is closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestHeader};
use kafka_protocol::protocol::Decodable;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{Notify, watch};
use tracing::{debug, warn};

use super::api;
use super::server::Server;
use crate::error::{Error, Result, SqlState};

/// What is set aside at most for what has yet to arrive, so that an announcement costs nothing.
const RESERVED_BYTES: usize = 1 << 20;
/// A buffer that has grown past this is given back once its request is answered.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// What is read at once at least.
const READ_BYTES: usize = 4 << 10;
/// What is read ahead while a request is being answered.
const READ_AHEAD_BYTES: usize = 64 << 10;
/// Requests that carry no records are far smaller than this.
const PLAIN_REQUEST_BYTES_MAX: usize = 4 << 20;
/// How long an answer may take to leave once the broker is stopping.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_millis(200);

/// A client, as the handlers of its requests see it.
#[derive(Debug)]
pub(crate) struct Client {
    /// Where the client reached the broker, hence where it can reach it again.
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Told when a partition that it waits for has grown.
    pub(crate) more: Arc<Notify>,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) key: ApiKey,
    pub(crate) version: i16,
    pub(crate) client_id: String,
    correlation_id: i32,
    pub(crate) body: Bytes,
}

/// Serves a connection until either side ends it.
pub(crate) async fn serve(server: Arc<Server>, mut socket: TcpStream, stop: watch::Receiver<bool>) {
    let (Ok(local), Ok(remote)) = (socket.local_addr(), socket.peer_addr()) else {
        return;
    };
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%remote, %error, "answers may be delayed");
    }
    let client = Client {
        local,
        remote,
        more: Arc::new(Notify::new()),
    };
    let (reader, writer) = socket.split();
    let connection = Connection {
        reader,
        writer,
        buffer: BytesMut::new(),
        stop,
    };
    if let Err(error) = connection.run(&server, &client).await {
        warn!(%remote, %error, "a client was disconnected from the embedded broker");
    }
}

struct Connection<'a> {
    reader: ReadHalf<'a>,
    writer: WriteHalf<'a>,
    buffer: BytesMut,
    stop: watch::Receiver<bool>,
}

#[cfg(test)]
impl Request {
    /// A request as a client would send it.
    pub(crate) fn new(key: ApiKey, version: i16, body: Vec<u8>) -> Self {
        let client_id = "test".to_owned();
        Self {
            key,
            version,
            client_id,
            correlation_id: 0,
            body: Bytes::from(body),
        }
    }
}

impl Connection<'_> {
    async fn run(mut self, server: &Arc<Server>, client: &Client) -> Result<()> {
        let bytes_max = server.config.request_bytes_max;
        while let Some(request) = self.next_request(bytes_max).await? {
            let (version, key) = (request.version, request.key);
            let was_large = request.body.len() > KEPT_BYTES_MAX;
            let mut answer = begin_answer(&request);
            let Some(answered) = self.answer(server, client, request, &mut answer).await else {
                return Ok(());
            };
            match answered {
                Ok(api::Answer::Given) => {}
                Ok(api::Answer::NotWanted) => continue,
                Err(error) => {
                    let message = format!("{key:?} version {version}: {error}");
                    return Err(violation(message));
                }
            }
            let length =
                i32::try_from(answer.len() - 4).map_err(|_| violation("answer too long"))?;
            answer[..4].copy_from_slice(&length.to_be_bytes());
            if !self.write(&answer).await {
                return Ok(());
            }
            if was_large && self.buffer.is_empty() {
                self.buffer = BytesMut::new();
            }
        }
        Ok(())
    }

    /// Answers a request while watching the client; `None` when it went or the broker stops.
    async fn answer(
        &mut self,
        server: &Arc<Server>,
        client: &Client,
        request: Request,
        answer: &mut BytesMut,
    ) -> Option<Result<api::Answer>> {
        let handling = api::answer(server, client, request, answer);
        tokio::pin!(handling);
        loop {
            let may_read = self.buffer.len() < READ_AHEAD_BYTES;
            tokio::select! {
                biased;
                answered = &mut handling => return Some(answered),
                () = stopped(&mut self.stop) => return None,
                read = self.reader.read_buf(&mut self.buffer), if may_read => match read {
                    Ok(0) | Err(_) => return None,
                    Ok(_) => {}
                },
            }
        }
    }

    /// The next request; `None` when the client is done or the broker stops.
    async fn next_request(&mut self, bytes_max: usize) -> Result<Option<Request>> {
        if !self.fill(4).await {
            return Ok(None);
        }
        let length = usize::try_from(self.buffer.get_i32()).unwrap_or(usize::MAX);
        if length < 8 || length > bytes_max {
            return Err(violation(format!(
                "a request of {length} bytes was announced"
            )));
        }
        if !self.fill(8).await {
            return Ok(None);
        }
        let key = i16::from_be_bytes([self.buffer[0], self.buffer[1]]);
        let version = i16::from_be_bytes([self.buffer[2], self.buffer[3]]);
        let key = ApiKey::try_from(key).map_err(|()| violation(format!("unknown api {key}")))?;
        if key != ApiKey::Produce && length > PLAIN_REQUEST_BYTES_MAX {
            return Err(violation(format!(
                "{key:?} of {length} bytes was announced"
            )));
        }
        if !self.fill(length).await {
            return Ok(None);
        }
        let mut body = self.buffer.split_to(length).freeze();
        let header_version = key.request_header_version(version).clamp(1, 2);
        let header = RequestHeader::decode(&mut body, header_version)
            .map_err(|error| violation(format!("{key:?} version {version}: {error}")))?;
        let client_id = header
            .client_id
            .map(|id| id.to_string())
            .unwrap_or_default();
        let correlation_id = header.correlation_id;
        Ok(Some(Request {
            key,
            version,
            client_id,
            correlation_id,
            body,
        }))
    }

    /// Reads until the buffer holds so many bytes; false when the client went or the broker stops.
    async fn fill(&mut self, bytes: usize) -> bool {
        while self.buffer.len() < bytes {
            let missing = bytes - self.buffer.len();
            if self.buffer.capacity() - self.buffer.len() < missing.min(READ_BYTES) {
                self.buffer
                    .reserve(missing.clamp(READ_BYTES, RESERVED_BYTES));
            }
            tokio::select! {
                biased;
                read = self.reader.read_buf(&mut self.buffer) => match read {
                    Ok(0) | Err(_) => return false,
                    Ok(_) => {}
                },
                () = stopped(&mut self.stop) => return false,
            }
        }
        true
    }

    /// Sends an answer; false when the client went.
    async fn write(&mut self, answer: &[u8]) -> bool {
        let writing = self.writer.write_all(answer);
        tokio::pin!(writing);
        tokio::select! {
            biased;
            written = &mut writing => written.is_ok(),
            () = stopped(&mut self.stop) => {
                tokio::time::timeout(LAST_WRITE_TIMEOUT, writing).await.is_ok_and(|w| w.is_ok())
            }
        }
    }
}

/// The frame of an answer: room for its length, then the header.
fn begin_answer(request: &Request) -> BytesMut {
    let mut answer = BytesMut::with_capacity(256);
    answer.put_i32(0);
    answer.put_i32(request.correlation_id);
    if request.key.response_header_version(request.version) >= 1 {
        answer.put_u8(0); // No tagged fields.
    }
    answer
}

/// Ends when the broker stops or is dropped.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _dropped = stop.wait_for(|stop| *stop).await;
}

fn violation(message: impl Into<String>) -> Error {
    Error::user(SqlState::ProtocolViolation, message)
}
