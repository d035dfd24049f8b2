//! bytea: from a string in PostgreSQL's hexadecimal form (`\x6869`), else in base64.
//!
//! Base64 may use either alphabet (`+/` or `-_`), with or without padding. A string that starts
//! with `\x` is never base64, which has no backslash.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryBuilder};
use arrow::buffer::Buffer;

use super::{Cells, Column, Problem, Wrong};
use crate::format::json::slot::{Kind, Slot};

#[derive(Default)]
pub(super) struct BinaryColumn {
    values: BinaryBuilder,
    scratch: Vec<u8>,
}

impl Column for BinaryColumn {
    fn reserve(&mut self, _rows: usize) {}

    fn append(&mut self, cells: Cells<'_>, wrong: &mut Vec<Wrong>) {
        for (row, slot) in cells.iter().enumerate() {
            self.scratch.clear();
            if slot == Slot::NULL {
                self.values.append_null();
            } else if parse(slot, cells.bytes, &mut self.scratch).is_some() {
                self.values.append_value(&self.scratch);
            } else {
                let problem = Problem::Expected("bytes as \\x hexadecimal or base64");
                wrong.push(Wrong { row, slot, problem });
                self.values.append_null();
            }
        }
    }

    fn finish(&mut self, _buffer: &Buffer) -> ArrayRef {
        let array = self.values.finish();
        debug_assert_eq!(array.len() + 1, array.offsets().len(), "one offset a value");
        Arc::new(array)
    }
}

fn parse(slot: Slot, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (Kind::String | Kind::Escaped) = slot.kind() else {
        return None;
    };
    let text = slot.text(bytes);
    match text.strip_prefix(b"\\x") {
        Some(digits) => hexadecimal(digits, out),
        None => base64(&text, out),
    }
}

fn hexadecimal(digits: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (pairs, rest) = digits.as_chunks::<2>();
    for [high, low] in pairs {
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = digit(*high)? * 16 + digit(*low)?;
        out.push(u8::try_from(byte).expect("two hexadecimal digits are a byte"));
    }
    rest.is_empty().then_some(())
}

fn base64(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let padding = text
        .iter()
        .rev()
        .take(2)
        .take_while(|&&byte| byte == b'=')
        .count();
    if padding > 0 && !text.len().is_multiple_of(4) {
        return None;
    }
    let text = &text[..text.len() - padding];
    for group in text.chunks(4) {
        let mut bits = 0u32;
        for &byte in group {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            bits = (bits << 6) | u32::from(value);
        }
        let bytes = (bits << (32 - 6 * group.len())).to_be_bytes();
        match group.len() {
            4 => out.extend_from_slice(&bytes[..3]),
            3 => out.extend_from_slice(&bytes[..2]),
            2 => out.push(bytes[0]),
            _ => return None,
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::{base64, hexadecimal};

    #[test]
    fn base64_is_read_in_both_alphabets_with_or_without_padding() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("aGk=", Some(b"hi")),
            ("aGk", Some(b"hi")),
            ("aA==", Some(b"h")),
            ("aGlh", Some(b"hia")),
            ("+/+/", Some(b"\xfb\xff\xbf")),
            ("-_-_", Some(b"\xfb\xff\xbf")),
            ("a", None),
            ("aGk==", None),
            ("=", None),
            ("aG k", None),
        ] {
            let mut out = Vec::new();
            let read = base64(text.as_bytes(), &mut out).map(|()| out.as_slice());
            assert_eq!(read, bytes, "{text}");
        }
    }

    #[test]
    fn hexadecimal_needs_whole_bytes() {
        let mut out = Vec::new();
        assert_eq!(hexadecimal(b"00fF7a", &mut out), Some(()), "six digits");
        assert_eq!(out, [0, 0xff, 0x7a], "in either case");
        assert_eq!(hexadecimal(b"0", &mut Vec::new()), None, "half a byte");
        assert_eq!(hexadecimal(b"0g", &mut Vec::new()), None, "not a digit");
    }
}
