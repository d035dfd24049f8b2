//! What a sink is handed of the rows that wait, and what becomes of them.

use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use arrow::array::{ArrayRef, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Schema;

use super::*;
use crate::clock::SystemClock;
use crate::format::JsonEncoder;
use crate::sink::outbox::OutboxName;
use crate::task::{self, Stop};
use crate::types::ProcessingTime;

/// What a sink outside has, and how it behaves.
#[derive(Debug, Default)]
struct World {
    /// The first column of each row, a batch a list.
    batches: Vec<Vec<String>>,
    committed: Option<(u64, u64)>,
    /// A row with this text is refused for good.
    refuses: Option<String>,
    /// So many commits are not answered, though they count.
    silent: u32,
    opened: u32,
}

type Shared = Arc<Mutex<World>>;

struct Recorder {
    world: Shared,
    writer: u64,
    staged: Vec<Vec<String>>,
}

fn lock(world: &Shared) -> std::sync::MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sink for Recorder {
    fn committed(&mut self) -> Result<Outside> {
        let committed = lock(&self.world).committed;
        Ok(Outside::Epoch(committed.map(|(epoch, _)| epoch)))
    }

    fn sign(&mut self, writer: u64) {
        self.writer = writer;
    }

    fn committed_by(&self) -> Option<u64> {
        lock(&self.world).committed.map(|(_, writer)| writer)
    }

    fn stage(&mut self, rows: &ChangeBatch, _at: ProcessingTime) -> Result<()> {
        let texts = rows.rows().column(0);
        let texts = texts.as_any().downcast_ref::<StringArray>().unwrap();
        let texts: Vec<String> = texts.iter().flatten().map(str::to_owned).collect();
        let refused = lock(&self.world).refuses.clone();
        if texts.iter().any(|text| Some(text) == refused.as_ref()) {
            let error = Error::external(SqlState::UniqueViolation, false, "not that one");
            return Err(error.about(Culprit::Row));
        }
        self.staged.push(texts);
        Ok(())
    }

    fn commit(&mut self, epoch: u64) -> Result<()> {
        let mut world = lock(&self.world);
        world.batches.append(&mut self.staged);
        world.committed = Some((epoch, self.writer));
        if world.silent > 0 {
            world.silent -= 1;
            let text = "no answer";
            return Err(Error::external(SqlState::ConnectionFailure, true, text));
        }
        Ok(())
    }

    fn abort(&mut self) -> Result<()> {
        Ok(())
    }

    fn backlog(&self) -> u64 {
        0
    }
}

fn schema() -> SchemaRef {
    let zone = Some("UTC".into());
    let time = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, zone);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, true),
        JsonKind::RawJson.mark(Field::new("values", DataType::Utf8, true)),
        Field::new("at", time, true),
    ]))
}

fn rows(ids: &[&str]) -> RecordBatch {
    let values = ids.iter().map(|id| format!(r#"{{"n": [1, "{id}"]}}"#));
    let times: TimestampMicrosecondArray = (0..).take(ids.len()).map(Some).collect();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(ids)),
        Arc::new(StringArray::from_iter_values(values)),
        Arc::new(times.with_timezone("UTC")),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn message(number: u64, at: i64, payload: Vec<u8>) -> Message {
    Message {
        number,
        epoch: 1,
        row: number,
        at: ProcessingTime(at),
        key: String::new(),
        payload,
    }
}

/// Rows of these ids as they wait, each micro-batch two.
fn waiting(ids: &[&str]) -> Vec<Message> {
    let encoded = JsonEncoder::try_new(schema()).unwrap();
    let encoded = encoded.encode(&rows(ids)).unwrap();
    let numbered = (0_i64..).zip(encoded);
    numbered
        .map(|(number, payload)| message(number.unsigned_abs(), number / 2, payload))
        .collect()
}

/// With who could stop it.
fn relay(world: &Shared) -> (Stop, Relay) {
    let (world, (stop, shutdown)) = (Arc::clone(world), task::shutdown());
    let relay = Relay {
        open: Box::new(move |_| {
            lock(&world).opened += 1;
            Ok(Box::new(Recorder {
                world: Arc::clone(&world),
                writer: 0,
                staged: Vec::new(),
            }))
        }),
        sink: None,
        rows: Rows::try_new(&schema()).unwrap(),
        shutdown,
    };
    (stop, relay)
}

fn settings() -> OutboxSettings {
    OutboxSettings {
        name: OutboxName {
            query: "s".to_owned(),
            sink: None,
        },
        bytes_max: u64::MAX,
        attempts_max: None,
    }
}

fn outbox() -> Outbox {
    Outbox::open(None, "s", u64::MAX, SystemClock::shared()).unwrap()
}

fn taken() -> Verdict {
    Verdict::Taken { notes: Vec::new() }
}

#[test]
fn rows_are_read_as_they_were_written() {
    let messages = waiting(&["a", "b"]);
    let messages: Vec<&Message> = messages.iter().collect();
    let read = Rows::try_new(&schema()).unwrap().of(&messages).unwrap();
    assert_eq!(read, rows(&["a", "b"]));
}

#[test]
fn a_row_that_cannot_be_read_is_at_fault_itself() {
    let broken = message(0, 0, b"{\"id\":".to_vec());
    let error = Rows::try_new(&schema()).unwrap().of(&[&broken]);
    assert_eq!(error.unwrap_err().culprit(), Some(&Culprit::Row));
}

#[test]
fn a_sink_that_keeps_the_epoch_is_given_no_row_twice() {
    let (world, outbox) = (Shared::default(), outbox());
    lock(&world).silent = 1;
    let messages = waiting(&["a", "b", "c"]);
    let (_stop, mut relay) = relay(&world);
    let again = relay.deliver(&messages[..2], &outbox).unwrap();
    let expected = Verdict::Again {
        reason: "no answer".to_owned(),
        after: None,
    };
    assert_eq!(again, expected);
    assert_eq!(relay.deliver(&messages[..2], &outbox).unwrap(), taken());
    assert_eq!(relay.deliver(&messages[2..], &outbox).unwrap(), taken());
    let world = lock(&world);
    assert_eq!(world.batches, [vec!["a", "b"], vec!["c"]]);
    assert_eq!(world.opened, 2, "it is opened again after trouble only");
    assert_eq!(world.committed, Some((2, outbox.number())));
}

#[test]
fn what_another_outbox_has_committed_says_nothing_of_this_one() {
    let (world, outbox) = (Shared::default(), outbox());
    lock(&world).committed = Some((9, outbox.number() ^ 1));
    let (_stop, mut relay) = relay(&world);
    let delivered = relay.deliver(&waiting(&["a"]), &outbox);
    assert_eq!(delivered.unwrap(), taken());
    assert_eq!(lock(&world).batches, [vec!["a"]]);
}

#[test]
fn micro_batches_stay_apart_with_their_times() {
    let world = Shared::default();
    let (_stop, mut relay) = relay(&world);
    let delivered = relay.deliver(&waiting(&["a", "b", "c"]), &outbox());
    assert_eq!(delivered.unwrap(), taken());
    assert_eq!(lock(&world).batches, [vec!["a", "b"], vec!["c"]]);
}

#[test]
fn rows_that_are_refused_together_go_alone_and_the_bad_one_is_given_up() {
    let (world, outbox) = (Shared::default(), outbox());
    lock(&world).refuses = Some("b".to_owned());
    let messages = waiting(&["a", "b", "c"]);
    let (_stop, mut relay) = relay(&world);
    assert_eq!(relay.deliver(&messages, &outbox).unwrap(), Verdict::Apart);
    assert_eq!(lock(&world).batches, Vec::<Vec<String>>::new());
    let refused = Verdict::Refused {
        status: None,
        reason: "not that one".to_owned(),
    };
    for (message, verdict) in messages.iter().zip([taken(), refused, taken()]) {
        let delivered = relay.deliver(std::slice::from_ref(message), &outbox);
        assert_eq!(delivered.unwrap(), verdict);
    }
    assert_eq!(lock(&world).batches, [vec!["a"], vec!["c"]]);
}

#[test]
fn a_delivery_lets_rows_go_alone_until_the_bad_one_is_a_dead_letter() {
    let world = Shared::default();
    lock(&world).refuses = Some("b".to_owned());
    let outboxes = Outboxes::new(None, SystemClock::shared());
    let settings = settings();
    let (_stop, relay) = relay(&world);
    let relayed = Relayed {
        outbox: &settings,
        schema: &schema(),
        key_column: "id",
    };
    let mut sink = relayed.open("", &outboxes, relay.open).unwrap();
    let batch = ChangeBatch::inserts(rows(&["a", "b", "c"]));
    sink.stage(&batch, ProcessingTime(0)).unwrap();
    sink.commit(1).unwrap();
    while sink.backlog() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(lock(&world).batches, [vec!["a"], vec!["c"]]);
    let dead = outboxes.dead_letters().unwrap();
    assert_eq!(dead.len(), 1, "{dead:?}");
    let (_, dead) = &dead[0];
    assert_eq!(
        (
            dead.message.key.as_str(),
            dead.reason.as_str(),
            dead.attempts
        ),
        ("b", "not that one", 1)
    );
}

#[test]
fn not_too_many_bytes_go_together_and_always_one_row() {
    let large = |number| message(number, 0, vec![b' '; BYTES_MAX / 2]);
    assert_eq!(together(&[large(0), large(1), large(2)]), 2);
    assert_eq!(together(&[message(0, 0, vec![b' '; BYTES_MAX + 1])]), 1);
}

#[test]
fn whoever_looks_at_outboxes_does_not_wait_for_one_that_is_given_up() {
    let outboxes = Outboxes::new(None, SystemClock::shared());
    let settings = settings();
    let relayed = Relayed {
        outbox: &settings,
        schema: &schema(),
        key_column: "id",
    };
    let (entered, is_there) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let hangs = move |_: Stopping| {
        entered.send(()).unwrap();
        // Until the other end is gone.
        released.recv().unwrap_err();
        Err(Error::internal("nobody is there"))
    };
    let mut sink = relayed.open("", &outboxes, hangs).unwrap();
    let batch = ChangeBatch::inserts(rows(&["a"]));
    sink.stage(&batch, ProcessingTime(0)).unwrap();
    sink.commit(1).unwrap();
    is_there.recv().unwrap();
    let (looked, seen) = mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| outboxes.remove("s").unwrap());
        scope.spawn(|| {
            while !outboxes.states().is_empty() {
                std::thread::yield_now();
            }
            looked.send(()).unwrap();
        });
        let seen = seen.recv_timeout(Duration::from_secs(10));
        drop(release);
        assert_eq!(seen, Ok(()), "it is seen that the outbox is gone");
    });
}
