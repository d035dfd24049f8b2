//! One connection to a broker: set up step by step, then one question at a time.
//!
//! ```text
//! resolve → connect → TLS → versions → mechanism → authenticate → ready ⇄ asked
//! ```
//! Knows nothing of topics. Invariant: nothing here blocks, every state has a deadline, and an answer
//! is taken only when it carries the number of its question and a length within the limit.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use mio::{Interest, Token};

use super::protocol::{self, ANSWER_HEAD_BYTES, Authenticated, Request, Versions};
use super::sasl::Exchange;
use super::setup::Setup;
use super::signal::Signal;
use super::stream::Stream;
use super::tls::is_about_certificate;
use super::wire::Malformed;
use crate::source::kafka::code::{Code, Meaning};
use crate::source::read::WhyLibrary;
use crate::task;
use crate::types::MessageBatch;

/// Answers about anything but messages are shorter than this.
const PLAIN_ANSWER_BYTES_MAX: usize = 16 << 20;
const LENGTH_BYTES: usize = 4;

/// A connection, from its first packet on.
#[derive(Debug)]
pub(super) struct Connection {
    host: String,
    port: u16,
    token: Token,
    signal: Arc<Signal>,
    setup: Arc<Setup>,
    phase: Phase,
    /// Where the host is; those that were tried are taken off.
    addresses: VecDeque<SocketAddr>,
    stream: Option<Stream>,
    /// When the present state has lasted too long.
    deadline: Option<Instant>,
    /// When the broker wants the credentials again.
    expires: Option<Instant>,
    versions: Option<Versions>,
    exchange: Option<Exchange>,
    number: i32,
    out: Vec<u8>,
    /// The answer as far as it is there, without its length.
    length: Vec<u8>,
    answer: Vec<u8>,
    answer_bytes_max: usize,
}

#[derive(Debug)]
enum Phase {
    Resolving(Receiver<io::Result<Vec<SocketAddr>>>),
    Connecting,
    Handshaking,
    Versions,
    Mechanism,
    Authenticating,
    Ready,
    Asked,
}

/// What came of going on.
#[derive(Debug)]
pub(super) enum Came {
    /// Nothing yet.
    Nothing,
    /// The answer, behind the number of its question. The buffer has room for the padding.
    Answer(Vec<u8>),
}

/// Why a connection is over.
#[derive(Debug)]
pub(super) enum Broken {
    /// Another may do better.
    Lost(String),
    NotAuthenticated(String),
    Unserved(WhyLibrary),
}

impl From<Malformed> for Broken {
    fn from(_: Malformed) -> Self {
        Self::Lost("a malformed answer".to_owned())
    }
}

impl Connection {
    /// Begins to connect.
    pub(super) fn open(
        (host, port): (&str, u16),
        setup: &Arc<Setup>,
        signal: &Arc<Signal>,
        now: Instant,
    ) -> Self {
        let (phase, addresses) = match host.parse::<IpAddr>() {
            Ok(address) => {
                // So that whoever is about to wait goes on instead.
                signal.stir();
                (Phase::Connecting, [SocketAddr::new(address, port)].into())
            }
            Err(_) => (resolve(host, port, signal), VecDeque::new()),
        };
        Self {
            host: host.to_owned(),
            port,
            token: signal.next_token(),
            signal: Arc::clone(signal),
            setup: Arc::clone(setup),
            phase,
            addresses,
            stream: None,
            deadline: Some(now + setup.connect_timeout),
            expires: None,
            versions: None,
            exchange: None,
            number: 0,
            out: Vec::new(),
            length: Vec::with_capacity(LENGTH_BYTES * 2),
            answer: Vec::new(),
            answer_bytes_max: PLAIN_ANSWER_BYTES_MAX,
        }
    }

    /// `host:port`.
    pub(super) fn name(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(super) fn is_to(&self, host: &str, port: u16) -> bool {
        self.host == host && self.port == port
    }

    /// The versions to ask in, if a question may be asked now.
    pub(super) fn ready(&self) -> Option<Versions> {
        match self.phase {
            Phase::Ready => self.versions,
            _ => None,
        }
    }

    /// The versions of the question that was asked.
    pub(super) fn versions(&self) -> Option<Versions> {
        self.versions
    }

    /// True when it is to be given up before it is asked again.
    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Asks; an answer may take `wait` beyond the time that an answer has, and `bytes_max` bytes.
    pub(super) fn ask(&mut self, request: Request, wait: Duration, bytes_max: usize, now: Instant) {
        assert!(self.ready().is_some(), "one question at a time");
        self.deadline = Some(now + wait + self.setup.answer_timeout);
        self.answer_bytes_max = bytes_max;
        self.put(request);
        self.phase = Phase::Asked;
        if let Some(stream) = &mut self.stream {
            // What does not go out now goes out later; an error is met again then.
            let _ = stream.send(&mut self.out);
        }
    }

    fn put(&mut self, request: Request) {
        self.number = self.number.wrapping_add(1);
        let frame = request.framed(self.number, &self.setup.client_id);
        self.out.extend(frame);
    }

    /// Goes as far as is possible without waiting. Late is only what is not there: the caller may
    /// not have looked for long.
    pub(super) fn go_on(&mut self, now: Instant) -> Result<Came, Broken> {
        let came = self.steps(now)?;
        let waits = matches!(came, Came::Nothing);
        if waits && self.deadline.is_some_and(|deadline| now >= deadline) {
            return Err(Broken::Lost(match self.phase {
                Phase::Asked => "the request timed out".to_owned(),
                _ => "the connection could not be set up in time".to_owned(),
            }));
        }
        Ok(came)
    }

    fn steps(&mut self, now: Instant) -> Result<Came, Broken> {
        loop {
            let stepped = match self.phase {
                Phase::Resolving(_) => self.resolved()?,
                Phase::Connecting => self.connected()?,
                Phase::Handshaking => self.shaken()?,
                Phase::Ready => return self.listen().map(|()| Came::Nothing),
                Phase::Versions | Phase::Mechanism | Phase::Authenticating | Phase::Asked => {
                    match self.receive()? {
                        None => false,
                        Some(answer) if matches!(self.phase, Phase::Asked) => {
                            self.phase = Phase::Ready;
                            self.deadline = None;
                            return Ok(Came::Answer(answer));
                        }
                        Some(answer) => {
                            self.set_up(&answer[ANSWER_HEAD_BYTES..], now)?;
                            true
                        }
                    }
                }
            };
            if !stepped {
                return Ok(Came::Nothing);
            }
        }
    }

    fn resolved(&mut self) -> Result<bool, Broken> {
        let Phase::Resolving(found) = &self.phase else {
            return Ok(false);
        };
        match found.try_recv() {
            Ok(Ok(addresses)) => {
                self.addresses = addresses.into();
                self.phase = Phase::Connecting;
                Ok(true)
            }
            Ok(Err(error)) => {
                let host = &self.host;
                Err(Broken::Lost(format!("\"{host}\" is not found: {error}")))
            }
            Err(TryRecvError::Empty) => Ok(false),
            Err(TryRecvError::Disconnected) => {
                Err(Broken::Lost("no thread to look for the host".to_owned()))
            }
        }
    }

    /// Goes on when the socket is connected, and to the next address when it cannot be.
    fn connected(&mut self) -> Result<bool, Broken> {
        let Some(stream) = &self.stream else {
            return self.connect().map(|()| false);
        };
        let socket = stream.socket();
        let failed = match socket.take_error() {
            Ok(Some(error)) | Err(error) => Some(error),
            Ok(None) => match socket.peer_addr() {
                Ok(_) => None,
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
                Err(error) => Some(error),
            },
        };
        match failed {
            None => {
                self.phase = Phase::Handshaking;
                Ok(true)
            }
            Some(error) if self.addresses.is_empty() => Err(lost(&error)),
            Some(_) => self.connect().map(|()| false),
        }
    }

    fn connect(&mut self) -> Result<(), Broken> {
        let mut failed = Broken::Lost("the host has no address".to_owned());
        while let Some(address) = self.addresses.pop_front() {
            let socket = self.start(address);
            let tls = self.setup.tls.as_ref();
            match socket.and_then(|socket| Stream::new(socket, tls, &self.host)) {
                Ok(stream) => {
                    self.stream = Some(stream);
                    return Ok(());
                }
                Err(error) => failed = lost(&error),
            }
        }
        Err(failed)
    }

    fn start(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let mut socket = mio::net::TcpStream::connect(address)?;
        let both = Interest::READABLE | Interest::WRITABLE;
        self.signal
            .registry()
            .register(&mut socket, self.token, both)?;
        let socket = TcpStream::from(socket);
        socket.set_nodelay(true)?;
        Ok(socket)
    }

    fn shaken(&mut self) -> Result<bool, Broken> {
        let stream = self.stream.as_mut().expect("it is connected");
        match stream.handshake() {
            Ok(()) => {
                self.put(protocol::ask_versions());
                self.phase = Phase::Versions;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
            Err(error) if is_about_certificate(&error) => {
                let server = self.name();
                tracing::debug!(target: "kafka", server, %error, "a certificate was not taken");
                Err(Broken::Unserved(WhyLibrary::Certificate))
            }
            Err(error) => Err(lost(&error)),
        }
    }

    /// Takes one of the answers before the first question.
    fn set_up(&mut self, body: &[u8], now: Instant) -> Result<(), Broken> {
        match self.phase {
            Phase::Versions => {
                let too_old = Broken::Unserved(WhyLibrary::OldBroker);
                let versions = Versions::read(body)?.ok_or(too_old)?;
                self.versions = Some(versions);
                match &self.setup.credentials {
                    None => self.is_set_up(),
                    Some(_) if versions.authenticate.is_none() => {
                        return Err(Broken::Unserved(WhyLibrary::OldBroker));
                    }
                    Some(credentials) => {
                        self.put(protocol::ask_mechanism(credentials.mechanism()));
                        self.phase = Phase::Mechanism;
                    }
                }
                Ok(())
            }
            Phase::Mechanism => self.take_mechanism(body),
            _ => self.take_token(body, now),
        }
    }

    fn take_mechanism(&mut self, body: &[u8]) -> Result<(), Broken> {
        let (code, mechanisms) = protocol::read_mechanism(body)?;
        if code != 0 {
            let has = mechanisms.join(", ");
            let reason = format!("{}; the broker takes {has}", Code(code.into()));
            return Err(Broken::NotAuthenticated(reason));
        }
        let credentials = self
            .setup
            .credentials
            .as_ref()
            .expect("they are to be shown");
        let (exchange, token) = credentials.begin().map_err(Broken::Lost)?;
        self.exchange = Some(exchange);
        self.authenticate(&token);
        Ok(())
    }

    fn authenticate(&mut self, token: &[u8]) {
        let version = self.versions.and_then(|versions| versions.authenticate);
        let version = version.expect("it was looked at before");
        self.put(protocol::ask_authenticate(version, token));
        self.phase = Phase::Authenticating;
    }

    fn take_token(&mut self, body: &[u8], now: Instant) -> Result<(), Broken> {
        let version = self.versions.and_then(|versions| versions.authenticate);
        let answer = Authenticated::read(version.unwrap_or(0), body)?;
        if answer.code != 0 {
            let code = Code(answer.code.into());
            let reason = answer
                .reason
                .map_or_else(|| code.to_string(), str::to_owned);
            return Err(match code.meaning() {
                Meaning::NotAuthenticated => Broken::NotAuthenticated(reason),
                _ => Broken::Lost(reason),
            });
        }
        let exchange = self.exchange.take().expect("it has begun");
        let (exchange, token) = exchange
            .next(answer.token)
            .map_err(|reason| Broken::NotAuthenticated(format!("the broker: {reason}")))?;
        let lifetime_ms = answer.lifetime_ms;
        match (token, &exchange) {
            (Some(token), _) => self.authenticate(&token),
            (None, Exchange::Done) => {
                if let Ok(lifetime @ 1..) = u64::try_from(lifetime_ms) {
                    // A little earlier than the broker wants it.
                    let lifetime = Duration::from_millis(lifetime.min(1 << 40));
                    self.expires = Some(now + lifetime * 9 / 10);
                }
                self.is_set_up();
            }
            (None, _) => return Err(Malformed.into()),
        }
        self.exchange = Some(exchange);
        Ok(())
    }

    fn is_set_up(&mut self) {
        self.phase = Phase::Ready;
        self.deadline = None;
    }

    /// Sends what is left to send and reads what there is of the answer.
    fn receive(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        let stream = self.stream.as_mut().expect("it is connected");
        if !done(stream.send(&mut self.out))? {
            return Ok(None);
        }
        if self.length.len() < LENGTH_BYTES {
            if !done(stream.receive(&mut self.length, LENGTH_BYTES))? {
                return Ok(None);
            }
            let announced = self.announced()?;
            self.answer = self.setup.spares.take(announced + MessageBatch::PADDING);
        }
        let announced = self.announced()?;
        let stream = self.stream.as_mut().expect("it is connected");
        if !done(stream.receive(&mut self.answer, announced))? {
            return Ok(None);
        }
        self.length.clear();
        let answer = std::mem::take(&mut self.answer);
        if answer.first_chunk() != Some(&self.number.to_be_bytes()) {
            return Err(Broken::Lost("an answer to another question".to_owned()));
        }
        Ok(Some(answer))
    }

    fn announced(&self) -> Result<usize, Broken> {
        let length = self.length.first_chunk().expect("it is all there");
        let length = i32::from_be_bytes(*length);
        let bytes_max = match self.phase {
            Phase::Asked => self.answer_bytes_max,
            _ => PLAIN_ANSWER_BYTES_MAX,
        };
        usize::try_from(length)
            .ok()
            .filter(|length| (ANSWER_HEAD_BYTES..=bytes_max).contains(length))
            .ok_or_else(|| Broken::Lost(format!("an answer of {length} bytes was announced")))
    }

    /// Nothing comes unasked: a connection that tells something is one that ends.
    fn listen(&mut self) -> Result<(), Broken> {
        let stream = self.stream.as_mut().expect("it is connected");
        let mut unasked = Vec::new();
        match done(stream.receive(&mut unasked, 1))? {
            false => Ok(()),
            true => Err(Broken::Lost("an answer without a question".to_owned())),
        }
    }
}

/// False when there is no more for now.
fn done(outcome: io::Result<()>) -> Result<bool, Broken> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(lost(&error)),
    }
}

fn lost(error: &io::Error) -> Broken {
    Broken::Lost(match error.kind() {
        ErrorKind::ConnectionRefused => "Connection refused".to_owned(),
        ErrorKind::UnexpectedEof => "the broker closed the connection".to_owned(),
        _ => error.to_string(),
    })
}

/// Looks a host up on a thread of its own: that may take as long as the system likes.
fn resolve(host: &str, port: u16, signal: &Arc<Signal>) -> Phase {
    let (found, finds) = sync_channel(1);
    let (host, signal) = (host.to_owned(), Arc::clone(signal));
    let started = task::spawn_thread("kafka-resolve", move || {
        let addresses = (host.as_str(), port).to_socket_addrs();
        // Nobody waits for it when the connection was given up.
        let _ = found.send(addresses.map(Iterator::collect));
        signal.stir();
    });
    if let Err(error) = started {
        tracing::debug!(target: "kafka", %error, "no thread to look a host up on");
    }
    Phase::Resolving(finds)
}
