//! Many live queries that read the same trades, from one moment on.
//!
//! Queries are started one after the other, which would give the first ones a lead. So they start on
//! a topic whose messages belong to an open transaction, and its commit is the moment.

use std::time::Duration;

use headwater::engine::QueryState;

use crate::Context;
use crate::live::{self, Running};
use crate::meter::{Figure, measure};
use crate::table::wait;
use crate::trades::{self, Hidden};

/// How often the queries are looked at until they wait.
const LOOK: Duration = Duration::from_millis(10);
/// So long they are left alone then, so that those that read together have met.
const SETTLED: Duration = Duration::from_millis(500);

/// Starts the queries, shows the trades, and measures until each query has read all of them.
///
/// # Errors
/// What a query or the broker refuses.
pub(crate) fn run(context: &Context, queries: &[String], rows: u64) -> Result<Figure, String> {
    let hidden = Hidden::filled(&context.servers, rows).map_err(|error| error.to_string())?;
    let tables = [trades::table(&hidden.topic)];
    let (session, running) = wait(context, async {
        let session = live::session(&tables).await?;
        let running = live::start(&session, queries).await?;
        while !all_run(&running) {
            tokio::time::sleep(LOOK).await;
        }
        tokio::time::sleep(SETTLED).await;
        Ok((session, running))
    })?;
    let shared = running.queries.clone();
    let figure = measure(rows, || {
        hidden.show().map_err(|error| error.to_string())?;
        wait(context, running.end(rows, |_| {}))
    })?;
    let statuses = shared.iter().map(|query| query.status());
    let mut groups: Vec<u64> = statuses
        .flat_map(|status| status.scans)
        .map(|scan| scan.group)
        .collect();
    groups.sort_unstable();
    groups.dedup();
    if groups.len() > 1 {
        println!(
            "not all together: {} queries, {} groups",
            shared.len(),
            groups.len()
        );
    }
    drop(session);
    Ok(figure)
}

fn all_run(running: &Running) -> bool {
    let mut queries = running.queries.iter();
    queries.all(|query| {
        let status = query.status();
        matches!(status.state, QueryState::Running) && !status.scans.is_empty()
    })
}
