//! The five requests that reading takes, and what is needed of their answers.
//!
//! Written and read here, field by field: of an answer hardly anything is needed, and generated
//! decoders allocate what an answer announces. All versions used are without tagged fields.
//! Pure. Invariant: any bytes give an answer or [`Malformed`].

use std::ops::Range;

use super::wire::{Get, Malformed, Put};

const FETCH: i16 = 1;
const METADATA: i16 = 3;
const SASL_HANDSHAKE: i16 = 17;
const API_VERSIONS: i16 = 18;
const SASL_AUTHENTICATE: i16 = 36;

/// Bytes of an answer before its body: the number of its request.
pub(super) const ANSWER_HEAD_BYTES: usize = 4;

/// The versions to speak with one broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Versions {
    fetch: i16,
    metadata: i16,
    /// `None`: this broker is older than authentication by requests.
    pub(super) authenticate: Option<i16>,
}

/// A request before it has a number.
#[derive(Debug)]
pub(super) struct Request {
    api: i16,
    version: i16,
    body: Put,
}

impl Request {
    /// The bytes to send.
    pub(super) fn framed(self, number: i32, client_id: &str) -> Vec<u8> {
        let mut out = Put::default();
        out.i16(self.api);
        out.i16(self.version);
        out.i32(number);
        out.string(client_id);
        out.append(&self.body);
        out.framed()
    }
}

/// Asks which versions the broker speaks.
pub(super) fn ask_versions() -> Request {
    Request {
        api: API_VERSIONS,
        version: 0,
        body: Put::default(),
    }
}

impl Versions {
    /// The newest that both speak; `None` when there is none for what every reader needs.
    pub(super) fn read(body: &[u8]) -> Result<Option<Self>, Malformed> {
        let mut get = Get::new(body);
        if get.i16()? != 0 {
            return Ok(None);
        }
        let (mut fetch, mut metadata, mut handshake, mut authenticate) = (None, None, None, None);
        for _ in 0..get.count(6)? {
            let (api, min, max) = (get.i16()?, get.i16()?, get.i16()?);
            let newest = |from: i16, to: i16| (max >= from && min <= to).then_some(max.min(to));
            match api {
                FETCH => fetch = newest(4, 11),
                METADATA => metadata = newest(4, 8),
                SASL_HANDSHAKE => handshake = newest(1, 1),
                SASL_AUTHENTICATE => authenticate = newest(0, 1),
                _ => {}
            }
        }
        let (Some(fetch), Some(metadata)) = (fetch, metadata) else {
            return Ok(None);
        };
        Ok(Some(Self {
            fetch,
            metadata,
            authenticate: handshake.and(authenticate),
        }))
    }
}

/// Names the mechanism that the next requests follow.
pub(super) fn ask_mechanism(mechanism: &str) -> Request {
    let mut body = Put::default();
    body.string(mechanism);
    Request {
        api: SASL_HANDSHAKE,
        version: 1,
        body,
    }
}

/// The code with which a broker answers to a mechanism, and the mechanisms it has.
pub(super) fn read_mechanism(body: &[u8]) -> Result<(i16, Vec<String>), Malformed> {
    let mut get = Get::new(body);
    let code = get.i16()?;
    let mut mechanisms = Vec::new();
    for _ in 0..get.count(2)? {
        mechanisms.push(get.string()?.to_owned());
    }
    Ok((code, mechanisms))
}

/// One step of an authentication.
pub(super) fn ask_authenticate(version: i16, token: &[u8]) -> Request {
    let mut body = Put::default();
    body.bytes(token);
    Request {
        api: SASL_AUTHENTICATE,
        version,
        body,
    }
}

/// What a broker answers to a step of an authentication.
#[derive(Debug)]
pub(super) struct Authenticated<'a> {
    pub(super) code: i16,
    pub(super) reason: Option<&'a str>,
    pub(super) token: &'a [u8],
    /// After so many milliseconds the broker wants the credentials again; 0: never.
    pub(super) lifetime_ms: i64,
}

impl<'a> Authenticated<'a> {
    pub(super) fn read(version: i16, body: &'a [u8]) -> Result<Self, Malformed> {
        let mut get = Get::new(body);
        Ok(Self {
            code: get.i16()?,
            reason: get.nullable_string()?,
            token: get.bytes()?,
            lifetime_ms: if version >= 1 { get.i64()? } else { 0 },
        })
    }
}

/// Asks who leads the partitions of a topic; never makes the topic.
pub(super) fn ask_metadata(versions: Versions, topic: &str) -> Request {
    let mut body = Put::default();
    body.count(1);
    body.string(topic);
    body.i8(0);
    if versions.metadata >= 8 {
        body.i8(0);
        body.i8(0);
    }
    Request {
        api: METADATA,
        version: versions.metadata,
        body,
    }
}

/// What a broker knows of one topic.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    /// Node, host and port.
    pub(super) brokers: Vec<(i32, String, u16)>,
    /// The topic's own code.
    pub(super) code: i16,
    /// Code, partition and its leader (-1: none).
    pub(super) partitions: Vec<(i16, i32, i32)>,
}

impl Metadata {
    pub(super) fn read(versions: Versions, topic: &str, body: &[u8]) -> Result<Self, Malformed> {
        let version = versions.metadata;
        let mut get = Get::new(body);
        get.i32()?;
        let mut metadata = Self::default();
        for _ in 0..get.count(12)? {
            let (node, host, port) = (get.i32()?, get.string()?.to_owned(), get.i32()?);
            get.nullable_string()?;
            let port = u16::try_from(port).map_err(|_| Malformed)?;
            metadata.brokers.push((node, host, port));
        }
        get.nullable_string()?;
        get.i32()?;
        let mut found = false;
        for _ in 0..get.count(9)? {
            let (code, name) = (get.i16()?, get.nullable_string()?);
            get.bool()?;
            let wanted = name == Some(topic);
            found |= wanted;
            if wanted {
                metadata.code = code;
            }
            for _ in 0..get.count(10)? {
                let partition = (get.i16()?, get.i32()?, get.i32()?);
                if version >= 7 {
                    get.i32()?;
                }
                get.skip_numbers()?;
                get.skip_numbers()?;
                if version >= 5 {
                    get.skip_numbers()?;
                }
                if wanted {
                    metadata.partitions.push(partition);
                }
            }
            if version >= 8 {
                get.i32()?;
            }
        }
        if found { Ok(metadata) } else { Err(Malformed) }
    }
}

/// What a fetch asks of all its partitions.
#[derive(Debug, Clone, Copy)]
pub(super) struct FetchTerms {
    /// How long the broker may wait for the first byte, in milliseconds.
    pub(super) wait_ms: i32,
    pub(super) bytes_min: i32,
    pub(super) bytes_max: i32,
    pub(super) read_committed: bool,
}

/// What a fetch asks of one partition.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) bytes_max: i32,
}

/// Asks for messages, outside of any fetch session.
pub(super) fn ask_fetch(
    versions: Versions,
    topic: &str,
    terms: FetchTerms,
    wanted: &[Wanted],
) -> Request {
    let version = versions.fetch;
    let mut body = Put::default();
    body.i32(-1);
    body.i32(terms.wait_ms);
    body.i32(terms.bytes_min);
    body.i32(terms.bytes_max);
    body.i8(i8::from(terms.read_committed));
    if version >= 7 {
        body.i32(0);
        body.i32(-1);
    }
    body.count(1);
    body.string(topic);
    body.count(wanted.len());
    for part in wanted {
        body.i32(part.partition);
        if version >= 9 {
            body.i32(-1);
        }
        body.i64(part.offset);
        if version >= 5 {
            body.i64(-1);
        }
        body.i32(part.bytes_max);
    }
    if version >= 7 {
        body.count(0);
    }
    if version >= 11 {
        body.string("");
    }
    Request {
        api: FETCH,
        version,
        body,
    }
}

/// What came of a fetch.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) throttle_ms: i32,
    pub(super) code: i16,
    pub(super) parts: Vec<FetchedPart>,
}

/// What came of one partition.
#[derive(Debug)]
pub(super) struct FetchedPart {
    pub(super) partition: i32,
    pub(super) code: i16,
    /// The offset behind the last message that may be read by anyone, and by those who want
    /// committed messages only.
    pub(super) high_watermark: i64,
    pub(super) last_stable: i64,
    /// Producer and first offset of each aborted transaction.
    pub(super) aborted: Vec<(i64, i64)>,
    /// Where the batches lie in the answer.
    pub(super) records: Range<usize>,
}

impl Fetched {
    /// `body` begins at `start` of the buffer in which the records are to be found.
    pub(super) fn read(
        versions: Versions,
        topic: &str,
        body: &[u8],
        start: usize,
    ) -> Result<Self, Malformed> {
        let version = versions.fetch;
        let mut get = Get::new(body);
        let throttle_ms = get.i32()?;
        let mut code = 0;
        if version >= 7 {
            code = get.i16()?;
            get.i32()?;
        }
        let mut parts = Vec::new();
        for _ in 0..get.count(6)? {
            let ours = get.string()? == topic;
            for _ in 0..get.count(30)? {
                let part = FetchedPart::read(version, &mut get, body, start)?;
                if ours {
                    parts.push(part);
                }
            }
        }
        Ok(Self {
            throttle_ms,
            code,
            parts,
        })
    }
}

impl FetchedPart {
    fn read(version: i16, get: &mut Get<'_>, body: &[u8], start: usize) -> Result<Self, Malformed> {
        let (partition, code) = (get.i32()?, get.i16()?);
        let (high_watermark, last_stable) = (get.i64()?, get.i64()?);
        if version >= 5 {
            get.i64()?;
        }
        let mut aborted = Vec::new();
        for _ in 0..get.count(16)? {
            aborted.push((get.i64()?, get.i64()?));
        }
        if version >= 11 {
            get.i32()?;
        }
        let len = get.bytes()?.len();
        let end = start + body.len() - get.left();
        Ok(Self {
            partition,
            code,
            high_watermark,
            last_stable,
            aborted,
            records: end - len..end,
        })
    }
}
