//! One run: a topic, the queries on it, a producer, a control, and the end of the path.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::StreamExt;

use super::{Path, Run};
use crate::Context;
use crate::paced::{self, Pace};
use crate::server::{Server, told};
use crate::topic::Topic;

const SECONDS: u64 = 12;
/// A part of the messages is a warm-up: one of so many.
const WARM_UP: u64 = 6;
/// So long the control listens before the first message is due.
const LEAD: Duration = Duration::from_secs(1);
/// How long a row may be awaited.
const PATIENCE: Duration = Duration::from_secs(10);

/// The p50, p99 and p99.9 of one run, milliseconds.
pub(super) struct Measured {
    pub(super) path: [f64; 3],
    pub(super) control: [f64; 3],
    /// How much of a processor's core the server used.
    pub(super) cores: f64,
}

/// Runs once; `--rows` are the messages at the most.
///
/// # Errors
/// What the server refuses, or a message that does not come.
pub(super) async fn measure(
    context: &Context,
    server: &Server,
    run: Run,
) -> Result<Measured, String> {
    static MEASURED: AtomicU64 = AtomicU64::new(0);
    let number = MEASURED.fetch_add(1, Ordering::Relaxed);
    let count = context.arguments.rows().min(run.rate * SECONDS);
    let topic = Topic::create(&context.servers, &format!("pulses-{number}"), 1, count);
    let heard = Topic::create(&context.servers, &format!("heard-{number}"), 1, count);
    define(server, &topic, run).await?;
    let (before, began) = (server.cpu_time(), Instant::now());
    let measured = match run.path {
        Path::Client => to_client(server, &topic, run.rate).await,
        Path::Sink(delivery, interval) => {
            let sink = format!(
                "CREATE SINK heard WITH (connector = 'kafka', topic = '{}', \
                 delivery = '{delivery}', checkpoint_interval = '{interval}') \
                 AS SELECT number, sent FROM pulses",
                heard.name
            );
            server.run(&sink).await?;
            to_sink(&topic, &heard, run.rate)
        }
    };
    let used = server.cpu_time() - before;
    let cores = used.as_secs_f64() / began.elapsed().as_secs_f64();
    server.run("DROP TABLE pulses CASCADE").await?;
    measured.map(|measured| Measured { cores, ..measured })
}

/// The table, and the queries beside the one that is measured.
async fn define(server: &Server, topic: &Topic, run: Run) -> Result<(), String> {
    let table = format!(
        "CREATE TABLE pulses (number bigint, sent bigint, market text, price double precision) \
         WITH ({})",
        topic.options()
    );
    server.run(&table).await?;
    for query in 1..run.queries {
        let view = format!(
            "CREATE MATERIALIZED VIEW beside_{query} AS \
             SELECT market, count(*) AS n, max(price) AS high FROM pulses \
             WHERE number % 100 = {query} GROUP BY market"
        );
        server.run(&view).await?;
    }
    Ok(())
}

/// The producer and the control, each on a thread.
struct Feed {
    pace: Pace,
    uncounted: u64,
    producer: JoinHandle<()>,
    control: JoinHandle<Result<Vec<f64>, String>>,
}

impl Feed {
    fn start(topic: &Topic, rate: u64) -> Self {
        let pace = Pace {
            epoch: Instant::now() + LEAD,
            rate,
            count: topic.rows,
        };
        let uncounted = topic.rows / WARM_UP;
        let place = || (topic.servers.clone(), topic.name.clone());
        let (servers, name) = place();
        let control = move || paced::hear(&servers, &name, pace, uncounted);
        let (servers, name) = place();
        let produce = move || {
            std::thread::sleep(LEAD);
            paced::produce(&servers, &name, pace, payload);
        };
        let thread = std::thread::Builder::new;
        Self {
            pace,
            uncounted,
            control: thread().spawn(control).unwrap(),
            producer: thread().spawn(produce).unwrap(),
        }
    }

    /// Waits for both.
    fn end(self, path: Result<Vec<f64>, String>) -> Result<Measured, String> {
        let control = self.control.join().unwrap();
        self.producer.join().unwrap();
        Ok(Measured {
            path: percentiles(path?),
            control: percentiles(control.map_err(|error| format!("the control: {error}"))?),
            cores: f64::NAN,
        })
    }
}

fn payload(number: u64, sent: u128) -> String {
    format!(r#"{{"number":{number},"sent":{sent},"market":"BTC-USDT","price":"{number}.5"}}"#)
}

async fn to_client(server: &Server, topic: &Topic, rate: u64) -> Result<Measured, String> {
    server.run("SET live_start = 'earliest'").await?;
    let query = "SELECT number, sent FROM pulses EMIT CHANGES";
    let rows = server.client.query_raw::<_, i64, _>(query, []).await;
    let mut rows = std::pin::pin!(rows.map_err(|error| told(&error))?);
    let feed = Feed::start(topic, rate);
    let (pace, uncounted) = (feed.pace, feed.uncounted);
    let path = async {
        let mut millis = Vec::new();
        for _ in 0..pace.count {
            let row = tokio::time::timeout(PATIENCE, rows.next()).await;
            let row = row
                .map_err(|_| "a row is missing")?
                .ok_or("the query has ended")?;
            let row = row.map_err(|error| told(&error))?;
            let sent = Duration::from_nanos(row.get::<_, i64>(1).unsigned_abs());
            if row.get::<_, i64>(0).unsigned_abs() >= uncounted {
                let took = pace.epoch.elapsed().saturating_sub(sent);
                millis.push(took.as_secs_f64() * 1_000.0);
            }
        }
        Ok(millis)
    };
    let path = path.await;
    let measured = feed.end(path);
    let cancel = server.client.cancel_token();
    let cancelled = cancel.cancel_query(tokio_postgres::NoTls).await;
    cancelled.map_err(|error| told(&error))?;
    // The connection is free again when the query has said that it was cancelled.
    while let Some(Ok(_)) = rows.next().await {}
    measured
}

fn to_sink(topic: &Topic, heard: &Topic, rate: u64) -> Result<Measured, String> {
    let feed = Feed::start(topic, rate);
    let path = paced::hear(&heard.servers, &heard.name, feed.pace, feed.uncounted);
    feed.end(path)
}

fn percentiles(mut millis: Vec<f64>) -> [f64; 3] {
    millis.sort_by(f64::total_cmp);
    let at = |part: usize| millis.get(millis.len().saturating_sub(1) * part / 1_000);
    [500, 990, 999].map(|part| at(part).copied().unwrap_or(f64::NAN))
}
