//! Consumer groups: who takes part, and what was committed.
//!
//! Owns all groups behind one lock; writes commits to the journal before they count.
//! Knows nothing of topics (whether they exist) or of the wire.

mod group;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;
use tracing::error;
use uuid::Uuid;

pub(crate) use group::{Caller, Description, Identity, Join, Joined, JoinedGroup, Synced};

use self::group::Membership;
use super::journal::{CommittedOffset, Event, GroupOffset, GroupOffsets, Journal, commit};
use crate::clock;

/// All groups.
#[derive(Debug)]
pub(crate) struct Groups {
    journal: Arc<Journal>,
    groups_max: usize,
    by_id: Mutex<BTreeMap<String, Group>>,
}

#[derive(Debug, Default)]
struct Group {
    membership: Membership,
    offsets: GroupOffsets,
    /// Partitions whose offset an open transaction is about to set, and its producers.
    undecided: BTreeMap<(String, i32), BTreeSet<i64>>,
}

/// What a group committed for a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FetchedOffset {
    pub(crate) partition: i32,
    /// `None` when nothing was committed.
    pub(crate) committed: Option<CommittedOffset>,
    /// True when an open transaction may change it.
    pub(crate) is_undecided: bool,
}

impl Groups {
    /// The groups that the journal knows.
    pub(crate) fn new(
        journal: Arc<Journal>,
        groups_max: usize,
        offsets: BTreeMap<String, GroupOffsets>,
    ) -> Self {
        let group = |(id, offsets)| {
            (
                id,
                Group {
                    offsets,
                    ..Group::default()
                },
            )
        };
        Self {
            journal,
            groups_max,
            by_id: Mutex::new(offsets.into_iter().map(group).collect()),
        }
    }

    /// Takes a member in; the answer comes when the generation is complete.
    ///
    /// # Errors
    /// It cannot join.
    pub(crate) fn join(
        &self,
        id: &str,
        join: Join,
        now: Instant,
    ) -> Result<oneshot::Receiver<Joined>, ResponseError> {
        let new_id = format!("{}-{}", join.identity.client_id, Uuid::new_v4());
        let mut groups = self.groups();
        let group = self.group(&mut groups, id)?;
        let joined = group.membership.join(join, new_id, now);
        forget_if_unneeded(&mut groups, id);
        joined
    }

    /// Gives a member its share, at once or when the leader has assigned.
    ///
    /// # Errors
    /// The caller is not of this generation, or it must join again.
    pub(crate) fn sync(
        &self,
        id: &str,
        caller: Caller<'_>,
        assignments: Vec<(String, Bytes)>,
        now: Instant,
    ) -> Result<oneshot::Receiver<Synced>, ResponseError> {
        let mut groups = self.groups();
        known(&mut groups, id)?
            .membership
            .sync(caller, assignments, now)
    }

    /// A sign of life.
    ///
    /// # Errors
    /// The caller is not of this generation, or it must join again.
    pub(crate) fn heartbeat(
        &self,
        id: &str,
        caller: Caller<'_>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        known(&mut self.groups(), id)?
            .membership
            .heartbeat(caller, now)
    }

    /// A member goes.
    ///
    /// # Errors
    /// There is no such member.
    pub(crate) fn leave(
        &self,
        id: &str,
        member_id: &str,
        instance: Option<&str>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let mut groups = self.groups();
        let left = known(&mut groups, id)?
            .membership
            .leave(member_id, instance, now);
        forget_if_unneeded(&mut groups, id);
        left
    }

    /// Sets what a group has read up to.
    ///
    /// # Errors
    /// The caller may not, or the journal cannot be written.
    pub(crate) fn commit(
        &self,
        id: &str,
        caller: Caller<'_>,
        offsets: Vec<GroupOffset>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let mut groups = self.groups();
        let group = self.group(&mut groups, id)?;
        let committed = group
            .membership
            .check_commit(caller, false, now)
            .and_then(|()| {
                let event = Event::OffsetsCommitted {
                    group: id.to_owned(),
                    offsets: offsets.clone(),
                };
                self.journal.append(event).map_err(|error| {
                    error!(group = id, %error, "the embedded broker cannot use its storage");
                    ResponseError::CoordinatorNotAvailable
                })?;
                commit(&mut group.offsets, offsets);
                Ok(())
            });
        forget_if_unneeded(&mut groups, id);
        committed
    }

    /// Notes that a transaction is about to set offsets.
    ///
    /// # Errors
    /// The caller may not.
    pub(crate) fn prepare(
        &self,
        id: &str,
        caller: Caller<'_>,
        producer_id: i64,
        offsets: &[GroupOffset],
    ) -> Result<(), ResponseError> {
        let mut groups = self.groups();
        let group = self.group(&mut groups, id)?;
        let prepared = group
            .membership
            .check_commit(caller, true, clock::instant());
        if prepared.is_ok() {
            for offset in offsets {
                let partition = (offset.topic.clone(), offset.partition);
                group
                    .undecided
                    .entry(partition)
                    .or_default()
                    .insert(producer_id);
            }
        }
        forget_if_unneeded(&mut groups, id);
        prepared
    }

    /// Carries out, or forgets, what a transaction was about to set. The journal knows already.
    pub(crate) fn decide(
        &self,
        producer_id: i64,
        offsets: &BTreeMap<String, Vec<GroupOffset>>,
        committed: bool,
    ) {
        let mut groups = self.groups();
        for (id, offsets) in offsets {
            let group = groups.entry(id.clone()).or_default();
            for producers in group.undecided.values_mut() {
                producers.remove(&producer_id);
            }
            group.undecided.retain(|_, producers| !producers.is_empty());
            if committed {
                commit(&mut group.offsets, offsets.clone());
            }
            forget_if_unneeded(&mut groups, id);
        }
    }

    /// What a group committed: for the wanted partitions by topic, or for all there are.
    pub(crate) fn fetch(
        &self,
        id: &str,
        wanted: Option<Vec<(String, Vec<i32>)>>,
    ) -> Vec<(String, Vec<FetchedOffset>)> {
        let groups = self.groups();
        let nothing = Group::default();
        let group = groups.get(id).unwrap_or(&nothing);
        let all = || {
            let topics = group.offsets.iter();
            topics.map(|(topic, offsets)| (topic.clone(), offsets.keys().copied().collect()))
        };
        let fetch = |topic: &str, partition: i32| FetchedOffset {
            partition,
            committed: group
                .offsets
                .get(topic)
                .and_then(|offsets| offsets.get(&partition))
                .cloned(),
            is_undecided: group.undecided.contains_key(&(topic.to_owned(), partition)),
        };
        wanted
            .unwrap_or_else(|| all().collect())
            .into_iter()
            .map(|(topic, partitions)| {
                let offsets = partitions.into_iter().map(|p| fetch(&topic, p)).collect();
                (topic, offsets)
            })
            .collect()
    }

    /// All groups by their ids.
    pub(crate) fn list(&self) -> Vec<(String, Description)> {
        let groups = self.groups();
        groups
            .iter()
            .map(|(id, group)| (id.clone(), group.membership.describe()))
            .collect()
    }

    /// A group; `None` when there is none.
    pub(crate) fn describe(&self, id: &str) -> Option<Description> {
        self.groups()
            .get(id)
            .map(|group| group.membership.describe())
    }

    /// Deletes a group without members, and what it committed.
    ///
    /// # Errors
    /// There is none, it has members, or the journal cannot be written.
    pub(crate) fn delete(&self, id: &str) -> Result<(), ResponseError> {
        let mut groups = self.groups();
        let group = groups.get(id).ok_or(ResponseError::GroupIdNotFound)?;
        if !group.membership.is_empty() || !group.undecided.is_empty() {
            return Err(ResponseError::NonEmptyGroup);
        }
        self.journal
            .append(Event::GroupDeleted {
                group: id.to_owned(),
            })
            .map_err(|_| ResponseError::CoordinatorNotAvailable)?;
        groups.remove(id);
        Ok(())
    }

    /// Forgets what was committed in a topic that was deleted. The journal knows already.
    pub(crate) fn forget_topic(&self, topic: &str) {
        let mut groups = self.groups();
        for group in groups.values_mut() {
            group.offsets.remove(topic);
        }
        groups.retain(|_, group| group.is_needed());
    }

    /// Lets go of members that were not heard of.
    pub(crate) fn tick(&self, now: Instant) {
        let mut groups = self.groups();
        for group in groups.values_mut() {
            group.membership.tick(now);
        }
        groups.retain(|_, group| group.is_needed());
    }

    fn groups(&self) -> MutexGuard<'_, BTreeMap<String, Group>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn group<'a>(
        &self,
        groups: &'a mut BTreeMap<String, Group>,
        id: &str,
    ) -> Result<&'a mut Group, ResponseError> {
        if id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        if groups.len() >= self.groups_max && !groups.contains_key(id) {
            return Err(ResponseError::PolicyViolation);
        }
        Ok(groups.entry(id.to_owned()).or_default())
    }
}

impl Group {
    fn is_needed(&self) -> bool {
        !self.membership.is_empty() || !self.offsets.is_empty() || !self.undecided.is_empty()
    }
}

/// A group that holds nothing need not be kept.
fn forget_if_unneeded(groups: &mut BTreeMap<String, Group>, id: &str) {
    if groups.get(id).is_some_and(|group| !group.is_needed()) {
        groups.remove(id);
    }
}

fn known<'a>(
    groups: &'a mut BTreeMap<String, Group>,
    id: &str,
) -> Result<&'a mut Group, ResponseError> {
    groups.get_mut(id).ok_or(ResponseError::UnknownMemberId)
}
