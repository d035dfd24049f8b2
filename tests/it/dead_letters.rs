//! Messages that are no rows, and rows that came too late: what is kept of them through crashes.

use std::collections::BTreeSet;

use crate::support::broker::Broker;
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;
use crate::support::wait;

const CLICKS: &str = "CREATE TABLE clicks (who text, n int, at timestamp, WATERMARK FOR at AS at) \
    WITH (connector = 'kafka', topic = 'clicks', format = 'json', idle_timeout = 'off')";
const PER_MINUTE: &str = "CREATE MATERIALIZED VIEW per_minute AS SELECT window_start, count(n) AS c \
    FROM TUMBLE(clicks, at, INTERVAL '1 minute') GROUP BY window_start";
const LETTERS: &str = "SELECT \"offset\", message, reason, rejected_at FROM headwater.dead_letters \
    ORDER BY \"offset\"";
const LATE: &str = "SELECT query, \"offset\", message, late_by, met_at FROM headwater.late_rows";

fn click(n: &str, at: &str) -> Record {
    Record::of(format!(r#"{{"who":"ann","n":{n},"at":"2026-01-01T{at}"}}"#))
}

async fn stage() -> (Broker, Cluster, Server) {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("clicks", 1).await;
    let server = Server::start(&broker.bootstrap());
    (broker, cluster, server)
}

#[tokio::test]
async fn what_was_set_aside_survives_kill_9_and_a_dropped_table_s_is_forgotten() {
    let (_broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    client.run(CLICKS).await;
    client.run(PER_MINUTE).await;
    let clicks = [
        click("1", "00:00:10"),
        click("\"one\"", "00:00:11"),
        click("2", "00:05:00"),
        click("3", "00:00:12"),
    ];
    cluster.produce("clicks", &clicks);
    client.run("FLUSH").await;
    let (letters, late) = (client.rows(LETTERS).await, client.rows(LATE).await);
    assert_eq!((letters.len(), late.len()), (1, 1), "{letters:?} {late:?}");

    server.crash_and_start_again();
    let client = server.connect().await;
    assert_eq!(client.rows(LETTERS).await, letters);
    assert_eq!(client.rows(LATE).await, late);

    client.run("DROP TABLE clicks CASCADE").await;
    assert!(client.rows(LETTERS).await.is_empty());
    server.crash_and_start_again();
    let client = server.connect().await;
    assert!(client.rows(LETTERS).await.is_empty());
    assert!(client.rows(LATE).await.is_empty());
}

#[tokio::test]
async fn many_broken_messages_stay_within_the_bound_and_none_is_miscounted() {
    const BROKEN: usize = 60_000;
    let (_broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    client.run(CLICKS).await;
    client.run(PER_MINUTE).await;
    let broken: Vec<Record> = (0..BROKEN)
        .map(|n| click("\"x\"", &format!("not {n}")))
        .collect();
    cluster.produce("clicks", &broken);
    cluster.produce("clicks", &[click("1", "00:00:10")]);
    client.run("FLUSH").await;
    let counted = "SELECT rows_in, rows_used, rows_rejected FROM headwater.queries \
        WHERE name = 'per_minute'";
    let counts = client.rows(counted).await;
    let expected = [BROKEN + 1, 1, BROKEN].map(|count| Some(count.to_string()));
    assert_eq!(counts, [expected.to_vec()]);
    let kept = "SELECT count(*), min(\"offset\"), max(\"offset\") FROM headwater.dead_letters";
    let newest = [10_000, BROKEN - 10_000, BROKEN - 1].map(|n| Some(n.to_string()));
    assert_eq!(client.rows(kept).await, [newest.to_vec()]);

    server.crash_and_start_again();
    let client = server.connect().await;
    assert_eq!(client.rows(kept).await, [newest.to_vec()]);
    let file = std::fs::metadata(server.data().join("set_aside.redb")).expect("a file");
    assert!(file.len() < 32 << 20, "{} bytes", file.len());
}

/// The broken messages that have come to the topic beside the table, each once.
fn sent(cluster: &Cluster) -> BTreeSet<String> {
    cluster.read("dead").iter().map(Record::text).collect()
}

#[tokio::test]
async fn every_broken_message_reaches_its_topic_whoever_dies_and_whoever_met_it_first() {
    const EACH: usize = 40;
    let (mut broker, cluster, mut server) = stage().await;
    let client = server.connect().await;
    cluster.create_topic("dead", 1).await;
    let create = CLICKS.replace("idle_timeout", "dead_letter_topic = 'dead', idle_timeout");
    client.run(&create).await;
    let broken = |round: usize| -> Vec<Record> {
        let numbers = round * EACH..(round + 1) * EACH;
        let record = |n| click("\"x\"", &format!("not {n}"));
        numbers.map(record).collect()
    };
    cluster.produce("clicks", &broken(0));
    assert_eq!(client.value("SELECT count(n) FROM clicks").await, "0");
    assert_eq!(
        client.rows(LETTERS).await.len(),
        EACH,
        "a snapshot has met them"
    );
    for view in 0..3 {
        let named = format!("per_minute_{view} WITH (checkpoint_interval = '20 ms')");
        client.run(&PER_MINUTE.replace("per_minute", &named)).await;
    }
    client.run("FLUSH").await;
    assert_eq!(sent(&cluster).len(), EACH);
    for round in 1..6 {
        cluster.produce("clicks", &broken(round));
        if round % 2 == 0 {
            broker.kill();
        }
        server.crash_and_start_again();
        if round % 2 == 0 {
            broker.start_again();
        }
    }
    let client = server.connect().await;
    client.run("FLUSH").await;
    let all = wait::until("all of them", || {
        let all = sent(&cluster);
        (all.len() >= 6 * EACH).then_some(all)
    });
    assert_eq!(all.len(), 6 * EACH);
    assert_eq!(client.rows(LETTERS).await.len(), 6 * EACH);
}

#[tokio::test]
async fn a_damaged_file_of_kept_messages_is_told_and_not_overwritten() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = folder.path().join("data");
    std::fs::create_dir(&data).expect("a folder");
    let damage = b"these are no dead letters".repeat(1_000);
    let path = data.join("set_aside.redb");
    std::fs::write(&path, &damage).expect("a file");
    let mut command = crate::support::process::Process::headwater();
    command.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--http-listen",
        "127.0.0.1:0",
    ]);
    let output = command
        .arg("--data-dir")
        .arg(&data)
        .output()
        .expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the kept messages in"), "{told}");
    assert!(told.contains("move it away"), "{told}");
    assert_eq!(std::fs::read(&path).expect("it is there"), damage);
}
