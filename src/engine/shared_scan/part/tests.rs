//! Changing over between groups, in any order of events: each message is passed on once, in order.
//!
//! The groups' threads are played by hand: a [`Played`] reads a made-up log and does what its scan is told.

use std::collections::BTreeMap;

use arrow::buffer::Buffer;
use arrow::datatypes::Schema;

use super::*;
use crate::engine::shared_scan::group::Scan;
use crate::types::{FetchMode, KafkaConnection, Message, MessageBatch};

/// The last offset of a partition; only even offsets hold messages, as after transactions.
const LAST: i64 = 399;
/// The numbers of the two groups.
const OLD: u64 = 1;
const OWN: u64 = 2;

struct Played {
    group: Arc<Group>,
    scans: Vec<PlayedScan>,
}

struct PlayedScan {
    scan: Arc<Scan>,
    members: Vec<Member>,
    next: Positions,
}

fn source() -> SourcePlan {
    let column = || Arc::new(datafusion::physical_expr::expressions::Column::new("at", 0));
    SourcePlan {
        scan: ScanSpec {
            table: "t".to_owned(),
            topic: "t".to_owned(),
            connection: KafkaConnection {
                bootstrap_servers: "nowhere:1".to_owned(),
                properties: BTreeMap::new(),
            },
            columns: Vec::new(),
            schema: Arc::new(Schema::empty()),
            read_committed: true,
            fetch: FetchMode::Auto,
            max_future: None,
        },
        visible_columns: 0,
        event_time: crate::plan::EventTimePlan {
            column: "at".to_owned(),
            time: column(),
            watermark: column(),
        },
        idle_timeout: None,
        startup: crate::plan::ScanStartup::Earliest,
        on_error: crate::plan::OnError::Skip,
        fails_on_data_loss: false,
        dead_letter_topic: None,
        late_topic: None,
        group_id: None,
        max_rows_per_second: None,
    }
}

/// One scan for every two partitions.
fn readers(scans: i32, next: &Positions) -> Vec<ReaderOptions> {
    let reader = |scan: i32| ReaderOptions {
        connection: source().scan.connection,
        topic: "t".to_owned(),
        assignment: [scan * 2, scan * 2 + 1]
            .map(|p| (PartitionId(p), next[&PartitionId(p)]))
            .to_vec(),
        read_committed: true,
        with_keys: false,
        with_headers: false,
        rows_max: 10,
        bytes_max: 1_000,
        end_wait: Duration::ZERO,
        fetch: FetchMode::Auto,
    };
    (0..scans).map(reader).collect()
}

fn batch(partition: PartitionId, offsets: impl Iterator<Item = i64>) -> Fetched {
    let message = |offset| Message {
        partition,
        offset: Offset(offset),
        timestamp_ms: 0,
        key: None,
        payload: None,
        headers: None,
    };
    Fetched::new(MessageBatch {
        buffer: Buffer::from(vec![0; MessageBatch::PADDING]),
        messages: offsets.map(message).collect(),
    })
}

impl Played {
    fn new(id: u64, key: &ScanKey, readers: &[ReaderOptions]) -> Self {
        let scan = |reader: &ReaderOptions| {
            let next: Positions = reader.assignment.iter().copied().collect();
            PlayedScan {
                scan: Arc::new(Scan::played(next.clone())),
                members: Vec::new(),
                next,
            }
        };
        let scans: Vec<PlayedScan> = readers.iter().map(scan).collect();
        let group = Arc::new(Group {
            id,
            key: key.clone(),
            scans: scans.iter().map(|scan| Arc::clone(&scan.scan)).collect(),
        });
        Self { group, scans }
    }

    /// What a scan's thread does next: it obeys, reads some messages of a partition, tells everyone.
    fn go_on(&mut self, dice: &mut fastrand::Rng) {
        let number = dice.usize(..self.scans.len());
        let PlayedScan {
            scan,
            members,
            next,
        } = &mut self.scans[number];
        scan.obey(members, |member| {
            member.queue.tell(Note::Joined {
                membership: member.membership,
                scan: number,
                from: next
                    .iter()
                    .map(|(partition, at)| (*partition, *at))
                    .collect(),
            });
        });
        let place = dice.usize(..next.len());
        let (partition, at) = next
            .iter_mut()
            .nth(place)
            .expect("it is below their number");
        let end = (at.0 + dice.i64(1..40)).min(LAST + 1);
        let offsets = (at.0..end).filter(|offset| offset % 2 == 0);
        let ends = (end == LAST + 1).then_some(PartitionEnd {
            partition: *partition,
            next: Offset(end),
        });
        let read = Arc::new(SharedRead {
            batch: Arc::new(batch(*partition, offsets)),
            ends: ends.into_iter().collect(),
            known_ends: Vec::new(),
            problems: Vec::new(),
            by: FetchedBy::Direct,
        });
        *at = Offset(end);
        for member in members {
            member
                .queue
                .offer(member.membership, number, &read, Duration::ZERO);
        }
        scan.reached(next);
    }
}

/// A query in a group of its own, an older group near it, and what was passed on by partition.
struct Play {
    part: Part,
    old: Played,
    own: Played,
    passed: BTreeMap<PartitionId, Vec<i64>>,
}

impl Play {
    fn new(scans: i32, dice: &mut fastrand::Rng) -> Self {
        let at = |begin: i64| -> Positions {
            (0..scans * 2)
                .map(|p| (PartitionId(p), Offset(begin)))
                .collect()
        };
        let (begin, older) = (at(0), at(dice.i64(0..100)));
        let own = readers(scans, &begin);
        let key = ScanKey::of(&source(), &own);
        let registry = Arc::new(SharedScans::default());
        // The numbers of the two groups are taken.
        for _ in 0..=OWN {
            registry.membership();
        }
        let asker = Asker {
            scans: Arc::clone(&registry),
            queue: Arc::new(Queue::new(usize::MAX)),
            spec: Arc::new(source().scan),
            common: Common::default(),
        };
        let old = Played::new(OLD, &key, &readers(scans, &older));
        // Somebody else keeps it alive.
        let other = Asker {
            scans: Arc::clone(&registry),
            queue: Arc::new(Queue::new(usize::MAX)),
            spec: Arc::new(source().scan),
            common: Common::default(),
        };
        other.join(Arc::clone(&old.group)).expect("it is open");
        let alone = Played::new(OWN, &key, &own);
        registry.register(&old.group);
        let current = asker.join(Arc::clone(&alone.group)).expect("it is open");
        let part = Part {
            asker,
            key,
            fetched_by: vec![None; own.len()],
            readers: own,
            rows_per_second: None,
            next: begin,
            current,
            joining: None,
            look_at: Some(clock::instant()),
            failures: 0,
            held_bytes_max: 3_000,
        };
        Self {
            part,
            old,
            own: alone,
            passed: BTreeMap::new(),
        }
    }

    /// One event.
    fn step(&mut self, dice: &mut fastrand::Rng) {
        match dice.usize(..8) {
            0 => self.old.go_on(dice),
            1..3 => self.own.go_on(dice),
            3 => {
                self.part.look_at = Some(clock::instant());
                self.part.look();
            }
            _ => self.take(),
        }
    }

    fn take(&mut self) {
        let Some(note) = self.part.asker.queue.take(Duration::ZERO) else {
            return;
        };
        if !note
            .membership()
            .is_some_and(|number| self.part.has(number))
        {
            return;
        }
        let mut passed = Passed::default();
        self.part.take(note, &mut passed).expect("no scan fails");
        for (_, batch) in passed.batches {
            for message in &batch.messages.messages {
                self.passed
                    .entry(message.partition)
                    .or_default()
                    .push(message.offset.0);
            }
        }
    }
}

/// Plays until all was read; gives the number of the group that the query ended in. Where it had to found
/// one of its own, which nobody plays, it stands where that begins.
fn play(seed: u64, scans: i32) -> u64 {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut play = Play::new(scans, &mut dice);
    for _ in 0..20_000 {
        play.step(&mut dice);
        let at_end = play.part.next.values().all(|at| at.0 == LAST + 1);
        if (at_end && play.part.joining.is_none()) || play.part.group().0 > OWN {
            break;
        }
    }
    let group = play.part.group().0;
    for (partition, next) in &play.part.next {
        assert!(
            group > OWN || next.0 == LAST + 1,
            "seed {seed} stands at {next:?}"
        );
        let all: Vec<i64> = (0..next.0).filter(|offset| offset % 2 == 0).collect();
        let passed = play.passed.remove(partition).unwrap_or_default();
        assert_eq!(passed, all, "partition {partition:?}, seed {seed}");
    }
    group
}

/// Plays many times; many must end in the older group, and not most alone.
fn play_all(scans: i32) {
    let ends: Vec<u64> = (0..300).map(|seed| play(seed, scans)).collect();
    let count = |is: fn(u64) -> bool| ends.iter().filter(|end| is(**end)).count();
    let counts = [
        count(|end| end == OLD),
        count(|end| end == OWN),
        count(|end| end > OWN),
    ];
    assert!(
        counts[0] > 60 && counts[2] < 200,
        "old, own, alone: {counts:?}"
    );
}

#[test]
fn whatever_comes_first_each_message_is_passed_on_once() {
    play_all(1);
}

#[test]
fn scans_change_over_one_by_one() {
    play_all(2);
}

#[test]
fn partitions_are_heard_of_from_either_group() {
    let mut play = Play::new(1, &mut fastrand::Rng::with_seed(1));
    play.part.look();
    let joining = play.part.joining.as_ref().expect("the older group is near");
    for membership in [play.part.current.number, joining.to.number] {
        let mut passed = Passed::default();
        let partitions = vec![PartitionId(7)];
        let note = Note::Grown {
            membership,
            partitions,
        };
        play.part.take(note, &mut passed).expect("no scan fails");
        assert_eq!(passed.grown, [PartitionId(7)]);
    }
}
