//! What "exactly once" costs: rows a second of a sink, and milliseconds to a reader of its topic.
//!
//! `cargo bench --bench delivery -- [ROWS] [BOOTSTRAP]`: fills a topic (3,000,000 rows unless said
//! otherwise) in the embedded broker's own process or on the cluster given, and lets sinks of
//! `headwater serve` read it to its end, with `checkpoint_interval = '1 second'`, under both kinds of
//! delivery in turn; the time runs from the first rows read until the last epoch lasts. Then messages
//! that carry the moment they were produced go through a sink with an interval of 100 ms to a reader
//! of committed messages. The best round counts.

#![expect(clippy::print_stdout, reason = "the figures are its output")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark ends when something is wrong"
)]

mod support;
#[path = "support/client.rs"]
mod client;
#[path = "support/fill.rs"]
mod fill;
#[path = "support/paced.rs"]
mod paced;

use std::io::Write;
use std::time::{Duration, Instant};

use fill::Place;
use paced::Pace;
use support::Headwater;
use tokio_postgres::Client;

const ROUNDS: usize = 3;
const DELIVERIES: [&str; 2] = ["at least once", "exactly once"];
const SINKS: [(&str, &str); 2] = [("1 % pass", "WHERE k = 7"), ("all pass", "")];
const RATE: u64 = 1_000;
const SECONDS: u64 = 15;
const WARM_UP_SECONDS: u64 = 3;
/// How often the server is asked how far it is.
const LOOK: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| !a.starts_with("--"))
        .collect();
    let rows: u64 = arguments
        .first()
        .map_or(3_000_000, |rows| rows.parse().unwrap());
    let broker = arguments.get(1).is_none().then(Headwater::broker);
    let servers = broker
        .as_ref()
        .map_or_else(|| arguments[1].clone(), |b| b.address.clone());
    let server = Headwater::start(&client::serve(&servers), "postgresql");
    let client = client::connect(&server.address).await;
    let run = std::process::id();
    throughput(&client, &servers, (run, rows)).await;
    for delivery in DELIVERIES {
        latency(&client, &servers, run, delivery).await;
    }
}

async fn execute(client: &Client, statement: &str) {
    client.batch_execute(statement).await.unwrap();
}

async fn throughput(client: &Client, servers: &str, (run, rows): (u32, u64)) {
    let topic = format!("offers-{run}");
    let table = format!(
        "CREATE TABLE offers (n bigint, k bigint, v double precision, market text) \
         WITH (connector = 'kafka', topic = '{topic}', create_topic = true, partitions = 4)"
    );
    execute(client, &table).await;
    fill(servers, &topic, rows);
    println!("{rows} rows through a sink, best of {ROUNDS} rounds, interval 1 s");
    for (name, condition) in SINKS {
        let mut best = [f64::MAX; 2];
        for round in 0..ROUNDS {
            for (place, delivery) in DELIVERIES.iter().enumerate() {
                let target = format!("out-{run}-{place}-{round}-{}", condition.len());
                let sink = format!(
                    "CREATE SINK copy WITH (connector = 'kafka', topic = '{target}', \
                     delivery = '{delivery}', trigger = 'available now') \
                     AS SELECT n, market, v * 2 AS v FROM offers {condition}"
                );
                best[place] = best[place].min(seconds_of(client, &sink).await);
            }
        }
        let per_second = best.map(|seconds| rows as f64 / seconds);
        println!(
            "{name:<10} at least once {:>10.0} rows/s   exactly once {:>10.0} rows/s   ratio {:.2}",
            per_second[0],
            per_second[1],
            per_second[1] / per_second[0]
        );
    }
}

/// From the first rows that a sink reads until it has finished.
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
async fn seconds_of(client: &Client, sink: &str) -> f64 {
    execute(client, sink).await;
    let mut began = None;
    loop {
        let text = "SELECT rows_in, state FROM headwater.queries WHERE name = 'copy'";
        let status = client.query_one(text, &[]).await.unwrap();
        if status.get::<_, i64>(0) > 0 {
            began.get_or_insert_with(Instant::now);
        }
        match status.get::<_, String>(1).as_str() {
            "finished" => break,
            "failed" => assert_eq!(sink, "", "the sink has failed"),
            _ => tokio::time::sleep(LOOK).await,
        }
    }
    let seconds = began.unwrap().elapsed().as_secs_f64();
    execute(client, "DROP SINK copy").await;
    seconds
}

fn fill(servers: &str, topic: &str, rows: u64) {
    fill::fill(servers, rows, |row, payload| {
        let (key, value) = (row % 100, row % 1_000);
        write!(
            payload,
            r#"{{"n":{row},"k":{key},"v":{value}.25,"market":"BTC-USDT","exchange":"a venue"}}"#
        )
        .unwrap();
        Place {
            topic,
            partition: i32::try_from(row % 4).ok(),
            ..Place::default()
        }
    });
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
async fn latency(client: &Client, servers: &str, run: u32, delivery: &str) {
    let word = delivery.split(' ').next().unwrap();
    let (from, to) = (
        format!("pulses-{run}-{word}"),
        format!("heard-{run}-{word}"),
    );
    execute(
        client,
        &format!(
            "CREATE TABLE {word}_pulses (number bigint, sent bigint) \
             WITH (connector = 'kafka', topic = '{from}', create_topic = true)"
        ),
    )
    .await;
    execute(
        client,
        &format!(
            "CREATE SINK {word}_heard WITH (connector = 'kafka', topic = '{to}', partitions = 1, \
             delivery = '{delivery}', checkpoint_interval = '100 ms') \
             AS SELECT number, sent FROM {word}_pulses"
        ),
    )
    .await;
    let pace = Pace {
        epoch: Instant::now(),
        rate: RATE,
        count: RATE * SECONDS,
    };
    let producing = {
        let servers = servers.to_owned();
        let payload = |number, sent| format!(r#"{{"number":{number},"sent":{sent}}}"#);
        std::thread::Builder::new()
            .spawn(move || paced::produce(&servers, &from, pace, payload))
            .unwrap()
    };
    let servers = servers.to_owned();
    let hear = move || paced::hear(&servers, &to, pace, RATE * WARM_UP_SECONDS);
    #[expect(clippy::disallowed_methods, reason = "it ends with the process")]
    let mut millis = tokio::task::spawn_blocking(hear).await.unwrap().unwrap();
    producing.join().unwrap();
    execute(client, &format!("DROP SINK {word}_heard")).await;
    millis.sort_by(f64::total_cmp);
    let at = |part: usize| millis[(millis.len() - 1) * part / 1_000];
    println!(
        "{delivery}, interval 100 ms, {RATE} rows/s, produce to a committed reader: \
         p50 {:.1} ms   p99 {:.1} ms   max {:.1} ms",
        at(500),
        at(990),
        at(1_000)
    );
}
