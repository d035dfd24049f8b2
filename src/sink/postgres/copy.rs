//! Rows as `COPY .. FROM STDIN` reads them: a line a row, columns between tabs.

use crate::sink::texts::Written;

/// Writes one row's columns, without a line end.
pub(super) fn line(rows: &Written, row: usize, into: &mut Vec<u8>) {
    for (place, value) in rows.row(row).enumerate() {
        if place > 0 {
            into.push(b'\t');
        }
        match value {
            Some(text) => escaped(text, into),
            None => into.extend_from_slice(b"\\N"),
        }
    }
}

fn escaped(text: &str, into: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'\\' => into.extend_from_slice(b"\\\\"),
            b'\n' => into.extend_from_slice(b"\\n"),
            b'\r' => into.extend_from_slice(b"\\r"),
            b'\t' => into.extend_from_slice(b"\\t"),
            other => into.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BinaryArray, RecordBatch, StringArray};

    use super::line;
    use crate::sink::texts::Texts;

    #[test]
    fn a_line_has_no_other_tab_or_line_end() {
        let bytes = BinaryArray::from(vec![Some(b"hi".as_slice()), None]);
        let texts = StringArray::from(vec!["a\tb\\\n\r", "é"]);
        let columns = [
            ("a", Arc::new(texts) as ArrayRef),
            ("b", Arc::new(bytes) as ArrayRef),
        ];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        let written = Texts::try_new(&rows.schema())
            .unwrap()
            .write(&rows)
            .unwrap();
        let mut lines = Vec::new();
        line(&written, 0, &mut lines);
        lines.push(b'\n');
        line(&written, 1, &mut lines);
        assert_eq!(
            String::from_utf8(lines).unwrap(),
            "a\\tb\\\\\\n\\r\t\\\\x6869\né\t\\N"
        );
    }
}
