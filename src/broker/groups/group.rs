//! One consumer group: members join, one of them assigns partitions, all learn their share.
//!
//! Pure: time comes in as an argument, answers leave through channels. Knows nothing of offsets.
//!
//! ```text
//!          join                 all joined, or time is up         the leader assigned
//! Empty ---------> Joining -----------------------------> Syncing -------------------> Stable
//!   ^                ^                                       |                           |
//!   +- last leaves   +---------------------------------------+- join, leave, lost -------+
//! ```
//! Invariant: `Empty` if and only if there is no member; each return to `Joining` is followed by a
//! higher generation.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::ResponseError;
use tokio::sync::oneshot;

/// The members of a group and what they agreed on.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    phase: Phase,
    generation: i32,
    protocol_type: String,
    protocol: String,
    leader: String,
    members: BTreeMap<String, Member>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Empty,
    /// Waits for all members; who has not joined by then is left out.
    Joining {
        until: Instant,
    },
    /// Waits for the leader; who has not asked by then is left out.
    Syncing {
        until: Instant,
    },
    Stable,
}

#[derive(Debug)]
struct Member {
    identity: Identity,
    session_timeout: Duration,
    rebalance_timeout: Duration,
    protocols: Vec<(String, Bytes)>,
    last_seen: Instant,
    joining: Option<oneshot::Sender<Joined>>,
    syncing: Option<oneshot::Sender<Synced>>,
    assignment: Bytes,
}

/// Who a member is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Identity {
    /// A name that the member keeps when it starts again.
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
}

/// A wish to take part in the group.
#[derive(Debug, Clone)]
pub(crate) struct Join {
    /// Empty the first time.
    pub(crate) member_id: String,
    pub(crate) identity: Identity,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocol_type: String,
    /// In the order of preference, each with what the assigning member needs to know.
    pub(crate) protocols: Vec<(String, Bytes)>,
}

/// The answer to a join.
pub(crate) type Joined = Result<JoinedGroup, ResponseError>;
/// The answer to a sync.
pub(crate) type Synced = Result<Assignment, ResponseError>;

/// A generation, as a member learns of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JoinedGroup {
    pub(crate) generation: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) leader: String,
    pub(crate) member_id: String,
    /// Id, instance and metadata of each; empty but for the leader.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

/// A member's share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) assignment: Bytes,
}

/// A request of a member that has joined.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(crate) member_id: &'a str,
    pub(crate) instance: Option<&'a str>,
    pub(crate) generation: i32,
}

/// A group as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) state: &'static str,
    pub(crate) protocol_type: String,
    pub(crate) protocol: String,
    pub(crate) members: Vec<MemberDescription>,
}

/// A member as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberDescription {
    pub(crate) id: String,
    pub(crate) identity: Identity,
    pub(crate) metadata: Bytes,
    pub(crate) assignment: Bytes,
}

impl Membership {
    /// Takes a member in, or back in; `new_id` is for one that has none. The answer comes when the
    /// generation is complete.
    ///
    /// # Errors
    /// The member is unknown, or its protocols do not fit the group.
    pub(crate) fn join(
        &mut self,
        join: Join,
        new_id: String,
        now: Instant,
    ) -> Result<oneshot::Receiver<Joined>, ResponseError> {
        self.check_protocols(&join)?;
        let id = self.identify(&join, new_id)?;
        let (sender, receiver) = oneshot::channel();
        if self.is_settled(&id, &join) {
            let member = self.members.get_mut(&id).expect("only members are settled");
            member.last_seen = now;
            let _gone = sender.send(Ok(self.joined(&id)));
            return Ok(receiver);
        }
        self.protocol_type = join.protocol_type;
        let assignment = self.members.remove(&id).map(|member| member.assignment);
        let member = Member {
            identity: join.identity,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: join.protocols,
            last_seen: now,
            joining: Some(sender),
            syncing: None,
            assignment: assignment.unwrap_or_default(),
        };
        self.members.insert(id, member);
        self.rebalance(now);
        self.complete_join(now);
        Ok(receiver)
    }

    /// Gives a member its share, at once or when the leader has assigned. `assignments` is what the
    /// leader decided; empty for the others.
    ///
    /// # Errors
    /// The caller is not of this generation, or it must join again.
    pub(crate) fn sync(
        &mut self,
        caller: Caller<'_>,
        assignments: Vec<(String, Bytes)>,
        now: Instant,
    ) -> Result<oneshot::Receiver<Synced>, ResponseError> {
        let member = self.member(caller)?;
        member.last_seen = now;
        let (sender, receiver) = oneshot::channel();
        member.syncing = Some(sender);
        match self.phase {
            Phase::Empty | Phase::Joining { .. } => return Err(ResponseError::RebalanceInProgress),
            Phase::Syncing { .. } if caller.member_id == self.leader => {
                for (id, assignment) in assignments {
                    if let Some(member) = self.members.get_mut(&id) {
                        member.assignment = assignment;
                    }
                }
                self.phase = Phase::Stable;
                self.answer_syncs();
            }
            Phase::Syncing { .. } => {}
            Phase::Stable => self.answer_syncs(),
        }
        Ok(receiver)
    }

    /// A sign of life.
    ///
    /// # Errors
    /// The caller is not of this generation, or it must join again.
    pub(crate) fn heartbeat(
        &mut self,
        caller: Caller<'_>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        self.member(caller)?.last_seen = now;
        match self.phase {
            Phase::Joining { .. } => Err(ResponseError::RebalanceInProgress),
            Phase::Empty | Phase::Syncing { .. } | Phase::Stable => Ok(()),
        }
    }

    /// A member goes; it is named by its id or its instance.
    ///
    /// # Errors
    /// There is no such member.
    pub(crate) fn leave(
        &mut self,
        member_id: &str,
        instance: Option<&str>,
        now: Instant,
    ) -> Result<(), ResponseError> {
        let id = match instance {
            None => member_id.to_owned(),
            Some(instance) => {
                let id = self
                    .id_of_instance(instance)
                    .ok_or(ResponseError::UnknownMemberId)?;
                if !member_id.is_empty() && member_id != id {
                    return Err(ResponseError::FencedInstanceId);
                }
                id
            }
        };
        let member = self
            .members
            .remove(&id)
            .ok_or(ResponseError::UnknownMemberId)?;
        member.dismiss(ResponseError::UnknownMemberId);
        self.lost_members(now);
        Ok(())
    }

    /// Lets go of members that were not heard of, and of waits that took too long.
    pub(crate) fn tick(&mut self, now: Instant) {
        let before = self.members.len();
        self.members.retain(|_, member| !member.is_lost(now));
        if self.members.len() < before {
            self.lost_members(now);
        }
        match self.phase {
            Phase::Joining { until } if now >= until => {
                self.members.retain(|_, member| member.joining.is_some());
                self.lost_members(now);
            }
            Phase::Syncing { until } if now >= until => {
                self.members.retain(|_, member| member.syncing.is_some());
                self.lost_members(now);
            }
            Phase::Empty | Phase::Joining { .. } | Phase::Syncing { .. } | Phase::Stable => {}
        }
    }

    /// Whether a commit may come from this caller. One without id and generation is not a member:
    /// it may commit while there are none, and in a transaction.
    ///
    /// # Errors
    /// It may not.
    pub(crate) fn check_commit(
        &mut self,
        caller: Caller<'_>,
        in_transaction: bool,
        now: Instant,
    ) -> Result<(), ResponseError> {
        if caller.generation < 0 && (in_transaction || self.members.is_empty()) {
            return Ok(());
        }
        self.member(caller)?.last_seen = now;
        match self.phase {
            Phase::Syncing { .. } if !in_transaction => Err(ResponseError::RebalanceInProgress),
            Phase::Empty | Phase::Joining { .. } | Phase::Syncing { .. } | Phase::Stable => Ok(()),
        }
    }

    /// True while nobody takes part.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The group as an administrator sees it.
    pub(crate) fn describe(&self) -> Description {
        let stable = self.phase == Phase::Stable;
        let describe = |(id, member): (&String, &Member)| MemberDescription {
            id: id.clone(),
            identity: member.identity.clone(),
            metadata: if stable {
                member.metadata(&self.protocol)
            } else {
                Bytes::new()
            },
            assignment: if stable {
                member.assignment.clone()
            } else {
                Bytes::new()
            },
        };
        Description {
            state: match self.phase {
                Phase::Empty => "Empty",
                Phase::Joining { .. } => "PreparingRebalance",
                Phase::Syncing { .. } => "CompletingRebalance",
                Phase::Stable => "Stable",
            },
            protocol_type: self.protocol_type.clone(),
            protocol: if stable {
                self.protocol.clone()
            } else {
                String::new()
            },
            members: self.members.iter().map(describe).collect(),
        }
    }

    fn check_protocols(&self, join: &Join) -> Result<(), ResponseError> {
        let others = || self.members.iter().filter(|(id, _)| **id != join.member_id);
        let fits = |name: &str| others().all(|(_, other)| other.supports(name));
        let is_same_type = others().next().is_none() || self.protocol_type == join.protocol_type;
        let named = !join.protocol_type.is_empty();
        if named && is_same_type && join.protocols.iter().any(|(name, _)| fits(name)) {
            return Ok(());
        }
        Err(ResponseError::InconsistentGroupProtocol)
    }

    /// The id under which a member joins. An instance that starts again takes its old place.
    fn identify(&mut self, join: &Join, new_id: String) -> Result<String, ResponseError> {
        let by_instance = join
            .identity
            .instance
            .as_deref()
            .and_then(|i| self.id_of_instance(i));
        match by_instance {
            Some(old_id) if join.member_id.is_empty() => {
                let mut member = self.members.remove(&old_id).expect("it was found here");
                member.answer(ResponseError::FencedInstanceId);
                if self.leader == old_id {
                    self.leader.clone_from(&new_id);
                }
                self.members.insert(new_id.clone(), member);
                Ok(new_id)
            }
            Some(id) if join.member_id != id => Err(ResponseError::FencedInstanceId),
            Some(id) => Ok(id),
            None if join.member_id.is_empty() => Ok(new_id),
            None if self.members.contains_key(&join.member_id) => Ok(join.member_id.clone()),
            None => Err(ResponseError::UnknownMemberId),
        }
    }

    /// True when a member asks again for what it has: no new generation is needed.
    fn is_settled(&self, id: &str, join: &Join) -> bool {
        let known = !join.member_id.is_empty();
        let same = self
            .members
            .get(id)
            .is_some_and(|member| member.protocols == join.protocols);
        let complete = match self.phase {
            Phase::Empty | Phase::Joining { .. } => false,
            Phase::Syncing { .. } => true,
            Phase::Stable => id != self.leader, // The leader joins again to have it all assigned anew.
        };
        known && same && complete
    }

    fn id_of_instance(&self, instance: &str) -> Option<String> {
        let mut members = self.members.iter();
        let is_it = |member: &Member| member.identity.instance.as_deref() == Some(instance);
        members
            .find(|(_, member)| is_it(member))
            .map(|(id, _)| id.clone())
    }

    fn member(&mut self, caller: Caller<'_>) -> Result<&mut Member, ResponseError> {
        if let Some(id) = caller
            .instance
            .and_then(|instance| self.id_of_instance(instance))
            && id != caller.member_id
        {
            return Err(ResponseError::FencedInstanceId);
        }
        let member = self
            .members
            .get_mut(caller.member_id)
            .ok_or(ResponseError::UnknownMemberId)?;
        if caller.generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        Ok(member)
    }

    fn rebalance(&mut self, now: Instant) {
        if let Phase::Joining { .. } = self.phase {
            return;
        }
        self.phase = Phase::Joining {
            until: now + self.rebalance_timeout(),
        };
        for member in self.members.values_mut() {
            if let Some(sender) = member.syncing.take() {
                let _gone = sender.send(Err(ResponseError::RebalanceInProgress));
            }
        }
    }

    fn rebalance_timeout(&self) -> Duration {
        self.members
            .values()
            .map(|member| member.rebalance_timeout)
            .max()
            .unwrap_or_default()
    }

    fn lost_members(&mut self, now: Instant) {
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            self.generation += 1;
            return;
        }
        self.rebalance(now);
        self.complete_join(now);
    }

    fn complete_join(&mut self, now: Instant) {
        if !self.members.values().all(|member| member.joining.is_some()) {
            return;
        }
        self.generation += 1;
        self.phase = Phase::Syncing {
            until: now + self.rebalance_timeout(),
        };
        self.protocol = self.vote();
        if !self.members.contains_key(&self.leader) {
            self.leader
                .clone_from(self.members.keys().next().expect("there is a member"));
        }
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            let member = self
                .members
                .get_mut(&id)
                .expect("the id was taken from here");
            member.last_seen = now;
            if let Some(sender) = member.joining.take() {
                let _gone = sender.send(Ok(joined));
            }
        }
    }

    fn joined(&self, member_id: &str) -> JoinedGroup {
        let describe = |(id, member): (&String, &Member)| {
            (
                id.clone(),
                member.identity.instance.clone(),
                member.metadata(&self.protocol),
            )
        };
        let is_leader = member_id == self.leader;
        let members = self
            .members
            .iter()
            .filter(|_| is_leader)
            .map(describe)
            .collect();
        JoinedGroup {
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            member_id: member_id.to_owned(),
            members,
        }
    }

    /// The protocol that all support and most prefer; the first by name if several are even.
    fn vote(&self) -> String {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            let all_support = |name: &str| self.members.values().all(|other| other.supports(name));
            let mut names = member.protocols.iter().map(|(name, _)| name.as_str());
            if let Some(preferred) = names.find(|name| all_support(name)) {
                *votes.entry(preferred).or_default() += 1;
            }
        }
        let most = votes.values().max().copied();
        let winner = votes.iter().find(|(_, count)| Some(**count) == most);
        winner
            .map(|(name, _)| (*name).to_owned())
            .unwrap_or_default()
    }

    fn answer_syncs(&mut self) {
        for member in self.members.values_mut() {
            if let Some(sender) = member.syncing.take() {
                let _gone = sender.send(Ok(Assignment {
                    protocol_type: self.protocol_type.clone(),
                    protocol: self.protocol.clone(),
                    assignment: member.assignment.clone(),
                }));
            }
        }
    }
}

impl Member {
    fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| name == protocol)
    }

    fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found
            .map(|(_, metadata)| metadata.clone())
            .unwrap_or_default()
    }

    /// True when its connection went while it waited, or when it was silent for too long.
    fn is_lost(&self, now: Instant) -> bool {
        match (&self.joining, &self.syncing) {
            (Some(joining), _) => joining.is_closed(),
            (None, Some(syncing)) => syncing.is_closed(),
            (None, None) => now.duration_since(self.last_seen) > self.session_timeout,
        }
    }

    fn answer(&mut self, code: ResponseError) {
        if let Some(sender) = self.joining.take() {
            let _gone = sender.send(Err(code));
        }
        if let Some(sender) = self.syncing.take() {
            let _gone = sender.send(Err(code));
        }
    }

    fn dismiss(mut self, code: ResponseError) {
        self.answer(code);
    }
}

#[cfg(test)]
mod tests;
