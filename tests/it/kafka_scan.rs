//! A topic as a table of snapshot queries, against a real Kafka, through DataFusion's own SQL.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::arrow::util::pretty::pretty_format_batches;
use datafusion::physical_plan::displayable;
use datafusion::prelude::{SessionConfig, SessionContext};
use futures::StreamExt;
use headwater::format::Rejected;
use headwater::plan::{MaxFuture, ScanColumn, ScanOrigin, ScanSpec};
use headwater::scan::{RejectedSink, TopicTable};
use headwater::source::Cluster;
use headwater::types::{KafkaConnection, MessageBatch, MetadataColumn, PathStep};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::support::broker::real_kafka;
use crate::support::wait::until_async;

/// 2026-01-01 00:00:00 UTC.
const START_MS: i64 = 1_767_225_600_000;

#[derive(Debug, Default)]
struct Counted(AtomicUsize);

impl RejectedSink for Counted {
    fn reject(
        &self,
        _spec: &ScanSpec,
        _messages: &MessageBatch,
        rejected: &[Rejected],
    ) -> headwater::error::Result<()> {
        self.0.fetch_add(rejected.len(), Ordering::SeqCst);
        Ok(())
    }
}

/// A topic `t (n bigint, at timestamptz, p, o, ts)` whose message n has `at` = START + n seconds.
struct Table {
    spec: ScanSpec,
    rejected: Arc<Counted>,
}

impl Table {
    fn create(test: &str, partitions: u32) -> Option<Self> {
        let connection = KafkaConnection {
            bootstrap_servers: real_kafka()?,
            properties: BTreeMap::new(),
        };
        let topic = format!("scan-{test}-{}", uuid::Uuid::new_v4());
        Cluster::connect(&connection)
            .unwrap()
            .create_topic(&topic, partitions, None)
            .unwrap();
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
        let payload = |name: &str| ScanOrigin::Payload {
            path: vec![PathStep::Key(name.to_owned())],
            raw_json: false,
        };
        let columns: Vec<ScanColumn> = [
            ("n", DataType::Int64, payload("n")),
            ("at", utc.clone(), payload("at")),
            (
                "p",
                DataType::Int32,
                ScanOrigin::Metadata(MetadataColumn::Partition),
            ),
            (
                "o",
                DataType::Int64,
                ScanOrigin::Metadata(MetadataColumn::Offset),
            ),
            ("ts", utc, ScanOrigin::Metadata(MetadataColumn::Timestamp)),
        ]
        .into_iter()
        .map(|(name, data_type, origin)| ScanColumn {
            field: Arc::new(Field::new(name, data_type, true)),
            origin,
        })
        .collect();
        let fields: Vec<_> = columns
            .iter()
            .map(|column| Arc::clone(&column.field))
            .collect();
        let spec = ScanSpec {
            table: "t".to_owned(),
            topic,
            connection,
            columns,
            schema: Arc::new(Schema::new(fields)),
            read_committed: true,
            fetch: headwater::types::FetchMode::Auto,
            max_future: Some(MaxFuture {
                column: 1,
                bound: Duration::from_secs(60),
            }),
        };
        Some(Self {
            spec,
            rejected: Arc::default(),
        })
    }

    fn producer(&self) -> BaseProducer {
        ClientConfig::new()
            .set("bootstrap.servers", &self.spec.connection.bootstrap_servers)
            .set("queue.buffering.max.messages", "1000000")
            .create()
            .unwrap()
    }

    /// Produces messages `from..to`, round robin, each with the record's timestamp of its `at`.
    fn fill(&self, from: i64, to: i64, partitions: i64) {
        let producer = self.producer();
        for n in from..to {
            let at = chrono::DateTime::from_timestamp_millis(START_MS + n * 1000).unwrap();
            let at = at.format("%Y-%m-%dT%H:%M:%SZ");
            let payload = format!(
                "{{\"n\":{n},\"at\":\"{at}\",\"more\":\"{}\"}}",
                "x".repeat(60)
            );
            let partition = i32::try_from(n % partitions).unwrap();
            self.send(&producer, partition, &payload, START_MS + n * 1000);
        }
        producer.flush(Duration::from_secs(60)).unwrap();
    }

    fn send(&self, producer: &BaseProducer, partition: i32, payload: &str, time_ms: i64) {
        loop {
            let record = BaseRecord::<str, str>::to(&self.spec.topic)
                .partition(partition)
                .payload(payload)
                .timestamp(time_ms);
            if producer.send(record).is_ok() {
                return;
            }
            producer.poll(Duration::from_millis(10));
        }
    }

    fn context(&self) -> SessionContext {
        let context =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
        let rejected: Arc<dyn RejectedSink> = Arc::clone(&self.rejected) as _;
        let table = TopicTable::new(self.spec.clone(), rejected);
        context.register_table("t", Arc::new(table)).unwrap();
        context
    }

    async fn query(&self, sql: &str) -> String {
        let batches = self
            .context()
            .sql(sql)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        cells(&batches)
    }

    /// The scan's line in the plan.
    async fn plan(&self, sql: &str) -> String {
        let plan = self
            .context()
            .sql(sql)
            .await
            .unwrap()
            .create_physical_plan()
            .await
            .unwrap();
        let text = displayable(plan.as_ref()).indent(false).to_string();
        text.lines()
            .find(|line| line.contains("TopicScan"))
            .unwrap_or(&text)
            .trim()
            .to_owned()
    }
}

/// The rows' cells, `,` between them and ` | ` between rows.
fn cells(batches: &[RecordBatch]) -> String {
    let table = pretty_format_batches(batches).unwrap().to_string();
    let rows = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            cells.join(",")
        });
    rows.collect::<Vec<_>>().join(" | ")
}

#[tokio::test]
async fn a_snapshot_reads_what_is_there_and_nothing_twice() {
    let Some(table) = Table::create("all", 3) else {
        return;
    };
    assert_eq!(table.query("SELECT count(*) FROM t").await, "0");
    table.fill(0, 30_000, 3);
    assert_eq!(
        table
            .query("SELECT count(*), sum(n), min(at), max(o) FROM t")
            .await,
        "30000,449985000,2026-01-01T00:00:00Z,9999"
    );
    assert_eq!(
        table.query("SELECT count(DISTINCT (p, o)) FROM t").await,
        "30000"
    );
    assert_eq!(table.rejected.0.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn predicates_on_the_records_place_reach_the_scan() {
    let Some(table) = Table::create("place", 3) else {
        return;
    };
    table.fill(0, 3000, 3);
    for (predicate, read, rows) in [
        ("p = 1", 1000, 1000),
        ("p IN (0, 2) AND o >= 990", 20, 20),
        ("o BETWEEN 5 AND 6", 6, 6),
        ("p = 7", 0, 0),
        ("ts >= timestamptz '2026-01-01T00:49:50Z'", 10, 10),
        (
            "ts > timestamptz '2026-01-01T00:49:50Z' - interval '10 seconds'",
            20,
            19,
        ),
        ("at >= timestamptz '2026-01-01T00:49:50Z'", 70, 10),
        ("at < timestamptz '2026-01-01T00:00:10Z'", 3000, 10),
    ] {
        let from_where = format!("FROM t WHERE {predicate}");
        let plan = table.plan(&format!("SELECT n {from_where}")).await;
        assert!(
            plan.contains(&format!("messages={read}")),
            "{predicate}: {plan}"
        );
        let count = table.query(&format!("SELECT count(*) {from_where}")).await;
        assert_eq!(count, rows.to_string(), "{predicate}");
    }
}

#[tokio::test]
async fn a_limit_on_a_long_topic_answers_soon() {
    let Some(table) = Table::create("limit", 2) else {
        return;
    };
    table.fill(0, 300_000, 2);
    table.query("SELECT n FROM t LIMIT 1").await;
    let mut times = Vec::new();
    for _ in 0..5 {
        let start = Instant::now();
        let rows = table.query("SELECT n, p FROM t LIMIT 10").await;
        times.push(start.elapsed());
        assert_eq!(rows.split(" | ").count(), 10, "{rows}");
    }
    times.sort();
    println!("LIMIT 10: {times:?}");
    assert!(times[0] < Duration::from_secs(1), "{times:?}");
}

#[tokio::test]
async fn a_dropped_query_stops_its_readers() {
    let Some(table) = Table::create("dropped", 2) else {
        return;
    };
    table.fill(0, 200_000, 2);
    let stream = table.context().sql("SELECT * FROM t").await.unwrap();
    let mut stream = stream.execute_stream().await.unwrap();
    assert!(stream.next().await.unwrap().unwrap().num_rows() > 0);
    // The readers hold the table's parts as long as they run.
    assert!(
        Arc::strong_count(&table.rejected) > 1,
        "the readers wait for the query"
    );
    drop(stream);
    let start = Instant::now();
    until_async("end of the readers", async || {
        (Arc::strong_count(&table.rejected) == 1).then_some(())
    })
    .await;
    println!("stopped after {:?}", start.elapsed());
}

#[tokio::test]
async fn broken_messages_are_set_aside_whatever_is_read() {
    let Some(table) = Table::create("broken", 1) else {
        return;
    };
    table.fill(0, 10, 1);
    let producer = table.producer();
    for payload in [
        "not json",
        "",
        "{\"n\":1}",
        "{\"n\":1,\"at\":\"2026-01-02T00:00:00Z\"}",
    ] {
        table.send(&producer, 0, payload, START_MS);
    }
    let tombstone = BaseRecord::<str, str>::to(&table.spec.topic)
        .key("k")
        .timestamp(START_MS);
    producer
        .send(tombstone)
        .map_err(|(error, _)| error)
        .unwrap();
    producer.flush(Duration::from_secs(20)).unwrap();
    for sql in [
        "SELECT count(*) FROM t",
        "SELECT count(n) FROM t",
        "SELECT count(at) FROM t",
    ] {
        assert_eq!(table.query(sql).await, "10", "{sql}");
        assert_eq!(table.rejected.0.swap(0, Ordering::SeqCst), 5, "{sql}");
    }
}

#[tokio::test]
async fn both_sides_of_a_self_join_see_the_same_rows_while_the_topic_grows() {
    let Some(table) = Table::create("grows", 1) else {
        return;
    };
    table.fill(0, 1000, 1);
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (growing, producer) = (Arc::clone(&done), table.producer());
    let topic = table.spec.topic.clone();
    let writer = std::thread::spawn(move || {
        while !growing.load(Ordering::SeqCst) {
            let payload = "{\"n\":0,\"at\":\"2026-01-01T00:00:00Z\"}";
            let record = BaseRecord::<str, str>::to(&topic)
                .payload(payload)
                .timestamp(START_MS);
            producer.send(record).map_err(|(error, _)| error).unwrap();
            producer.poll(Duration::from_millis(1));
        }
        producer.flush(Duration::from_secs(20)).unwrap();
    });
    for _ in 0..5 {
        let sql = "SELECT (SELECT count(*) FROM t) - (SELECT count(*) FROM t)";
        assert_eq!(table.query(sql).await, "0");
    }
    done.store(true, Ordering::SeqCst);
    writer.join().unwrap();
}
