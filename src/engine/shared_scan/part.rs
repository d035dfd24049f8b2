//! A query's part in reading some partitions: by which group, how far it came, and how it changes over
//! to another group.
//!
//! ```text
//! group 9  ..─read──read──read┐ up to where group 3 stood when it joined
//! group 3                     └read──read──..      what came of group 3 before that was held
//! ```
//! Invariant: each message from where it began is passed on once, those of a partition in order,
//! whichever groups it came by.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::alike::Common;
use super::group::{
    FOUNDING_WAIT, Founding, Group, Member, Order, Positions, ScanKey, SharedScans,
};
use super::queue::{Note, Queue};
use super::read::{Fetched, Reach, SharedRead};
use crate::clock;
use crate::error::Result;
use crate::plan::{ScanSpec, SourcePlan, Trigger};
use crate::source::{FetchedBy, PartitionEnd, Problem, ReaderOptions};
use crate::types::{Offset, PartitionId};

/// How often a query looks for a group that it could read with.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The same after it fell out of one, or could not join it; it doubles each time.
const LOOK_AFTER_FALL: Duration = Duration::from_secs(10);
/// Bytes of the other group's reads that one scan holds at the most; then that group is left again.
const HELD_BYTES_MAX: usize = 32 << 20;

/// A query that looks at its messages less often reads alone.
const SHARED_INTERVAL_MAX: Duration = Duration::from_millis(200);

/// How a query reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Manner {
    /// With others that stand where it does.
    shares: bool,
    /// It gives others a moment to come before it begins.
    waits: bool,
}

impl Manner {
    /// That of a query with this trigger; one that is created is rarely alone.
    pub(in crate::engine) fn of(trigger: Trigger, is_created: bool) -> Self {
        let shares = match trigger {
            Trigger::Continuous => true,
            Trigger::Interval(interval) => interval <= SHARED_INTERVAL_MAX,
            Trigger::AvailableNow => false,
        };
        Self {
            shares,
            waits: is_created,
        }
    }

    /// Whether it was created, and goes on after a crash.
    pub(in crate::engine) fn is_created(self) -> bool {
        self.waits
    }

    /// How long a group that it founds waits for others.
    fn wait(self) -> Duration {
        match self.shares && self.waits {
            true => FOUNDING_WAIT,
            false => Duration::ZERO,
        }
    }
}

/// What a part passes on.
#[derive(Default)]
pub(in crate::engine) struct Passed {
    /// Messages, by the scan that they came from.
    pub batches: Vec<(usize, Arc<Fetched>)>,
    pub ends: Vec<PartitionEnd>,
    /// Where partitions end as far as that is known.
    pub known_ends: Vec<PartitionEnd>,
    pub problems: Vec<Problem>,
    /// Partitions that nobody of the group reads.
    pub grown: Vec<PartitionId>,
    /// Who fetches which partition from now on.
    pub fetched: Vec<(PartitionId, FetchedBy)>,
}

/// A query's part in reading some partitions of one of its inputs.
pub(in crate::engine) struct Part {
    asker: Asker,
    key: ScanKey,
    /// One a scan; their first offsets are those of the beginning.
    readers: Vec<ReaderOptions>,
    rows_per_second: Option<f64>,
    next: Positions,
    current: Membership,
    joining: Option<Joining>,
    /// When it looks for another group; `None`: never.
    look_at: Option<Instant>,
    /// How often it fell out, or gave up joining.
    failures: u32,
    held_bytes_max: usize,
    /// For each scan who was last said to fetch.
    fetched_by: Vec<Option<FetchedBy>>,
}

/// A query that asks for a place in a group.
struct Asker {
    scans: Arc<SharedScans>,
    queue: Arc<Queue>,
    spec: Arc<ScanSpec>,
    common: Common,
}

/// A place in a group.
struct Membership {
    number: u64,
    group: Arc<Group>,
}

/// A group that is about to take the other's place.
struct Joining {
    to: Membership,
    scans: Vec<JoiningScan>,
    /// True when something was left out that the other group is to bring: there is no way back.
    left_out: bool,
}

#[derive(Default)]
struct JoiningScan {
    /// Where its reads begin, if that is known.
    from: Option<Positions>,
    held: VecDeque<Arc<SharedRead>>,
    held_bytes: usize,
    /// True when its reads are those that count.
    switched: bool,
}

impl Part {
    /// Begins to read, with others if some stand there.
    ///
    /// # Errors
    /// When a reader cannot be opened.
    pub(in crate::engine) fn begin(
        scans: &Arc<SharedScans>,
        queue: &Arc<Queue>,
        (source, common): (&SourcePlan, Common),
        readers: Vec<ReaderOptions>,
        manner: Manner,
    ) -> Result<Self> {
        let key = ScanKey::of(source, &readers);
        let assigned = readers.iter().flat_map(|reader| &reader.assignment);
        let next: Positions = assigned.copied().collect();
        let rows_per_second = source
            .max_rows_per_second
            .map(|rate| (f64::from(rate) / readers.len() as f64).max(1.0));
        let asker = Asker {
            scans: Arc::clone(scans),
            queue: Arc::clone(queue),
            spec: Arc::new(source.scan.clone()),
            common: scans.common(common),
        };
        let near = scans.near(&key, &next, u64::MAX);
        let near = near.filter(|_| manner.shares);
        let current = match near.and_then(|group| asker.join(group)) {
            Some(current) => current,
            None => asker.found(Founding {
                key: key.clone(),
                readers: readers.clone(),
                rows_per_second,
                wait: manner.wait(),
            })?,
        };
        Ok(Self {
            asker,
            key,
            fetched_by: vec![None; readers.len()],
            readers,
            rows_per_second,
            next,
            current,
            joining: None,
            look_at: manner.shares.then(|| clock::instant() + LOOK_EVERY),
            failures: 0,
            held_bytes_max: HELD_BYTES_MAX,
        })
    }

    /// The number of its group, and how many queries read by it.
    pub(in crate::engine) fn group(&self) -> (u64, usize) {
        (self.current.group.id, self.current.group.members())
    }

    /// How many queries of its group have its prefix, itself among them.
    pub(in crate::engine) fn alike(&self) -> usize {
        let prefix = self.asker.common.prefix.as_ref();
        prefix.map_or(0, |prefix| self.current.group.alike(prefix))
    }

    /// What its plan may have in common with others.
    pub(in crate::engine) fn common(&self) -> &Common {
        &self.asker.common
    }

    /// Whether a membership is one of its own.
    pub(in crate::engine) fn has(&self, membership: u64) -> bool {
        let joining = self.joining.as_ref().map(|joining| joining.to.number);
        self.current.number == membership || joining == Some(membership)
    }

    /// Looks for an older group that stands where it does.
    pub(in crate::engine) fn look(&mut self) {
        let now = clock::instant();
        if self.joining.is_some() || self.look_at.is_none_or(|at| now < at) {
            return;
        }
        self.look_at = Some(now + LOOK_EVERY);
        let scans = &self.asker.scans;
        let found = scans.near(&self.key, &self.next, self.current.group.id);
        if let Some(to) = found.and_then(|group| self.asker.join(group)) {
            let scans = self.readers.iter().map(|_| JoiningScan::default());
            let scans = scans.collect();
            self.joining = Some(Joining {
                to,
                scans,
                left_out: false,
            });
        }
    }

    /// Takes what one of its scans has told.
    ///
    /// # Errors
    /// When its scan has ended by an error, or a reader cannot be opened.
    pub(in crate::engine) fn take(&mut self, note: Note, passed: &mut Passed) -> Result<()> {
        match note {
            Note::Read {
                membership,
                scan,
                read,
            } => self.read(membership, scan, read, passed),
            Note::Joined {
                membership,
                scan,
                from,
            } => self.joined(membership, scan, from.into_iter().collect(), passed),
            Note::FellOut { membership } if membership == self.current.number => {
                self.look_later();
                self.read_alone()
            }
            Note::Failed { membership, error } if membership == self.current.number => Err(error),
            Note::FellOut { .. } | Note::Failed { .. } => self.stay(),
            // Also from a group that it is only about to join: that one does not say it again.
            Note::Grown { partitions, .. } => {
                passed.grown.extend(partitions);
                Ok(())
            }
            Note::Wake => Ok(()),
        }
    }

    fn read(
        &mut self,
        membership: u64,
        scan: usize,
        read: Arc<SharedRead>,
        passed: &mut Passed,
    ) -> Result<()> {
        let Some(joining) = &mut self.joining else {
            self.pass(scan, &read, None, passed);
            return Ok(());
        };
        let (is_new, state) = (membership == joining.to.number, &mut joining.scans[scan]);
        match (is_new, state.switched) {
            (true, true) => self.pass(scan, &read, None, passed),
            (true, false) if state.held_bytes < self.held_bytes_max => {
                state.held_bytes += read.bytes();
                state.held.push_back(read);
            }
            (true, false) => return self.stay(),
            (false, true) => {}
            (false, false) => {
                let from = state.from.clone();
                self.pass(scan, &read, from.as_ref(), passed);
                self.switch(scan, passed);
            }
        }
        Ok(())
    }

    fn joined(
        &mut self,
        membership: u64,
        scan: usize,
        from: Positions,
        passed: &mut Passed,
    ) -> Result<()> {
        if membership == self.current.number {
            // It joined without a reader of its own, and the group has gone on meanwhile.
            let is_behind =
                |(partition, from): (&PartitionId, &Offset)| self.at(*partition) < *from;
            return match from.iter().any(is_behind) {
                true => self.read_alone(),
                false => Ok(()),
            };
        }
        if let Some(joining) = &mut self.joining {
            joining.scans[scan].from = Some(from);
            self.switch(scan, passed);
        }
        Ok(())
    }

    fn at(&self, partition: PartitionId) -> Offset {
        self.next.get(&partition).copied().unwrap_or(Offset(0))
    }

    /// Changes over to the other group's scan, if it has come to where that one's reads begin.
    fn switch(&mut self, scan: usize, passed: &mut Passed) {
        let Some(joining) = &mut self.joining else {
            return;
        };
        let state = &mut joining.scans[scan];
        let Some(from) = &state.from else { return };
        let next = &self.next;
        let is_there =
            |(p, from): (&PartitionId, &Offset)| next.get(p).is_some_and(|at| at >= from);
        if state.switched || !from.iter().all(is_there) {
            return;
        }
        state.switched = true;
        let held = std::mem::take(&mut state.held);
        self.current.group.scans[scan].order(Order::Leave(self.current.number));
        for read in held {
            self.pass(scan, &read, None, passed);
        }
        self.arrive();
    }

    /// Once all scans have changed over, it is a member of the other group.
    fn arrive(&mut self) {
        let all = |joining: &Joining| joining.scans.iter().all(|scan| scan.switched);
        if let Some(joining) = self.joining.take_if(|joining| all(joining)) {
            self.current = joining.to;
        }
    }

    /// It has not gone well with the others.
    fn look_later(&mut self) {
        self.failures += 1;
        let wait = LOOK_AFTER_FALL * 2_u32.saturating_pow(self.failures.min(6) - 1);
        self.look_at = self.look_at.map(|_| clock::instant() + wait);
    }

    /// Passes a read on, without what was passed on before and what another group brings.
    fn pass(
        &mut self,
        scan: usize,
        read: &SharedRead,
        to: Option<&Positions>,
        passed: &mut Passed,
    ) {
        let until = |partition: &PartitionId| {
            let until = to.and_then(|to| to.get(partition));
            until.map_or(i64::MAX, |until| until.0)
        };
        let reach = &read.batch.reach;
        let goes_on = |reach: &Reach| reach.next.0 > until(&reach.partition);
        let is_old = |reach: &Reach| reach.first < self.at(reach.partition);
        let batch = match reach.iter().any(|reach| goes_on(reach) || is_old(reach)) {
            false => Arc::clone(&read.batch),
            true => Arc::new(
                read.batch
                    .within(&self.next, to.unwrap_or(&Positions::new())),
            ),
        };
        if !batch.messages.messages.is_empty() {
            passed.batches.push((scan, batch));
        }
        let mut left_out = reach.iter().any(goes_on);
        // Offsets without a message are passed like the others.
        for Reach {
            partition, next, ..
        } in reach
        {
            let next = Offset(next.0.min(until(partition)));
            let at = self.next.entry(*partition).or_insert(next);
            *at = (*at).max(next);
        }
        for end in &read.ends {
            let until = until(&end.partition);
            let at = self.next.entry(end.partition).or_insert(Offset(0));
            left_out |= end.next.0 > until;
            let told = Offset(end.next.0.min(until));
            if told < *at {
                continue;
            }
            *at = told;
            // Of what lies behind the place the other group will tell.
            if told == end.next {
                passed.ends.push(*end);
            }
        }
        if let Some(joining) = &mut self.joining {
            joining.left_out |= left_out;
        }
        self.tell_others(scan, read, passed);
    }

    /// Passes on what is not about messages.
    fn tell_others(&mut self, scan: usize, read: &SharedRead, passed: &mut Passed) {
        passed.problems.extend_from_slice(&read.problems);
        passed.known_ends.extend_from_slice(&read.known_ends);
        if self.fetched_by[scan].replace(read.by) != Some(read.by) {
            let partitions = self.readers[scan].assignment.iter();
            let fetched = partitions.map(|(partition, _)| (*partition, read.by));
            passed.fetched.extend(fetched);
        }
    }

    /// Gives up changing over. If there is no way back, it reads alone.
    fn stay(&mut self) -> Result<()> {
        let Some(joining) = self.joining.take() else {
            return Ok(());
        };
        leave(&joining.to);
        self.look_later();
        match joining.left_out || joining.scans.iter().any(|scan| scan.switched) {
            true => self.read_alone(),
            false => Ok(()),
        }
    }

    /// Reads by a group of its own from where it stands.
    fn read_alone(&mut self) -> Result<()> {
        if let Some(joining) = self.joining.take() {
            leave(&joining.to);
        }
        leave(&self.current);
        let mut readers = self.readers.clone();
        for (partition, at) in readers.iter_mut().flat_map(|reader| &mut reader.assignment) {
            *at = self.at(*partition);
        }
        self.current = self.asker.found(Founding {
            key: self.key.clone(),
            readers,
            rows_per_second: self.rows_per_second,
            wait: Duration::ZERO,
        })?;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        leave(&self.current);
        if let Some(joining) = &self.joining {
            leave(&joining.to);
        }
    }
}

fn leave(membership: &Membership) {
    for scan in &membership.group.scans {
        scan.order(Order::Leave(membership.number));
    }
}

impl Asker {
    /// Asks to join a group; `None`: it has ended meanwhile.
    fn join(&self, group: Arc<Group>) -> Option<Membership> {
        let number = self.scans.membership();
        let refused = group.scans.iter().enumerate();
        let refused =
            refused.filter(|(scan, of)| !of.order(Order::Join(self.member(number, *scan))));
        let is_refused = refused.count() > 0;
        let to = Membership { number, group };
        if is_refused {
            leave(&to);
            return None;
        }
        Some(to)
    }

    /// Founds a group.
    fn found(&self, founding: Founding) -> Result<Membership> {
        let number = self.scans.membership();
        let group = self
            .scans
            .found(founding, |scan| self.member(number, scan))?;
        Ok(Membership { number, group })
    }

    fn member(&self, membership: u64, scan: usize) -> Member {
        Member {
            membership,
            scan,
            queue: Arc::clone(&self.queue),
            spec: Arc::clone(&self.spec),
            common: self.common.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
