//! What needs no broker: the queue, and rows that are made for several queries at once.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, Column, Literal};
use datafusion::scalar::ScalarValue;

use super::alike::Common;
use super::queue::{Note, Offer, Queue};
use super::read::{Fetched, SharedRead, UnionDecode, Wanted};
use super::selection::Selection;
use crate::clock;
use crate::plan::{
    EventTimePlan, InputPlan, OnError, RowStage, ScanColumn, ScanOrigin, ScanSpec, ScanStartup,
    SourcePlan,
};
use crate::scan::{Decode, DecodedRows};
use crate::source::FetchedBy;
use crate::types::{
    FetchMode, KafkaConnection, Message, MessageBatch, Offset, PartitionId, PathStep, Span,
};

/// Messages of partition 0 with these payloads, the first with this offset.
fn messages(first: i64, payloads: &[&str]) -> MessageBatch {
    let (mut buffer, mut messages) = (Vec::new(), Vec::new());
    for (offset, payload) in (first..).zip(payloads) {
        let span = Span {
            start: u32::try_from(buffer.len()).unwrap(),
            len: u32::try_from(payload.len()).unwrap(),
        };
        buffer.extend_from_slice(payload.as_bytes());
        messages.push(Message {
            partition: PartitionId(0),
            offset: Offset(offset),
            timestamp_ms: 0,
            key: None,
            payload: Some(span),
            headers: None,
        });
    }
    buffer.extend_from_slice(&[0; MessageBatch::PADDING]);
    let buffer = Buffer::from(buffer);
    MessageBatch { buffer, messages }
}

/// A scan of some numbers of a JSON object.
fn scan(names: &[&str]) -> ScanSpec {
    let column = |name: &&str| ScanColumn {
        field: Arc::new(Field::new(*name, DataType::Int64, true)),
        origin: ScanOrigin::Payload {
            path: vec![PathStep::Key((*name).to_owned())],
            raw_json: false,
        },
    };
    let columns: Vec<ScanColumn> = names.iter().map(column).collect();
    let fields: Vec<_> = columns.iter().map(|c| Arc::clone(&c.field)).collect();
    ScanSpec {
        table: "t".to_owned(),
        topic: "t".to_owned(),
        connection: KafkaConnection {
            bootstrap_servers: "nowhere:1".to_owned(),
            properties: [].into(),
        },
        columns,
        schema: Arc::new(Schema::new(fields)),
        read_committed: true,
        fetch: FetchMode::Auto,
        max_future: None,
    }
}

/// The rows, and whether all have these.
fn rows_of(fetched: &Fetched, spec: &ScanSpec) -> Option<(DecodedRows, bool)> {
    let mut decode = Decode::try_new(spec).unwrap();
    let rows = fetched.rows_of(&mut Wanted::new(spec), &mut decode);
    rows.unwrap().map(|rows| rows.all().unwrap())
}

fn values(batch: &RecordBatch, column: usize) -> Vec<i64> {
    let column = batch.column(column).as_primitive::<Int64Type>();
    column.values().to_vec()
}

fn decoded(specs: &[&ScanSpec], payloads: &[&str]) -> Fetched {
    let mut decode = UnionDecode::of(specs.iter().copied()).unwrap();
    decode.decode(messages(5, payloads)).unwrap()
}

#[test]
fn each_query_gets_its_own_columns_of_rows_that_were_made_once() {
    let (one, other) = (scan(&["b"]), scan(&["c", "a"]));
    let fetched = decoded(
        &[&one, &other],
        &[r#"{"a":1,"b":2,"c":3}"#, r#"{"a":4,"b":5,"c":6}"#],
    );
    let rows = |spec: &ScanSpec| rows_of(&fetched, spec).unwrap().0.batch;
    assert_eq!(values(&rows(&one), 0), [2, 5]);
    let both = rows(&other);
    assert_eq!(both.schema(), other.schema);
    assert_eq!(
        (values(&both, 0), values(&both, 1)),
        (vec![3, 6], vec![1, 4])
    );
}

#[test]
fn a_message_that_is_none_for_one_query_is_looked_at_by_each_for_itself() {
    let (one, other, third) = (scan(&["a"]), scan(&["a", "b"]), scan(&["b"]));
    let payloads = [
        "broken",
        r#"{"a":1,"b":2}"#,
        r#"{"a":3,"b":"none"}"#,
        r#"{"a":5,"b":6}"#,
    ];
    let fetched = decoded(&[&one, &other], &payloads);
    let of = |spec: &ScanSpec| {
        let (rows, are_shared) = rows_of(&fetched, spec).unwrap();
        let messages = 0..rows.batch.num_rows();
        let messages: Vec<usize> = messages.map(|row| rows.message_of(row)).collect();
        let rejected: Vec<usize> = rows.rejected.iter().map(|r| r.message).collect();
        (values(&rows.batch, 0), messages, rejected, are_shared)
    };
    // What the other one rejects is a row for this one, in its place; also for the next who reads the same.
    for _ in 0..2 {
        assert_eq!(of(&one), (vec![1, 3, 5], vec![1, 2, 3], vec![0], false));
        assert_eq!(of(&third), (vec![2, 6], vec![1, 3], vec![0, 2], true));
    }
    assert_eq!(of(&other), (vec![1, 5], vec![1, 3], vec![0, 2], true));
    let broken = decoded(&[&one, &other], &payloads[..2]);
    let (rows, are_shared) = rows_of(&broken, &one).unwrap();
    assert!(are_shared, "all reject the same");
    assert_eq!(values(&rows.batch, 0), [1]);
    assert_eq!(rows.rejected.len(), 1);
}

/// What queries over this scan have in common that begin with `a > 0`.
fn picks_by_a(spec: &ScanSpec) -> Common {
    let column = Arc::new(Column::new("a", 0));
    let zero = Arc::new(Literal::new(ScalarValue::Int64(Some(0))));
    let condition: Arc<dyn PhysicalExpr> = Arc::new(BinaryExpr::new(column, Operator::Gt, zero));
    let event_time = EventTimePlan {
        column: "a".to_owned(),
        time: Arc::clone(&condition),
        watermark: Arc::clone(&condition),
    };
    let source = SourcePlan {
        scan: spec.clone(),
        visible_columns: 1,
        event_time,
        idle_timeout: None,
        startup: ScanStartup::Earliest,
        on_error: OnError::Skip,
        fails_on_data_loss: false,
        dead_letter_topic: None,
        late_topic: None,
        group_id: None,
        max_rows_per_second: None,
    };
    let rows = vec![RowStage::Filter(condition)];
    Common {
        prefix: None,
        selection: Selection::of(&InputPlan { source, rows }).map(Arc::new),
    }
}

#[test]
fn what_is_no_row_for_all_stands_alone_in_parts_of_which_the_others_are_shared() {
    let (one, other) = (scan(&["a"]), scan(&["a", "b"]));
    let common = picks_by_a(&one);
    let selection = common.selection.clone().unwrap();
    let payloads = [
        r#"{"a":1}"#,
        r#"{"a":2}"#,
        r#"{"a":3,"b":"none"}"#,
        "broken",
        r#"{"a":5}"#,
        r#"{"a":6}"#,
    ];
    let mut decode = UnionDecode::of([&one, &other].into_iter()).unwrap();
    let alone = decode.decode(messages(5, &payloads)).unwrap();
    assert!(alone.parts([].into_iter()).is_none(), "nothing is shared");
    decode.share_all(&common);
    let fetched = decode.decode(messages(5, &payloads)).unwrap();
    // The third row, which is of the last message but one, has no time that can be used.
    let parts = fetched.parts([2].into_iter()).unwrap();
    let offsets = |part: &Fetched| {
        let all = part.messages.messages.iter();
        all.map(|message| message.offset.0).collect::<Vec<_>>()
    };
    let is_shared = |part: &Fetched| {
        let batch = rows_of(part, &one).unwrap().0.batch;
        part.picked(&selection, &batch).is_some()
    };
    let parts: Vec<_> = parts.iter().map(|p| (offsets(p), is_shared(p))).collect();
    assert_eq!(
        parts,
        [
            (vec![5, 6], true),
            (vec![7], false),
            (vec![8], false),
            (vec![9], false),
            (vec![10], true)
        ]
    );
}

#[test]
fn a_batch_with_many_messages_that_are_no_rows_is_not_parted() {
    let spec = scan(&["a"]);
    let payloads = ["broken"; 9];
    for (count, is_parted) in [(8, true), (9, false)] {
        let mut decode = UnionDecode::of(std::iter::once(&spec)).unwrap();
        decode.share_all(&picks_by_a(&spec));
        let fetched = decode.decode(messages(5, &payloads[..count])).unwrap();
        let parts = fetched.parts([].into_iter());
        assert_eq!(parts.is_some(), is_parted, "{count} broken messages");
    }
}

#[test]
fn columns_that_were_not_decoded_yet_are_not_made_up() {
    let (one, late) = (scan(&["a"]), scan(&["b"]));
    let fetched = decoded(&[&one], &[r#"{"a":1,"b":2}"#]);
    assert!(rows_of(&fetched, &late).is_none(), "there are none");
}

#[test]
fn a_batch_is_cut_at_offsets() {
    let fetched = Fetched::new(messages(5, &["{}", "{}", "{}", "{}"]));
    let at = |offset| [(PartitionId(0), Offset(offset))].into();
    let cut = fetched.within(&at(6), &at(8));
    let reach = cut.reach[0];
    assert_eq!(
        (reach.first, reach.next, reach.count),
        (Offset(6), Offset(8), 2)
    );
    assert!(fetched.within(&at(9), &at(20)).reach.is_empty());
}

fn read(bytes: usize) -> Arc<SharedRead> {
    let text = "x".repeat(bytes);
    Arc::new(SharedRead {
        batch: Arc::new(Fetched::new(messages(0, &[&text]))),
        ends: Vec::new(),
        known_ends: Vec::new(),
        problems: Vec::new(),
        by: FetchedBy::Direct,
    })
}

#[test]
fn a_queue_is_bounded_in_bytes_and_takes_one_read_that_is_longer() {
    let queue = Queue::new(1_000);
    let offer = |bytes| queue.offer(1, 0, &read(bytes), Duration::ZERO);
    assert_eq!(offer(5_000), Offer::Taken);
    assert_eq!(offer(1), Offer::Full);
    // Notes weigh nothing, and keep their place.
    queue.tell(Note::FellOut { membership: 1 });
    assert!(matches!(
        queue.take(Duration::ZERO),
        Some(Note::Read { .. })
    ));
    assert!(queue.is_empty());
    assert_eq!(offer(1), Offer::Taken);
    assert!(matches!(
        queue.take(Duration::ZERO),
        Some(Note::FellOut { .. })
    ));
    assert!(matches!(
        queue.take(Duration::ZERO),
        Some(Note::Read { .. })
    ));
    assert!(queue.take(Duration::ZERO).is_none());
    queue.close();
    assert_eq!(offer(1), Offer::Closed);
}

#[test]
fn who_waits_for_room_gets_it_when_something_is_taken() {
    let queue = Queue::new(1_000);
    assert_eq!(queue.offer(1, 0, &read(800), Duration::ZERO), Offer::Taken);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.offer(1, 0, &read(800), Duration::from_secs(60)));
        assert!(queue.take(Duration::from_secs(60)).is_some());
        assert_eq!(waiting.join().unwrap(), Offer::Taken);
    });
}

#[test]
fn who_awaits_more_reads_is_woken_by_enough_of_them_or_by_something_else() {
    let far = clock::instant() + Duration::from_secs(10);
    let offer = |queue: &Queue, bytes| queue.offer(1, 0, &read(bytes), Duration::ZERO);
    type Wake = (&'static str, fn(&Queue));
    let wakes: [Wake; 4] = [
        ("a note", |queue| {
            queue.tell(Note::FellOut { membership: 1 })
        }),
        ("a wake", Queue::wake),
        ("the end", Queue::close),
        ("ends without messages", |queue| queue.push(1, 0, &read(0))),
    ];
    for (what, wake) in wakes {
        let queue = Queue::new(100_000);
        std::thread::scope(|scope| {
            // More than there will ever be.
            let waiting = scope.spawn(|| queue.await_more(usize::MAX, far));
            // Until it waits these do nothing, so they come again and again.
            while !waiting.is_finished() {
                wake(&queue);
                std::thread::yield_now();
            }
        });
        assert!(clock::instant() < far, "{what} wakes it");
    }
    let queue = Queue::new(1_000);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| queue.await_more(2, far));
        assert_eq!(offer(&queue, 1), Offer::Taken);
        assert_eq!(offer(&queue, 1), Offer::Taken);
        waiting.join().unwrap();
        let waiting = scope.spawn(|| queue.await_more(3, far));
        while !waiting.is_finished() {
            assert_eq!(offer(&queue, 5_000), Offer::Full);
            std::thread::yield_now();
        }
    });
    assert!(
        clock::instant() < far,
        "enough reads and a full queue wake it"
    );
    queue.await_more(9, clock::instant());
    assert!(queue.take(Duration::ZERO).is_some(), "the time was over");
}
