//! Where a query puts what it cannot use: into what the server keeps, and into topics beside it.
//!
//! Invariant: a message goes to its topic when the server meets it for the first time, and a query waits
//! for such a topic only a moment. What is kept lasts before the epoch that has read past it.

use std::sync::Arc;
use std::time::Duration;

use super::lane::{LaneOutput, Rejection};
use super::rejected::{DeadLetter, LateRecord, bad_message};
use super::set_aside::SetAside;
use crate::crash_point;
use crate::error::Result;
use crate::plan::{OnError, ScanSpec, SourcePlan};
use crate::sink::kafka::{HeaderText, Outgoing, SideTopic};
use crate::types::ProcessingTime;

/// How long the end of an epoch waits for the topics.
const PATIENCE: Duration = Duration::from_millis(200);
/// The same when somebody waits for a FLUSH.
const FLUSH_PATIENCE: Duration = Duration::from_secs(3);

/// Takes messages that are no rows, and rows that came too late.
pub(super) struct Aside {
    query: String,
    /// Whether the query was created, and may be handed messages again.
    created: bool,
    kept: Arc<SetAside>,
    inputs: Vec<Input>,
    /// Messages that did not reach their topic.
    lost: u64,
    /// True when something was kept since that was made to last.
    fresh: bool,
}

struct Input {
    source: Arc<SourcePlan>,
    dead: Option<SideTopic>,
    late: Option<SideTopic>,
}

impl Aside {
    pub(super) fn try_new(
        (query, created): (&str, bool),
        kept: &Arc<SetAside>,
        sources: &[Arc<SourcePlan>],
    ) -> Result<Self> {
        let inputs = sources.iter().map(|source| {
            let open = |topic: &Option<String>| {
                let connection = &source.scan.connection;
                let topic = topic.as_ref();
                topic
                    .map(|topic| SideTopic::open(connection, topic))
                    .transpose()
            };
            Ok(Input {
                dead: open(&source.dead_letter_topic)?,
                late: open(&source.late_topic)?,
                source: Arc::clone(source),
            })
        });
        Ok(Self {
            query: query.to_owned(),
            created,
            kept: Arc::clone(kept),
            inputs: inputs.collect::<Result<_>>()?,
            lost: 0,
            fresh: false,
        })
    }

    /// Takes what a lane could not use, as each table wants it.
    pub(super) fn take(&mut self, output: &LaneOutput, at: ProcessingTime) -> Result<()> {
        self.fresh |= !output.rejected.is_empty() || !output.late.is_empty();
        for (input, message) in &output.rejected {
            let Input { source, dead, .. } = &self.inputs[*input];
            match source.on_error {
                OnError::Fail => return Err(bad_message(&source.scan.topic, message)),
                OnError::Skip => continue,
                OnError::DeadLetter => {}
            }
            let letter = DeadLetter {
                table: source.scan.table.clone(),
                topic: source.scan.topic.clone(),
                message: message.clone(),
                at,
            };
            let met_by = self.created.then_some((self.query.as_str(), *input));
            let is_new = self.kept.dead(letter, met_by);
            if let Some(topic) = dead.as_ref().filter(|_| is_new) {
                self.lost += u64::from(!send(topic, &source.scan, message, None));
            }
        }
        for (input, row) in &output.late {
            let Input { source, late, .. } = &self.inputs[*input];
            let record = LateRecord {
                query: self.query.clone(),
                table: source.scan.table.clone(),
                late: row.clone(),
                at,
            };
            let is_new = self.kept.late(record);
            if let Some(topic) = late.as_ref().filter(|_| is_new) {
                let query = Some(self.query.as_str());
                self.lost += u64::from(!send(topic, &source.scan, &row.message, query));
            }
        }
        Ok(())
    }

    /// Makes what was kept last, after a moment's wait for the topics, a longer one for a FLUSH; gives
    /// how many messages did not reach them so far.
    ///
    /// # Errors
    /// A disk that refuses.
    pub(super) fn settle(&mut self, flush: bool) -> Result<u64> {
        let patience = if flush { FLUSH_PATIENCE } else { PATIENCE };
        for input in &self.inputs {
            for topic in input.dead.iter().chain(&input.late) {
                self.lost += topic.settle(patience);
            }
        }
        if self.fresh {
            self.kept.persist()?;
            self.fresh = false;
            crash_point::reach("what was set aside is kept, its epoch has not ended");
        }
        Ok(self.lost)
    }
}

/// Sends the message as it was, with headers that say why and from where, and for which query it was
/// too late.
fn send(topic: &SideTopic, scan: &ScanSpec, message: &Rejection, query: Option<&str>) -> bool {
    let mut headers = own_headers(message);
    let mut header = |name: &str, value: String| {
        headers.push((format!("headwater.{name}"), Some(value.into_bytes())));
    };
    header("reason", message.reason.clone());
    header("topic", scan.topic.clone());
    header("partition", message.partition.0.to_string());
    header("offset", message.offset.0.to_string());
    if let Some(query) = query {
        header("query", query.to_owned());
    }
    topic.send(Outgoing {
        key: message.key.as_deref(),
        value: message.payload.as_deref(),
        headers: &headers,
        timestamp_ms: (message.timestamp_ms >= 0).then_some(message.timestamp_ms),
    })
}

/// The message's own headers; the source gives them as a JSON object.
fn own_headers(message: &Rejection) -> Vec<HeaderText> {
    let parsed = message
        .headers
        .as_ref()
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(bytes).ok());
    let Some(serde_json::Value::Object(object)) = parsed else {
        return Vec::new();
    };
    let value = |value: serde_json::Value| match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(text.into_bytes()),
        other => Some(other.to_string().into_bytes()),
    };
    object
        .into_iter()
        .map(|(name, given)| (name, value(given)))
        .collect()
}
