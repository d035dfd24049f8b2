//! A broker's stand-in: passes requests on and changes the answers to fetches, as a test wants.
//!
//! Knows of Kafka's protocol only where an answer names a broker, a version or records. Invariant: a client that comes by
//! it stays with it, since every broker that an answer names is the proxy; it speaks no newer fetch than it can change.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Buf, Bytes};
use flate2::Crc;
use kafka_protocol::records::{Record, RecordBatchDecoder};

const FETCH: i16 = 1;
const METADATA: i16 = 3;
const FIND_COORDINATOR: i16 = 10;
const API_VERSIONS: i16 = 18;
/// The newest fetch whose answer has no tagged fields.
const FETCH_VERSION_MAX: i16 = 11;
/// Bytes of a batch up to the end of its length.
const LENGTH_PREFIX: usize = 12;

/// What becomes of an answer to a fetch.
pub(crate) enum Fate {
    /// It is sent, with what was changed.
    Whole,
    /// Half of it is sent, and the connection closed.
    Half,
    /// These bytes are sent in its place, and the connection closed.
    Instead(Vec<u8>),
    /// Nothing is sent any more, and the connection stays.
    Silence,
}

/// An answer to a fetch of one topic.
pub(crate) struct Answer {
    pub(crate) throttle_ms: i32,
    /// What lies between that and the partitions.
    head: Vec<u8>,
    pub(crate) parts: Vec<Part>,
}

/// One partition of an answer.
pub(crate) struct Part {
    pub(crate) partition: i32,
    /// What lies between that and the records.
    head: Vec<u8>,
    /// The batches; the last one may be cut off.
    pub(crate) records: Vec<u8>,
}

type Change = dyn FnMut(&mut Answer) -> Fate + Send;

/// Ends when it is dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    stops: Arc<AtomicBool>,
}

impl Proxy {
    /// Stands before the one broker at `host:port`.
    pub(crate) fn start(
        broker: &str,
        change: impl FnMut(&mut Answer) -> Fate + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let stops = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stops);
        let broker: SocketAddr = broker.parse().expect("an address and a port");
        let change: Arc<Mutex<Box<Change>>> = Arc::new(Mutex::new(Box::new(change)));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if stopping.load(Ordering::Acquire) {
                    return;
                }
                let change = Arc::clone(&change);
                // Either side may end the connection at any time, which ends the thread.
                std::thread::spawn(move || pass(client, broker, address, &change));
            }
        });
        Self { address, stops }
    }

    /// `host:port`.
    pub(crate) fn bootstrap(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Release);
        // So that it looks.
        drop(TcpStream::connect(self.address));
    }
}

/// One connection: a request, its answer, the next request.
fn pass(
    mut client: TcpStream,
    at: SocketAddr,
    own: SocketAddr,
    change: &Mutex<Box<Change>>,
) -> io::Result<()> {
    let mut broker = TcpStream::connect(at)?;
    client.set_nodelay(true)?;
    broker.set_nodelay(true)?;
    loop {
        let request = frame(&mut client)?;
        let (api, version) = {
            let mut head = request.as_slice();
            (head.get_i16(), head.get_i16())
        };
        broker.write_all(&framed(&request))?;
        let mut answer = frame(&mut broker)?;
        match api {
            METADATA | FIND_COORDINATOR => rename(&mut answer, at, own),
            API_VERSIONS => limit_fetch(&mut answer, version),
            FETCH => {
                let mut fetched = Answer::read(&answer, version);
                let fate = change.lock().expect("no change panics")(&mut fetched);
                let whole = framed(&fetched.bytes(&answer[..4]));
                match fate {
                    Fate::Whole => client.write_all(&whole)?,
                    Fate::Half => return client.write_all(&whole[..whole.len() / 2]),
                    Fate::Instead(bytes) => return client.write_all(&bytes),
                    Fate::Silence => {
                        // Until the client has had enough of it.
                        io::copy(&mut client, &mut io::sink())?;
                        return Ok(());
                    }
                }
                continue;
            }
            _ => {}
        }
        client.write_all(&framed(&answer))?;
    }
}

fn frame(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).expect("32 bits fit");
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    [&count(bytes.len()).to_be_bytes(), bytes].concat()
}

fn count(items: usize) -> i32 {
    i32::try_from(items).expect("a test's answers are small")
}

/// Puts the proxy's port in the place of the broker's, which follows the host in every version.
fn rename(answer: &mut [u8], at: SocketAddr, own: SocketAddr) {
    let name = |address: SocketAddr| {
        let host = address.ip().to_string().into_bytes();
        [host, i32::from(address.port()).to_be_bytes().to_vec()].concat()
    };
    let (theirs, ours) = (name(at), name(own));
    let mut from = 0;
    while let Some(found) = answer[from..]
        .windows(theirs.len())
        .position(|bytes| bytes == theirs)
    {
        from += found;
        answer[from..from + ours.len()].copy_from_slice(&ours);
    }
}

/// Lowers the newest version of a fetch in an answer about versions.
fn limit_fetch(answer: &mut [u8], asked: i16) {
    let code = i16::from_be_bytes([answer[4], answer[5]]);
    // A version that the broker does not know is answered in the oldest one.
    let flexible = asked >= 3 && code == 0;
    let (mut at, step) = if flexible { (6, 7) } else { (10, 6) };
    while flexible && answer[at] >= 0x80 {
        at += 1;
    }
    at += usize::from(flexible);
    while at + step <= answer.len() {
        if answer[at..at + 2] == FETCH.to_be_bytes() {
            answer[at + 4..at + 6].copy_from_slice(&FETCH_VERSION_MAX.to_be_bytes());
            return;
        }
        at += step;
    }
}

impl Answer {
    /// `answer` begins with the number of its request.
    fn read(answer: &[u8], version: i16) -> Self {
        let mut rest = &answer[4..];
        let throttle_ms = rest.get_i32();
        let from = rest;
        rest.advance(if version >= 7 { 2 + 4 } else { 0 });
        let mut parts = Vec::new();
        let mut head = from[..from.len() - rest.len() + 4].to_vec();
        if rest.get_i32() == 1 {
            let name = usize::try_from(rest.get_i16()).expect("a topic has a name");
            rest.advance(name);
            head = from[..from.len() - rest.len()].to_vec();
            parts.extend((0..rest.get_i32()).map(|_| Part::read(&mut rest, version)));
        }
        assert!(rest.is_empty(), "an answer about one topic at the most");
        Self {
            throttle_ms,
            head,
            parts,
        }
    }

    fn bytes(&self, number: &[u8]) -> Vec<u8> {
        let mut out = [number, &self.throttle_ms.to_be_bytes(), &self.head].concat();
        if !self.parts.is_empty() {
            out.extend(count(self.parts.len()).to_be_bytes());
        }
        for part in &self.parts {
            out.extend(part.partition.to_be_bytes());
            out.extend(&part.head);
            out.extend(count(part.records.len()).to_be_bytes());
            out.extend(&part.records);
        }
        out
    }
}

impl Part {
    fn read(rest: &mut &[u8], version: i16) -> Self {
        let partition = rest.get_i32();
        let from = *rest;
        rest.advance(2 + 8 + 8 + if version >= 5 { 8 } else { 0 });
        let aborted = usize::try_from(rest.get_i32()).unwrap_or(0);
        rest.advance(aborted * 16 + if version >= 11 { 4 } else { 0 });
        let head = from[..from.len() - rest.len()].to_vec();
        let length = usize::try_from(rest.get_i32()).unwrap_or(0);
        Self {
            partition,
            head,
            records: rest.copy_to_bytes(length).to_vec(),
        }
    }

    /// Each whole batch's first offset, and where it lies.
    pub(crate) fn batches(&self) -> Vec<(i64, Range<usize>)> {
        let mut batches = Vec::new();
        let mut at = 0;
        while let Some(head) = self.records.get(at..at + LENGTH_PREFIX) {
            let mut head = head;
            let (offset, length) = (head.get_i64(), head.get_i32());
            let end = at + LENGTH_PREFIX + usize::try_from(length).expect("a broker's length");
            if end > self.records.len() {
                break;
            }
            batches.push((offset, at..end));
            at = end;
        }
        batches
    }

    /// Writes the batches that begin at this offset or behind it as messages of format 1, which was before Kafka 0.11.
    pub(crate) fn make_old(&mut self, from: i64) {
        let mut records = Vec::new();
        for (offset, place) in self.batches() {
            let batch = &self.records[place];
            if offset < from {
                records.extend(batch);
                continue;
            }
            let mut bytes = Bytes::copy_from_slice(batch);
            let set = RecordBatchDecoder::decode(&mut bytes).expect("a batch that is not packed");
            set.records
                .iter()
                .for_each(|record| records.extend(old_message(record)));
        }
        self.records = records;
    }
}

fn old_message(record: &Record) -> Vec<u8> {
    let mut body = vec![1, 0];
    body.extend(record.timestamp.to_be_bytes());
    for bytes in [&record.key, &record.value] {
        let length = bytes.as_ref().map_or(-1, |bytes| count(bytes.len()));
        body.extend(length.to_be_bytes());
        body.extend(bytes.iter().flatten());
    }
    let mut crc = Crc::new();
    crc.update(&body);
    let mut message = record.offset.to_be_bytes().to_vec();
    message.extend(count(body.len() + 4).to_be_bytes());
    message.extend(crc.sum().to_be_bytes());
    message.extend(body);
    message
}
