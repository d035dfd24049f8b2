//! BEGIN, COMMIT, ROLLBACK, savepoints, SET TRANSACTION.
//!
//! Savepoints are accepted for the drivers that set them around each statement: going back to one
//! lets a failed transaction go on, and undoes nothing.

use crate::error::{Error, Result, SqlState};
use crate::session::{Notice, Outcome, Session, Severity, Transaction};
use crate::sql::{EndTransaction, SetTransaction, TransactionModes};

pub(in crate::session) fn begin(
    session: &mut Session,
    modes: &TransactionModes,
) -> Result<Outcome> {
    match session.transaction {
        Transaction::Idle => session.begin(),
        Transaction::Open | Transaction::Failed => warn(
            session,
            SqlState::ActiveSqlTransaction,
            "there is already a transaction in progress",
        ),
    }
    apply(session, modes, false)?;
    Ok(Outcome::done("BEGIN"))
}

pub(in crate::session) fn commit(session: &mut Session, end: EndTransaction) -> Result<Outcome> {
    let keep = session.transaction != Transaction::Failed;
    finish(session, end, keep)?;
    Ok(Outcome::done(if keep { "COMMIT" } else { "ROLLBACK" }))
}

pub(in crate::session) fn rollback(session: &mut Session, end: EndTransaction) -> Result<Outcome> {
    finish(session, end, false)?;
    Ok(Outcome::done("ROLLBACK"))
}

fn finish(session: &mut Session, end: EndTransaction, keep: bool) -> Result<()> {
    if session.transaction == Transaction::Idle {
        if end.chain {
            return Err(no_transaction("COMMIT AND CHAIN"));
        }
        warn(
            session,
            SqlState::NoActiveSqlTransaction,
            "there is no transaction in progress",
        );
        return Ok(());
    }
    session.end(keep);
    if end.chain {
        session.begin();
    }
    Ok(())
}

pub(in crate::session) fn savepoint(session: &Session) -> Result<Outcome> {
    require(session, "SAVEPOINT").map(|()| Outcome::done("SAVEPOINT"))
}

pub(in crate::session) fn release(session: &Session) -> Result<Outcome> {
    require(session, "RELEASE SAVEPOINT").map(|()| Outcome::done("RELEASE"))
}

pub(in crate::session) fn rollback_to(session: &mut Session) -> Result<Outcome> {
    require(session, "ROLLBACK TO SAVEPOINT")?;
    session.transaction = Transaction::Open;
    Ok(Outcome::done("ROLLBACK"))
}

fn require(session: &Session, what: &str) -> Result<()> {
    match session.transaction {
        Transaction::Idle => Err(no_transaction(what)),
        Transaction::Open | Transaction::Failed => Ok(()),
    }
}

fn no_transaction(what: &str) -> Error {
    Error::user(
        SqlState::NoActiveSqlTransaction,
        format!("{what} can only be used in transaction blocks"),
    )
}

pub(in crate::session) fn set(session: &mut Session, set: &SetTransaction) -> Result<Outcome> {
    apply(session, &set.modes, set.session)?;
    Ok(Outcome::done("SET"))
}

/// Keeps the modes as the variables that clients ask for.
fn apply(session: &mut Session, modes: &TransactionModes, lasting: bool) -> Result<()> {
    let read_only = modes
        .read_only
        .map(|on| if on { "on" } else { "off" }.to_owned());
    let named = [
        ("isolation", modes.isolation.clone()),
        ("read_only", read_only),
    ];
    for (name, value) in named {
        let Some(value) = value else { continue };
        if lasting {
            session
                .variables
                .set(&format!("default_transaction_{name}"), Some(&value))?;
        } else {
            session
                .variables
                .set_local(&format!("transaction_{name}"), Some(&value))?;
        }
    }
    Ok(())
}

fn warn(session: &mut Session, state: SqlState, message: &str) {
    let content = Error::user(state, message);
    session.notice(Notice {
        severity: Severity::Warning,
        content,
    });
}
