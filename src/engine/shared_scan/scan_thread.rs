//! The thread of a scan: it reads, decodes once, and hands what it has to every member.
//!
//! ```text
//! Reader → UnionDecode → offer to each member ── full for too long, while others starve: it falls out
//! ```
//! Invariant: a member gets the reads from the offsets that it was told when it joined, in order and
//! without a gap, until it leaves or falls out.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::group::{Member, Positions, Scan};
use super::queue::{Note, Offer};
use super::read::{Fetched, SharedRead, UnionDecode};
use crate::clock;
use crate::error::{Error, Result};
use crate::source::{PartitionEnd, Read, Reader, ReaderOptions, Waker};
use crate::task;
use crate::types::{Offset, PartitionId};

/// How long a read waits; who joins or leaves wakes it.
const READ_WAIT: Duration = Duration::from_secs(1);
/// How often a topic is asked for partitions that were added.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long the answer may take.
const LOOK_TIMEOUT: Duration = Duration::from_secs(1);
/// How long it waits for room in one queue before it looks at the others.
const ROOM_WAIT: Duration = Duration::from_millis(20);
/// So long others may starve because of a member that takes nothing.
const STARVE_MAX: Duration = Duration::from_secs(1);

/// What the thread owns.
pub(super) struct ScanThread {
    reader: Reader,
    scan: Arc<Scan>,
    rows_per_second: Option<f64>,
    /// The partitions that are read by the group, if this thread looks for others.
    known: Option<BTreeSet<PartitionId>>,
    /// When it looked last.
    looked_at: Instant,
    /// Those that it has found beside the group's.
    added: Vec<PartitionId>,
    next: Positions,
    /// The ends that all members were told since the last trouble.
    told: Positions,
    /// The last ends that the reader told; it tells each once.
    ends: Positions,
    members: Vec<Member>,
    decode: Option<UnionDecode>,
}

impl ScanThread {
    /// Opens the reader of a scan, and gives what ends its waits.
    ///
    /// # Errors
    /// When the options are refused.
    pub(super) fn open(options: ReaderOptions) -> Result<(Reader, Waker)> {
        let reader = Reader::open(options)?;
        let waker = reader.waker();
        Ok((reader, waker))
    }

    /// A scan that looks for further partitions than those `watched`, if any are given.
    pub(super) fn new(
        reader: Reader,
        scan: Arc<Scan>,
        rows_per_second: Option<f64>,
        watched: Option<BTreeSet<PartitionId>>,
    ) -> Self {
        Self {
            reader,
            next: scan.positions(),
            scan,
            rows_per_second,
            known: watched,
            looked_at: clock::instant(),
            added: Vec::new(),
            told: Positions::new(),
            ends: Positions::new(),
            members: Vec::new(),
            decode: None,
        }
    }

    /// Starts the thread.
    ///
    /// # Errors
    /// When the system has no thread left.
    pub(super) fn start(self, table: &str) -> Result<()> {
        task::spawn_thread(&format!("fetch {table}"), move || self.run())
            .map(drop)
            .map_err(|error| Error::internal(format!("no thread to fetch on: {error}")))
    }

    fn run(mut self) {
        let ran = catch_unwind(AssertUnwindSafe(|| self.work()));
        let error = match ran {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_) => Error::internal("reading a topic panicked"),
        };
        let joining = self.scan.close();
        for member in self.members.iter().chain(&joining) {
            let (membership, error) = (member.membership, error.clone());
            member.queue.tell(Note::Failed { membership, error });
        }
    }

    /// Until there are no members.
    fn work(&mut self) -> Result<()> {
        while !self.scan.await_begin() {
            if !self.obey()? {
                return Ok(());
            }
        }
        while self.obey()? {
            self.look_for_partitions();
            let began = clock::instant();
            let mut read = self.reader.read(READ_WAIT)?;
            self.keep_news(&mut read);
            let rows = read.batch.messages.len();
            if rows > 0 || !read.ends.is_empty() || !read.problems.is_empty() {
                self.hand_out(read)?;
            }
            if let Some(rate) = self.rows_per_second {
                let due = Duration::from_secs_f64(rows as f64 / rate);
                std::thread::sleep(due.saturating_sub(began.elapsed()));
            }
        }
        Ok(())
    }

    /// Leaves out ends that were told before: queries that have nothing to do are not to be woken. After
    /// trouble an end tells that the broker answers again.
    fn keep_news(&mut self, read: &mut Read) {
        if !read.problems.is_empty() {
            self.told.clear();
        }
        let (told, ends) = (&mut self.told, read.ends.iter());
        self.ends.extend(ends.map(|end| (end.partition, end.next)));
        read.ends
            .retain(|end| told.insert(end.partition, end.next) != Some(end.next));
    }

    /// Takes in who joins, lets go who leaves; false without members.
    fn obey(&mut self) -> Result<bool> {
        if !self.members.is_empty() && !self.scan.has_orders() {
            return Ok(true);
        }
        let (next, added, at_end) = (&self.next, &self.added, self.at_end());
        let changed = self.scan.obey(&mut self.members, |member| {
            let membership = member.membership;
            member.queue.tell(Note::Joined {
                membership,
                scan: member.scan,
                from: next.iter().map(|(place, at)| (*place, *at)).collect(),
            });
            // What was told before it came.
            if !at_end.ends.is_empty() {
                member.queue.push(membership, member.scan, &at_end);
            }
            if !added.is_empty() {
                let partitions = added.clone();
                member.queue.tell(Note::Grown {
                    membership,
                    partitions,
                });
            }
        });
        if self.members.is_empty() {
            return Ok(false);
        }
        if changed {
            let specs = self.members.iter().map(|member| &*member.spec);
            let mut decode = match self.decode.take() {
                Some(decode) => decode.for_members(specs)?,
                None => UnionDecode::of(specs)?,
            };
            decode.share(self.members.iter().map(|member| &member.common));
            self.decode = Some(decode);
        }
        Ok(true)
    }

    /// The ends at which it stands.
    fn at_end(&self) -> Arc<SharedRead> {
        let stands =
            |(partition, end): &(&PartitionId, &Offset)| self.next.get(*partition) == Some(*end);
        let ends = self.ends.iter().filter(stands);
        let ends = ends.map(|(partition, next)| PartitionEnd {
            partition: *partition,
            next: *next,
        });
        Arc::new(SharedRead {
            batch: Arc::new(Fetched::nothing()),
            ends: ends.collect(),
            known_ends: Vec::new(),
            problems: Vec::new(),
            by: self.reader.fetched_by(),
        })
    }

    fn hand_out(&mut self, read: Read) -> Result<()> {
        let Read {
            batch,
            ends,
            problems,
        } = read;
        let batch = match &mut self.decode {
            Some(decode) if !batch.messages.is_empty() => decode.decode(batch)?,
            _ => Fetched::new(batch),
        };
        let reached = batch
            .reach
            .iter()
            .map(|reach| (reach.partition, reach.next));
        for (partition, at) in reached.chain(ends.iter().map(|end| (end.partition, end.next))) {
            let next = self.next.entry(partition).or_insert(Offset(0));
            *next = (*next).max(at);
        }
        let read = SharedRead {
            batch: Arc::new(batch),
            ends,
            known_ends: self.reader.known_ends(),
            problems,
            by: self.reader.fetched_by(),
        };
        self.offer(&Arc::new(read));
        self.scan.reached(&self.next);
        Ok(())
    }

    /// Hands a read to every member. One that has no room for it is waited for, as long as no other
    /// one starves meanwhile.
    fn offer(&mut self, read: &Arc<SharedRead>) {
        let mut waiting: Vec<usize> = (0..self.members.len()).collect();
        let (mut patience, mut gone) = (Duration::ZERO, Vec::new());
        let mut starving_since: Option<Instant> = None;
        loop {
            waiting.retain(|place| {
                let member = &self.members[*place];
                let wait = std::mem::replace(&mut patience, Duration::ZERO);
                let offered = member
                    .queue
                    .offer(member.membership, member.scan, read, wait);
                if offered == Offer::Closed {
                    gone.push(member.membership);
                }
                offered == Offer::Full
            });
            if waiting.is_empty() {
                break;
            }
            let mut others = (0..self.members.len()).filter(|place| !waiting.contains(place));
            let starve = others.any(|place| self.members[place].queue.is_empty());
            starving_since = starving_since.filter(|_| starve);
            if starve && starving_since.get_or_insert_with(clock::instant).elapsed() > STARVE_MAX {
                self.let_fall(&waiting, &mut gone);
                break;
            }
            patience = ROOM_WAIT;
        }
        // Whoever closed its queue has sent its leave, or will; it must not be waited for.
        self.members
            .retain(|member| !gone.contains(&member.membership));
    }

    fn let_fall(&self, slow: &[usize], gone: &mut Vec<u64>) {
        for place in slow {
            let Member {
                membership, queue, ..
            } = &self.members[*place];
            let membership = *membership;
            tracing::info!(membership, "a slow query reads by itself");
            queue.tell(Note::FellOut { membership });
            gone.push(membership);
        }
    }

    fn look_for_partitions(&mut self) {
        let Some(known) = &mut self.known else { return };
        if self.looked_at.elapsed() < LOOK_EVERY {
            return;
        }
        self.looked_at = clock::instant();
        let found = self.reader.partitions(LOOK_TIMEOUT).unwrap_or_default();
        let added: Vec<PartitionId> = found.into_iter().filter(|p| known.insert(*p)).collect();
        if added.is_empty() {
            return;
        }
        self.added.extend_from_slice(&added);
        for member in &self.members {
            member.queue.tell(Note::Grown {
                membership: member.membership,
                partitions: added.clone(),
            });
        }
    }
}
