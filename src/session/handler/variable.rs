//! SET, SHOW, RESET, DISCARD.

use super::text_table;
use crate::error::{Error, Result, SqlState};
use crate::session::{Notice, Outcome, RowsTag, Session, Severity, Transaction};
use crate::sql::{Discard, Identifier, Reset, Set};

pub(in crate::session) fn set(session: &mut Session, set: &Set) -> Result<Outcome> {
    let value = set.value.as_deref();
    let changed = if set.local {
        if session.transaction == Transaction::Idle {
            session.notice(Notice {
                severity: Severity::Warning,
                content: Error::user(
                    SqlState::NoActiveSqlTransaction,
                    "SET LOCAL can only be used in transaction blocks",
                ),
            });
            return Ok(Outcome::done("SET"));
        }
        session.variables.set_local(&set.name.name, value)
    } else {
        session.variables.set(&set.name.name, value)
    };
    changed.map_err(|error| error.at(Some(set.name.position)))?;
    session.state = None;
    Ok(Outcome::done("SET"))
}

pub(in crate::session) fn reset(session: &mut Session, reset: &Reset) -> Result<Outcome> {
    match reset {
        Reset::Variable(name) => session
            .variables
            .reset(&name.name)
            .map_err(|error| error.at(Some(name.position)))?,
        Reset::All => session.variables.reset_all(),
    }
    session.state = None;
    Ok(Outcome::done("RESET"))
}

pub(in crate::session) fn discard(session: &mut Session, what: Discard) -> Result<Outcome> {
    let word = match what {
        Discard::All => {
            if session.transaction != Transaction::Idle {
                return Err(Error::user(
                    SqlState::ActiveSqlTransaction,
                    "DISCARD ALL cannot run inside a transaction block",
                ));
            }
            session.close_all_portals();
            session.forget_all_prepared();
            session.unlisten(None);
            session.variables.reset_all();
            session.state = None;
            "ALL"
        }
        Discard::Plans => "PLANS",
        Discard::Sequences => "SEQUENCES",
        Discard::Temporary => "TEMP",
    };
    Ok(Outcome::done(format!("DISCARD {word}")))
}

pub(in crate::session) fn show(session: &Session, name: &Identifier) -> Result<Outcome> {
    let at = |error: Error| error.at(Some(name.position));
    let column = session.variables.canonical_name(&name.name).map_err(at)?;
    let value = session.variables.get(&name.name).map_err(at)?;
    Ok(Outcome::table(
        RowsTag::Show,
        text_table(&[(&column, vec![Some(value)])])?,
    ))
}

pub(in crate::session) fn show_all(session: &Session) -> Result<Outcome> {
    let all = session.variables.all();
    let names = all.iter().map(|shown| Some(shown.name.clone())).collect();
    let settings = all
        .iter()
        .map(|shown| Some(shown.setting.clone()))
        .collect();
    let about = all
        .iter()
        .map(|shown| Some(shown.about.to_owned()))
        .collect();
    let table = text_table(&[
        ("name", names),
        ("setting", settings),
        ("description", about),
    ])?;
    Ok(Outcome::table(RowsTag::Show, table))
}
