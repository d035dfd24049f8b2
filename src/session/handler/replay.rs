//! REPLAY DEAD LETTERS: messages that were no rows are run again, in every query that has read past them.

use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type};
use futures::TryStreamExt;

use super::{notice, query};
use crate::catalog::Definition;
use crate::engine::Replayed;
use crate::error::{Error, Result, SqlState, nearest};
use crate::planner::table_scan;
use crate::session::{Outcome, Session};
use crate::sql::{self, Name, Replay};
use crate::types::{Offset, PartitionId};

pub(in crate::session) async fn run(session: &mut Session, replay: Replay) -> Result<Outcome> {
    let services = Arc::clone(session.services());
    let definitions = services.catalog.snapshot();
    let table = match definitions.get(&replay.table.name) {
        Some(Definition::Table(table)) => Arc::clone(table),
        other => {
            let tables = definitions.all();
            let tables = tables.filter(|d| matches!(d, Definition::Table(_)));
            let names: Vec<&str> = tables.map(Definition::name).collect();
            return Err(no_table(&replay.table, other, &names));
        }
    };
    let spec = table_scan(&table)?;
    let rows = query::rows(session, replay.query).await?;
    let mut places = Vec::new();
    let batches: Vec<_> = rows.stream.try_collect().await?;
    for batch in batches {
        let partitions = batch.column(0).as_primitive::<Int32Type>().values();
        let offsets = batch.column(1).as_primitive::<Int64Type>().values();
        let all = partitions.iter().zip(offsets);
        places.extend(all.map(|(partition, offset)| (PartitionId(*partition), Offset(*offset))));
    }
    let replayed = services.engine.replay(spec, places).await?;
    tell(session, &replayed);
    Ok(Outcome::done(format!("REPLAY {}", replayed.messages)))
}

/// Checks that there is such a table.
pub(super) async fn check(session: &mut Session, replay: Replay) -> Result<()> {
    let definitions = session.services().catalog.snapshot();
    if definitions.table(&replay.table.name).is_none() {
        let other = definitions.get(&replay.table.name);
        return Err(no_table(&replay.table, other, &[]));
    }
    query::rows(session, replay.query).await.map(drop)
}

fn tell(session: &mut Session, replayed: &Replayed) {
    let mut say = |text: String, hint: Option<String>| {
        let said = Error::user(SqlState::SuccessfulCompletion, text);
        let said = match hint {
            Some(hint) => said.hint(hint),
            None => said,
        };
        notice(session, said);
    };
    for (name, state) in &replayed.waiting {
        say(
            format!("query \"{name}\" is {state}: it takes the messages when it goes on"),
            Some(format!(
                "ALTER QUERY {} RESUME lets it go on.",
                sql::quote(name)
            )),
        );
    }
    let messages = |count: usize| match count {
        1 => "1 message".to_owned(),
        count => format!("{count} messages"),
    };
    if replayed.waiting.is_empty() && replayed.rejected > 0 {
        say(
            format!("{} rejected again", messages(replayed.rejected)),
            Some("headwater.dead_letters says why.".to_owned()),
        );
    }
    if replayed.cut > 0 {
        say(
            format!("{} left out", messages(replayed.cut)),
            Some("Only a part was kept, and the topic does not have them any more.".to_owned()),
        );
    }
}

fn no_table(name: &Name, other: Option<&Definition>, names: &[&str]) -> Error {
    let error = match other {
        Some(other) => {
            let text = format!("\"{}\" is not a table", name.name);
            Error::user(SqlState::WrongObjectType, text).hint(format!(
                "It is a {}. Messages are kept for the tables that it reads.",
                other.kind_name()
            ))
        }
        None => {
            let text = format!("table \"{}\" does not exist", name.name);
            let error = Error::user(SqlState::UndefinedTable, text);
            match nearest(&name.name, names) {
                Some(near) => error.hint(format!("Perhaps you meant \"{near}\".")),
                None => error,
            }
        }
    };
    error.at(Some(name.position))
}
