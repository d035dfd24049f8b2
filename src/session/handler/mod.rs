//! What each statement does: one file a statement, or a family of small ones.

pub(super) mod continuous;
pub(super) mod copy;
pub(super) mod create_materialized_view;
pub(super) mod create_sink;
pub(super) mod create_table;
pub(super) mod create_view;
pub(super) mod cursor;
pub(super) mod drop_object;
pub(super) mod explain;
mod explain_stream;
pub(super) mod flush;
mod infer;
pub(super) mod insert;
pub(super) mod prepare;
pub(super) mod query;
pub(super) mod show_objects;
pub(super) mod transaction;
pub(super) mod variable;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::{Notice, Session, Severity};
use crate::catalog::CreateMode;
use crate::error::{Error, Result, SqlState};
use crate::sql::Name;

/// Keeps a message for the client.
fn notice(session: &mut Session, content: Error) {
    session.notice(Notice {
        severity: Severity::Notice,
        content,
    });
}

/// For IF NOT EXISTS: true, with a notice, if the name is taken.
fn is_there(session: &mut Session, name: &Name) -> bool {
    let there = session
        .services()
        .catalog
        .snapshot()
        .get(&name.name)
        .is_some();
    if there {
        let text = format!("relation \"{}\" already exists, skipping", name.name);
        notice(session, Error::user(SqlState::DuplicateTable, text));
    }
    there
}

/// What a CREATE statement does when the name is taken.
fn mode(if_not_exists: bool, or_replace: bool) -> CreateMode {
    if or_replace {
        CreateMode::Replace
    } else if if_not_exists {
        CreateMode::IfNotExists
    } else {
        CreateMode::Fail
    }
}

/// A small table of text, as SHOW and the like answer.
pub(super) fn text_table(columns: &[(&str, Vec<Option<String>>)]) -> Result<RecordBatch> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, _)| Field::new(*name, DataType::Utf8View, true))
        .collect();
    let arrays = columns
        .iter()
        .map(|(_, values)| {
            Arc::new(values.iter().cloned().collect::<StringViewArray>()) as ArrayRef
        })
        .collect();
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}
