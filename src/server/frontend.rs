//! What clients send: frames cut out of the stream, and their bodies read.
//!
//! Owns the limits on message sizes. Knows nothing of what messages do.
//! Invariant: a malformed body is an error, never a panic, and leaves the stream at the next frame.

use bytes::{Buf, Bytes, BytesMut};

use crate::error::{Error, Result, SqlState};

/// Bytes of the longest message that is read; a longer one is skipped and answered with 54000.
/// A statement may have 16 MiB, which the parser checks; a bound parameter may have more.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of the longest startup packet, as in PostgreSQL.
pub(super) const STARTUP_BYTES_MAX: usize = 10_000;

/// The first packets of a connection, which have no type byte.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Opening {
    /// The client asks for TLS or for GSS encryption.
    Encryption,
    /// Another connection's statement shall be cancelled.
    Cancel { pid: i32, key: i32 },
    /// The client introduces itself.
    Startup {
        minor: u16,
        parameters: Vec<(String, String)>,
    },
}

/// A message after the startup.
#[derive(Debug)]
pub(super) enum Frontend {
    Query(String),
    Parse {
        name: String,
        text: String,
        types: Vec<u32>,
    },
    Bind(Bind),
    Describe {
        target: Target,
        name: String,
    },
    Execute {
        portal: String,
        rows_max: usize,
    },
    Close {
        target: Target,
        name: String,
    },
    Flush,
    Sync,
    Terminate,
    CopyData,
    CopyDone,
    CopyFail,
    /// Too long, or its text is not UTF-8; it was skipped.
    Refused {
        extended: bool,
        error: Error,
    },
}

/// What a Describe or Close is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Statement,
    Portal,
}

/// Values for a statement's parameters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Bind {
    pub portal: String,
    pub statement: String,
    pub parameter_formats: Vec<i16>,
    pub parameters: Vec<Option<Bytes>>,
    pub result_formats: Vec<i16>,
}

impl Frontend {
    /// True for the messages after whose error everything up to the next Sync is skipped.
    pub(super) fn is_extended(&self) -> bool {
        match self {
            Self::Parse { .. }
            | Self::Bind(_)
            | Self::Describe { .. }
            | Self::Execute { .. }
            | Self::Close { .. }
            | Self::Flush
            | Self::Sync => true,
            Self::Refused { extended, .. } => *extended,
            Self::Query(_) | Self::Terminate | Self::CopyData | Self::CopyDone | Self::CopyFail => {
                false
            }
        }
    }
}

/// Reads an opening packet's body (what follows its length).
///
/// # Errors
/// For anything that is not PostgreSQL's protocol 3.
pub(super) fn opening(body: Bytes) -> Result<Opening> {
    const ENCRYPTION: [u32; 2] = [80_877_103, 80_877_104];
    const CANCEL: u32 = 80_877_102;
    let mut body = Body(body);
    let code = body.u32()?;
    if ENCRYPTION.contains(&code) {
        return Ok(Opening::Encryption);
    }
    if code == CANCEL {
        return Ok(Opening::Cancel {
            pid: body.i32()?,
            key: body.i32()?,
        });
    }
    let (major, minor) = (code >> 16, (code & 0xffff) as u16);
    if major != 3 {
        return Err(Error::user(
            SqlState::FeatureNotSupported,
            format!("unsupported frontend protocol {major}.{minor}: server supports 3.0"),
        ));
    }
    let mut parameters = Vec::new();
    loop {
        let name = body.string()?;
        if name.is_empty() {
            return Ok(Opening::Startup { minor, parameters });
        }
        parameters.push((name, body.string()?));
    }
}

/// Reads a message's body (what follows its type and length).
///
/// # Errors
/// For a type that no client sends at this point, or a body that does not hold what it says.
pub(super) fn message(kind: u8, body: Bytes) -> Result<Frontend> {
    match read(kind, body) {
        Err(error) if error.state() == SqlState::CharacterNotInRepertoire => {
            Ok(Frontend::Refused {
                extended: kind != b'Q',
                error,
            })
        }
        read => read,
    }
}

/// The answer to a message that is longer than the limit.
pub(super) fn too_long(kind: u8, bytes: usize) -> Frontend {
    let error = Error::user(
        SqlState::ProgramLimitExceeded,
        format!("a message of {bytes} bytes is longer than the limit of {MESSAGE_BYTES_MAX} bytes"),
    );
    Frontend::Refused {
        extended: kind != b'Q',
        error,
    }
}

fn read(kind: u8, body: Bytes) -> Result<Frontend> {
    let mut body = Body(body);
    Ok(match kind {
        b'Q' => Frontend::Query(body.string()?),
        b'P' => {
            let (name, text) = (body.string()?, body.string()?);
            let types = body.list(4, Body::u32)?;
            Frontend::Parse { name, text, types }
        }
        b'B' => Frontend::Bind(Bind {
            portal: body.string()?,
            statement: body.string()?,
            parameter_formats: body.list(2, Body::i16)?,
            parameters: body.list(4, Body::value)?,
            result_formats: body.list(2, Body::i16)?,
        }),
        b'D' => Frontend::Describe {
            target: body.target()?,
            name: body.string()?,
        },
        b'C' => Frontend::Close {
            target: body.target()?,
            name: body.string()?,
        },
        b'E' => {
            let portal = body.string()?;
            Frontend::Execute {
                portal,
                rows_max: usize::try_from(body.i32()?).unwrap_or(0),
            }
        }
        b'H' => Frontend::Flush,
        b'S' => Frontend::Sync,
        b'X' => Frontend::Terminate,
        b'd' => Frontend::CopyData,
        b'c' => Frontend::CopyDone,
        b'f' => Frontend::CopyFail,
        other => {
            return Err(protocol(format!("invalid frontend message type {other}")));
        }
    })
}

/// A frame in a buffer: what is needed to cut it out.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// Not all of it is there yet.
    Partial,
    /// Longer than the limit: this many bytes (with type and length) are to be skipped.
    TooLong { kind: u8, bytes: usize },
    /// Cut out of the buffer.
    Whole { kind: u8, body: Bytes },
}

/// Cuts the next message out of what was received.
///
/// # Errors
/// For a length that cannot be one: the stream cannot be understood any more.
pub(super) fn frame(received: &mut BytesMut) -> Result<Frame> {
    const HEAD: usize = 5;
    if received.len() < HEAD {
        return Ok(Frame::Partial);
    }
    let kind = received[0];
    let length = i32::from_be_bytes([received[1], received[2], received[3], received[4]]);
    let bytes = match usize::try_from(length) {
        Ok(length) if length >= 4 => length + 1,
        _ => return Err(protocol(format!("invalid message length {length}"))),
    };
    if bytes > MESSAGE_BYTES_MAX {
        return Ok(Frame::TooLong { kind, bytes });
    }
    if received.len() < bytes {
        received.reserve(bytes - received.len());
        return Ok(Frame::Partial);
    }
    let mut whole = received.split_to(bytes);
    whole.advance(HEAD);
    Ok(Frame::Whole {
        kind,
        body: whole.freeze(),
    })
}

fn protocol(message: impl Into<String>) -> Error {
    Error::user(SqlState::ProtocolViolation, message)
}

struct Body(Bytes);

impl Body {
    fn take(&mut self, bytes: usize) -> Result<Bytes> {
        if self.0.len() < bytes {
            return Err(protocol("insufficient data left in message"));
        }
        Ok(self.0.split_to(bytes))
    }

    fn u8(&mut self) -> Result<u8> {
        Ok(self.take(1)?.get_u8())
    }

    fn i16(&mut self) -> Result<i16> {
        Ok(self.take(2)?.get_i16())
    }

    fn i32(&mut self) -> Result<i32> {
        Ok(self.take(4)?.get_i32())
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(self.take(4)?.get_u32())
    }

    fn string(&mut self) -> Result<String> {
        let end = self
            .0
            .iter()
            .position(|byte| *byte == 0)
            .ok_or_else(|| protocol("invalid string in message"))?;
        let text = self.0.split_to(end);
        self.0.advance(1);
        String::from_utf8(text.into()).map_err(|_| {
            Error::user(
                SqlState::CharacterNotInRepertoire,
                "invalid byte sequence for encoding \"UTF8\"",
            )
        })
    }

    /// A count (16 bits) and as many items of at least `bytes_each`.
    fn list<T>(&mut self, bytes_each: usize, item: fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        let count = usize::from(self.take(2)?.get_u16());
        if self.0.len() < count * bytes_each {
            return Err(protocol("insufficient data left in message"));
        }
        (0..count).map(|_| item(self)).collect()
    }

    fn value(&mut self) -> Result<Option<Bytes>> {
        match usize::try_from(self.i32()?) {
            Ok(bytes) => self.take(bytes).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn target(&mut self) -> Result<Target> {
        match self.u8()? {
            b'S' => Ok(Target::Statement),
            b'P' => Ok(Target::Portal),
            other => Err(protocol(format!("invalid message subtype {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: u8, body: &[u8]) -> Result<String> {
        message(kind, Bytes::copy_from_slice(body)).map(|message| format!("{message:?}"))
    }

    #[test]
    fn messages_are_read() {
        assert_eq!(read(b'Q', b"select 1\0").unwrap(), r#"Query("select 1")"#);
        assert_eq!(
            read(b'P', b"s\0select $1\0\0\x01\0\0\0\x17").unwrap(),
            r#"Parse { name: "s", text: "select $1", types: [23] }"#,
        );
        assert_eq!(
            read(
                b'B',
                b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x01a\xff\xff\xff\xff\0\0"
            )
            .unwrap(),
            "Bind(Bind { portal: \"\", statement: \"s\", parameter_formats: [1], \
             parameters: [Some(b\"a\"), None], result_formats: [] })",
        );
        assert_eq!(
            read(b'E', b"\0\0\0\0\x05").unwrap(),
            r#"Execute { portal: "", rows_max: 5 }"#,
        );
    }

    #[test]
    fn a_malformed_body_is_an_error_whatever_is_missing() {
        let whole = b"\0s\0\0\x01\0\x01\0\x02\0\0\0\x01a\xff\xff\xff\xff\0\0";
        for end in 0..whole.len() {
            assert_eq!(
                read(b'B', &whole[..end]).unwrap_err().state().code(),
                "08P01",
                "{end}"
            );
        }
        assert_eq!(read(b'Q', b"no end").unwrap_err().state().code(), "08P01");
        assert!(
            read(b'Q', b"\xff\xfe\0")
                .unwrap()
                .contains("CharacterNotInRepertoire")
        );
        assert_eq!(read(b'!', b"").unwrap_err().state().code(), "08P01");
    }

    #[test]
    fn frames_are_cut_when_they_are_whole() {
        let mut received = BytesMut::from(&b"S\0\0\0\x04Q\0\0\0\x06a"[..]);
        let whole = |kind, body: &'static [u8]| Frame::Whole {
            kind,
            body: Bytes::from(body),
        };
        assert_eq!(frame(&mut received).unwrap(), whole(b'S', b""));
        assert_eq!(frame(&mut received).unwrap(), Frame::Partial);
        received.extend_from_slice(b"\0X");
        assert_eq!(frame(&mut received).unwrap(), whole(b'Q', b"a\0"));
        assert_eq!(frame(&mut received).unwrap(), Frame::Partial);
        let mut endless = BytesMut::from(&b"Q\x7f\xff\xff\xff"[..]);
        assert!(matches!(
            frame(&mut endless).unwrap(),
            Frame::TooLong { kind: b'Q', .. }
        ));
        let mut negative = BytesMut::from(&b"Q\xff\xff\xff\xff"[..]);
        assert_eq!(frame(&mut negative).unwrap_err().state().code(), "08P01");
    }

    #[test]
    fn openings_are_told_apart() {
        let of = |bytes: &[u8]| opening(Bytes::copy_from_slice(bytes));
        assert_eq!(
            of(&80_877_103_u32.to_be_bytes()).unwrap(),
            Opening::Encryption
        );
        let mut startup = 196_608_u32.to_be_bytes().to_vec();
        startup.extend_from_slice(b"user\0ann\0\0");
        assert_eq!(
            of(&startup).unwrap(),
            Opening::Startup {
                minor: 0,
                parameters: vec![("user".into(), "ann".into())]
            },
        );
        assert_eq!(of(&[0, 2, 0, 0]).unwrap_err().state().code(), "0A000");
    }
}
