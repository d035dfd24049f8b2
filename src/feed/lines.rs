//! Lines out of bytes: each is a message; empty ones are none.
//!
//! Invariant: the offset of a line is the byte after its end, also of lines that are left out.

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of a line at the most; a longer one is left out and counted.
pub(super) const LINE_BYTES_MAX: usize = 16 << 20;
/// Bytes that are asked for at once.
const READ_BYTES: usize = 256 << 10;

/// A line and where it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its end of line.
    Text { bytes: Vec<u8>, end: u64 },
    /// It is longer than a message may be.
    TooLong,
}

/// Cuts what it reads into lines.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: R,
    buffer: Vec<u8>,
    /// Where the next line starts in the buffer.
    start: usize,
    /// Up to here there is no end of the next line.
    searched: usize,
    /// The offset of `start` in what is read.
    offset: u64,
    /// The next line was too long already, and goes on.
    is_too_long: bool,
    ended: bool,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    /// The reader stands at this offset.
    pub(super) fn new(reader: R, offset: u64) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            offset,
            is_too_long: false,
            ended: false,
        }
    }

    /// Some lines, at most so many, as soon as there are any; none at the end.
    ///
    /// # Errors
    /// When reading fails.
    pub(super) async fn next(&mut self, lines_max: usize) -> std::io::Result<Vec<Line>> {
        loop {
            let lines = self.take(lines_max);
            if !lines.is_empty() || self.ended {
                return Ok(lines);
            }
            self.fill().await?;
        }
    }

    /// The lines that were read already.
    pub(super) fn take(&mut self, lines_max: usize) -> Vec<Line> {
        let mut lines = Vec::new();
        while lines.len() < lines_max {
            let unread = &self.buffer[self.searched..];
            let Some(length) = unread.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.buffer.len();
                self.refuse_too_long();
                break;
            };
            let end = self.searched + length;
            lines.extend(self.cut(end, end + 1));
        }
        // The last line may have no end.
        if self.ended && lines.len() < lines_max && self.searched == self.buffer.len() {
            let end = self.buffer.len();
            if self.start < end || self.is_too_long {
                lines.extend(self.cut(end, end));
            }
        }
        lines
    }

    /// Takes the line up to `end`; the next one starts at `next`.
    fn cut(&mut self, end: usize, next: usize) -> Option<Line> {
        let bytes = &self.buffer[self.start..end];
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes).to_vec();
        self.offset += (next - self.start) as u64;
        self.start = next;
        self.searched = next;
        if std::mem::take(&mut self.is_too_long) {
            return Some(Line::TooLong);
        }
        (!bytes.is_empty()).then_some(Line::Text {
            bytes,
            end: self.offset,
        })
    }

    /// Forgets the beginning of a line that has become too long.
    fn refuse_too_long(&mut self) {
        let length = self.buffer.len() - self.start;
        if length > LINE_BYTES_MAX {
            self.is_too_long = true;
            self.offset += length as u64;
            self.start = self.buffer.len();
        }
    }

    async fn fill(&mut self) -> std::io::Result<()> {
        self.buffer.drain(..self.start);
        self.searched -= self.start;
        self.start = 0;
        self.buffer.reserve(READ_BYTES);
        let read = self.reader.read_buf(&mut self.buffer).await?;
        self.ended = read == 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{LINE_BYTES_MAX, Line, Lines};

    async fn all(bytes: &[u8], lines_max: usize) -> Vec<Line> {
        let mut lines = Lines::new(bytes, 100);
        let mut all = Vec::new();
        loop {
            let some = lines.next(lines_max).await.unwrap();
            if some.is_empty() {
                return all;
            }
            assert!(some.len() <= lines_max, "no more than asked for");
            all.extend(some);
        }
    }

    fn text(bytes: &str, end: u64) -> Line {
        Line::Text {
            bytes: bytes.as_bytes().to_vec(),
            end,
        }
    }

    #[tokio::test]
    async fn lines_are_cut_whatever_their_ends() {
        let expected = [text("a", 102), text("bc", 107), text("d", 108)];
        for lines_max in 1..5 {
            assert_eq!(
                all(b"a\n\nbc\r\nd", lines_max).await,
                expected,
                "{lines_max}"
            );
        }
        assert_eq!(all(b"", 5).await, []);
        assert_eq!(all(b"\n\n", 5).await, []);
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_told_and_those_after_it_are_not_lost() {
        let mut bytes = vec![b'x'; LINE_BYTES_MAX * 2];
        bytes.extend_from_slice(b"\nb\n");
        let length = bytes.len() as u64;
        assert_eq!(
            all(&bytes, 10).await,
            [Line::TooLong, text("b", 100 + length)]
        );
        bytes.truncate(LINE_BYTES_MAX * 2);
        assert_eq!(all(&bytes, 10).await, [Line::TooLong]);
    }
}
