//! What each statement does: one file a statement, or a family of small ones.

pub(super) mod alert;
mod alert_notices;
pub(super) mod alter_query;
pub(super) mod alter_table;
pub(super) mod backtest;
pub(super) mod check;
pub(super) mod continuous;
pub(super) mod copy;
pub(super) mod create_alert;
pub(super) mod create_materialized_view;
pub(super) mod create_secret;
pub(super) mod create_sink;
pub(super) mod create_table;
pub(super) mod create_view;
pub(super) mod cursor;
mod dependents;
pub(super) mod drop_object;
pub(super) mod explain;
pub(super) mod explain_progress;
mod explain_stream;
pub(super) mod flush;
mod infer;
pub(super) mod insert;
mod outbox_text;
pub(super) mod prepare;
pub(super) mod query;
pub(super) mod replay;
pub(super) mod show_objects;
pub(super) mod subscribe;
pub(super) mod transaction;
mod transactional_id;
pub(super) mod variable;

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Schema};

use super::{Notice, Services, Session, Severity};
use crate::catalog::{CreateMode, Created, Definition, Definitions, DefinitionsChange};
use crate::crash_point;
use crate::engine::Engine;
use crate::error::{Error, Result, SqlState};
use crate::sql::Name;
use crate::task;
use dependents::GoesOn;

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

/// Keeps a definition that was looked at where `seen` existed, and starts what runs for it. It goes to its end
/// although the client goes away, and a definition whose query cannot be started is not kept.
async fn define(
    session: &Session,
    (definition, seen): (Definition, Arc<Definitions>),
    mode: CreateMode,
    start: impl FnOnce(&Engine) -> Result<()> + Send + 'static,
) -> Result<()> {
    let services = Arc::clone(session.services());
    task::spawn_blocking(move || {
        crash_point::wait_at("a definition is planned, not kept");
        let _one = services.one_at_a_time();
        dependents::check_same(&definition, &seen, &services.catalog.snapshot())?;
        let kept = definition.clone();
        let keep = || match services.catalog.create(kept, mode)? {
            Created::New => Ok(true),
            Created::Existed => Ok(false),
        };
        keep_and_start(&services, &definition, keep, start).map(drop)
    })
    .await
}

/// The same for one that others depend on, which go on by their new plans; false, and nothing is changed, if
/// something else was changed since the change was looked at.
async fn define_among(
    session: &Session,
    definition: Definition,
    (change, go_on): (DefinitionsChange, Vec<GoesOn>),
    start: impl FnOnce(&Engine) -> Result<()> + Send + 'static,
) -> Result<bool> {
    let services = Arc::clone(session.services());
    task::spawn_blocking(move || {
        let _one = services.one_at_a_time();
        let keep = || services.catalog.put(&change);
        if !keep_and_start(&services, &definition, keep, start)? {
            return Ok(false);
        }
        dependents::restart(&services, go_on).map(|()| true)
    })
    .await
}

/// False, and nothing is started, if the definition is not kept.
fn keep_and_start(
    services: &Services,
    definition: &Definition,
    keep: impl FnOnce() -> Result<bool>,
    start: impl FnOnce(&Engine) -> Result<()>,
) -> Result<bool> {
    let (kind, name) = (definition.kind(), definition.name());
    let replaces = services.catalog.snapshot().get(name).is_some();
    let has_query = definition.query_options().is_some();
    if has_query {
        // A definition that is found after a crash without this mark has lost its checkpoints.
        services.engine.announce(name)?;
    }
    let kept = keep();
    if !matches!(kept, Ok(true)) {
        let withdrawn = match has_query {
            true => services.engine.withdraw(name),
            false => Ok(()),
        };
        return kept.and(withdrawn.map(|()| false));
    }
    crash_point::reach("a definition is kept, its query not started");
    services.engine.retire_query(name)?;
    let started = start(&services.engine);
    if started.is_err() && !replaces {
        services.catalog.drop(kind, &[name], false)?;
    }
    started.map(|()| true)
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
