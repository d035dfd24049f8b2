//! What clients get: descriptions, errors, notices, states.
//!
//! Owns the shape of these messages. Values are written by `encode`.

use arrow::datatypes::{FieldRef, Schema};
use bytes::BufMut;
use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::data::{FieldDescription, ParameterDescription, RowDescription};
use pgwire::messages::response::{
    CommandComplete, ErrorResponse, NoticeResponse, NotificationResponse, ReadyForQuery,
    TransactionStatus,
};
use pgwire::messages::startup::ParameterStatus;

use super::encode::Format;
use crate::error::{Error, Position, Result, SqlState};
use crate::session::{CHANNEL, Notice, Severity, Transaction, pg_type};

/// Columns that PostgreSQL, and so a client, can take.
const COLUMNS_MAX: usize = 1_664;

/// Where an error happened, for what PostgreSQL says about its severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weight {
    /// The connection goes on.
    Error,
    /// The connection ends.
    Fatal,
}

/// An error; `text` is what the client sent, so that the place in it can be told.
pub(super) fn error(error: &Error, weight: Weight, text: &str) -> Message {
    let severity = match weight {
        Weight::Error => "ERROR",
        Weight::Fatal => "FATAL",
    };
    Message::ErrorResponse(ErrorResponse::new(fields(severity, error, text)))
}

/// A notice.
pub(super) fn notice(notice: &Notice) -> Message {
    let severity = match notice.severity {
        Severity::Notice => "NOTICE",
        Severity::Warning => "WARNING",
    };
    Message::NoticeResponse(NoticeResponse::new(fields(severity, &notice.content, "")))
}

fn fields(severity: &str, error: &Error, text: &str) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', error.state().code().to_owned()),
        (b'M', error.message().to_owned()),
    ];
    let optional = [(b'D', error.detail_text()), (b'H', error.hint_text())];
    fields.extend(
        optional
            .into_iter()
            .filter_map(|(kind, text)| Some((kind, text?.to_owned()))),
    );
    if let Some(at) = error
        .position()
        .and_then(|position| character_index(text, position))
    {
        fields.push((b'P', at.to_string()));
    }
    for (_, value) in &mut fields {
        if value.contains('\0') {
            *value = value.replace('\0', "");
        }
    }
    fields
}

/// The place as PostgreSQL tells it: characters from the start of the text, from 1. `None` for a
/// place that is not in this text.
fn character_index(text: &str, position: Position) -> Option<usize> {
    let line_index = usize::try_from(position.line.checked_sub(1)?).ok()?;
    let column_index = usize::try_from(position.column.checked_sub(1)?).ok()?;
    let before: usize = text
        .split('\n')
        .take(line_index)
        .map(|line| line.chars().count() + 1)
        .sum();
    let line = text.split('\n').nth(line_index)?;
    (column_index <= line.chars().count()).then_some(before + column_index + 1)
}

/// What an alert has told.
pub(super) fn notification(pid: i32, told: &str) -> Message {
    let (channel, payload) = (CHANNEL.to_owned(), told.to_owned());
    Message::NotificationResponse(NotificationResponse::new(pid, channel, payload))
}

/// The columns that follow; `formats` says how each is written.
///
/// # Errors
/// For more columns than a client can take.
pub(super) fn row_description(schema: &Schema, formats: &[Format]) -> Result<Message> {
    if schema.fields().len() > COLUMNS_MAX {
        return Err(Error::user(
            SqlState::ProgramLimitExceeded,
            format!("a result can have at most {COLUMNS_MAX} columns"),
        ));
    }
    let columns = schema.fields().iter().zip(formats).map(|(field, format)| {
        let kind = pg_type::of_field(field);
        FieldDescription::new(
            field.name().replace('\0', ""),
            0,
            0,
            kind.oid,
            kind.size,
            kind.modifier,
            format.code(),
        )
    });
    Ok(Message::RowDescription(RowDescription::new(
        columns.collect(),
    )))
}

/// The types of a statement's parameters; an open one is text.
pub(super) fn parameter_description(parameters: &[Option<FieldRef>]) -> Message {
    let oid = |field: &Option<FieldRef>| {
        field
            .as_ref()
            .map_or(pg_type::TEXT.oid, |field| pg_type::of_field(field).oid)
    };
    Message::ParameterDescription(ParameterDescription::new(
        parameters.iter().map(oid).collect(),
    ))
}

/// A statement is done.
pub(super) fn complete(tag: impl Into<String>) -> Message {
    Message::CommandComplete(CommandComplete::new(tag.into()))
}

/// The server waits for the next statement.
pub(super) fn ready(transaction: Transaction) -> Message {
    let status = match transaction {
        Transaction::Idle => TransactionStatus::Idle,
        Transaction::Open => TransactionStatus::Transaction,
        Transaction::Failed => TransactionStatus::Error,
    };
    Message::ReadyForQuery(ReadyForQuery::new(status))
}

/// A variable has this value.
pub(super) fn parameter_status(name: &str, value: &str) -> Message {
    Message::ParameterStatus(ParameterStatus::new(name.to_owned(), value.to_owned()))
}

/// A data row: `write` adds each value with its length.
pub(super) fn put_row_head(columns: usize, out: &mut bytes::BytesMut) {
    out.put_i16(i16::try_from(columns).expect("a row description refused more columns"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_counted_in_characters_over_all_lines() {
        let at = |line, column| character_index("sélect\n  x\nfrom", Position { line, column });
        assert_eq!(at(1, 1), Some(1));
        assert_eq!(at(1, 3), Some(3));
        assert_eq!(at(2, 3), Some(10));
        assert_eq!(at(3, 5), Some(16), "the end of the text");
        assert_eq!(at(3, 6), None);
        assert_eq!(at(4, 1), None);
        assert_eq!(at(0, 1), None);
    }

    #[test]
    fn an_error_has_all_its_parts() {
        let wrong = Error::user(SqlState::UndefinedTable, "relation \"x\" does not exist")
            .detail("More.")
            .hint("Less.")
            .at(Some(Position {
                line: 1,
                column: 15,
            }));
        let Message::ErrorResponse(message) = error(&wrong, Weight::Error, "select * from x")
        else {
            panic!("an error response")
        };
        let text: Vec<String> = message
            .fields
            .iter()
            .map(|(kind, value)| format!("{}={value}", char::from(*kind)))
            .collect();
        assert_eq!(
            text.join(" "),
            "S=ERROR V=ERROR C=42P01 M=relation \"x\" does not exist D=More. H=Less. P=15",
        );
    }
}
