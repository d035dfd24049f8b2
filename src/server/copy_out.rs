//! COPY .. TO STDOUT: rows as lines of text, as CSV or in PostgreSQL's binary format.
//!
//! Invariant: a line goes out as soon as its row is there, as with data rows.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::copy::{CopyDone, CopyOutResponse};
use tokio::io::AsyncWrite;

use super::encode::{self, Column, Format, Style};
use super::rows::next_batch;
use super::transport::Outgoing;
use crate::error::Result;
use crate::session::{CopyFormat, CopyOptions, CopyOut, ForceQuote};

/// Sends the rows of a COPY; returns how many there were.
///
/// # Errors
/// What the query reports, or that the client is gone.
pub(super) async fn send<W: AsyncWrite + Unpin>(
    mut copy: CopyOut,
    style: Style,
    out: &mut Outgoing<W>,
) -> Result<u64> {
    let names: Vec<String> = copy
        .rows
        .schema
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    let writer = Writer::new(&copy.options, &names);
    let format = writer.format();
    let formats = vec![format.code(); names.len()];
    let columns = i16::try_from(names.len()).unwrap_or(i16::MAX);
    let code = i8::try_from(format.code()).unwrap_or_default();
    out.message(&Message::CopyOutResponse(CopyOutResponse::new(
        code, columns, formats,
    )))?;
    if let Some(head) = writer.head(&names) {
        data(out, |out| {
            out.put_slice(&head);
            Ok(())
        })?;
    }
    let mut sent = 0;
    while let Some(batch) = next_batch(&mut copy.rows, 0, out).await? {
        let columns = encode::columns(&batch)?;
        for row in 0..batch.num_rows() {
            data(out, |out| writer.row(&columns, row, style, out))?;
            out.flush_if_full().await?;
        }
        sent += batch.num_rows() as u64;
        tokio::task::yield_now().await;
    }
    if matches!(writer, Writer::Binary) {
        data(out, |out| {
            out.put_i16(-1);
            Ok(())
        })?;
    }
    out.message(&Message::CopyDone(CopyDone::new()))?;
    Ok(sent)
}

fn data<W: AsyncWrite + Unpin>(
    out: &mut Outgoing<W>,
    body: impl FnOnce(&mut BytesMut) -> Result<()>,
) -> Result<()> {
    out.raw(b'd', body)
}

/// How the lines are written.
enum Writer<'a> {
    Text {
        delimiter: u8,
        null: &'a str,
        header: bool,
    },
    Csv {
        delimiter: u8,
        null: &'a str,
        header: bool,
        quote: u8,
        escape: u8,
        forced: Vec<bool>,
    },
    Binary,
}

impl<'a> Writer<'a> {
    fn new(options: &'a CopyOptions, names: &[String]) -> Self {
        let byte = |given: char, or: u8| u8::try_from(given).unwrap_or(or);
        let (null, header) = (options.null.as_str(), options.header);
        match options.format {
            CopyFormat::Text => Self::Text {
                delimiter: byte(options.delimiter, b'\t'),
                null,
                header,
            },
            CopyFormat::Csv => Self::Csv {
                delimiter: byte(options.delimiter, b','),
                null,
                header,
                quote: byte(options.quote, b'"'),
                escape: byte(options.escape, b'"'),
                forced: forced(&options.force_quote, names),
            },
            CopyFormat::Binary => Self::Binary,
        }
    }

    fn format(&self) -> Format {
        match self {
            Self::Text { .. } | Self::Csv { .. } => Format::Text,
            Self::Binary => Format::Binary,
        }
    }

    fn head(&self, names: &[String]) -> Option<Vec<u8>> {
        let mut line = BytesMut::new();
        match self {
            Self::Text {
                delimiter,
                header: true,
                ..
            } => {
                for (nth, name) in names.iter().enumerate() {
                    separate(nth, *delimiter, &mut line);
                    escape_text(name.as_bytes(), *delimiter, &mut line);
                }
                line.put_u8(b'\n');
            }
            Self::Csv { header: true, .. } => {
                let names: Vec<Option<Cow<'_, [u8]>>> = names
                    .iter()
                    .map(|name| Some(Cow::Borrowed(name.as_bytes())))
                    .collect();
                self.csv_line(&names, false, &mut line);
            }
            Self::Text { .. } | Self::Csv { .. } => return None,
            Self::Binary => line.put_slice(b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0"),
        }
        Some(line.to_vec())
    }

    fn row(&self, columns: &[Column], row: usize, style: Style, out: &mut BytesMut) -> Result<()> {
        let text = |column: &Column| {
            let mut value = BytesMut::new();
            encode::write_text(column, row, style, &mut value);
            value
        };
        match self {
            Self::Text {
                delimiter, null, ..
            } => {
                for (nth, column) in columns.iter().enumerate() {
                    separate(nth, *delimiter, out);
                    if column.is_null(row) {
                        out.put_slice(null.as_bytes());
                    } else {
                        escape_text(&text(column), *delimiter, out);
                    }
                }
                out.put_u8(b'\n');
            }
            Self::Csv { .. } => {
                let values: Vec<Option<Cow<'_, [u8]>>> = columns
                    .iter()
                    .map(|column| (!column.is_null(row)).then(|| Cow::Owned(text(column).to_vec())))
                    .collect();
                self.csv_line(&values, true, out);
            }
            Self::Binary => {
                super::backend::put_row_head(columns.len(), out);
                for column in columns {
                    encode::write_sized(column, row, Format::Binary, style, out)?;
                }
            }
        }
        Ok(())
    }

    fn csv_line(&self, values: &[Option<Cow<'_, [u8]>>], is_row: bool, out: &mut BytesMut) {
        let Self::Csv {
            delimiter,
            null,
            quote,
            escape,
            forced,
            ..
        } = self
        else {
            return;
        };
        for (nth, value) in values.iter().enumerate() {
            separate(nth, *delimiter, out);
            let Some(value) = value else {
                out.put_slice(null.as_bytes());
                continue;
            };
            let special =
                |byte: &u8| byte == delimiter || byte == quote || matches!(byte, b'\n' | b'\r');
            let quoted = (is_row && forced.get(nth).copied().unwrap_or_default())
                || value.as_ref() == null.as_bytes()
                || value.iter().any(special)
                || (values.len() == 1 && value.as_ref() == b"\\.");
            if !quoted {
                out.put_slice(value);
                continue;
            }
            out.put_u8(*quote);
            for byte in value.iter() {
                if byte == quote || byte == escape {
                    out.put_u8(*escape);
                }
                out.put_u8(*byte);
            }
            out.put_u8(*quote);
        }
        out.put_u8(b'\n');
    }
}

fn forced(force: &ForceQuote, names: &[String]) -> Vec<bool> {
    match force {
        ForceQuote::None => vec![false; names.len()],
        ForceQuote::All => vec![true; names.len()],
        ForceQuote::Columns(columns) => names.iter().map(|name| columns.contains(name)).collect(),
    }
}

fn separate(nth: usize, delimiter: u8, out: &mut BytesMut) {
    if nth > 0 {
        out.put_u8(delimiter);
    }
}

/// Backslash escapes for what would end a value or a line.
fn escape_text(value: &[u8], delimiter: u8, out: &mut BytesMut) {
    for byte in value {
        let short = match byte {
            b'\x08' => b'b',
            b'\x0c' => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            b'\x0b' => b'v',
            b'\\' => b'\\',
            other if *other == delimiter => delimiter,
            other => {
                out.put_u8(*other);
                continue;
            }
        };
        out.put_u8(b'\\');
        out.put_u8(short);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array, RecordBatch, StringArray};
    use futures::StreamExt;

    use super::*;
    use crate::session::{Rows, zone};

    /// What a COPY of two columns sends, without the heads of its messages.
    async fn copied(options: CopyOptions) -> String {
        let numbers: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3), Some(4)]));
        let words: ArrayRef = Arc::new(StringArray::from(vec![
            Some("a,b\t\"c\"\\"),
            Some(""),
            None,
            Some("two\nlines"),
        ]));
        let batch = RecordBatch::try_from_iter([("n", numbers), ("w", words)]).unwrap();
        let rows = Rows::new(batch.schema(), futures::stream::iter([Ok(batch)]).boxed());
        let mut sent = Vec::new();
        let mut out = Outgoing::new(&mut sent);
        let style = Style {
            zone: zone::parse("UTC").unwrap(),
        };
        assert_eq!(
            send(CopyOut { rows, options }, style, &mut out)
                .await
                .unwrap(),
            4
        );
        out.flush().await.unwrap();
        let mut text = String::new();
        let mut rest = &sent[..];
        while let [kind, a, b, c, d, after @ ..] = rest {
            let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize - 4;
            if *kind == b'd' {
                text.push_str(&String::from_utf8_lossy(&after[..length]));
            }
            rest = &after[length..];
        }
        text
    }

    #[tokio::test]
    async fn text_escapes_what_would_end_a_value() {
        let options = CopyOptions {
            header: true,
            ..CopyOptions::default()
        };
        assert_eq!(
            copied(options).await,
            "n\tw\n1\ta,b\\t\"c\"\\\\\n\\N\t\n3\t\\N\n4\ttwo\\nlines\n",
        );
    }

    #[tokio::test]
    async fn csv_tells_an_empty_text_from_null() {
        let options = CopyOptions {
            format: CopyFormat::Csv,
            delimiter: ',',
            null: String::new(),
            header: true,
            ..CopyOptions::default()
        };
        assert_eq!(
            copied(options).await,
            "n,w\n1,\"a,b\t\"\"c\"\"\\\"\n,\"\"\n3,\n4,\"two\nlines\"\n",
        );
    }

    #[tokio::test]
    async fn csv_quotes_what_it_is_told_to() {
        let options = CopyOptions {
            format: CopyFormat::Csv,
            delimiter: ';',
            null: "-".to_owned(),
            force_quote: ForceQuote::Columns(vec!["n".to_owned()]),
            ..CopyOptions::default()
        };
        assert_eq!(
            copied(options).await,
            "\"1\";\"a,b\t\"\"c\"\"\\\"\n-;\n\"3\";-\n\"4\";\"two\nlines\"\n",
        );
    }

    #[tokio::test]
    async fn binary_has_a_signature_and_an_end() {
        let options = CopyOptions {
            format: CopyFormat::Binary,
            ..CopyOptions::default()
        };
        let text = copied(options).await;
        assert!(text.starts_with("PGCOPY\n"), "{text:?}");
        assert!(text.ends_with("\u{fffd}\u{fffd}"), "{text:?}");
    }
}
