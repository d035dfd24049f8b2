//! The text of a JSON string that has escapes.

/// Appends the text of a string's content to `out`. The content's syntax has been checked.
pub(super) fn unescape(content: &[u8], out: &mut Vec<u8>) {
    let mut rest = content;
    while let Some(plain) = rest.iter().position(|&byte| byte == b'\\') {
        out.extend_from_slice(&rest[..plain]);
        let escape = &rest[plain + 1..];
        let (character, len) = match escape[0] {
            b'b' => ('\u{8}', 1),
            b'f' => ('\u{c}', 1),
            b'n' => ('\n', 1),
            b'r' => ('\r', 1),
            b't' => ('\t', 1),
            b'u' => code_point(escape),
            other => (char::from(other), 1),
        };
        out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &escape[len..];
    }
    out.extend_from_slice(rest);
}

/// The character of `u` and four hexadecimal digits, or of two such escapes that are a pair of surrogates, and the
/// length of that text.
fn code_point(escape: &[u8]) -> (char, usize) {
    let high = code_unit(&escape[1..5]);
    if (0xd800..0xdc00).contains(&high) {
        let low = code_unit(&escape[7..11]);
        let point = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        (
            char::from_u32(point).expect("a checked pair of surrogates is a character"),
            11,
        )
    } else {
        (
            char::from_u32(high).expect("a checked code unit outside the surrogates"),
            5,
        )
    }
}

fn code_unit(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |unit, &digit| {
        unit * 16
            + char::from(digit)
                .to_digit(16)
                .expect("a checked hexadecimal digit")
    })
}

#[cfg(test)]
mod tests {
    use super::unescape;

    #[test]
    fn every_escape_becomes_its_character() {
        for (content, text) in [
            (r#"a\"b\\c\/d"#, "a\"b\\c/d"),
            (r"\b\f\n\r\t", "\u{8}\u{c}\n\r\t"),
            (r"\u0041\u00e9\u20AC\u0000", "A\u{e9}\u{20ac}\u{0}"),
            (r"x\ud83d\uDE00y", "x\u{1f600}y"),
            ("no escapes \u{e9}", "no escapes \u{e9}"),
            ("", ""),
        ] {
            let mut out = Vec::new();
            unescape(content.as_bytes(), &mut out);
            assert_eq!(std::str::from_utf8(&out), Ok(text), "{content}");
        }
    }
}
