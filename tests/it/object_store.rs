//! Checkpoints in an object store: crashes, what is left after DROP, a store that is not there.
//!
//! Left out without `S3_ENDPOINT` (`tests/s3/s3` starts a server), except in CI. Invariant: nothing that a query must
//! remember lies in the data folder.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::broker::{Broker, not_here};
use crate::support::client::Client;
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;

const CLICKS: &str = "CREATE TABLE clicks (who text, at timestamp, WATERMARK FOR at AS at) \
    WITH (connector = 'kafka', topic = 'clicks', format = 'json', idle_timeout = 'off')";
const COUNTS: &str =
    "CREATE MATERIALIZED VIEW counts AS SELECT who, count(*) AS n FROM clicks GROUP BY who";
const MINUTES: &str = "CREATE SINK minutes WITH (connector = 'kafka', topic = 'minutes', delivery = 'exactly once') AS \
    SELECT window_start, count(*) AS n FROM TUMBLE(clicks, at, INTERVAL '1 minute') GROUP BY window_start";

fn endpoint() -> Option<String> {
    let endpoint = std::env::var("S3_ENDPOINT").ok();
    if endpoint.is_none() {
        not_here("S3_ENDPOINT is not set; tests/s3/s3 starts an S3 server");
    }
    endpoint
}

/// A configuration file whose checkpoints lie in that store, under a name of their own.
fn configuration(folder: &Path, endpoint: &str) -> PathBuf {
    let file = folder.join("headwater.toml");
    let own = folder.file_name().expect("a folder has a name");
    let text = format!(
        "checkpoint_dir = \"s3://headwater/{}\"\n\
         [object_store]\nendpoint_url = \"{endpoint}\"\nallow_http = true\n\
         access_key_id = \"any\"\nsecret_access_key = \"any\"\nregion = \"us-east-1\"\n",
        own.to_string_lossy()
    );
    std::fs::write(&file, text).expect("a file is written");
    file
}

async fn stage(folder: &Path, endpoint: &str) -> (Broker, Cluster, Server, Client) {
    let broker = Broker::start();
    let cluster = Cluster::at(broker.bootstrap());
    cluster.create_topic("clicks", 2).await;
    let file = configuration(folder, endpoint);
    let file = file.to_string_lossy();
    let mut server = Server::start_with(&["--kafka", &broker.bootstrap(), "--config", &file]);
    let client = server.connect().await;
    client.run(CLICKS).await;
    (broker, cluster, server, client)
}

fn click(who: &str, at: &str) -> Record {
    Record::of(format!(r#"{{"who":"{who}","at":"2026-01-01T{at}"}}"#))
}

/// The clicks of one minute, in both partitions.
fn minute(minute: usize) -> Vec<Record> {
    let click = |n: usize| {
        let who = ["ann", "bob", "eve"][n % 3];
        let at = format!("00:{minute:02}:{n:02}");
        click(who, &at).in_partition(i32::from(n % 2 == 1))
    };
    (0..6).map(click).collect()
}

#[tokio::test]
async fn queries_go_on_from_an_object_store_after_crashes() {
    let Some(endpoint) = endpoint() else { return };
    let folder = TempDir::new().expect("a temporary folder");
    let (_broker, cluster, mut server, mut client) = stage(folder.path(), &endpoint).await;
    client.run(COUNTS).await;
    client.run(MINUTES).await;
    for crashes in 1..=3 {
        cluster.produce("clicks", &minute(crashes));
        client.run("FLUSH").await;
        server.crash_and_start_again();
        client = server.connect().await;
        let counts = client.rows("SELECT who, n FROM counts ORDER BY who").await;
        let n = Some((2 * crashes).to_string());
        let all = ["ann", "bob", "eve"].map(|who| vec![Some(who.to_owned()), n.clone()]);
        assert_eq!(counts, all, "after {crashes} crashes");
    }
    assert!(
        !server.data().join("queries").exists(),
        "all of it lies elsewhere"
    );
    cluster.produce("clicks", &minute(4));
    client.run("FLUSH").await;
    let minutes: Vec<String> = cluster.read("minutes").iter().map(Record::text).collect();
    let row =
        |minute: usize| format!(r#"{{"window_start":"2026-01-01T00:{minute:02}:00Z","n":6}}"#);
    assert_eq!(minutes, (1..=3).map(row).collect::<Vec<_>>());

    client.run("DROP MATERIALIZED VIEW counts").await;
    client.run("DROP SINK minutes").await;
    client.run(COUNTS).await;
    client.run("FLUSH").await;
    let n = client.value("SELECT sum(n) FROM counts").await;
    assert_eq!(n, "24", "a new view reads everything");
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_told_at_create_and_nothing_is_created() {
    let folder = TempDir::new().expect("a temporary folder");
    let (_broker, _cluster, _server, client) = stage(folder.path(), "http://127.0.0.1:1").await;
    let error = client.error(COUNTS).await;
    assert_eq!(error.state, "58030", "{error}");
    assert!(error.text.contains("s3://headwater/"), "{error}");
    let there = "SELECT count(*) FROM headwater.queries";
    assert_eq!(client.value(there).await, "0");
    assert_eq!(client.error("SELECT * FROM counts").await.state, "42P01");
}
