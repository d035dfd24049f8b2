//! The JSON decoder: a batch of messages in, columns and rejected messages out.
//!
//! Works through a batch in blocks, so that the bytes and slots of a block are still in the
//! processor's cache when its columns are converted:
//!
//! ```text
//! for each block:  bytes → marks; messages in step → slots (row after row) → each column appends its entries
//! at the end:      rows with a bad value are taken out of all columns
//! ```
//! Invariant: every message ends as exactly one row or one rejection.

use arrow::array::{ArrayRef, BooleanArray};
use arrow::compute::filter;

use super::blocks::{self, Block};
use super::convert::{Cells, Column, Problem, Wrong, column};
use super::field::{JsonField, shown_path};
use super::lockstep::{self, Cursor};
use super::marks::Marks;
use super::scan::Text;
use super::slot::Slot;
use super::syntax::{Flaw, SyntaxError};
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};
use crate::format::reject::{Decoded, Rejected, shown};
use crate::types::{JsonPath, MessageBatch, Span};

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
    /// The block at hand: marks of its bytes, where its messages are read, the slots row after row, and
    /// the rows that are none.
    marks: Marks,
    cursors: Vec<Cursor>,
    slots: Vec<Slot>,
    failed: Vec<(usize, SyntaxError)>,
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
            marks: Marks::default(),
            cursors: Vec::new(),
            slots: Vec::new(),
            failed: Vec::new(),
        })
    }

    /// Decodes the payloads of all messages: each becomes a row, in order, or a rejection.
    ///
    /// Text columns may refer to the batch's buffer. An error means that the batch itself is broken.
    pub fn decode(&mut self, batch: &MessageBatch) -> Result<Decoded> {
        let len = batch.buffer.len();
        if len > BUFFER_BYTES_MAX {
            return Err(Error::internal(format!(
                "a batch of {len} bytes is too long to decode"
            )));
        }
        for column in &mut self.columns {
            column.reserve(batch.messages.len());
        }
        let mut progress = Progress {
            message_of_row: Vec::with_capacity(batch.messages.len()),
            bad_rows: Vec::new(),
            rejected: Vec::new(),
        };
        let mut first = 0;
        while let Some(block) = blocks::next(&batch.messages, first) {
            if block.bytes.end + MessageBatch::PADDING > len {
                return Err(Error::internal("a message lies outside its batch's buffer"));
            }
            first = block.messages.end;
            let first_row = progress.message_of_row.len();
            self.read(batch, block, &mut progress);
            self.convert(batch, first_row, &mut progress);
        }
        let columns = self
            .columns
            .iter_mut()
            .map(|column| column.finish(&batch.buffer))
            .collect();
        finish(batch, columns, progress)
    }

    /// Reads a block's messages into slots; those that are not one JSON object are rejected.
    fn read(&mut self, batch: &MessageBatch, block: Block, progress: &mut Progress) {
        self.marks.look_at(&batch.buffer, block.bytes);
        self.cursors.clear();
        let first_row = progress.message_of_row.len();
        for message in block.messages {
            match self.start(batch, message) {
                Ok((start, end)) => {
                    let (row, at) = (index(self.cursors.len()), start);
                    self.cursors.push(Cursor {
                        row,
                        start,
                        at,
                        end,
                    });
                    progress.message_of_row.push(index(message));
                }
                Err(reason) => progress.rejected.push(Rejected { message, reason }),
            }
        }
        self.slots.clear();
        let slots = self.cursors.len() * self.tokenizer.slots();
        self.slots.resize(slots, Slot::NULL);
        let block = lockstep::Block {
            bytes: &batch.buffer,
            marks: &self.marks,
            slots: &mut self.slots,
            failed: &mut self.failed,
        };
        self.tokenizer.messages(block, &mut self.cursors);
        if !self.failed.is_empty() {
            self.take_out_failed(batch, first_row, progress);
        }
    }

    /// Where a message's object starts, and where the message ends.
    #[inline(always)]
    fn start(&self, batch: &MessageBatch, message: usize) -> Result<(u32, u32), String> {
        let bytes = batch.buffer.as_slice();
        let span = batch.messages[message]
            .payload
            .ok_or_else(|| "tombstone (no value)".to_owned())?;
        check_payload(span, bytes, &self.marks)?;
        let (start, end) = (span.start as usize, span.start + span.len);
        let text = Text::new(bytes, end as usize);
        let at = text.skip_space(start);
        if text.byte(at) != b'{' {
            return Err(SyntaxError::new(at, Flaw::NotAnObject).reason(text, start));
        }
        Ok((index(at), end))
    }

    /// Rejects the messages that failed, and closes the gaps that they leave among the slots.
    #[cold]
    fn take_out_failed(&mut self, batch: &MessageBatch, first_row: usize, progress: &mut Progress) {
        self.failed.sort_by_key(|(row, _)| *row);
        let width = self.tokenizer.slots();
        for (row, error) in self.failed.drain(..).rev() {
            let message = progress.message_of_row.remove(first_row + row) as usize;
            self.slots.drain(row * width..(row + 1) * width);
            let span = batch.messages[message].payload;
            let span = span.expect("a row's message has a payload");
            let (start, end) = (span.start as usize, span.start + span.len);
            let reason = error.reason(Text::new(&batch.buffer, end as usize), start);
            progress.rejected.push(Rejected { message, reason });
        }
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
    }
    rejected.sort_by_key(|rejected| rejected.message);
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

/// What can be said of a payload without parsing it.
#[inline(always)]
fn check_payload(span: Span, bytes: &[u8], marks: &Marks) -> Result<(), String> {
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
    if marks.is_ascii(start..end) {
        return Ok(());
    }
    std::str::from_utf8(&bytes[start..end])
        .map(drop)
        .map_err(|error| format!("not valid UTF-8 (byte {})", error.valid_up_to() + 1))
}

fn index(message: usize) -> u32 {
    u32::try_from(message).expect("a batch has fewer than 2^32 messages")
}
