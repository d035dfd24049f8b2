//! What an aggregate without a window costs by its number of keys: memory, checkpoints, recovery.

use std::time::{Duration, Instant};

use crate::Context;
use crate::fill::{Place, fill};
use crate::paced::{self, Pace};
use crate::server::Server;
use crate::topic::Topic;

const KEYS: [u64; 3] = [10_000, 100_000, 1_000_000];
const PARTITIONS: i32 = 4;
/// The load under which gaps between micro-batches are looked for.
const ROWS_A_SECOND: u64 = 20_000;
const SECONDS: u64 = 8;
const VIEW: &str = "CREATE MATERIALIZED VIEW totals AS \
                    SELECT k, count(*) AS n, sum(v) AS total, max(v) AS most FROM pairs GROUP BY k";

/// Measures and prints the section; with `--rows` only so many keys at the most.
pub(crate) fn run(context: &Context) {
    println!();
    println!(
        "a materialized view of count, sum and max by key, in a server of its own; \
         then {ROWS_A_SECOND} rows/s to any of the keys, an epoch a second"
    );
    println!(
        "{:>10}{:>14}{:>12}{:>14}{:>10}{:>15}{:>12}{:>12}",
        "keys",
        "bytes a key",
        "RSS MiB",
        "disk B a key",
        "cpu %",
        "longest gap ms",
        "listens ms",
        "runs ms"
    );
    let rows = context.arguments.rows_or(u64::MAX);
    for keys in KEYS.into_iter().filter(|keys| *keys <= rows) {
        let measured = context.runtime.block_on(measure(context, keys));
        if let Err(error) = measured {
            println!("{keys:>10}  failed: {error}");
        }
    }
}

async fn measure(context: &Context, keys: u64) -> Result<(), String> {
    let name = format!("pairs-{keys}");
    let topic = Topic::create(&context.servers, &name, PARTITIONS, keys);
    produce(&topic);
    let mut server = Server::start(&context.servers).await;
    let table = format!(
        "CREATE TABLE pairs (k bigint, v bigint) WITH ({})",
        topic.options()
    );
    server.run(&table).await?;
    server.run(VIEW).await?;
    server.run("FLUSH").await?;
    let held = "SELECT state_bytes FROM headwater.queries WHERE name = 'totals'";
    let bytes = server.number(held).await?;
    let (resident, disk) = (server.resident_mib(), server.disk_bytes());
    let (gap, share) = under_load(&server, &topic, keys).await?;
    server.run("FLUSH").await?;
    let began = server.restart().await;
    let listens = began.elapsed();
    let running =
        "SELECT count(*) FROM headwater.queries WHERE name = 'totals' AND state = 'running'";
    server.reaches(running, 1).await?;
    println!(
        "{keys:>10}{:>14.1}{resident:>12.0}{:>14.1}{:>10.1}{:>15.1}{:>12.0}{:>12.0}",
        bytes as f64 / keys as f64,
        disk as f64 / keys as f64,
        share * 100.0,
        gap.as_secs_f64() * 1_000.0,
        listens.as_secs_f64() * 1_000.0,
        began.elapsed().as_secs_f64() * 1_000.0,
    );
    Ok(())
}

/// The longest time between two micro-batches while rows come steadily, as far as asking all the time
/// shows it, and the server's share of a core meanwhile.
async fn under_load(server: &Server, topic: &Topic, keys: u64) -> Result<(Duration, f64), String> {
    let pace = Pace {
        epoch: Instant::now(),
        rate: ROWS_A_SECOND,
        count: ROWS_A_SECOND * SECONDS,
    };
    let producing = {
        let (servers, name) = (topic.servers.clone(), topic.name.clone());
        let payload = move |row, _| pair(scattered(row) % keys, row);
        std::thread::Builder::new()
            .spawn(move || paced::produce(&servers, &name, pace, payload))
            .unwrap()
    };
    // Asking costs the server more than the rows do: the first half is for the processor time.
    let (cpu, half) = (server.cpu_time(), Duration::from_secs(SECONDS / 2));
    tokio::time::sleep(half).await;
    let share = (server.cpu_time() - cpu).as_secs_f64() / half.as_secs_f64();
    let batches = "SELECT micro_batches FROM headwater.queries WHERE name = 'totals'";
    let (mut longest, mut last) = (Duration::ZERO, None);
    while !producing.is_finished() {
        let (count, now) = (server.number(batches).await?, Instant::now());
        match last {
            Some((seen, _)) if seen == count => {}
            Some((_, before)) => {
                longest = longest.max(now - before);
                last = Some((count, now));
            }
            None => last = Some((count, now)),
        }
    }
    producing.join().unwrap();
    Ok((longest, share))
}

/// Fills the topic with each key once.
fn produce(topic: &Topic) {
    fill(&topic.servers, topic.rows, |row, payload| {
        payload.extend(pair(row, row).into_bytes());
        Place {
            topic: &topic.name,
            partition: i32::try_from(row % u64::from(PARTITIONS.unsigned_abs())).ok(),
            ..Place::default()
        }
    });
}

fn pair(key: u64, row: u64) -> String {
    format!(r#"{{"k":{key},"v":{}}}"#, row % 1_000)
}

/// The same number for the same row, with no order in it.
fn scattered(row: u64) -> u64 {
    row.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20
}
