//! What FLUSH waits for: that a query has committed what the topics held when it was asked.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::status::{PartitionStatus, QueryShared, QueryState, QueryStatus};
use super::supervisor::Control;
use crate::clock;
use crate::error::{Error, Result};
use crate::source::{ANSWER_TIMEOUT, Cluster};
use crate::task;
use crate::types::{InputPartition, KafkaConnection, Offset};

/// The queries that could not be waited for.
#[derive(Debug, Default)]
pub struct Flushed {
    /// The names of those that are paused.
    pub paused: Vec<String>,
    /// The names of those that have ended by themselves and have not read what has come since.
    pub finished: Vec<String>,
    /// The names of those that have failed, each with its error if one is known.
    pub failed: Vec<(String, Option<Error>)>,
    /// The names of those whose rows find no room where they go.
    pub stuck: Vec<String>,
}

/// How the wait for one query ended.
pub(super) enum End {
    /// It has committed everything.
    Done,
    /// It has come to its own end, and there is more.
    Finished,
    /// It stands still until somebody resumes it.
    Paused,
    /// It stands still because of this error.
    Failed(Option<Error>),
    /// Its rows find no room where they go.
    Stuck,
}

/// Tells of a query whether its rows find no room where they go, and nothing leads to expect any.
type IsStuck<'a> = &'a (dyn Fn(&str) -> bool + Send + Sync);

/// Is told of a query that is waited for, and why that takes long.
type Waits<'a> = &'a (dyn Fn(&str, &str) + Send + Sync);

/// What a FLUSH asks and tells while it waits.
#[derive(Clone, Copy)]
pub struct Watcher<'a> {
    /// Whether a query's rows find no room.
    pub is_stuck: IsStuck<'a>,
    /// Told at most once a query.
    pub waits: Waits<'a>,
}

/// How often a query of which nothing is heard is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// For so long a query may be in trouble before that is told.
const PATIENCE: Duration = Duration::from_secs(3);

/// Waits for one query.
///
/// # Errors
/// When its broker does not answer.
pub(super) async fn flush_one(
    shared: &Arc<QueryShared>,
    control: &Arc<Control>,
    watcher: Watcher<'_>,
) -> Result<End> {
    let mut changes = shared.watch();
    if let Some(end @ (End::Paused | End::Failed(_))) = stands(shared, &shared.status()) {
        return Ok(end);
    }
    let start = clock::instant();
    let topics = shared.topics.clone();
    let mut asking = pin!(task::spawn_blocking(move || ends_of(&topics)));
    let mut is_told = false;
    let ends = match timeout(PATIENCE, &mut asking).await {
        Ok(ends) => ends?,
        Err(_) => {
            (watcher.waits)(&shared.name, "its broker does not answer");
            is_told = true;
            asking.await?
        }
    };
    control.wake();
    loop {
        let status = shared.status();
        let reaches = |how_far: fn(&PartitionStatus) -> Option<Offset>| {
            ends.iter().all(|(partition, end)| {
                let reached = status.partitions.get(partition).and_then(how_far);
                reached.is_some_and(|reached| reached >= *end)
            })
        };
        let done = reaches(|partition| partition.committed);
        match stands(shared, &status) {
            Some(End::Finished) if done => return Ok(End::Done),
            Some(end) => return Ok(end),
            None => {}
        }
        if done {
            return Ok(End::Done);
        }
        if !is_told
            && start.elapsed() >= PATIENCE
            && let Some(why) = trouble(&status, reaches(|partition| partition.next))
        {
            (watcher.waits)(&shared.name, &why);
            is_told = true;
        }
        match timeout(LOOK, changes.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Ok(End::Done),
            Err(_) if (watcher.is_stuck)(&shared.name) => return Ok(End::Stuck),
            Err(_) => {}
        }
    }
}

/// What keeps a query from going on, while it does. `all_read`: only its epoch has yet to end.
fn trouble(status: &QueryStatus, all_read: bool) -> Option<String> {
    match (&status.trouble, &status.state) {
        (Some(trouble), _) => Some(trouble.clone()),
        (None, QueryState::Retrying) => status.last_error.as_ref().map(ToString::to_string),
        (None, _) if !all_read => None,
        (None, _) if status.sink_backlog == 0 => {
            Some("what it has read is not committed yet".to_owned())
        }
        (None, _) => Some("where its rows go has not confirmed them".to_owned()),
    }
}

/// How the wait ends for a query that does not go on.
fn stands(shared: &QueryShared, status: &QueryStatus) -> Option<End> {
    if shared.is_paused() {
        return Some(End::Paused);
    }
    match status.state {
        QueryState::Failed => Some(End::Failed(status.last_error.clone())),
        QueryState::Finished => Some(End::Finished),
        QueryState::Starting | QueryState::Running | QueryState::Paused | QueryState::Retrying => {
            None
        }
    }
}

/// The ends of all partitions that a query reads.
pub(super) fn ends_of(
    topics: &[(KafkaConnection, String, bool)],
) -> Result<BTreeMap<InputPartition, Offset>> {
    let mut ends = BTreeMap::new();
    for (input, (connection, topic, read_committed)) in topics.iter().enumerate() {
        let cluster = Cluster::connect(connection)?.read_committed(*read_committed);
        let partitions = cluster.partitions(topic, ANSWER_TIMEOUT)?;
        for range in cluster.offsets(topic, &partitions, ANSWER_TIMEOUT)? {
            let partition = range.partition;
            ends.insert(InputPartition { input, partition }, range.end);
        }
    }
    Ok(ends)
}
