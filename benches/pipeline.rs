//! Rows a second of a filter and of a tumbling window, next to a bare drain of the same topic by
//! librdkafka and to one by the direct fetch.
//!
//! `cargo bench --bench pipeline -- [ROWS] [BOOTSTRAP]`: fills a topic with trades (2,000,000 unless
//! said otherwise), in the embedded broker's own process or on the cluster given, then runs each
//! query from the topic's beginning to its end. "cpu" is this process's, the client library's
//! threads included; the broker's is not in it. The ratio is rows a second against the drain of the
//! same round; the best round of each counts.

#![expect(clippy::print_stdout, reason = "the figures are its output")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark ends when something is wrong"
)]
#![expect(
    unsafe_code,
    reason = "the bare drain is the client library's own batch call"
)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use headwater::config::Config;
use headwater::demo::{Schedule, TradeGenerator};
use headwater::session::{Outcome, Services, Session};
use headwater::source::{Reader, ReaderOptions};
use headwater::types::{FetchMode, KafkaConnection, PartitionId};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};
use support::Headwater;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTITIONS: i32 = 4;
const ROUNDS: usize = 3;

const TABLE: &str = "CREATE TABLE trades (
  id text, exchange text, market text, base text, quote text,
  price double precision, volume double precision, \"timestamp\" timestamptz,
  WATERMARK FOR \"timestamp\" AS \"timestamp\" - INTERVAL '5 seconds'
) WITH (connector = 'kafka', topic = 'bench-trades', bootstrap_servers = '$SERVERS')";

const QUERIES: [(&str, &str); 4] = [
    (
        "filter 2 %",
        "SELECT exchange, market, price FROM trades WHERE market = 'BTC-USDT' EMIT CHANGES",
    ),
    (
        "project",
        "SELECT exchange, market, price * volume AS value FROM trades EMIT CHANGES",
    ),
    (
        "tumble by market",
        "SELECT window_start, market, count(*) AS n, sum(volume) AS volume, avg(price) AS mean, \
         min(price) AS low, max(price) AS high \
         FROM TUMBLE(trades, \"timestamp\", INTERVAL '1 minute') \
         GROUP BY window_start, market EMIT FINAL",
    ),
    (
        "tumble by id",
        "SELECT window_start, id, count(*) AS n, sum(volume) AS volume \
         FROM TUMBLE(trades, \"timestamp\", INTERVAL '1 minute') \
         GROUP BY window_start, id EMIT FINAL",
    ),
];

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let rows: u64 = arguments
        .first()
        .map_or(2_000_000, |rows| rows.parse().unwrap());
    let broker = arguments.get(1).is_none().then(Headwater::broker);
    let servers = broker
        .as_ref()
        .map_or_else(|| arguments[1].clone(), |b| b.address.clone());
    fill(&servers, rows);
    let mut figures: Vec<(&str, Vec<Figure>)> =
        vec![("bare drain", Vec::new()), ("direct drain", Vec::new())];
    figures.extend(QUERIES.iter().map(|(name, _)| (*name, Vec::new())));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for _ in 0..ROUNDS {
        figures[0].1.push(measure(rows, || drain(&servers, rows)));
        figures[1]
            .1
            .push(measure(rows, || direct_drain(&servers, rows)));
        for (place, (_, query)) in QUERIES.iter().enumerate() {
            let run = || runtime.block_on(run(&servers, query, rows));
            figures[place + 2].1.push(measure(rows, run));
        }
    }
    println!("{rows} rows, best of {ROUNDS} rounds");
    println!(
        "{:<18}{:>12}{:>12}{:>10}{:>10}",
        "", "rows/s", "cpu ns/row", "ratio", "cpu ratio"
    );
    let best = |figures: &[Figure]| Figure {
        rows_per_second: figures
            .iter()
            .map(|f| f.rows_per_second)
            .fold(0.0, f64::max),
        cpu_ns: figures.iter().map(|f| f.cpu_ns).fold(f64::MAX, f64::min),
    };
    let bare = best(&figures[0].1);
    for (name, rounds) in &figures {
        let figure = best(rounds);
        println!(
            "{name:<18}{:>12.0}{:>12.0}{:>10.2}{:>10.2}",
            figure.rows_per_second,
            figure.cpu_ns,
            figure.rows_per_second / bare.rows_per_second,
            figure.cpu_ns / bare.cpu_ns,
        );
    }
}

#[derive(Clone, Copy)]
struct Figure {
    rows_per_second: f64,
    cpu_ns: f64,
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn measure(rows: u64, run: impl FnOnce()) -> Figure {
    let (began, cpu) = (Instant::now(), cpu_time());
    run();
    let seconds = began.elapsed().as_secs_f64();
    let cpu = cpu_time() - cpu;
    Figure {
        rows_per_second: rows as f64 / seconds,
        cpu_ns: cpu.as_nanos() as f64 / rows as f64,
    }
}

/// User and system time of this process, from the kernel's hundredths of seconds.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}

fn fill(servers: &str, rows: u64) {
    let admin: rdkafka::admin::AdminClient<_> = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .create()
        .unwrap();
    let topic = rdkafka::admin::NewTopic::new(
        "bench-trades",
        PARTITIONS,
        rdkafka::admin::TopicReplication::Fixed(1),
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime
        .block_on(admin.create_topics([&topic], &rdkafka::admin::AdminOptions::new()))
        .unwrap();
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("linger.ms", "20")
        .set("queue.buffering.max.messages", "1000000")
        .create()
        .unwrap();
    let generator = TradeGenerator::new(
        42,
        Schedule {
            start_ms: 1_700_000_000_000,
            rate: 5_000.0,
        },
    );
    let mut payload = Vec::new();
    for index in 0..rows {
        payload.clear();
        let head = generator.write(index, &mut payload);
        let mut record: BaseRecord<'_, str, Vec<u8>> = BaseRecord::to("bench-trades")
            .payload(&payload)
            .key(head.key)
            .timestamp(head.record_time_ms);
        while let Err((_, back)) = producer.send(record) {
            record = back;
            producer.poll(Duration::from_millis(5));
        }
        if index % 1_000 == 0 {
            producer.poll(Duration::ZERO);
        }
    }
    producer.flush(Duration::from_secs(120)).unwrap();
}

/// Takes every message off the library's queue in batches and looks at none.
fn drain(servers: &str, rows: u64) {
    use rdkafka_sys as sys;
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "10")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset("bench-trades", partition, Offset::Beginning)
            .unwrap();
    }
    consumer
        .fetch_metadata(Some("bench-trades"), Duration::from_secs(10))
        .unwrap();
    consumer.assign(&all).unwrap();
    // SAFETY: the handle lives as long as the consumer, which outlives the queue.
    let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.client().native_ptr()) };
    let mut messages = vec![std::ptr::null_mut(); 1_000];
    let mut taken = 0;
    while taken < rows {
        // SAFETY: the queue is valid and the array has room for what is asked.
        let count = unsafe {
            sys::rd_kafka_consume_batch_queue(queue, 100, messages.as_mut_ptr(), messages.len())
        };
        for message in &messages[..usize::try_from(count).unwrap()] {
            // SAFETY: the library gave the message to us, once.
            unsafe {
                taken += u64::from(
                    (**message).err == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR,
                );
                sys::rd_kafka_message_destroy(*message);
            }
        }
    }
    // SAFETY: it is not used again.
    unsafe { sys::rd_kafka_queue_destroy(queue) };
}

/// Takes every message from the direct fetch, as a query does, and looks at none.
fn direct_drain(servers: &str, rows: u64) {
    let limits = Config::default().limits;
    let mut reader = Reader::open(ReaderOptions {
        connection: KafkaConnection {
            bootstrap_servers: servers.to_owned(),
            ..KafkaConnection::default()
        },
        topic: "bench-trades".to_owned(),
        assignment: (0..PARTITIONS)
            .map(|partition| (PartitionId(partition), headwater::types::Offset(0)))
            .collect(),
        read_committed: true,
        with_keys: false,
        with_headers: false,
        rows_max: usize::try_from(limits.micro_batch_rows_max).unwrap(),
        bytes_max: usize::try_from(limits.micro_batch_bytes_max).unwrap(),
        end_wait: Duration::from_millis(10),
        fetch: FetchMode::Direct,
    })
    .unwrap();
    let mut taken = 0;
    while taken < rows {
        let read = reader.read(Duration::from_secs(10)).unwrap();
        taken += read.batch.messages.len() as u64;
    }
}

/// Runs a live query from the topic's beginning until it has read every message.
async fn run(servers: &str, query: &str, rows: u64) {
    let services = Services::in_memory(Arc::new(Config::default())).unwrap();
    let mut session = Session::new(Arc::clone(&services));
    execute(&mut session, &TABLE.replace("$SERVERS", servers)).await;
    execute(&mut session, "SET live_start = 'earliest'").await;
    let Outcome::Rows(mut live) = execute(&mut session, query).await else {
        panic!("a query has rows");
    };
    let running = services.engine.queries().pop().unwrap();
    let mut changes = running.watch();
    loop {
        tokio::select! {
            batch = live.stream.next() => drop(batch.unwrap().unwrap()),
            changed = changes.changed() => changed.unwrap(),
        }
        if running.status().rows_in >= rows {
            return;
        }
    }
}

async fn execute(session: &mut Session, text: &str) -> Outcome {
    let parsed = session.parse(text).unwrap().remove(0);
    session.execute(parsed, &[]).await.unwrap()
}
