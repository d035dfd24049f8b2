//! DECLARE, FETCH, MOVE, CLOSE.
//!
//! A FETCH over a live query waits for its first row and then takes what is there, so that a
//! client sees rows when they come. psql's own cursor is the exception: psql takes a short batch
//! for the end of the rows, so it gets as many as it asked for.

use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use tokio::sync::Mutex;

use super::query;
use crate::clock;
use crate::error::{Error, Result, SqlState};
use crate::session::portal::{PortalState, SharedRows};
use crate::session::{Outcome, Portal, Rows, RowsTag, Session, Transaction};
use crate::sql::{Close, Declare, Fetch, FetchCount};

/// The cursor that psql declares for FETCH_COUNT.
const PSQL_CURSOR: &str = "_psql_cursor";

pub(in crate::session) async fn declare(
    session: &mut Session,
    declare: Declare,
) -> Result<Outcome> {
    if session.transaction == Transaction::Idle && !declare.hold {
        return Err(Error::user(
            SqlState::NoActiveSqlTransaction,
            "DECLARE CURSOR can only be used in transaction blocks",
        )
        .hint("Run BEGIN first, or declare the cursor WITH HOLD."));
    }
    if declare.scroll {
        return Err(Error::user(
            SqlState::FeatureNotSupported,
            "a cursor over a stream of rows only goes forward",
        )
        .hint("Leave out SCROLL."));
    }
    let text = declare.query.text.as_str().into();
    let rows = query::rows(session, declare.query).await?;
    let portal = Portal {
        columns: Some(Arc::clone(&rows.schema)),
        formats: if declare.binary { vec![1] } else { Vec::new() },
        text,
        hold: declare.hold,
        cursor: true,
        state: PortalState::Flowing(Arc::new(Mutex::new(rows))),
    };
    session.add_portal(&declare.name.name, portal)?;
    Ok(Outcome::done("DECLARE CURSOR"))
}

pub(in crate::session) fn fetch(session: &Session, fetch: &Fetch) -> Result<Outcome> {
    let portal = session.portal(&fetch.name.name)?;
    let columns = portal.columns.clone().ok_or_else(|| {
        Error::user(
            SqlState::UndefinedCursor,
            format!("portal \"{}\" is not a cursor", fetch.name.name),
        )
    })?;
    let (shared, left) = match &portal.state {
        PortalState::Flowing(rows) => (Some(Arc::clone(rows)), count(fetch)),
        PortalState::Waiting { .. } | PortalState::Done => (None, 0),
    };
    let state = Fetching {
        shared,
        left,
        is_first: true,
        in_full: fetch.name.name == PSQL_CURSOR,
        timeout: fetch
            .timeout
            .map(|micros| Duration::from_micros(u64::try_from(micros).unwrap_or_default())),
    };
    let stream = futures::stream::unfold(state, Fetching::next).boxed();
    Ok(Outcome::Rows(
        Rows::new(columns, stream).tagged(RowsTag::Fetch),
    ))
}

fn count(fetch: &Fetch) -> u64 {
    match fetch.count {
        FetchCount::Rows(rows) => rows,
        FetchCount::All => u64::MAX,
    }
}

/// A FETCH on its way.
struct Fetching {
    shared: Option<SharedRows>,
    /// Rows that may still come.
    left: u64,
    is_first: bool,
    /// Wait for every row that was asked for, not only for the first.
    in_full: bool,
    /// How long to wait for rows in all; what is there by then is what there is.
    timeout: Option<Duration>,
}

impl Fetching {
    async fn next(mut self) -> Option<(Result<arrow::array::RecordBatch>, Self)> {
        let shared = self.shared.clone().filter(|_| self.left > 0)?;
        let mut rows = shared.lock().await;
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
        let patient = self.is_first || self.in_full || !rows.live;
        let next = match (patient, self.timeout) {
            (false, None) => rows.next(wanted).now_or_never().flatten(),
            (_, Some(timeout)) => {
                let started = clock::instant();
                let next = tokio::select! {
                    next = rows.next(wanted) => next,
                    () = clock::sleep(timeout) => None,
                };
                self.timeout = Some(timeout.saturating_sub(started.elapsed()));
                next
            }
            (true, None) => rows.next(wanted).await,
        };
        drop(rows);
        self.is_first = false;
        let batch = next?;
        match &batch {
            Ok(batch) => self.left -= batch.num_rows() as u64,
            Err(_) => self.left = 0,
        }
        Some((batch, self))
    }
}

pub(in crate::session) async fn skip(session: &Session, step: &Fetch) -> Result<Outcome> {
    let Outcome::Rows(mut rows) = fetch(session, step)? else {
        return Err(Error::internal("FETCH without rows"));
    };
    let mut skipped = 0;
    while let Some(batch) = rows.next(0).await {
        skipped += batch?.num_rows();
    }
    Ok(Outcome::done(format!("MOVE {skipped}")))
}

pub(in crate::session) fn close(session: &mut Session, close: &Close) -> Result<Outcome> {
    match close {
        Close::All => {
            session.close_all_portals();
            Ok(Outcome::done("CLOSE CURSOR ALL"))
        }
        Close::Cursor(name) => {
            session
                .portal(&name.name)
                .map_err(|error| error.at(Some(name.position)))?;
            session.close_portal(&name.name);
            Ok(Outcome::done("CLOSE CURSOR"))
        }
    }
}
