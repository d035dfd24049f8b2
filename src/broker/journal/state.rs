//! What the journal remembers, and how each event changes it. Pure.
//!
//! Invariant: applying the same events gives the same state, and a state is itself an event.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One thing that happened, as it is written to the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Event {
    /// Everything so far, in place of the events before.
    State(Box<JournalState>),
    /// A topic was made.
    TopicCreated { id: u64, topic: TopicRecord },
    /// A topic was dropped, and with it what groups had committed in it.
    TopicDeleted { id: u64 },
    /// A topic has this many partitions now.
    PartitionsAdded { id: u64, partitions: i32 },
    /// A topic has these settings now.
    TopicConfigured {
        id: u64,
        configs: BTreeMap<String, String>,
    },
    /// Records before an offset were deleted.
    StartMoved { id: u64, partition: i32, start: i64 },
    /// A group committed offsets.
    OffsetsCommitted {
        group: String,
        offsets: Vec<GroupOffset>,
    },
    /// A group and its offsets were deleted.
    GroupDeleted { group: String },
    /// Producer ids below this one may be in use.
    ProducerIdsReserved { next: i64 },
    /// A transactional id is in this state.
    Transaction {
        id: String,
        transaction: TransactionRecord,
    },
    /// What was prepared has been carried out in every partition.
    TransactionEnded { id: String },
}

/// The outcome of all events.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JournalState {
    pub(crate) next_topic_id: u64,
    pub(crate) next_producer_id: i64,
    pub(crate) topics: BTreeMap<u64, TopicRecord>,
    pub(crate) groups: BTreeMap<String, GroupOffsets>,
    pub(crate) transactions: BTreeMap<String, TransactionRecord>,
}

/// A topic as it was declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TopicRecord {
    pub(crate) name: String,
    /// Tells the topic from an earlier one of its name; empty when an older version made it.
    #[serde(default)]
    pub(crate) uid: String,
    pub(crate) partitions: i32,
    pub(crate) configs: BTreeMap<String, String>,
    /// Where partitions begin whose records were deleted up to there.
    pub(crate) starts: BTreeMap<i32, i64>,
}

/// What a group committed: topic, partition, offset.
pub(crate) type GroupOffsets = BTreeMap<String, BTreeMap<i32, CommittedOffset>>;

/// An offset that a group committed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CommittedOffset {
    /// The next offset to read.
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: Option<String>,
}

/// A committed offset and what it belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupOffset {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) committed: CommittedOffset,
}

/// Where a transactional id stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TransactionRecord {
    pub(crate) producer_id: i64,
    pub(crate) epoch: i16,
    pub(crate) timeout_ms: u32,
    pub(crate) phase: Phase,
    /// Topics and partitions that the transaction writes to.
    pub(crate) partitions: BTreeSet<(String, i32)>,
    /// Offsets that are committed with it, by group.
    pub(crate) offsets: BTreeMap<String, Vec<GroupOffset>>,
}

/// The life of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// None was begun in this epoch.
    Empty,
    /// Records may be written.
    Ongoing,
    /// It is decided: markers are being written.
    Ending { commit: bool },
    /// The last one is over.
    Ended { committed: bool },
}

impl JournalState {
    /// Takes in an event. One that refers to what does not exist changes nothing.
    pub(crate) fn apply(&mut self, event: Event) {
        match event {
            Event::State(state) => *self = *state,
            Event::TopicCreated { id, topic } => {
                self.next_topic_id = self.next_topic_id.max(id + 1);
                self.topics.insert(id, topic);
            }
            Event::TopicDeleted { id } => self.delete_topic(id),
            Event::PartitionsAdded { id, partitions } => {
                if let Some(topic) = self.topics.get_mut(&id) {
                    topic.partitions = partitions;
                }
            }
            Event::TopicConfigured { id, configs } => {
                if let Some(topic) = self.topics.get_mut(&id) {
                    topic.configs = configs;
                }
            }
            Event::StartMoved {
                id,
                partition,
                start,
            } => {
                if let Some(topic) = self.topics.get_mut(&id) {
                    topic.starts.insert(partition, start);
                }
            }
            Event::OffsetsCommitted { group, offsets } => {
                commit(self.groups.entry(group).or_default(), offsets);
            }
            Event::GroupDeleted { group } => {
                self.groups.remove(&group);
            }
            Event::ProducerIdsReserved { next } => self.next_producer_id = next,
            Event::Transaction { id, transaction } => {
                self.transactions.insert(id, transaction);
            }
            Event::TransactionEnded { id } => self.end_transaction(&id),
        }
    }

    fn delete_topic(&mut self, id: u64) {
        let Some(topic) = self.topics.remove(&id) else {
            return;
        };
        for offsets in self.groups.values_mut() {
            offsets.remove(&topic.name);
        }
        self.groups.retain(|_, offsets| !offsets.is_empty());
    }

    fn end_transaction(&mut self, id: &str) {
        let Some(transaction) = self.transactions.get_mut(id) else {
            return;
        };
        if let Phase::Ending { commit: true } = transaction.phase {
            for (group, offsets) in std::mem::take(&mut transaction.offsets) {
                commit(self.groups.entry(group).or_default(), offsets);
            }
        }
        transaction.end();
    }
}

impl TransactionRecord {
    /// What was prepared has been carried out.
    pub(crate) fn end(&mut self) {
        if let Phase::Ending { commit } = self.phase {
            self.phase = Phase::Ended { committed: commit };
            self.partitions.clear();
            self.offsets.clear();
        }
    }
}

/// Sets what a group committed.
pub(crate) fn commit(group: &mut GroupOffsets, offsets: Vec<GroupOffset>) {
    for GroupOffset {
        topic,
        partition,
        committed,
    } in offsets
    {
        group.entry(topic).or_default().insert(partition, committed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(topic: &str, partition: i32, offset: i64) -> GroupOffset {
        let committed = CommittedOffset {
            offset,
            leader_epoch: 0,
            metadata: None,
        };
        GroupOffset {
            topic: topic.to_owned(),
            partition,
            committed,
        }
    }

    #[test]
    fn offsets_of_a_transaction_count_only_when_it_commits() {
        for commit in [true, false] {
            let mut state = JournalState::default();
            let transaction = TransactionRecord {
                producer_id: 1,
                epoch: 0,
                timeout_ms: 1,
                phase: Phase::Ending { commit },
                partitions: BTreeSet::from([("out".to_owned(), 0)]),
                offsets: BTreeMap::from([("g".to_owned(), vec![offset("in", 0, 7)])]),
            };
            state.apply(Event::Transaction {
                id: "tx".to_owned(),
                transaction,
            });
            assert!(state.groups.is_empty(), "nothing is visible yet");
            state.apply(Event::TransactionEnded {
                id: "tx".to_owned(),
            });
            assert_eq!(state.groups.contains_key("g"), commit);
            let ended = &state.transactions["tx"];
            assert_eq!(ended.phase, Phase::Ended { committed: commit });
            assert!(
                ended.partitions.is_empty() && ended.offsets.is_empty(),
                "it is cleared"
            );
        }
    }

    #[test]
    fn a_deleted_topic_takes_its_offsets_along_and_its_id_is_not_used_again() {
        let mut state = JournalState::default();
        let topic = TopicRecord {
            uid: String::new(),
            name: "t".to_owned(),
            partitions: 1,
            configs: BTreeMap::new(),
            starts: BTreeMap::new(),
        };
        state.apply(Event::TopicCreated { id: 4, topic });
        let offsets = vec![offset("t", 0, 1), offset("other", 0, 2)];
        state.apply(Event::OffsetsCommitted {
            group: "g".to_owned(),
            offsets,
        });
        state.apply(Event::TopicDeleted { id: 4 });
        assert_eq!(state.groups["g"].keys().collect::<Vec<_>>(), ["other"]);
        assert_eq!(state.next_topic_id, 5);
    }
}
