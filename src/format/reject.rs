//! What decoding gives back: columns, and the messages that were set aside with the reason why.
//!
//! Owns the wording of what was found in a bad message. Knows no format.

use std::fmt::Write;

use arrow::array::ArrayRef;

/// Characters of a bad value that a reason shows.
const SHOWN_CHARS_MAX: usize = 40;

/// The outcome of decoding one batch.
///
/// Invariant: `rows + rejected.len()` is the number of messages in the batch.
#[derive(Debug, Clone)]
pub struct Decoded {
    /// One array for each field that was asked for, all of `rows` length.
    pub columns: Vec<ArrayRef>,
    /// How many messages became rows.
    pub rows: usize,
    /// The index of the message of each row; `None` when every message became a row.
    pub kept: Option<Vec<u32>>,
    /// The messages that did not become rows, by index.
    pub rejected: Vec<Rejected>,
}

/// A message that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Its index in the batch.
    pub message: usize,
    /// Why, for people: short, lower case, with the place. Bytes count from 1.
    pub reason: String,
}

/// The start of some text as a reason shows it: at most one line, shortened, control characters
/// escaped.
pub(super) fn shown(text: &[u8]) -> String {
    // A character is at most four bytes; the rest need not be looked at.
    let head = &text[..text.len().min(SHOWN_CHARS_MAX * 4)];
    let head = String::from_utf8_lossy(head);
    let mut out = String::new();
    for (count, character) in head.chars().enumerate() {
        if count == SHOWN_CHARS_MAX {
            out.push_str("...");
            break;
        }
        if character.is_control() {
            write!(out, "\\u{:04x}", u32::from(character)).expect("a String takes all text");
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn a_long_value_is_shortened_and_control_characters_are_escaped() {
        assert_eq!(shown(b"ab\ncd\x01"), "ab\\u000acd\\u0001");
        assert_eq!(shown(&[b'x'; 100]), format!("{}...", "x".repeat(40)));
        assert_eq!(
            shown("\u{e9}".repeat(300).as_bytes()),
            format!("{}...", "\u{e9}".repeat(40))
        );
        assert_eq!(shown(b"a\xff"), "a\u{fffd}");
    }
}
