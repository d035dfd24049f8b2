//! Where a query puts what it cannot use: into what the server keeps, and into topics beside it.
//!
//! Invariant: a message goes to its topic at least once, by the query that meets it first or, if that ends before
//! the broker has confirmed it, by the next one; and a query waits for such a topic only a moment. What is kept
//! lasts before the epoch that has read past it.

use std::sync::Arc;
use std::time::Duration;

use super::lane::{LaneOutput, Rejection};
use super::rejected::{DeadLetter, LateRecord, bad_message};
use super::set_aside::{Kind, SetAside, ToTopic};
use crate::crash_point;
use crate::error::{Error, Result};
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
    dead: Option<Side>,
    late: Option<Side>,
}

/// A topic beside the query.
struct Side {
    topic: SideTopic,
    /// What the broker has yet to confirm, by the numbers of what is kept.
    in_hand: Vec<u64>,
}

impl Side {
    /// Sends a message that has this number; false when it does not go.
    fn send(
        &mut self,
        number: u64,
        scan: &ScanSpec,
        message: &Rejection,
        query: Option<&str>,
    ) -> bool {
        self.in_hand.push(number);
        send(&self.topic, scan, message, query)
    }
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
                let side = |topic: &String| {
                    Ok::<_, Error>(Side {
                        topic: SideTopic::open(connection, topic)?,
                        in_hand: Vec::new(),
                    })
                };
                topic.map(side).transpose()
            };
            Ok(Input {
                dead: open(&source.dead_letter_topic)?,
                late: open(&source.late_topic)?,
                source: Arc::clone(source),
            })
        });
        let mut aside = Self {
            query: query.to_owned(),
            created,
            kept: Arc::clone(kept),
            inputs: inputs.collect::<Result<_>>()?,
            lost: 0,
            fresh: false,
        };
        if created {
            aside.send_again()?;
        }
        Ok(aside)
    }

    /// Sends what an earlier run, or another query of the table, has not brought to its topic.
    fn send_again(&mut self) -> Result<()> {
        for Input { source, dead, late } in &mut self.inputs {
            let scan = &source.scan;
            if let Some(side) = dead {
                for (number, letter) in self.kept.unsent_dead(&scan.table)? {
                    self.lost += u64::from(!side.send(number, scan, &letter.message, None));
                }
            }
            if let Some(side) = late {
                for (number, record) in self.kept.unsent_late(&self.query, &scan.table)? {
                    let (message, query) = (&record.late.message, Some(self.query.as_str()));
                    self.lost += u64::from(!side.send(number, scan, message, query));
                }
            }
        }
        Ok(())
    }

    /// Takes what a lane could not use, as each table wants it.
    pub(super) fn take(&mut self, output: &LaneOutput, at: ProcessingTime) -> Result<()> {
        self.fresh |= !output.rejected.is_empty() || !output.late.is_empty();
        for (input, message) in &output.rejected {
            let Input { source, dead, .. } = &mut self.inputs[*input];
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
            let number = self.kept.dead(letter, met_by, to_topic(dead.as_ref()));
            if let Some((side, number)) = dead.as_mut().zip(number) {
                self.lost += u64::from(!side.send(number, &source.scan, message, None));
            }
        }
        for (input, row) in &output.late {
            let Input { source, late, .. } = &mut self.inputs[*input];
            let record = LateRecord {
                query: self.query.clone(),
                table: source.scan.table.clone(),
                late: row.clone(),
                at,
            };
            let number = self.kept.late(record, to_topic(late.as_ref()));
            if let Some((side, number)) = late.as_mut().zip(number) {
                let query = Some(self.query.as_str());
                self.lost += u64::from(!side.send(number, &source.scan, &row.message, query));
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
        for (kind, side) in self.inputs.iter_mut().flat_map(Input::sides) {
            let lost = side.topic.settle(patience);
            self.lost += lost;
            if lost > 0 {
                // Which of them is not known: they go once more, by whoever starts next.
                self.kept.give_up(kind, &std::mem::take(&mut side.in_hand));
            } else if !side.in_hand.is_empty() && side.topic.is_drained() {
                self.kept.sent(kind, &std::mem::take(&mut side.in_hand));
                self.fresh = true;
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

impl Input {
    fn sides(&mut self) -> impl Iterator<Item = (Kind, &mut Side)> {
        let dead = self.dead.iter_mut().map(|side| (Kind::Dead, side));
        dead.chain(self.late.iter_mut().map(|side| (Kind::Late, side)))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        for (kind, side) in self.inputs.iter_mut().flat_map(Input::sides) {
            self.kept.give_up(kind, &side.in_hand);
        }
    }
}

fn to_topic(side: Option<&Side>) -> ToTopic {
    side.map_or(ToTopic::Never, |_| ToTopic::Now)
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
