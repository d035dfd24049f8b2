//! Where statements begin and end: strings, quoted names, dollar quotes and comments, no grammar.
//!
//! Owns the limits on a text's length and on a statement's number of tokens, so that neither can
//! cost memory before it is refused. Invariant: it reads each byte once; what it gives back has
//! balanced quotes and no comments.

use crate::error::{Error, Position, Result, SqlState};

/// The longest text of statements, in bytes; a longer one is refused with 54000.
pub const TEXT_BYTES_MAX: usize = 16 << 20;

/// The most words, numbers, strings and signs in one statement; more are refused with 54000.
pub(super) const TOKENS_MAX: usize = 2_000_000;

/// Where a text starts.
pub(super) const START: Position = Position { line: 1, column: 1 };

/// One statement's place in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// First byte of the statement.
    pub(super) start: usize,
    /// The byte after its last.
    pub(super) end: usize,
    /// Where `start` is.
    pub(super) position: Position,
    /// Where the statement ends: its semicolon, or the end of the text.
    pub(super) end_position: Position,
    /// True if a semicolon ends it.
    pub(super) terminated: bool,
    /// Byte ranges of comments inside it.
    pub(super) comments: Vec<(usize, usize)>,
}

/// Cuts a text into its statements; white space and comments around them belong to none.
///
/// # Errors
/// A text that is too long, a NUL character, a quote or comment without its end.
pub(super) fn split(text: &str) -> Result<Vec<Segment>> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::user(
            SqlState::ProgramLimitExceeded,
            format!(
                "text of {} bytes is longer than the limit of {TEXT_BYTES_MAX} bytes",
                text.len()
            ),
        )
        .hint("Send the statements one by one, or the rows in several INSERT statements."));
    }
    Splitter::new(text).run()
}

/// Turns a byte's place into lines and columns, going forward only.
struct Places<'a> {
    text: &'a str,
    byte: usize,
    position: Position,
}

impl<'a> Places<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            byte: 0,
            position: START,
        }
    }

    fn at(&mut self, byte: usize) -> Position {
        debug_assert!(byte >= self.byte, "places are asked for in order");
        self.position = advance(self.position, &self.text[self.byte..byte]);
        self.byte = byte;
        self.position
    }
}

/// The position after `text`, if it starts at `from`.
pub(super) fn advance(from: Position, text: &str) -> Position {
    let mut position = from;
    for character in text.chars() {
        if character == '\n' {
            position.line += 1;
            position.column = 1;
        } else {
            position.column += 1;
        }
    }
    position
}

struct Splitter<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    places: Places<'a>,
    segments: Vec<Segment>,
    /// First and last byte of the statement being read.
    span: Option<(usize, usize)>,
    tokens: usize,
    comments: Vec<(usize, usize)>,
}

impl<'a> Splitter<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            at: 0,
            places: Places::new(text),
            segments: Vec::new(),
            span: None,
            tokens: 0,
            comments: Vec::new(),
        }
    }

    fn run(mut self) -> Result<Vec<Segment>> {
        while let Some(&byte) = self.bytes.get(self.at) {
            let start = self.at;
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => {
                    self.at += 1;
                    continue;
                }
                b'-' if self.next_is(b'-') => {
                    self.line_comment();
                    continue;
                }
                b'/' if self.next_is(b'*') => {
                    self.block_comment()?;
                    continue;
                }
                b';' => {
                    self.end_statement(start, true);
                    self.at += 1;
                    continue;
                }
                b'\'' => self.string(start, false)?,
                b'"' => self.quoted_name()?,
                b'$' => self.dollar()?,
                0 => return Err(self.nul(start)),
                _ if is_word_start(byte) => self.word()?,
                _ if byte.is_ascii_digit() => self.number(),
                _ => self.at += 1,
            }
            self.token(start)?;
        }
        self.end_statement(self.text.len(), false);
        Ok(self.segments)
    }

    fn next_is(&self, byte: u8) -> bool {
        self.bytes.get(self.at + 1) == Some(&byte)
    }

    /// Notes that `start..self.at` is a token of the statement.
    fn token(&mut self, start: usize) -> Result<()> {
        let first = self.span.map_or(start, |(first, _)| first);
        self.span = Some((first, self.at));
        self.tokens += 1;
        if self.tokens > TOKENS_MAX {
            return Err(Error::user(
                SqlState::ProgramLimitExceeded,
                format!("statement has more than {TOKENS_MAX} words and signs"),
            )
            .hint("Send the rows in several INSERT statements.")
            .at(Some(self.places.at(first))));
        }
        Ok(())
    }

    fn end_statement(&mut self, at: usize, terminated: bool) {
        let mut comments = std::mem::take(&mut self.comments);
        self.tokens = 0;
        let Some((start, end)) = self.span.take() else {
            return;
        };
        comments.retain(|(from, to)| *from >= start && *to <= end);
        let position = self.places.at(start);
        let end_position = self.places.at(if terminated { at } else { end });
        self.segments.push(Segment {
            start,
            end,
            position,
            end_position,
            terminated,
            comments,
        });
    }

    fn line_comment(&mut self) {
        let start = self.at;
        let rest = &self.bytes[start..];
        let length = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        self.at = start + length.unwrap_or(rest.len());
        self.comments.push((start, self.at));
    }

    fn block_comment(&mut self) -> Result<()> {
        let start = self.at;
        let mut depth = 0_usize;
        while let Some(pair) = self.bytes.get(self.at..self.at + 2) {
            match pair {
                b"/*" => {
                    depth += 1;
                    self.at += 2;
                }
                b"*/" => {
                    depth -= 1;
                    self.at += 2;
                    if depth == 0 {
                        self.comments.push((start, self.at));
                        return Ok(());
                    }
                }
                _ => self.at += 1,
            }
        }
        Err(self.unterminated(start, "/* comment"))
    }

    /// A string whose first quote is at `self.at`; `start` is where its prefix starts.
    fn string(&mut self, start: usize, backslash: bool) -> Result<()> {
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'\\' if backslash && self.at + 1 < self.bytes.len() => self.at += 2,
                b'\'' if self.next_is(b'\'') => self.at += 2,
                b'\'' => {
                    self.at += 1;
                    return Ok(());
                }
                0 => return Err(self.nul(self.at)),
                _ => self.at += 1,
            }
        }
        Err(self.unterminated(start, "quoted string"))
    }

    fn quoted_name(&mut self) -> Result<()> {
        let start = self.at;
        self.at += 1;
        while let Some(&byte) = self.bytes.get(self.at) {
            match byte {
                b'"' if self.next_is(b'"') => self.at += 2,
                b'"' if self.at == start + 1 => {
                    let text = "quoted name without a character";
                    let error = Error::user(SqlState::SyntaxError, text);
                    return Err(error.at(Some(self.places.at(start))));
                }
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                0 => return Err(self.nul(self.at)),
                _ => self.at += 1,
            }
        }
        Err(self.unterminated(start, "quoted name"))
    }

    /// `$1`, `$$ .. $$` or `$tag$ .. $tag$`.
    fn dollar(&mut self) -> Result<()> {
        let start = self.at;
        let rest = &self.text[start + 1..];
        let tag = rest
            .find(|c: char| !(c.is_alphanumeric() || c == '_'))
            .unwrap_or(rest.len());
        let head = start + 1 + tag;
        if self.bytes.get(head) != Some(&b'$') {
            self.at = head;
            return Ok(());
        }
        let delimiter = &self.text[start..=head];
        let body = &self.text[head + 1..];
        let Some(length) = body.find(delimiter) else {
            return Err(self.unterminated(start, "dollar-quoted string"));
        };
        if let Some(nul) = body[..length].find('\0') {
            return Err(self.nul(head + 1 + nul));
        }
        self.at = head + 1 + length + delimiter.len();
        Ok(())
    }

    fn word(&mut self) -> Result<()> {
        let start = self.at;
        let rest = &self.bytes[start..];
        let length = rest.iter().position(|byte| !is_word_part(*byte));
        self.at = start + length.unwrap_or(rest.len());
        let word = &self.bytes[start..self.at];
        if self.bytes.get(self.at) == Some(&b'\'') {
            match word {
                b"e" | b"E" => return self.string(start, true),
                b"b" | b"B" | b"x" | b"X" | b"n" | b"N" => return self.string(start, false),
                _ => {}
            }
        }
        Ok(())
    }

    fn number(&mut self) {
        let rest = &self.bytes[self.at..];
        let length = rest
            .iter()
            .position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_')));
        self.at += length.unwrap_or(rest.len());
    }

    fn unterminated(&mut self, start: usize, what: &str) -> Error {
        Error::user(SqlState::SyntaxError, format!("unterminated {what}"))
            .hint("It starts here and is never closed.")
            .at(Some(self.places.at(start)))
    }

    fn nul(&mut self, at: usize) -> Error {
        Error::user(
            SqlState::CharacterNotInRepertoire,
            "the NUL character is not allowed in a statement",
        )
        .at(Some(self.places.at(at)))
    }
}

fn is_word_start(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte >= 0x80
}

fn is_word_part(byte: u8) -> bool {
    is_word_start(byte) || byte.is_ascii_digit() || byte == b'$'
}

/// A statement's text with every comment turned into spaces, so that places stay where they are.
pub(super) fn without_comments(text: &str, segment: &Segment) -> String {
    let mut clean = String::with_capacity(segment.end - segment.start);
    let mut at = segment.start;
    for (from, to) in &segment.comments {
        clean.push_str(&text[at..*from]);
        let blank = text[*from..*to]
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' });
        clean.extend(blank);
        at = *to;
    }
    clean.push_str(&text[at..segment.end]);
    clean
}
