//! Whatever was read when: each message once, in its partition's order, and the partitions by time.

use std::collections::BTreeMap;
use std::sync::Mutex;

use arrow::buffer::MutableBuffer;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::physical_expr::expressions::Column;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::engine::shared_scan::UnionDecode;
use crate::plan::{
    BatchTime, Emission, EventTimePlan, InputPlan, OnError, QueryOptions, ScanColumn, ScanOrigin,
    ScanSpec, ScanStartup,
};
use crate::source::Problem;
use crate::types::{
    FetchMode, KafkaConnection, Message, MessageBatch, PartitionId, PartitionRange, PathStep, Span,
};

/// Messages of each partition: their times, or none where a message is no row.
type Topic = Vec<Vec<Option<i64>>>;

/// One step of a reader: so many messages of a partition, perhaps beside others, and whether its end is told.
type Step = (usize, usize, bool, bool);

fn source() -> SourcePlan {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    let column = ScanColumn {
        field: Arc::new(Field::new("at", time, true)),
        origin: ScanOrigin::Payload {
            path: vec![PathStep::Key("at".to_owned())],
            raw_json: false,
        },
    };
    let at = || Arc::new(Column::new("at", 0));
    SourcePlan {
        scan: ScanSpec {
            table: "t".to_owned(),
            topic: "t".to_owned(),
            connection: KafkaConnection {
                bootstrap_servers: "nowhere:1".to_owned(),
                properties: BTreeMap::new(),
            },
            schema: Arc::new(Schema::new(vec![Arc::clone(&column.field)])),
            columns: vec![column],
            read_committed: true,
            fetch: FetchMode::Auto,
            max_future: None,
        },
        visible_columns: 1,
        event_time: EventTimePlan {
            column: "at".to_owned(),
            time: at(),
            watermark: at(),
        },
        idle_timeout: None,
        startup: ScanStartup::Earliest,
        on_error: OnError::Skip,
        fails_on_data_loss: false,
        dead_letter_topic: None,
        late_topic: None,
        group_id: None,
        max_rows_per_second: None,
    }
}

fn plan(rows_max: usize, trigger: Trigger) -> StreamPlan {
    let source = source();
    StreamPlan {
        text: String::new(),
        schema: Arc::clone(&source.scan.schema),
        inputs: vec![InputPlan {
            source,
            rows: Vec::new(),
        }],
        aggregate: None,
        output: Vec::new(),
        limit: None,
        key: None,
        window_key: Vec::new(),
        emission: Emission::Changes,
        options: QueryOptions {
            trigger,
            rows_max: Some(rows_max),
            by_time: true,
            ..QueryOptions::default()
        },
        batch_time: BatchTime::default(),
    }
}

fn begin(topic: &Topic) -> Begin {
    let ranges = (0..)
        .zip(topic)
        .map(|(partition, messages)| PartitionRange {
            partition: PartitionId(partition),
            start: Offset(0),
            end: offset(messages.len()),
        });
    Begin::everything(vec![ranges.collect()])
}

fn offset(place: usize) -> Offset {
    Offset(i64::try_from(place).expect("a small number"))
}

/// Reads a topic in such steps, and what is left in the end.
struct Scripted {
    topic: Topic,
    next: Vec<usize>,
    steps: Vec<Step>,
    decode: UnionDecode,
    wanted: Arc<Mutex<usize>>,
}

impl Scripted {
    fn read(&mut self, partition: usize, count: usize, batch: &mut (MutableBuffer, Vec<Message>)) {
        let (buffer, messages) = batch;
        let from = self.next[partition];
        let to = self.topic[partition].len().min(from + count);
        for place in from..to {
            let payload = match self.topic[partition][place] {
                Some(time) => {
                    let at = chrono::DateTime::from_timestamp_micros(time).expect("a time");
                    format!(r#"{{"at":"{}"}}"#, at.format("%Y-%m-%dT%H:%M:%S%.6f"))
                }
                None => "no row".to_owned(),
            };
            let start = u32::try_from(buffer.len()).expect("a small number");
            buffer.extend_from_slice(payload.as_bytes());
            messages.push(Message {
                partition: id(partition),
                offset: offset(place),
                timestamp_ms: 0,
                key: None,
                payload: Some(Span {
                    start,
                    len: u32::try_from(payload.len()).expect("a small number"),
                }),
                headers: None,
            });
        }
        self.next[partition] = to;
    }

    fn hand_over(&mut self, batch: (MutableBuffer, Vec<Message>), collected: &mut Collected) {
        let (mut buffer, messages) = batch;
        if messages.is_empty() {
            return;
        }
        buffer.extend_from_slice(&[0_u8; MessageBatch::PADDING]);
        let batch = MessageBatch {
            buffer: buffer.into(),
            messages,
        };
        let fetched = match self.steps.len() % 2 {
            0 => self.decode.decode(batch).expect("the batch is whole"),
            _ => Fetched::new(batch),
        };
        collected.lanes[0].push((0, Arc::new(fetched)));
    }
}

fn id(partition: usize) -> PartitionId {
    PartitionId(i32::try_from(partition).expect("a small number"))
}

impl Collect for Scripted {
    fn collect(&mut self, _: Duration, _: Gather) -> Result<Collected> {
        let mut collected = Collected::nothing(1);
        let mut batch = (MutableBuffer::new(0), Vec::new());
        let partitions = self.topic.len();
        let Some((partition, count, goes_on, has_trouble)) = self.steps.pop() else {
            for partition in 0..partitions {
                self.read(partition, usize::MAX / 2, &mut batch);
                let end = PartitionEnd {
                    partition: id(partition),
                    next: offset(self.topic[partition].len()),
                };
                collected.ends.push((0, end));
            }
            self.hand_over(batch, &mut collected);
            return Ok(collected);
        };
        let partition = partition % partitions;
        self.read(partition, count, &mut batch);
        if goes_on {
            self.read((partition + 1) % partitions, count, &mut batch);
            self.read(partition, count, &mut batch);
        }
        self.hand_over(batch, &mut collected);
        if has_trouble {
            let partition = Some(id(partition));
            let message = "no answer".to_owned();
            collected.problems.push((0, Problem { partition, message }));
        }
        Ok(collected)
    }

    fn want(&mut self, partitions: &[InputPartition]) {
        *self.wanted.lock().expect("nobody panicked") = partitions.len();
    }
}

/// What one part gives: partition, offset and time as late as it counts.
type Part = Vec<(i32, i64, i64)>;

struct Run {
    parts: Vec<Part>,
    ends: Vec<(usize, PartitionEnd)>,
}

/// All parts of a topic, read in such steps.
fn run(topic: &Topic, steps: &[Step], (rows_max, trigger): (usize, Trigger)) -> Run {
    let plan = plan(rows_max, trigger);
    let scan = &plan.inputs[0].source.scan;
    let scripted = Scripted {
        topic: topic.clone(),
        next: vec![0; topic.len()],
        steps: steps.to_vec(),
        decode: UnionDecode::of([scan].into_iter()).unwrap(),
        wanted: Arc::default(),
    };
    let mut order = InOrder::try_new("q", Box::new(scripted), &plan, &begin(topic)).unwrap();
    let mut run = Run {
        parts: Vec::new(),
        ends: Vec::new(),
    };
    let messages: usize = topic.iter().map(Vec::len).sum();
    let mut given = 0;
    let mut late = vec![i64::MIN; topic.len()];
    for _ in 0..steps.len() + messages + 3 {
        let gather = Gather {
            reads_max: 1,
            patience: Duration::ZERO,
        };
        let part = order.collect(Duration::ZERO, gather).unwrap();
        let before = given;
        let mut seen = Part::new();
        for (_, fetched) in part.lanes.into_iter().flatten() {
            for message in &fetched.messages.messages {
                let partition = usize::try_from(message.partition.0).unwrap();
                let time = topic[partition][usize::try_from(message.offset.0).unwrap()];
                late[partition] = late[partition].max(time.unwrap_or(i64::MIN));
                seen.push((message.partition.0, message.offset.0, late[partition]));
            }
        }
        given += seen.len();
        run.ends
            .extend(part.ends.into_iter().map(|(_, end)| (given, end)));
        if given > before {
            run.parts.push(seen);
        }
    }
    run
}

fn topics() -> impl Strategy<Value = Topic> {
    let message = proptest::prop_oneof![
        9 => (0..40_i64).prop_map(Some),
        1 => Just(None),
    ];
    vec(vec(message, 0..30), 1..4).prop_map(|mut topic| {
        // About in order, as topics are.
        for messages in &mut topic {
            let mut place = 0;
            for time in messages.iter_mut().flatten() {
                place += 5;
                *time += place;
            }
        }
        topic
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    vec((0..4_usize, 0..9_usize, any::<bool>(), Just(false)), 0..20)
}

proptest! {
    #[test]
    fn each_message_comes_once_by_time_and_its_end_after_it(
        topic in topics(),
        steps in steps(),
        rows_max in 1..12_usize,
    ) {
        let run = run(&topic, &steps, (rows_max, Trigger::Continuous));
        let mut next = vec![0; topic.len()];
        for (partition, offset, _) in run.parts.iter().flatten() {
            let next = &mut next[usize::try_from(*partition).unwrap()];
            prop_assert_eq!(*next, *offset);
            *next += 1;
        }
        let lengths: Vec<i64> = topic.iter().map(|messages| offset(messages.len()).0).collect();
        prop_assert_eq!(next, lengths);
        if topic.len() > 1 {
            let mut latest = i64::MIN;
            for part in &run.parts {
                let times = || part.iter().map(|(_, _, time)| *time);
                prop_assert!(times().min() >= Some(latest), "{:?}", run.parts);
                latest = times().max().unwrap();
            }
        }
        for (given, end) in &run.ends {
            let before = run.parts.iter().flatten().take(*given);
            let of_it = before.filter(|(partition, ..)| *partition == end.partition.0);
            prop_assert_eq!(offset(of_it.count()), end.next);
        }
    }

    #[test]
    fn where_all_has_an_end_the_parts_follow_from_the_messages_alone(
        topic in topics(),
        (some, others) in (steps(), steps()),
        rows_max in 1..12_usize,
    ) {
        let how = (rows_max, Trigger::AvailableNow);
        let sorted = |run: Run| -> Vec<Part> {
            let parts = run.parts.into_iter();
            parts.map(|mut part| { part.sort_unstable(); part }).collect()
        };
        prop_assert_eq!(sorted(run(&topic, &some, how)), sorted(run(&topic, &others, how)));
    }
}

#[test]
fn one_whose_broker_does_not_answer_holds_up_no_other() {
    let topic = vec![vec![Some(1), Some(2)], vec![Some(1), Some(5)]];
    let steps = [(0, 0, false, true), (1, 2, false, false)];
    let mut steps = steps.to_vec();
    let waiting = run(&topic, &[steps[1]], (10, Trigger::Continuous));
    assert_eq!(
        waiting.parts[0].len(),
        4,
        "what is at the end of partition 1 waits for partition 0"
    );
    steps.reverse();
    let troubled = run(&topic, &steps, (10, Trigger::Continuous));
    assert_eq!(troubled.parts[0], [(1, 0, 1), (1, 1, 5)]);
}
