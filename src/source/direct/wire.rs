//! The protocol's primitives: big-endian numbers, strings and arrays behind their lengths.
//!
//! Pure. Invariant: nothing is allocated because an answer announces it, only because it is there.

/// An answer that is not what the protocol says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads an answer from its beginning to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Get<'a> {
    rest: &'a [u8],
}

impl<'a> Get<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*first)
    }

    pub(super) fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.fixed::<1>()? != [0])
    }

    pub(super) fn i16(&mut self) -> Result<i16, Malformed> {
        self.fixed().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Malformed> {
        self.fixed().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, Malformed> {
        self.fixed().map(i64::from_be_bytes)
    }

    /// So many bytes, as they lie in the answer.
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (first, rest) = self.rest.split_at_checked(len).ok_or(Malformed)?;
        self.rest = rest;
        Ok(first)
    }

    /// A string; `None` is null.
    pub(super) fn nullable_string(&mut self) -> Result<Option<&'a str>, Malformed> {
        let len = self.i16()?;
        if len == -1 {
            return Ok(None);
        }
        let bytes = self.take(usize::try_from(len).map_err(|_| Malformed)?)?;
        std::str::from_utf8(bytes).map(Some).map_err(|_| Malformed)
    }

    pub(super) fn string(&mut self) -> Result<&'a str, Malformed> {
        self.nullable_string()?.ok_or(Malformed)
    }

    /// Bytes behind their length; null is empty.
    pub(super) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        match self.i32()? {
            -1 => Ok(&[]),
            len => self.take(usize::try_from(len).map_err(|_| Malformed)?),
        }
    }

    /// How many items of at least `item_bytes` follow; null is none.
    pub(super) fn count(&mut self, item_bytes: usize) -> Result<usize, Malformed> {
        let count = match self.i32()? {
            -1 => 0,
            count => usize::try_from(count).map_err(|_| Malformed)?,
        };
        let needed = count.checked_mul(item_bytes).ok_or(Malformed)?;
        if needed > self.rest.len() {
            return Err(Malformed);
        }
        Ok(count)
    }

    /// Bytes that are not read yet.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Skips an array of 32-bit numbers.
    pub(super) fn skip_numbers(&mut self) -> Result<(), Malformed> {
        let count = self.count(4)?;
        self.take(count * 4).map(drop)
    }
}

/// Writes a request.
#[derive(Debug, Default)]
pub(super) struct Put(Vec<u8>);

impl Put {
    pub(super) fn i8(&mut self, value: i8) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i16(&mut self, value: i16) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn i64(&mut self, value: i64) {
        self.0.extend(value.to_be_bytes());
    }

    pub(super) fn count(&mut self, count: usize) {
        self.i32(i32::try_from(count).expect("a request lists few things"));
    }

    /// A string of at most 32767 bytes; a longer one is cut, and then means nothing to the broker.
    pub(super) fn string(&mut self, text: &str) {
        let len = i16::try_from(text.len()).unwrap_or(i16::MAX);
        self.i16(len);
        self.0.extend(&text.as_bytes()[..len.unsigned_abs().into()]);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.0.extend(bytes);
    }

    pub(super) fn append(&mut self, other: &Self) {
        self.0.extend(&other.0);
    }

    /// The request behind its length.
    pub(super) fn framed(self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(self.0.len() + 4);
        let len = i32::try_from(self.0.len()).expect("a request is small");
        frame.extend(len.to_be_bytes());
        frame.extend(self.0);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::{Get, Malformed};

    #[test]
    fn what_is_announced_must_be_there() {
        let mut many = Get::new(&[0x7f, 0xff, 0xff, 0xff, 1, 2]);
        assert_eq!(many.count(1), Err(Malformed));
        let mut two = Get::new(&[0, 0, 0, 2, 1, 2]);
        assert_eq!(two.count(1), Ok(2));
        let mut null = Get::new(&[0xff, 0xff, 0xff, 0xff]);
        assert_eq!(null.count(8), Ok(0));
        let mut negative = Get::new(&[0xff, 0xff, 0xff, 0xfe]);
        assert_eq!(negative.bytes(), Err(Malformed));
        assert_eq!(Get::new(&[0, 9, b'x']).string(), Err(Malformed));
        assert_eq!(Get::new(&[0, 1, b'x']).string(), Ok("x"));
    }
}
