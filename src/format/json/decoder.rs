//! The JSON decoder: a batch of messages in, columns and rejected messages out.
//!
//! Works through a batch in blocks, so that the bytes and slots of a block are still in the
//! processor's cache when its columns are converted:
//!
//! ```text
//! for each block:  messages → tokenizer → slots (row after row) → each column appends its entries
//! at the end:      rows with a bad value are taken out of all columns
//! ```
//! Invariant: every message ends as exactly one row or one rejection.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::filter;

use super::convert::{Cells, Column, Problem, Wrong, column};
use super::field::{JsonField, shown_path};
use super::scan::Text;
use super::simd::is_ascii;
use super::slot::Slot;
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::format::reject::{Decoded, Rejected, shown};
use crate::types::{JsonPath, MessageBatch, Span};

/// Messages that are read before their columns are converted.
const BLOCK_MESSAGES: usize = 512;
/// The longest message that is read, in bytes; longer ones are rejected.
pub(super) const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// The longest buffer that is taken, so that every offset fits Arrow's 32 bits.
const BUFFER_BYTES_MAX: usize = i32::MAX as usize;

/// Decodes batches of JSON messages, each of them one object.
///
/// What each type accepts:
///
/// | type | accepts |
/// |---|---|
/// | boolean | `true`, `false`; the same as strings in any case |
/// | smallint, integer, bigint | whole numbers, also `1.0` and `1e3`; strings that hold one |
/// | real, double precision | numbers; strings that hold one, `NaN`, `Infinity` |
/// | numeric(p, s) | numbers, exactly; strings that hold one; rounded to the scale half away from zero |
/// | text | strings; numbers and booleans as they are written |
/// | json | anything, as it is written |
/// | bytea | strings: `\x` and hexadecimal digits, else base64 |
/// | date, time | ISO 8601 strings |
/// | timestamp, timestamptz | RFC 3339 strings; epoch seconds, milliseconds, microseconds by size |
/// | interval | strings: ISO 8601 or PostgreSQL's form |
/// | arrays, row types | arrays and objects of these |
///
/// `null` and a missing member are NULL. Anything else is a wrong type, for which the message is
/// rejected with the reason. Members that no field asks for are checked to be JSON and otherwise
/// ignored. Of members with the same name the last one counts.
pub struct JsonDecoder {
    fields: Vec<JsonField>,
    tokenizer: Tokenizer,
    /// The slot of each field.
    slot_of: Vec<usize>,
    columns: Vec<Box<dyn Column>>,
    /// The slots of the block at hand, row after row.
    slots: Vec<Slot>,
}

/// What has become of a batch so far.
struct Progress {
    /// The message of each row, good or bad.
    message_of_row: Vec<u32>,
    /// Rows that have a bad value; rising.
    bad_rows: Vec<usize>,
    rejected: Vec<Rejected>,
}

impl JsonDecoder {
    /// A decoder for these columns. An error if a type cannot be read from JSON.
    pub fn try_new(fields: Vec<JsonField>) -> Result<Self> {
        if fields.iter().any(|field| field.path.is_empty()) {
            return Err(Error::internal("a JSON column needs a path"));
        }
        let columns = fields
            .iter()
            .map(|field| column(&field.data_type, field.kind))
            .collect::<Result<_>>()?;
        let paths: Vec<JsonPath> = fields.iter().map(|field| field.path.clone()).collect();
        let (tokenizer, slot_of) = Tokenizer::new(&paths);
        Ok(Self {
            fields,
            tokenizer,
            slot_of,
            columns,
            slots: Vec::new(),
        })
    }

    /// Decodes the payloads of all messages: each becomes a row, in order, or a rejection.
    ///
    /// Text columns may refer to the batch's buffer. An error means that the batch itself is broken.
    pub fn decode(&mut self, batch: &MessageBatch) -> Result<Decoded> {
        let layout = Layout::of(batch)?;
        let checked_utf8 = layout.is_all_utf8(batch);
        for column in &mut self.columns {
            column.reserve(batch.messages.len());
        }
        let mut progress = Progress {
            message_of_row: Vec::with_capacity(batch.messages.len()),
            bad_rows: Vec::new(),
            rejected: Vec::new(),
        };
        for first in (0..batch.messages.len()).step_by(BLOCK_MESSAGES) {
            let end = batch.messages.len().min(first + BLOCK_MESSAGES);
            let first_row = progress.message_of_row.len();
            for message in first..end {
                let row = progress.message_of_row.len() - first_row;
                match self.tokenize(batch, message, row, checked_utf8) {
                    Ok(()) => progress.message_of_row.push(index(message)),
                    Err(reason) => progress.rejected.push(Rejected { message, reason }),
                }
            }
            self.convert(batch, first_row, &mut progress);
        }
        let columns = self
            .columns
            .iter_mut()
            .map(|column| column.finish(&batch.buffer))
            .collect();
        finish(batch, columns, progress)
    }

    /// Reads one message into the slots of a row of the block.
    #[inline(always)]
    fn tokenize(
        &mut self,
        batch: &MessageBatch,
        message: usize,
        row: usize,
        checked_utf8: bool,
    ) -> Result<(), String> {
        let bytes = batch.buffer.as_slice();
        let span = batch.messages[message]
            .payload
            .ok_or_else(|| "tombstone (no value)".to_owned())?;
        check_payload(span, bytes, checked_utf8)?;
        let start = span.start as usize;
        let text = Text::new(bytes, start + span.len as usize);
        let width = self.tokenizer.slots();
        let first = row * width;
        // Also clears what a rejected message left here.
        self.slots.truncate(first);
        self.slots.resize(first + width, Slot::NULL);
        self.tokenizer
            .message(text, start, &mut self.slots[first..])
            .map_err(|error| error.reason(text, start))
    }

    /// Converts the block's rows, which start at `first_row`, and rejects those with a bad value.
    fn convert(&mut self, batch: &MessageBatch, first_row: usize, progress: &mut Progress) {
        let width = self.tokenizer.slots();
        let rows = progress.message_of_row.len() - first_row;
        let mut wrongs: Vec<(usize, Wrong)> = Vec::new();
        let mut wrong = Vec::new();
        for (field, column) in self.columns.iter_mut().enumerate() {
            let slots = &self.slots[..rows * width];
            let slot = self.slot_of[field];
            column.append(
                Cells {
                    bytes: &batch.buffer,
                    slots,
                    width,
                    slot,
                },
                &mut wrong,
            );
            wrongs.extend(wrong.drain(..).map(|wrong| (field, wrong)));
        }
        // A row's first bad value, in the order of the fields, is its reason.
        wrongs.sort_by_key(|(_, wrong)| wrong.row);
        wrongs.dedup_by_key(|(_, wrong)| wrong.row);
        for (field, wrong) in wrongs {
            let row = first_row + wrong.row;
            let message = progress.message_of_row[row] as usize;
            let reason = self.wrong_reason(batch, message, field, &wrong);
            progress.bad_rows.push(row);
            progress.rejected.push(Rejected { message, reason });
        }
    }

    fn wrong_reason(
        &self,
        batch: &MessageBatch,
        message: usize,
        field: usize,
        wrong: &Wrong,
    ) -> String {
        let raw = wrong.slot.raw();
        let payload = batch.messages[message]
            .payload
            .expect("a row's message has a payload");
        let place = raw.start - payload.start as usize + 1;
        let found = shown(&batch.buffer[raw]);
        let column = shown_path(&self.fields[field].path);
        match &wrong.problem {
            Problem::Expected(expected) => {
                format!("column \"{column}\": expected {expected}, found {found} (byte {place})")
            }
            Problem::OutOfRange(sql_type) => {
                format!(
                    "column \"{column}\": {found} is out of range for {sql_type} (byte {place})"
                )
            }
        }
    }
}

/// Takes the bad rows out of the columns.
fn finish(batch: &MessageBatch, mut columns: Vec<ArrayRef>, progress: Progress) -> Result<Decoded> {
    let Progress {
        mut message_of_row,
        bad_rows,
        mut rejected,
    } = progress;
    if !bad_rows.is_empty() {
        let mut good = vec![true; message_of_row.len()];
        for row in bad_rows {
            good[row] = false;
        }
        let mut row_is_good = good.iter();
        message_of_row.retain(|_| *row_is_good.next().expect("one flag a row"));
        let good = BooleanArray::from(good);
        for column in &mut columns {
            *column = filter(column, &good)
                .map_err(|error| Error::internal(format!("taking out bad rows: {error}")))?;
        }
        rejected.sort_by_key(|rejected| rejected.message);
    }
    let rows = message_of_row.len();
    assert_eq!(
        rows + rejected.len(),
        batch.messages.len(),
        "a message vanished in decoding"
    );
    let kept = (!rejected.is_empty()).then_some(message_of_row);
    Ok(Decoded {
        columns,
        rows,
        kept,
        rejected,
    })
}

/// Where a batch's payloads lie.
struct Layout {
    start: usize,
    end: usize,
    /// The bytes of all payloads together.
    payload_bytes: usize,
}

impl Layout {
    /// Also checks what the tokenizer relies on, before it does.
    fn of(batch: &MessageBatch) -> Result<Self> {
        let len = batch.buffer.len();
        if len > BUFFER_BYTES_MAX {
            return Err(Error::internal(format!(
                "a batch of {len} bytes is too long to decode"
            )));
        }
        let mut layout = Self {
            start: len,
            end: 0,
            payload_bytes: 0,
        };
        for span in batch.messages.iter().filter_map(|message| message.payload) {
            let (start, bytes) = (span.start as usize, span.len as usize);
            layout.start = layout.start.min(start);
            layout.end = layout.end.max(start + bytes);
            layout.payload_bytes += bytes;
        }
        layout.start = layout.start.min(layout.end);
        if layout.end > 0 && layout.end + MessageBatch::PADDING > len {
            return Err(Error::internal("a message lies outside its batch's buffer"));
        }
        Ok(layout)
    }

    /// Whether all payloads are UTF-8, looked at together: far cheaper than one by one. False only
    /// means that each has to be looked at.
    ///
    /// A character cannot hide across a payload's border: a payload that starts or ends within one
    /// is no JSON object.
    fn is_all_utf8(&self, batch: &MessageBatch) -> bool {
        // With much else in between, that would cost more.
        self.end - self.start <= 2 * self.payload_bytes
            && std::str::from_utf8(&batch.buffer[self.start..self.end]).is_ok()
    }
}

/// What can be said of a payload without parsing it.
#[inline(always)]
fn check_payload(span: Span, bytes: &[u8], checked_utf8: bool) -> Result<(), String> {
    if span.len == 0 {
        return Err("empty message".to_owned());
    }
    if span.len as usize > MESSAGE_BYTES_MAX {
        let len = span.len;
        return Err(format!(
            "message of {len} bytes is longer than {MESSAGE_BYTES_MAX}"
        ));
    }
    let (start, end) = (span.start as usize, (span.start + span.len) as usize);
    if checked_utf8 || is_ascii(bytes, start, end) {
        return Ok(());
    }
    std::str::from_utf8(&bytes[start..end])
        .map(drop)
        .map_err(|error| format!("not valid UTF-8 (byte {})", error.valid_up_to() + 1))
}

fn index(message: usize) -> u32 {
    u32::try_from(message).expect("a batch has fewer than 2^32 messages")
}
