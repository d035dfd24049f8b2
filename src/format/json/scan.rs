//! JSON's grammar over one message: where each token ends, and whether it is allowed there.
//!
//! Positions are offsets in the batch's buffer. Knows nothing of columns. Accepts exactly RFC 8259,
//! with lone surrogates and nesting beyond [`DEPTH_MAX`] refused.
//! Invariant: 16 bytes can be read at any position up to the message's end, because the buffer is
//! padded; no byte beyond the end ever decides anything.

use super::simd::{digits, string_stops};
use super::slot::Slot;
use super::syntax::{DEPTH_MAX, Flaw, SyntaxError};
use crate::types::MessageBatch;

/// One message in its buffer.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    bytes: &'a [u8],
    end: usize,
}

type Result<T> = std::result::Result<T, SyntaxError>;

impl<'a> Text<'a> {
    /// The message that ends at `end` in a buffer that is padded behind it.
    #[inline(always)]
    pub(super) fn new(bytes: &'a [u8], end: usize) -> Self {
        assert!(
            end + MessageBatch::PADDING <= bytes.len(),
            "the buffer is padded"
        );
        Self { bytes, end }
    }

    /// The whole buffer.
    pub(super) fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Where the message ends.
    #[inline(always)]
    pub(super) fn end(self) -> usize {
        self.end
    }

    /// The byte at a place; 0, which is no token of JSON, at the end and beyond.
    #[inline(always)]
    pub(super) fn byte(self, at: usize) -> u8 {
        if at < self.end { self.bytes[at] } else { 0 }
    }

    /// Sixteen bytes from a place up to the end; they may reach beyond it.
    #[expect(
        unsafe_code,
        reason = "two checks for each key and each value, a tenth of the time"
    )]
    #[inline(always)]
    pub(super) fn chunk(self, at: usize) -> &'a [u8; 16] {
        assert!(at <= self.end, "chunks start inside the message");
        // SAFETY: `new` checked that the buffer reaches at least 64 bytes beyond `end`, and `at` is
        // at most `end`, so that all 16 bytes lie in it. An array of bytes needs no alignment.
        unsafe { &*self.bytes.as_ptr().add(at).cast::<[u8; 16]>() }
    }

    /// The first place from `at` on that is not white space.
    #[inline(always)]
    pub(super) fn skip_space(self, mut at: usize) -> usize {
        while matches!(self.byte(at), b' ' | b'\n' | b'\r' | b'\t') {
            at += 1;
        }
        at
    }

    /// The closing quote of the string whose content starts at `at`, and whether it has escapes.
    #[inline(always)]
    pub(super) fn string_end(self, at: usize) -> Result<(usize, bool)> {
        let mut i = at;
        while i < self.end {
            let stops = string_stops(self.chunk(i));
            if stops != 0 {
                let stop = i + stops.trailing_zeros() as usize;
                if self.byte(stop) == b'"' {
                    return Ok((stop, false));
                }
                return self.escaped_string_end(stop).map(|end| (end, true));
            }
            i += 16;
        }
        Err(SyntaxError::new(self.end, Flaw::OpenString))
    }

    /// The same from the first backslash or control character on.
    #[inline(never)]
    fn escaped_string_end(self, mut stop: usize) -> Result<usize> {
        loop {
            let mut i = match self.byte(stop) {
                b'"' => return Ok(stop),
                b'\\' => self.escape_end(stop)?,
                _ if stop >= self.end => break,
                _ => return Err(SyntaxError::new(stop, Flaw::ControlCharacter)),
            };
            stop = loop {
                if i >= self.end {
                    return Err(SyntaxError::new(self.end, Flaw::OpenString));
                }
                let stops = string_stops(self.chunk(i));
                if stops != 0 {
                    break i + stops.trailing_zeros() as usize;
                }
                i += 16;
            };
        }
        Err(SyntaxError::new(self.end, Flaw::OpenString))
    }

    /// The place after the escape that starts at `at`, a backslash.
    fn escape_end(self, at: usize) -> Result<usize> {
        match self.byte(at + 1) {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 2),
            b'u' => match self.code_unit(at)? {
                0xd800..=0xdbff => {
                    if self.byte(at + 6) == b'\\'
                        && self.byte(at + 7) == b'u'
                        && matches!(self.code_unit(at + 6)?, 0xdc00..=0xdfff)
                    {
                        Ok(at + 12)
                    } else {
                        Err(SyntaxError::new(at, Flaw::LoneSurrogate))
                    }
                }
                0xdc00..=0xdfff => Err(SyntaxError::new(at, Flaw::LoneSurrogate)),
                _ => Ok(at + 6),
            },
            _ => Err(SyntaxError::new(at, Flaw::BadEscape)),
        }
    }

    /// The number in the escape at `at`, which is `\u` and four hexadecimal digits.
    fn code_unit(self, at: usize) -> Result<u32> {
        (at + 2..at + 6).try_fold(0, |unit, place| {
            let digit = char::from(self.byte(place)).to_digit(16);
            digit
                .map(|digit| unit * 16 + digit)
                .ok_or(SyntaxError::new(at, Flaw::BadEscape))
        })
    }

    /// The place after the number that starts at `at`, a digit or a minus.
    #[inline]
    pub(super) fn number_end(self, at: usize) -> Result<usize> {
        match self.short_number_end(at) {
            Some(end) => Ok(end),
            None => self.any_number_end(at),
        }
    }

    /// The same for digits and perhaps a point within 16 bytes, whatever their number without a
    /// branch on it; `None` for everything else.
    #[inline(always)]
    pub(super) fn short_number_end(self, at: usize) -> Option<usize> {
        let chunk = self.chunk(at);
        let digits = digits(chunk);
        let first = u32::from(chunk[0] == b'-');
        let mut len = first + (digits >> first).trailing_ones();
        let leading_zero = chunk[first as usize] == b'0' && len > first + 1;
        if len == first || leading_zero || len == 16 {
            return None;
        }
        if chunk[len as usize] == b'.' {
            let fraction = (digits >> (len + 1)).trailing_ones();
            len += 1 + fraction;
            if fraction == 0 || len >= 16 {
                return None;
            }
        }
        let end = at + len as usize;
        let more = matches!(chunk[len as usize], b'e' | b'E');
        (!more && end < self.end).then_some(end)
    }

    #[inline(never)]
    fn any_number_end(self, at: usize) -> Result<usize> {
        let digits = at + usize::from(self.byte(at) == b'-');
        let mut i = match self.byte(digits) {
            b'0' => digits + 1,
            _ => self.digits_end(digits)?,
        };
        if self.byte(i) == b'.' {
            i = self.digits_end(i + 1)?;
        }
        if matches!(self.byte(i), b'e' | b'E') {
            let signed = matches!(self.byte(i + 1), b'+' | b'-');
            i = self.digits_end(i + 1 + usize::from(signed))?;
        }
        Ok(i)
    }

    /// The place after at least one digit.
    fn digits_end(self, at: usize) -> Result<usize> {
        let mut i = at;
        while self.byte(i).is_ascii_digit() {
            i += 1;
        }
        if i == at {
            Err(SyntaxError::new(at, Flaw::NoDigit))
        } else {
            Ok(i)
        }
    }

    /// The value that starts at `at` (no white space) and the place after it; `depth` is the
    /// number of objects and arrays around it.
    #[inline]
    pub(super) fn value(self, at: usize, depth: usize) -> Result<(Slot, usize)> {
        match self.byte(at) {
            b'{' => self
                .container_end(at, depth)
                .map(|end| (Slot::object(at, end), end)),
            b'[' => self
                .container_end(at, depth)
                .map(|end| (Slot::array(at, end), end)),
            _ => self.scalar(at),
        }
    }

    /// A value that is neither object nor array, and the place after it.
    #[inline]
    pub(super) fn scalar(self, at: usize) -> Result<(Slot, usize)> {
        match self.byte(at) {
            b'"' => {
                let (close, escaped) = self.string_end(at + 1)?;
                Ok((Slot::string(at + 1, close, escaped), close + 1))
            }
            b'-' | b'0'..=b'9' => self.number_end(at).map(|end| (Slot::number(at, end), end)),
            b't' => self
                .word(at, b"true")
                .map(|end| (Slot::boolean(true, at, end), end)),
            b'f' => self
                .word(at, b"false")
                .map(|end| (Slot::boolean(false, at, end), end)),
            b'n' => self.word(at, b"null").map(|end| (Slot::NULL, end)),
            _ => Err(SyntaxError::new(at, Flaw::NoValue)),
        }
    }

    fn word(self, at: usize, word: &[u8]) -> Result<usize> {
        if self.bytes[at..self.end].starts_with(word) {
            Ok(at + word.len())
        } else {
            Err(SyntaxError::new(at, Flaw::NoValue))
        }
    }

    /// The key that should start at `at`: its content, whether it has escapes, and where its value
    /// starts.
    pub(super) fn key(self, at: usize, flaw: Flaw) -> Result<(Slot, usize)> {
        if self.byte(at) != b'"' {
            return Err(SyntaxError::new(at, flaw));
        }
        let (close, escaped) = self.string_end(at + 1)?;
        let colon = self.skip_space(close + 1);
        if self.byte(colon) != b':' {
            return Err(SyntaxError::new(colon, Flaw::NoColon));
        }
        Ok((
            Slot::string(at + 1, close, escaped),
            self.skip_space(colon + 1),
        ))
    }

    /// The place after the object or array that starts at `at`, all of it checked.
    pub(super) fn container_end(self, at: usize, depth: usize) -> Result<usize> {
        // One bit for each open container, the innermost lowest: set for an object.
        let mut kinds = 0u128;
        let mut open = 0;
        let mut i = at;
        loop {
            // Here a value starts.
            let opens = self.byte(i);
            if matches!(opens, b'{' | b'[') {
                open += 1;
                if depth + open > DEPTH_MAX {
                    return Err(SyntaxError::new(i, Flaw::TooDeep));
                }
                let object = opens == b'{';
                kinds = (kinds << 1) | u128::from(object);
                i = self.skip_space(i + 1);
                if self.byte(i) != opens + 2 {
                    if object {
                        i = self.key(i, Flaw::NoKeyOrEnd)?.1;
                    }
                    continue;
                }
            } else {
                i = self.scalar(i)?.1;
            }
            // Here a value has ended, or the empty container's end follows.
            loop {
                if open == 0 {
                    return Ok(i);
                }
                i = self.skip_space(i);
                match (self.byte(i), kinds & 1 == 1) {
                    (b',', true) => {
                        i = self.key(self.skip_space(i + 1), Flaw::NoKey)?.1;
                        break;
                    }
                    (b',', false) => {
                        i = self.skip_space(i + 1);
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        i += 1;
                        open -= 1;
                        kinds >>= 1;
                    }
                    (_, true) => return Err(SyntaxError::new(i, Flaw::NoCommaOrBrace)),
                    (_, false) => return Err(SyntaxError::new(i, Flaw::NoCommaOrBracket)),
                }
            }
        }
    }

    /// Appends the elements of the array at `at`, which ends with the text.
    pub(super) fn elements(self, at: usize, out: &mut Vec<Slot>) -> Result<()> {
        let mut i = self.skip_space(at + 1);
        if self.byte(i) == b']' {
            return Ok(());
        }
        loop {
            let (slot, end) = self.value(self.skip_space(i), 1)?;
            out.push(slot);
            i = self.skip_space(end);
            match self.byte(i) {
                b',' => i += 1,
                b']' => return Ok(()),
                _ => return Err(SyntaxError::new(i, Flaw::NoCommaOrBracket)),
            }
        }
    }
}
