//! Rows on their way to the client: each goes out as soon as it is there.
//!
//! Invariant: before waiting for the producer, everything already produced has been written.

use arrow::array::RecordBatch;
use futures::FutureExt;
use tokio::io::AsyncWrite;

use super::backend;
use super::encode::{self, Format, Style};
use super::transport::Outgoing;
use crate::error::Result;
use crate::session::Rows;

/// Rows between two chances for other work on the same thread.
const ROWS_A_TURN: usize = 1_024;

/// How far a sending came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sent {
    /// Rows that went out.
    pub rows: u64,
    /// True if there are no more.
    pub ended: bool,
}

/// The next batch; what waits in the outgoing buffer is written first if it is not there yet.
pub(super) async fn next_batch<W: AsyncWrite + Unpin>(
    rows: &mut Rows,
    rows_max: usize,
    out: &mut Outgoing<W>,
) -> Result<Option<RecordBatch>> {
    let ready = rows.next(rows_max).now_or_never();
    let next = match ready {
        Some(next) => next,
        None => {
            out.flush().await?;
            rows.next(rows_max).await
        }
    };
    next.transpose()
}

/// Sends rows as data rows, at most `rows_max` of them (0: all).
///
/// # Errors
/// What the query reports, or that the client is gone.
pub(super) async fn send<W: AsyncWrite + Unpin>(
    rows: &mut Rows,
    rows_max: usize,
    formats: &[Format],
    style: Style,
    out: &mut Outgoing<W>,
) -> Result<Sent> {
    let mut sent = 0;
    loop {
        let wanted = rows_max.saturating_sub(sent);
        if rows_max > 0 && wanted == 0 {
            return Ok(Sent {
                rows: sent as u64,
                ended: false,
            });
        }
        let Some(batch) = next_batch(rows, wanted, out).await? else {
            return Ok(Sent {
                rows: sent as u64,
                ended: true,
            });
        };
        let columns = encode::columns(&batch)?;
        for row in 0..batch.num_rows() {
            out.raw(b'D', |out| {
                backend::put_row_head(columns.len(), out);
                columns
                    .iter()
                    .zip(formats)
                    .try_for_each(|(column, format)| {
                        encode::write_sized(column, row, *format, style, out)
                    })
            })?;
            out.flush_if_full().await?;
            if row % ROWS_A_TURN == ROWS_A_TURN - 1 {
                tokio::task::yield_now().await;
            }
        }
        sent += batch.num_rows();
    }
}

/// One format a column, from what a Bind said: nothing, one for all, or one each.
///
/// # Errors
/// For another number of formats than columns, and for a code that is not known.
pub(super) fn formats(codes: &[i16], columns: usize) -> Result<Vec<Format>> {
    match codes {
        [] => Ok(vec![Format::Text; columns]),
        [one] => Ok(vec![Format::from_code(*one)?; columns]),
        each if each.len() == columns => each.iter().map(|code| Format::from_code(*code)).collect(),
        each => Err(crate::error::Error::user(
            crate::error::SqlState::ProtocolViolation,
            format!(
                "bind message has {} result formats but query has {columns} columns",
                each.len()
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int32Array};
    use futures::{SinkExt, StreamExt};
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::session::zone;

    fn numbers(values: &[i32]) -> RecordBatch {
        let array: ArrayRef = Arc::new(Int32Array::from(values.to_vec()));
        RecordBatch::try_from_iter([("n", array)]).unwrap()
    }

    #[tokio::test]
    async fn a_row_is_written_although_the_next_one_is_not_there() {
        let (mut sender, receiver) = futures::channel::mpsc::channel(4);
        sender.send(Ok(numbers(&[7]))).await.unwrap();
        let mut rows = Rows::live(numbers(&[]).schema(), receiver.boxed());
        let (server, mut client) = tokio::io::duplex(1024);
        let mut out = Outgoing::new(server);
        let style = Style {
            zone: zone::parse("UTC").unwrap(),
        };
        let sending = async {
            send(&mut rows, 0, &[Format::Text], style, &mut out)
                .await
                .unwrap()
        };
        let reading = async {
            let mut row = [0; 12];
            client.read_exact(&mut row).await.unwrap();
            assert_eq!(&row, b"D\0\0\0\x0b\0\x01\0\0\0\x017");
            drop(sender);
        };
        let (sent, ()) = tokio::join!(sending, reading);
        assert_eq!(
            sent,
            Sent {
                rows: 1,
                ended: true
            }
        );
    }

    #[tokio::test]
    async fn a_limit_leaves_the_rest_for_later() {
        let batches = [Ok(numbers(&[1, 2, 3]))];
        let mut rows = Rows::new(
            numbers(&[]).schema(),
            futures::stream::iter(batches).boxed(),
        );
        let style = Style {
            zone: zone::parse("UTC").unwrap(),
        };
        let mut out = Outgoing::new(tokio::io::sink());
        let mut sent = Vec::new();
        for _ in 0..2 {
            sent.push(
                send(&mut rows, 2, &[Format::Text], style, &mut out)
                    .await
                    .unwrap(),
            );
        }
        assert_eq!(
            sent,
            [
                Sent {
                    rows: 2,
                    ended: false
                },
                Sent {
                    rows: 1,
                    ended: true
                }
            ]
        );
    }

    #[test]
    fn formats_are_none_one_or_one_each() {
        use Format::{Binary, Text};
        assert_eq!(formats(&[], 2).unwrap(), [Text, Text]);
        assert_eq!(formats(&[1], 2).unwrap(), [Binary, Binary]);
        assert_eq!(formats(&[0, 1], 2).unwrap(), [Text, Binary]);
        assert!(formats(&[0, 1, 0], 2).is_err());
        assert!(formats(&[2], 1).is_err());
    }
}
