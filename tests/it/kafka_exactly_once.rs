//! Exactly once into Kafka: what a reader of committed messages sees of a sink's epochs, and when.
//!
//! Each check runs against the embedded broker, and again against a real Apache Kafka if there is one. What is in a
//! topic is read by librdkafka alone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use headwater::error::{Error, Fault, SqlState};
use headwater::sink::kafka::{KafkaDelivery, KafkaForm, KafkaSink, KafkaSinkOptions};
use headwater::sink::{Outside, Sink};
use headwater::types::{ChangeBatch, KafkaConnection, ProcessingTime};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::support::broker::{Broker, RealKafka, real_kafka};
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;
use crate::support::wait;

/// A topic, and a sink into it whose transactional id is the topic's name.
struct Stage {
    cluster: Cluster,
    options: KafkaSinkOptions,
}

impl Stage {
    async fn at(bootstrap: &str) -> Self {
        let cluster = Cluster::at(bootstrap);
        let topic = format!("once-{}", uuid::Uuid::new_v4());
        cluster.create_topic(&topic, 2).await;
        let options = KafkaSinkOptions {
            connection: KafkaConnection {
                bootstrap_servers: bootstrap.to_owned(),
                properties: BTreeMap::new(),
            },
            delivery: KafkaDelivery::ExactlyOnce {
                transactional_id: topic.clone(),
                interval: Duration::from_secs(1),
            },
            topic,
            key_columns: Vec::new(),
            headers: Vec::new(),
            form: KafkaForm::Append,
        };
        Self { cluster, options }
    }

    fn open(&self) -> KafkaSink {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<KafkaSink, Error> {
        KafkaSink::open(&self.options, &rows(0..0).rows().schema())
    }

    /// The committed numbers in the topic, in order.
    fn read(&self) -> Vec<i64> {
        let records = self.cluster.read(&self.options.topic);
        let number = |record: &Record| {
            let text = record.text();
            let number = text
                .strip_prefix("{\"n\":")
                .and_then(|t| t.strip_suffix('}'));
            number.and_then(|number| number.parse().ok()).unwrap()
        };
        let mut numbers: Vec<i64> = records.iter().map(number).collect();
        numbers.sort_unstable();
        numbers
    }

    /// Commits an offset of the topic's first partition for the sink's group, as a foreigner would.
    fn set_group_offset(&self, offset: i64) {
        let consumer: BaseConsumer = ClientConfig::new()
            .set(
                "bootstrap.servers",
                &self.options.connection.bootstrap_servers,
            )
            .set("group.id", &self.options.topic)
            .create()
            .unwrap();
        let mut offsets = TopicPartitionList::new();
        offsets
            .add_partition_offset(&self.options.topic, 0, Offset::Offset(offset))
            .unwrap();
        consumer.commit(&offsets, CommitMode::Sync).unwrap();
    }
}

fn rows(numbers: std::ops::Range<i64>) -> ChangeBatch {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
    ChangeBatch::inserts(RecordBatch::try_from_iter([("n", numbers)]).unwrap())
}

fn stage(sink: &mut KafkaSink, numbers: std::ops::Range<i64>) -> Result<(), Error> {
    sink.stage(&rows(numbers), ProcessingTime(0))
}

/// Waits until the broker has everything that was staged.
fn settle(sink: &mut KafkaSink) {
    wait::until("confirmation", || {
        stage(sink, 0..0).unwrap();
        (sink.backlog() == 0).then_some(())
    });
}

/// Runs a check against every broker that there is.
async fn everywhere(check: impl AsyncFn(Stage)) {
    let broker = Broker::start();
    check(Stage::at(&broker.bootstrap()).await).await;
    if let Some(bootstrap) = real_kafka() {
        check(Stage::at(&bootstrap).await).await;
    }
}

#[tokio::test]
async fn rows_are_seen_when_their_epoch_ends_and_those_of_an_aborted_one_never() {
    everywhere(async |place| {
        let mut sink = place.open();
        assert_eq!(sink.committed().unwrap(), Outside::Epoch(None));
        stage(&mut sink, 0..1000).unwrap();
        settle(&mut sink);
        assert!(place.read().is_empty(), "the epoch has not ended");
        stage(&mut sink, 1000..2000).unwrap();
        sink.commit(1).unwrap();
        assert_eq!(place.read(), (0..2000).collect::<Vec<_>>());
        stage(&mut sink, 2000..3000).unwrap();
        settle(&mut sink);
        sink.abort().unwrap();
        stage(&mut sink, 3000..3010).unwrap();
        sink.commit(2).unwrap();
        let seen: Vec<_> = (0..2000).chain(3000..3010).collect();
        assert_eq!(place.read(), seen);
    })
    .await;
}

#[tokio::test]
async fn a_sink_that_is_opened_again_knows_its_last_epoch_and_nothing_open_is_left() {
    everywhere(async |place| {
        let mut sink = place.open();
        stage(&mut sink, 0..10).unwrap();
        sink.commit(7).unwrap();
        // An epoch may have no rows.
        sink.commit(8).unwrap();
        stage(&mut sink, 10..20).unwrap();
        settle(&mut sink);
        // As a process that dies: nothing is aborted.
        std::mem::forget(sink);
        let mut sink = place.open();
        assert_eq!(sink.committed().unwrap(), Outside::Epoch(Some(8)));
        stage(&mut sink, 20..30).unwrap();
        sink.commit(9).unwrap();
        let seen: Vec<_> = (0..10).chain(20..30).collect();
        assert_eq!(place.read(), seen);
        // Begun anew: the numbers may start again.
        sink.commit(0).unwrap();
        assert_eq!(place.open().committed().unwrap(), Outside::Epoch(Some(0)));
    })
    .await;
}

#[tokio::test]
async fn who_opens_a_sink_last_has_it() {
    everywhere(async |place| {
        let mut first = place.open();
        stage(&mut first, 0..10).unwrap();
        settle(&mut first);
        let mut second = place.open();
        let refused = stage(&mut first, 10..20)
            .and_then(|()| first.commit(1))
            .unwrap_err();
        assert_eq!(refused.state(), SqlState::ObjectInUse, "{refused:?}");
        assert_eq!(refused.fault(), Fault::External { retry: false });
        let detail = refused.detail_text().unwrap();
        assert!(detail.contains(&place.options.topic), "{detail}");
        stage(&mut second, 20..30).unwrap();
        second.commit(1).unwrap();
        // It goes on to be refused, also without rows.
        let again = first.commit(2).unwrap_err();
        assert_eq!(again.state(), SqlState::ObjectInUse, "{again:?}");
        drop(first);
        stage(&mut second, 30..40).unwrap();
        second.commit(2).unwrap();
        assert_eq!(place.read(), (20..40).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn at_least_once_is_seen_at_once_and_keeps_no_epoch() {
    everywhere(async |mut place| {
        place.options.delivery = KafkaDelivery::AtLeastOnce;
        let mut sink = place.open();
        assert_eq!(sink.committed().unwrap(), Outside::Unknown);
        stage(&mut sink, 0..10).unwrap();
        settle(&mut sink);
        assert_eq!(place.read(), (0..10).collect::<Vec<_>>());
        sink.commit(1).unwrap();
        assert_eq!(place.open().committed().unwrap(), Outside::Unknown);
    })
    .await;
}

#[tokio::test]
async fn a_group_that_is_not_the_sinks_is_not_taken_for_an_epoch() {
    everywhere(async |place| {
        place.set_group_offset(5);
        let refused = place.try_open().err().expect("it is refused");
        assert_eq!(refused.state(), SqlState::DataException, "{refused:?}");
        assert_eq!(refused.fault(), Fault::External { retry: false });
    })
    .await;
}

#[tokio::test]
async fn a_commit_does_not_wait_for_the_librarys_tenth_of_a_second() {
    everywhere(async |place| {
        let start = Instant::now();
        let mut sink = place.open();
        let opened = start.elapsed();
        // The least: a busy machine makes single ones longer, the wait would be in each.
        let mut least = |rows: i64| {
            let times = (1..=40).map(|epoch| {
                stage(&mut sink, 0..rows).unwrap();
                let start = Instant::now();
                sink.commit(epoch).unwrap();
                start.elapsed()
            });
            times.min().expect("there are some")
        };
        let (empty, small, large) = (least(0), least(10), least(10_000));
        println!(
            "open {opened:?}; least commit: empty {empty:?}, 10 rows {small:?}, 10000 {large:?}"
        );
        assert!(empty < Duration::from_millis(90), "{empty:?}");
        assert!(small < Duration::from_millis(90), "{small:?}");
    })
    .await;
}

/// The broker dies with an epoch's rows in it and comes back while they are being committed.
fn outlive(place: &Stage, kill: impl FnOnce(), start_again: impl FnOnce()) {
    let mut sink = place.open();
    stage(&mut sink, 0..10).unwrap();
    sink.commit(1).unwrap();
    stage(&mut sink, 10..20).unwrap();
    settle(&mut sink);
    kill();
    let commit = std::thread::spawn(move || {
        let committed = stage(&mut sink, 20..30).and_then(|()| sink.commit(2));
        (committed, sink)
    });
    wait::pause(Duration::from_millis(300));
    start_again();
    let (committed, sink) = commit.join().unwrap();
    if let Err(error) = &committed {
        assert_eq!(error.fault(), Fault::External { retry: true }, "{error:?}");
    }
    drop(sink);
    let mut sink = wait::until("answer", || place.try_open().ok());
    let epoch = match sink.committed().unwrap() {
        Outside::Epoch(Some(epoch)) => epoch,
        other => panic!("{other:?}"),
    };
    assert!(
        epoch == 2 || (epoch == 1 && committed.is_err()),
        "{epoch}, {committed:?}"
    );
    let whole = if epoch == 2 { 30 } else { 10 };
    assert_eq!(place.read(), (0..whole).collect::<Vec<_>>(), "whole epochs");
    stage(&mut sink, whole..40).unwrap();
    sink.commit(epoch + 1).unwrap();
    assert_eq!(place.read(), (0..40).collect::<Vec<_>>(), "nothing is lost");
}

#[tokio::test]
async fn an_epoch_is_whole_or_not_there_when_the_broker_was_killed_under_it() {
    let broker = Broker::start();
    let place = Stage::at(&broker.bootstrap()).await;
    let broker = std::cell::RefCell::new(broker);
    let kill = || broker.borrow_mut().kill();
    outlive(&place, kill, || broker.borrow_mut().start_again());
    if real_kafka().is_some() {
        let kafka = RealKafka::start();
        let place = Stage::at(kafka.bootstrap()).await;
        outlive(&place, || kafka.kill(), || kafka.start_again());
    }
}

const NUMBERS: &str = "CREATE TABLE numbers (n bigint) WITH (connector = 'kafka', topic = 'numbers', format = 'json')";

fn numbers(range: std::ops::Range<i64>) -> Vec<Record> {
    range
        .map(|n| Record::of(format!("{{\"n\":{n}}}")))
        .collect()
}

fn copy(topic: &str, more: &str) -> String {
    format!(
        "CREATE SINK copy WITH (connector = 'kafka', topic = '{topic}', delivery = 'exactly once'{more}) AS \
         SELECT n FROM numbers"
    )
}

fn texts(cluster: &Cluster, topic: &str) -> Vec<String> {
    cluster.read(topic).iter().map(Record::text).collect()
}

#[tokio::test]
async fn a_sink_of_a_server_is_read_epoch_by_epoch() {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("numbers", 1).await;
    let mut server = Server::start(&broker.bootstrap());
    let client = server.connect().await;
    client.run(NUMBERS).await;
    client
        .run(&copy("copied", ", checkpoint_interval = '10 minutes'"))
        .await;
    cluster.produce("numbers", &numbers(0..3));
    wait::until_async("rows at the broker", async || {
        let sent = "SELECT rows_out FROM headwater.queries WHERE rows_out = 3 AND sink_backlog = 0";
        (!client.rows(sent).await.is_empty()).then_some(())
    })
    .await;
    assert!(
        texts(&cluster, "copied").is_empty(),
        "the epoch has not ended"
    );
    client.run("FLUSH").await;
    assert_eq!(
        texts(&cluster, "copied"),
        [r#"{"n":0}"#, r#"{"n":1}"#, r#"{"n":2}"#]
    );
}
