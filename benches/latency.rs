//! How long a message takes from `produce` to the client of a live query.
//!
//! `cargo bench --bench latency -- [ROWS_A_SECOND] [SECONDS]` (1,000 and 20 unless said otherwise):
//! the embedded broker and `headwater serve` in processes of their own; this one produces messages
//! that carry the moment they were handed to the producer (`linger.ms = 0`) and reads them from
//! `SELECT .. EMIT CHANGES` over PostgreSQL's protocol. Milliseconds; the first two seconds do not
//! count.

#![expect(clippy::print_stdout, reason = "the figures are its output")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark ends when something is wrong"
)]

mod support;

use std::time::{Duration, Instant};

use futures::StreamExt;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use support::Headwater;
use tokio_postgres::NoTls;

const TOPIC: &str = "pulses";
const WARM_UP_SECONDS: u64 = 2;
/// How long a row may be awaited before the program gives up.
const PATIENCE: Duration = Duration::from_secs(10);

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
async fn main() {
    let numbers: Vec<u64> = std::env::args()
        .filter_map(|argument| argument.parse().ok())
        .collect();
    let rate = numbers.first().copied().unwrap_or(1_000);
    let seconds = numbers.get(1).copied().unwrap_or(20);
    let broker = Headwater::broker();
    let arguments = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--http-listen",
        "127.0.0.1:0",
        "--kafka",
        &broker.address,
    ];
    let server = Headwater::start(&arguments, "postgresql");
    let client = connect(&server.address).await;
    client
        .batch_execute(&format!(
            "CREATE TABLE pulses (number bigint, sent bigint, market text, price double precision) \
             WITH (connector = 'kafka', topic = '{TOPIC}', create_topic = true)"
        ))
        .await
        .unwrap();
    let rows = client
        .query_raw::<_, i64, _>("SELECT number, sent FROM pulses EMIT CHANGES", [])
        .await
        .unwrap();
    let mut rows = std::pin::pin!(rows);
    let epoch = Instant::now();
    let uncounted = rate * WARM_UP_SECONDS;
    let count = uncounted + rate * seconds;
    let servers = broker.address.clone();
    let producing = std::thread::Builder::new()
        .spawn(move || produce(&servers, epoch, rate, count))
        .unwrap();
    let mut millis = Vec::new();
    let mut number = 0;
    while number + 1 < count {
        let row = tokio::time::timeout(PATIENCE, rows.next()).await.unwrap();
        let row = row.unwrap().unwrap();
        number = row.get::<_, i64>(0).unsigned_abs();
        let sent = Duration::from_nanos(row.get::<_, i64>(1).unsigned_abs());
        if number >= uncounted {
            millis.push((epoch.elapsed() - sent).as_secs_f64() * 1_000.0);
        }
    }
    producing.join().unwrap();
    assert_eq!(
        millis.len() as u64,
        count - uncounted,
        "every row after the warm-up arrives once"
    );
    report(rate, &mut millis);
}

async fn connect(address: &str) -> tokio_postgres::Client {
    let (host, port) = address.rsplit_once(':').unwrap();
    let (client, connection) = tokio_postgres::Config::new()
        .host(host)
        .port(port.parse().unwrap())
        .user("bench")
        .dbname("headwater")
        .connect(NoTls)
        .await
        .unwrap();
    #[expect(clippy::disallowed_methods, reason = "it ends with the process")]
    tokio::task::spawn(connection);
    client
}

/// Sends message `i` at `i / rate` seconds after `epoch`.
fn produce(servers: &str, epoch: Instant, rate: u64, count: u64) {
    let producer: ThreadedProducer<_> = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("linger.ms", "0")
        .create()
        .unwrap();
    for index in 0..count {
        let due = Duration::from_nanos(index * 1_000_000_000 / rate);
        std::thread::sleep(due.saturating_sub(epoch.elapsed()));
        let sent = epoch.elapsed().as_nanos();
        let payload = format!(
            r#"{{"number":{index},"sent":{sent},"market":"BTC-USDT","price":"{index}.5"}}"#
        );
        let record: BaseRecord<'_, (), String> = BaseRecord::to(TOPIC).payload(&payload);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

fn report(rate: u64, millis: &mut [f64]) {
    millis.sort_by(f64::total_cmp);
    let at = |part: f64| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index below the length"
        )]
        let index = (part * (millis.len() - 1) as f64) as usize;
        millis[index]
    };
    println!("{} rows at {rate} rows/s, produce to client", millis.len());
    println!("p50 {:.2} ms", at(0.5));
    println!("p99 {:.2} ms", at(0.99));
    println!("p99.9 {:.2} ms", at(0.999));
    println!("max {:.2} ms", at(1.0));
}
