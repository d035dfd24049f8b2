//! Live queries in this process, from the beginning of their topics to the end.

use std::sync::Arc;

use futures::stream::{StreamExt, select_all};
use headwater::config::Config;
use headwater::engine::{QueryShared, QueryState, QueryStatus};
use headwater::error::{Error, Result};
use headwater::session::{Outcome, RowStream, Services, Session};

/// A session of services of its own, in which these statements have run.
pub(crate) async fn session(statements: &[String]) -> Result<Session> {
    let services = Services::in_memory(Arc::new(Config::default()))?;
    let mut session = Session::new(services);
    for statement in statements {
        execute(&mut session, statement).await?;
    }
    Ok(session)
}

/// Runs one statement.
pub(crate) async fn execute(session: &mut Session, text: &str) -> Result<Outcome> {
    let parsed = session.parse(text)?.remove(0);
    session.execute(parsed, &[]).await
}

/// Runs these queries at once until each has read so many rows, and drops what they give. `seen` is
/// told how one of them stands, after each of its micro-batches.
pub(crate) async fn run(
    of: &Session,
    queries: &[String],
    rows: u64,
    seen: impl FnMut(&QueryStatus),
) -> Result<()> {
    start(of, queries).await?.end(rows, seen).await
}

/// Queries that have been started.
pub(crate) struct Running {
    streams: Vec<RowStream>,
    pub(crate) queries: Vec<Arc<QueryShared>>,
}

/// Starts these queries, one after the other.
pub(crate) async fn start(of: &Session, queries: &[String]) -> Result<Running> {
    let mut running = Running {
        streams: Vec::new(),
        queries: Vec::new(),
    };
    for query in queries {
        let mut session = Session::new(Arc::clone(of.services()));
        execute(&mut session, "SET live_start = 'earliest'").await?;
        // A view gives its rows to nobody.
        if let Outcome::Rows(live) = execute(&mut session, query).await? {
            running.streams.push(live.stream);
        }
        running.queries.extend(of.services().engine.queries().pop());
    }
    Ok(running)
}

impl Running {
    /// Waits until each has read so many rows.
    pub(crate) async fn end(self, rows: u64, mut seen: impl FnMut(&QueryStatus)) -> Result<()> {
        let ends = async {
            for query in &self.queries {
                end(query, rows, &mut seen).await?;
            }
            Ok(())
        };
        tokio::select! {
            error = drop_all(self.streams) => Err(error),
            ended = ends => ended,
        }
    }
}

/// Takes rows until one of the queries fails.
async fn drop_all(streams: Vec<RowStream>) -> Error {
    let mut all = select_all(streams);
    while let Some(batch) = all.next().await {
        if let Err(error) = batch {
            return error;
        }
    }
    std::future::pending().await
}

/// Waits until a query has read so many rows.
async fn end(query: &QueryShared, rows: u64, seen: &mut impl FnMut(&QueryStatus)) -> Result<()> {
    let mut changes = query.watch();
    loop {
        let status = query.status();
        seen(&status);
        if status.rows_in >= rows {
            return Ok(());
        }
        if let (QueryState::Failed | QueryState::Retrying, Some(error)) =
            (&status.state, status.last_error)
        {
            return Err(error);
        }
        if changes.changed().await.is_err() {
            return Err(Error::internal("the query has ended"));
        }
    }
}
