//! The two requests of the walk, Metadata 1 and Fetch 11, and the answers to them, as bytes.
//!
//! Written by hand, so that the records of an answer are looked at where they were received.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::{Buf, BufMut};

const FETCH: (i16, i16) = (1, 11);
const METADATA: (i16, i16) = (3, 1);
const ANSWER_BYTES_MAX: i32 = 64 << 20;
const PARTITION_BYTES_MAX: i32 = 8 << 20;
/// How long a broker may wait for messages, milliseconds: only when there are none.
const WAIT_MS_MAX: i32 = 100;

/// A connection with one request under way at the most.
pub(super) struct Connection {
    socket: TcpStream,
    number: i32,
    answer: Vec<u8>,
    /// Bytes of the last answer; what lies behind them is older.
    length: usize,
}

/// What came of one partition.
pub(super) struct FetchedPartition<'a> {
    pub(super) partition: i32,
    /// The offset behind its last message.
    pub(super) end: i64,
    /// Record batches; the last one may be cut off.
    pub(super) records: &'a [u8],
}

impl Connection {
    pub(super) fn new(socket: TcpStream) -> Result<Self, String> {
        socket.set_nodelay(true).map_err(|e| e.to_string())?;
        Ok(Self {
            socket,
            number: 0,
            answer: Vec::new(),
            length: 0,
        })
    }

    /// The partitions of a topic by the address of their leader.
    pub(super) fn leaders(&mut self, topic: &str) -> Result<BTreeMap<String, Vec<i32>>, String> {
        let mut body = Vec::new();
        body.put_i32(1);
        put_text(&mut body, topic);
        let mut answer = Answer(self.ask(METADATA, &body)?);
        let mut brokers = BTreeMap::new();
        for _ in 0..answer.i32()? {
            let (id, host, port) = (answer.i32()?, answer.text()?, answer.i32()?);
            brokers.insert(id, format!("{host}:{port}"));
            answer.text()?;
        }
        let (_controller, _topics) = (answer.i32()?, answer.i32()?);
        answer.refused()?;
        answer.text()?;
        answer.skip(1)?;
        let mut leaders: BTreeMap<String, Vec<i32>> = BTreeMap::new();
        for _ in 0..answer.i32()? {
            answer.refused()?;
            let (partition, leader) = (answer.i32()?, answer.i32()?);
            for _ in ["replicas", "in sync"] {
                let count = answer.length()?;
                answer.skip(count * 4)?;
            }
            let leader = brokers.get(&leader).ok_or("a partition has no leader")?;
            leaders.entry(leader.clone()).or_default().push(partition);
        }
        Ok(leaders)
    }

    /// Asks for what lies behind these offsets.
    pub(super) fn fetch(
        &mut self,
        topic: &str,
        offsets: &[(i32, i64)],
        mut take: impl FnMut(FetchedPartition<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let body = fetch_body(topic, offsets)?;
        let mut answer = Answer(self.ask(FETCH, &body)?);
        let _throttled_ms = answer.i32()?;
        answer.refused()?;
        let _session = answer.i32()?;
        for _ in 0..answer.i32()? {
            answer.text()?;
            for _ in 0..answer.i32()? {
                let partition = answer.i32()?;
                answer.refused()?;
                let end = answer.i64()?;
                answer.skip(16)?; // The last stable and the first offset.
                let aborted = answer.length()?;
                answer.skip(aborted * 16 + 4)?; // And the replica to prefer.
                let length = answer.length()?;
                let records = answer.skip(length)?;
                take(FetchedPartition {
                    partition,
                    end,
                    records,
                })?;
            }
        }
        Ok(())
    }

    /// Sends a request and receives its answer, without the head.
    fn ask(&mut self, (key, version): (i16, i16), body: &[u8]) -> Result<&[u8], String> {
        self.number += 1;
        let mut request = Vec::new();
        request.put_i32(0);
        request.put_i16(key);
        request.put_i16(version);
        request.put_i32(self.number);
        put_text(&mut request, "walk");
        request.put_slice(body);
        let length = i32::try_from(request.len() - 4).map_err(|e| e.to_string())?;
        request[..4].copy_from_slice(&length.to_be_bytes());
        self.exchange(&request).map_err(|error| error.to_string())?;
        let mut answer = &self.answer[..self.length];
        if answer.len() < 4 || answer.get_i32() != self.number {
            return Err("an answer to another question".to_owned());
        }
        Ok(answer)
    }

    fn exchange(&mut self, request: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(request)?;
        let mut length = [0; 4];
        self.socket.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).map_err(std::io::Error::other)?;
        // It only grows, so that what is kept is overwritten and not zeroed again.
        if self.answer.len() < length {
            self.answer.resize(length, 0);
        }
        self.length = length;
        self.socket.read_exact(&mut self.answer[..length])
    }
}

fn fetch_body(topic: &str, offsets: &[(i32, i64)]) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    body.put_i32(-1); // No replica.
    body.put_i32(WAIT_MS_MAX);
    body.put_i32(1);
    body.put_i32(ANSWER_BYTES_MAX);
    body.put_i8(0); // Uncommitted messages too.
    body.put_i32(0);
    body.put_i32(-1); // No session.
    body.put_i32(1);
    put_text(&mut body, topic);
    body.put_i32(i32::try_from(offsets.len()).map_err(|e| e.to_string())?);
    for (partition, offset) in offsets {
        body.put_i32(*partition);
        body.put_i32(-1); // Any leader epoch.
        body.put_i64(*offset);
        body.put_i64(-1);
        body.put_i32(PARTITION_BYTES_MAX);
    }
    body.put_i32(0); // Nothing forgotten.
    put_text(&mut body, "");
    Ok(body)
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.put_i16(i16::try_from(text.len()).expect("a name is short"));
    bytes.put_slice(text.as_bytes());
}

/// What is left of an answer.
struct Answer<'a>(&'a [u8]);

impl<'a> Answer<'a> {
    fn skip(&mut self, bytes: usize) -> Result<&'a [u8], String> {
        let (taken, left) = self.0.split_at_checked(bytes).ok_or("an answer is short")?;
        self.0 = left;
        Ok(taken)
    }

    fn i16(&mut self) -> Result<i16, String> {
        Ok(self.skip(2)?.get_i16())
    }

    fn i32(&mut self) -> Result<i32, String> {
        Ok(self.skip(4)?.get_i32())
    }

    fn i64(&mut self) -> Result<i64, String> {
        Ok(self.skip(8)?.get_i64())
    }

    /// A length or count; none is 0.
    fn length(&mut self) -> Result<usize, String> {
        Ok(usize::try_from(self.i32()?).unwrap_or(0))
    }

    fn text(&mut self) -> Result<String, String> {
        let length = usize::try_from(self.i16()?).unwrap_or(0);
        Ok(String::from_utf8_lossy(self.skip(length)?).into_owned())
    }

    /// An error's number, if it is one.
    fn refused(&mut self) -> Result<(), String> {
        match self.i16()? {
            0 => Ok(()),
            code => Err(format!("the broker answers with error {code}")),
        }
    }
}
