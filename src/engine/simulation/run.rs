//! One run: a query is created, tried, killed and started again until it has read everything.
//!
//! Invariant: what is run is the supervisor's own try; the run only begins it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::disk::Disk;
use super::feed::{Feed, Reading, SharedReads};
use super::follower::{Follower, rows_of};
use super::lines::{Line, Rows, newest};
use super::outside::Outside;
use super::topic::{Script, Topics};
use super::world::{Crash, World};
use crate::checkpoint::{Checkpoint, CheckpointStore};
use crate::clock::{Clock, SharedClock};
use crate::engine::begin::{self, Begin, Found};
use crate::engine::committer::{ByHand, Committer, Keeper};
use crate::engine::connect::{Connect, Places};
use crate::engine::held_memory::HeldMemory;

use crate::engine::input::{Collect, WakeQuery};
use crate::engine::materialized::{Form, Materialized};
use crate::engine::query::{Ended, Surroundings};
use crate::engine::set_aside::SetAside;
use crate::engine::status::{Identity, QueryShared, QueryStatus};
use crate::engine::supervisor::{Control, Destination, Supervisor};
use crate::engine::tuning::Tuning;
use crate::engine::{QueryKind, Shape};
use crate::error::Result;
use crate::plan::{Changelog, StreamPlan};
use crate::types::{InputPartition, Op};

const NAME: &str = "simulated";
/// Faults of a run at the most.
const FAULTS_MAX: u64 = 12;
/// Tries of a run at the most.
const TRIES_MAX: usize = 100;
const LANES_MAX: u64 = 3;

/// Where a run's rows go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A materialized view.
    View,
    /// A sink that keeps the epoch.
    ExactlyOnce,
    /// A sink that does not.
    AtLeastOnce,
}

/// What is to be run.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The query.
    pub plan: StreamPlan,
    /// Where its rows go.
    pub target: Target,
    /// What it reads.
    pub script: Script,
    /// Decides about everything else.
    pub seed: u64,
    /// Whether anything goes wrong.
    pub faults: bool,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Played {
    /// All that happened, line by line.
    pub trace: Vec<String>,
    /// All rows at the end, in the order of their text: what a view holds, or a reader of the sink
    /// has made of all changes. At least once: some may be there more than once.
    pub rows: Vec<Line>,
    /// The query's counters at the end: used, late.
    pub counted: (u64, u64),
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

/// Plays a case.
pub(crate) fn play(case: &Case) -> Played {
    let world = Arc::new(World::new(case.seed));
    let played = catch_unwind(AssertUnwindSafe(|| Run::new(case, &world).to_the_end()));
    let (rows, counted, failed) = match played {
        Ok((rows, counted)) => (rows, counted, None),
        Err(panic) => {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            (Vec::new(), (0, 0), Some(text.unwrap_or_default()))
        }
    };
    Played {
        trace: world.trace(),
        rows,
        counted,
        failed,
    }
}

/// What lasts while processes come and go.
struct Run<'a> {
    case: &'a Case,
    world: Arc<World>,
    topics: Arc<Mutex<Topics>>,
    disk: Disk,
    outside: Outside,
    set_aside: Arc<SetAside>,
    /// The last epoch that a query has said to last.
    told: Arc<Mutex<u64>>,
}

/// A process: what a crash takes with it.
struct Process {
    shared: Arc<QueryShared>,
    view: Option<Arc<Materialized>>,
    supervisor: Supervisor,
}

impl<'a> Run<'a> {
    fn new(case: &'a Case, world: &Arc<World>) -> Self {
        let disk = Disk::new(world);
        let mut store = CheckpointStore::new(Box::new(disk.clone()));
        store.create().expect("nothing goes wrong yet");
        world.faults_to_come(if case.faults { FAULTS_MAX } else { 0 });
        let set_aside = SetAside::open(None, 10_000, 10_000).expect("memory is there");
        Self {
            case,
            world: Arc::clone(world),
            topics: Arc::new(Mutex::new(Topics::new(case.script.clone()))),
            disk,
            outside: Outside::new(world, case.target == Target::ExactlyOnce),
            set_aside: Arc::new(set_aside),
            told: Arc::default(),
        }
    }

    /// All rows, and how many were used and late.
    fn to_the_end(&self) -> (Vec<Line>, (u64, u64)) {
        let mut process = self.start(false);
        for _ in 0..TRIES_MAX {
            let attempt = AssertUnwindSafe(|| process.supervisor.attempt());
            let ended = match catch_unwind(attempt) {
                Ok(ended) => ended,
                Err(panic) if panic.is::<Crash>() => {
                    self.world.note("crashed");
                    process = self.start(false);
                    continue;
                }
                Err(panic) => std::panic::resume_unwind(panic),
            };
            match ended {
                Ok(Ended::Stopped) => return self.look_again(&process),
                Ok(ended) => panic!("nobody asked for {ended:?}"),
                Err(error) if process.supervisor.may_retry(&error) => {
                    self.world.note(format!("tries again: {error}"));
                    self.world.pass(Duration::from_millis(500));
                    if process.shared.stopping() {
                        process = self.start(false);
                    }
                }
                Err(error) => panic!("the query failed: {error:?}"),
            }
        }
        panic!("a query that is tried so often comes to its end")
    }

    /// What a new process finds is what the last one had.
    fn look_again(&self, last: &Process) -> (Vec<Line>, (u64, u64)) {
        self.world.faults_to_come(0);
        self.world.note("once more");
        let status = last.shared.status();
        let rows = self.rows(last);
        let again = self.start(true);
        let ended = again.supervisor.attempt().expect("nothing goes wrong");
        assert_eq!(ended, Ended::Stopped, "there is nothing more to read");
        assert_eq!(self.rows(&again), rows, "all rows last");
        let counted = |status: &QueryStatus| (status.rows_used, status.rows_late);
        let counted_again = counted(&again.shared.status());
        assert_eq!(counted_again, counted(&status), "all counters last");
        (rows, counted_again)
    }

    fn rows(&self, process: &Process) -> Vec<Line> {
        if let Some(view) = &process.view {
            return rows_of(view);
        }
        let (seen, plan) = (self.outside.seen(), &self.case.plan);
        match (self.case.target, &plan.key) {
            (Target::AtLeastOnce, Some(key)) if plan.changelog() == Changelog::Update => {
                newest(&seen, key)
            }
            _ => folded(&seen),
        }
    }

    /// A process begins; it may only look at what there is.
    fn start(&self, only_looks: bool) -> Process {
        let world = &self.world;
        let checkpoint_interval = Duration::from_millis(10 << world.below(8));
        let lanes_max = usize::try_from(1 + world.below(LANES_MAX)).unwrap_or(1);
        world.note(format!(
            "starts: {lanes_max} lanes, epochs of {checkpoint_interval:?}"
        ));
        let plan = Arc::new(self.case.plan.clone());
        let tuning = Tuning {
            trigger: plan.options.trigger,
            checkpoint_interval,
            paused: false,
        };
        let kind = match self.case.target {
            Target::View => QueryKind::MaterializedView,
            Target::ExactlyOnce | Target::AtLeastOnce => QueryKind::Sink,
        };
        let shared = QueryShared::new(identity(&plan, kind), tuning, world.now());
        let shared = Arc::new(shared);
        let view = (kind == QueryKind::MaterializedView).then(|| {
            let form = Form::of(&plan);
            Arc::new(Materialized::new(Arc::clone(&plan.schema), form, u64::MAX))
        });
        let supervisor = Supervisor {
            destination: self.destination(view.as_ref()),
            shared: Arc::clone(&shared),
            control: Arc::new(Control::default()),
            surroundings: Surroundings {
                clock: Arc::clone(world) as SharedClock,
                set_aside: Arc::clone(&self.set_aside),
                state_bytes_max: u64::MAX,
                held: HeldMemory::new(u64::MAX),
                writer: 1,
                read_max: (1_000, 1 << 20),
                // So few that ends of epochs are told in several parts.
                image_groups: 2,
            },
            lanes_max,
            connect: Box::new(Connected {
                world: Arc::clone(world),
                topics: Arc::clone(&self.topics),
                outside: self.outside.clone(),
                target: self.case.target,
                shared: Arc::clone(&shared),
                follower: view.as_ref().map(|view| {
                    let follower = Follower::new(view, world);
                    Arc::new(Mutex::new(follower))
                }),
                only_looks,
                told: Arc::clone(&self.told),
                hand: Mutex::new(None),
            }),
            plan,
        };
        Process {
            shared,
            view,
            supervisor,
        }
    }

    fn destination(&self, view: Option<&Arc<Materialized>>) -> Destination {
        let disk = self.disk.clone();
        let checkpoints = Box::new(move || CheckpointStore::new(Box::new(disk.clone())));
        if let Some(view) = view {
            let view = Arc::clone(view);
            return Destination::View { view, checkpoints };
        }
        let outside = self.outside.clone();
        let open = Box::new(move |_| Ok(Box::new(outside.clone()) as Box<_>));
        Destination::Sink { open, checkpoints }
    }
}

fn folded(seen: &[(Op, Line)]) -> Vec<Line> {
    let mut rows = Rows::default();
    seen.iter().for_each(|change| rows.take(change));
    rows.into_lines()
}

fn identity(plan: &StreamPlan, kind: QueryKind) -> Identity {
    Identity {
        id: 1,
        name: NAME.to_owned(),
        kind,
        tables: Vec::new(),
        text: plan.text.clone(),
        plan: String::new(),
        shape: Shape::default(),
        topics: Vec::new(),
    }
}

/// A process's connections to the simulated world.
struct Connected {
    world: Arc<World>,
    topics: Arc<Mutex<Topics>>,
    outside: Outside,
    target: Target,
    shared: Arc<QueryShared>,
    follower: Option<Arc<Mutex<Follower>>>,
    only_looks: bool,
    told: Arc<Mutex<u64>>,
    hand: Mutex<Option<ByHand>>,
}

impl Connected {
    /// What is gone on from is what was said to last.
    fn check(&self, checkpoint: Option<&Checkpoint>) {
        let epoch = checkpoint.map(|checkpoint| checkpoint.epoch);
        self.world.note(format!("goes on from {epoch:?}"));
        let told = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(
            epoch.unwrap_or(0) >= told,
            "epoch {told} lasted, and the query goes on from {epoch:?}"
        );
        if self.target == Target::ExactlyOnce {
            let committed = self.outside.epoch().unwrap_or(0);
            assert_eq!(epoch.unwrap_or(0), committed, "the sink's epoch counts");
        }
    }
}

impl Connect for Connected {
    fn begin(&self, plan: &StreamPlan, checkpoint: Option<&Checkpoint>) -> Result<Begin> {
        self.check(checkpoint);
        self.world.may_refuse(40, "the topics are not told")?;
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let ranges = (0..plan.inputs.len()).map(|input| topics.ranges(input));
        match checkpoint {
            None => Ok(Begin::everything(ranges.collect())),
            Some(checkpoint) => {
                let found = ranges.map(|ranges| Found { id: None, ranges });
                begin::go_on(plan, checkpoint, found.collect())
            }
        }
    }

    fn inputs(
        &self,
        plan: &Arc<StreamPlan>,
        places: Places<'_>,
        _read_max: (usize, usize),
    ) -> Result<(Box<dyn Collect>, Option<WakeQuery>)> {
        let read = places.assignments.iter().flat_map(|assignment| {
            let (input, lane) = (assignment.input, assignment.lane);
            assignment.partitions.iter().map(move |(partition, next)| {
                let partition = *partition;
                let next = *next;
                (InputPartition { input, partition }, Reading { lane, next })
            })
        });
        let shared_reads = (0..plan.inputs.len()).map(|input| SharedReads::of(plan, input));
        let feed = Feed {
            world: Arc::clone(&self.world),
            topics: Arc::clone(&self.topics),
            shared: Arc::clone(&self.shared),
            told: Arc::clone(&self.told),
            lanes: places.lanes,
            reading: read.collect(),
            hand: self
                .hand
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
            follower: self.follower.clone(),
            only_looks: self.only_looks,
            steps: 0,
            quiet: 0,
            flushes: self.shared.flush_wanted(),
            shared_reads: shared_reads.collect::<Result<_>>()?,
        };
        Ok((Box::new(feed), None))
    }

    fn committer(
        &self,
        _name: &str,
        keeper: Keeper,
        checkpoints: CheckpointStore,
    ) -> Result<Committer> {
        let (committer, hand) = Committer::by_hand(keeper, checkpoints);
        *self.hand.lock().unwrap_or_else(PoisonError::into_inner) = Some(hand);
        Ok(committer)
    }
}
