//! Sinks over HTTP against a server that is slow, down, full, wrong: each row arrives, in order, under its key.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::broker::Broker;
use crate::support::client::Client;
use crate::support::hook::{Hook, Reply, Request};
use crate::support::http;
use crate::support::messages::{Cluster, Record};
use crate::support::server::Server;
use crate::support::wait;

/// A server whose sinks may send to this machine, with a table of numbers.
struct World {
    server: Server,
    client: Client,
    cluster: Cluster,
    _broker: Broker,
    _folder: TempDir,
}

impl World {
    async fn start() -> Self {
        let broker = Broker::start();
        let cluster = Cluster::at(broker.bootstrap());
        cluster.create_topic("numbers", 1).await;
        let (mut server, folder) = Server::start_with_local_sinks(&broker.bootstrap());
        let client = server.connect().await;
        client
            .run("CREATE TABLE numbers (n int, who text) WITH (topic = 'numbers')")
            .await;
        Self {
            server,
            client,
            cluster,
            _broker: broker,
            _folder: folder,
        }
    }

    fn produce(&self, numbers: std::ops::Range<u32>) {
        let row = |n| Record::of(format!(r#"{{"n":{n},"who":"somebody {n}"}}"#));
        let rows: Vec<Record> = numbers.map(row).collect();
        self.cluster.produce("numbers", &rows);
    }

    async fn webhook(&self, url: &str, options: &str) {
        let sql = format!(
            "CREATE SINK hook WITH (connector = 'webhook', url = '{url}', \
             checkpoint_interval = '50 ms'{options}) AS SELECT n FROM numbers"
        );
        self.client.run(&sql).await;
    }

    async fn outbox(&self, column: &str) -> String {
        let sql = format!("SELECT {column} FROM headwater.outboxes");
        self.client.value(&sql).await
    }
}

/// The numbers in the order in which they were first taken.
fn first_taken(requests: &[Request]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let bodies = requests.iter().map(|request| request.body.clone());
    bodies.filter(|body| seen.insert(body.clone())).collect()
}

fn rows(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| format!(r#"{{"n":{n}}}"#)).collect()
}

/// Each row has one key, and no two rows have the same.
fn check_keys(requests: &[Request]) {
    let mut key_of: BTreeMap<&str, &str> = BTreeMap::new();
    for request in requests {
        let key = request.header("idempotency-key");
        assert!(!key.is_empty(), "{request:?}");
        let known = key_of.entry(&request.body).or_insert(key);
        assert_eq!(*known, key, "the key of {} changes", request.body);
    }
    let keys: BTreeSet<&&str> = key_of.values().collect();
    assert_eq!(keys.len(), key_of.len(), "two rows have one key");
}

#[tokio::test]
async fn each_row_arrives_in_order_under_its_key_whatever_a_webhook_answers() {
    let hook = Hook::start(|number, _| match number {
        0 => Reply::With(500, "", "oh"),
        2 => Reply::Close,
        4 => Reply::With(429, "Retry-After: 1\r\n", ""),
        6 => Reply::Lie,
        8 => Reply::With(503, "Retry-After: Sun, 06 Nov 1994 08:49:37 GMT\r\n", ""),
        10 => Reply::With(200, "", "<html>no JSON</html>"),
        12 => Reply::Late(Duration::from_secs(3)),
        _ => Reply::OK,
    });
    let world = World::start().await;
    world
        .webhook(
            &hook.url(),
            ", timeout = '1 second', 'header.X-Team' = 'markets'",
        )
        .await;
    world.produce(0..20);
    let taken = hook.taken(20);
    assert_eq!(first_taken(&taken), rows(0..20));
    let all = hook.requests();
    check_keys(&all);
    assert!(all.iter().all(|request| request.line == "POST /hook"));
    assert!(
        all.iter()
            .all(|request| request.header("x-team") == "markets")
    );
    wait::until_async("an empty outbox", async || {
        (world.outbox("waiting").await == "0").then_some(())
    })
    .await;
    assert_eq!(world.outbox("delivered").await, "20");
    assert_eq!(world.outbox("retried").await, "5");
    assert_eq!(world.outbox("dead").await, "0");
}

#[tokio::test]
async fn nothing_is_lost_when_the_server_dies_while_a_webhook_is_down() {
    let mut world = World::start().await;
    let address: SocketAddr = Hook::nowhere();
    world.webhook(&format!("http://{address}/hook"), "").await;
    world.produce(0..50);
    world.client.run("FLUSH").await;
    assert_eq!(world.outbox("waiting").await, "50");
    world.server.crash_and_start_again();
    world.client = world.server.connect().await;
    world.produce(50..60);
    world.client.run("FLUSH").await;
    let hook = Hook::start_at(address, |_, _| Reply::OK);
    hook.taken(20);
    world.server.crash_and_start_again();
    world.client = world.server.connect().await;
    wait::until("all rows", || {
        (first_taken(&hook.requests()).len() == 60).then_some(())
    });
    let all = hook.requests();
    assert_eq!(first_taken(&all), rows(0..60));
    check_keys(&all);
}

#[tokio::test]
async fn a_full_outbox_holds_up_its_own_query_alone_and_dropping_its_sink_ends_that() {
    let world = World::start().await;
    let address = Hook::nowhere();
    world
        .webhook(
            &format!("http://{address}/hook"),
            ", outbox_bytes_max = 2000",
        )
        .await;
    world
        .client
        .run("CREATE MATERIALIZED VIEW counted AS SELECT count(*) AS many FROM numbers")
        .await;
    for start in 0..10 {
        world.produce(start * 5_000..(start + 1) * 5_000);
    }
    wait::until_async("the other query's rows", async || {
        let many = world.client.rows("SELECT many FROM counted").await;
        let many = many.first()?.first()?.clone()?;
        (many == "50000").then_some(())
    })
    .await;
    let waiting: u64 = world.outbox("waiting").await.parse().expect("a number");
    assert!(waiting < 50_000, "{waiting} wait: it has a bound");
    world.client.run("DROP SINK hook").await;
    let told = world.client.notices().join("\n");
    assert!(told.contains("had not been delivered"), "{told}");
    assert_eq!(
        world
            .client
            .rows("SELECT * FROM headwater.outboxes")
            .await
            .len(),
        0
    );
    let left = world.server.data().join("outbox");
    assert_eq!(left.read_dir().expect("a folder").count(), 0);
}

#[tokio::test]
async fn a_flush_says_which_outbox_is_full_and_does_not_wait_for_a_destination_that_is_down() {
    let world = World::start().await;
    let url = format!("http://{}/hook", Hook::nowhere());
    world.webhook(&url, ", outbox_bytes_max = 2000").await;
    world.produce(0..100);
    wait::until_async("an outbox that is full", async || {
        let bytes: u64 = world.outbox("waiting_bytes").await.parse().ok()?;
        (bytes > 2_000).then_some(())
    })
    .await;
    world.produce(100..200);
    world.client.run("FLUSH").await;
    let told = world.client.notices().join("\n");
    assert!(
        told.contains("query \"hook\" waits for its sink, skipping"),
        "{told}"
    );
    let explanation = "SELECT explanation FROM headwater.queries";
    let explanation = world.client.value(explanation).await;
    let full = "The outbox of sink \"hook\" is full, and the query waits until its destination takes \
                some of the ";
    assert!(
        explanation.starts_with(full) && explanation.contains("; its last error: "),
        "{explanation}"
    );
    let progress = world.client.rows("EXPLAIN PROGRESS hook").await;
    let lines: Vec<String> = progress.into_iter().flatten().flatten().collect();
    let outbox = lines.iter().find(|line| line.starts_with("outbox of hook"));
    assert!(
        outbox.is_some_and(|line| line.contains(", full, last error: ")),
        "{lines:?}"
    );
}

#[tokio::test]
async fn an_outbox_holds_no_more_than_its_bound_and_one_micro_batch_however_long_an_epoch_is() {
    let world = World::start().await;
    let sql = format!(
        "CREATE SINK hook WITH (connector = 'webhook', url = 'http://{}/hook', \
         checkpoint_interval = '10 minutes', outbox_bytes_max = 20000) AS SELECT n FROM numbers",
        Hook::nowhere()
    );
    world.client.run(&sql).await;
    for start in 0..10 {
        world.produce(start * 100..(start + 1) * 100);
        let passed = format!("{}", (start + 1) * 100);
        let rows_in = "SELECT rows_in FROM headwater.queries";
        wait::until_async("the rows", async || {
            (world.client.value(rows_in).await == passed).then_some(())
        })
        .await;
    }
    let bytes: u64 = wait::until_async("an epoch that its rows have ended", async || {
        let bytes = world
            .outbox("waiting_bytes")
            .await
            .parse()
            .expect("a number");
        (bytes > 0).then_some(bytes)
    })
    .await;
    // A hundred rows are a micro-batch at the most.
    assert!(bytes < 20_000 + 100 * 80, "{bytes} bytes wait");
}

#[tokio::test]
async fn notifications_that_are_given_up_are_those_of_their_alert() {
    let world = World::start().await;
    let sql = format!(
        "CREATE SINK desk WITH (connector = 'webhook', url = 'http://{}/hook')",
        Hook::nowhere()
    );
    world.client.run(&sql).await;
    let sql = "CREATE ALERT high ON (SELECT n FROM numbers) KEY (n) WHEN n > 1 NOTIFY desk";
    world.client.run(sql).await;
    world.produce(0..4);
    world.client.run("FLUSH").await;
    assert_eq!(world.outbox("waiting").await, "2");
    world.client.notices();
    world.client.run("DROP SINK desk CASCADE").await;
    let told = world.client.notices();
    assert_eq!(
        told,
        [
            "NOTICE: drop cascades to alert high",
            "NOTICE: 2 notifications of alert \"high\" had not been delivered and are given up"
        ]
    );
}

#[tokio::test]
async fn a_row_that_a_webhook_refuses_is_a_dead_letter_and_the_next_one_goes_on() {
    let hook = Hook::start(|_, request| match request.body.contains(":3}") {
        true => Reply::With(422, "", "no threes"),
        false => Reply::OK,
    });
    let world = World::start().await;
    world.webhook(&hook.url(), ", hmac_secret = 'key'").await;
    world.produce(0..6);
    let taken = hook.taken(5);
    assert!(
        taken[0]
            .header("x-headwater-signature")
            .starts_with("sha256=")
    );
    let dead = "SELECT \"row\", status, attempts, reason FROM headwater.outbox_dead_letters";
    let dead = world.client.rows(dead).await;
    let texts: Vec<&str> = dead[0].iter().flatten().map(String::as_str).collect();
    assert_eq!(
        texts,
        [r#"{"n":3}"#, "422", "1", "HTTP status 422: no threes"]
    );
    let lines = [
        ("delivered_total", "5.0"),
        ("dead", "1.0"),
        ("waiting", "0.0"),
    ];
    let lines = lines.map(|(name, value)| {
        format!("headwater_outbox_{name}{{query=\"hook\",sink=\"hook\"}} {value}")
    });
    wait::until("the metrics", || {
        let metrics = http::get(world.server.http(), "/metrics");
        let has = |line: &String| metrics.lines().any(|there| there == line);
        lines.iter().all(has).then_some(())
    });
    assert_eq!(dead.len(), 1);
}

#[tokio::test]
async fn slack_gets_the_rows_of_a_second_in_one_message_and_answers_in_its_thread() {
    let hook = Hook::start(|number, _| match number {
        0 => Reply::With(200, "", r#"{"ok":false,"error":"token_revoked"}"#),
        1 => Reply::With(200, "", "<html>sign in</html>"),
        _ => Reply::With(200, "", r#"{"ok":true,"ts":"12.5"}"#),
    });
    let world = World::start().await;
    let sql = format!(
        "CREATE SINK ops WITH (connector = 'slack', token = 't', channel = '#ops', api_url = '{}', \
         text = 'n is {{{{ n }}}}', thread_columns = 'half') AS SELECT n, n / 2 AS half FROM numbers",
        hook.url()
    );
    world.client.run(&sql).await;
    world.produce(0..4);
    world.client.run("FLUSH").await;
    let texts = |requests: &[Request]| -> Vec<serde_json::Value> {
        let taken = requests.iter().skip(2);
        taken
            .map(|request| serde_json::from_str(&request.body).expect("it is JSON"))
            .collect()
    };
    wait::until("all four", || {
        let all = texts(&hook.requests());
        let all: Vec<&str> = all
            .iter()
            .filter_map(|body| body["text"].as_str())
            .collect();
        (all.join("\n") == "n is 0\nn is 1\nn is 2\nn is 3").then_some(())
    });
    world.produce(0..1);
    let last = wait::until("an answer", || {
        let all = texts(&hook.requests());
        all.into_iter().find(|body| body["thread_ts"] == "12.5")
    });
    assert_eq!(last["text"], "n is 0");
    assert_eq!(last["channel"], "#ops");
    assert_eq!(hook.requests()[0].header("authorization"), "Bearer t");
    assert_eq!(hook.requests()[0].line, "POST /hook/chat.postMessage");
}

#[tokio::test]
async fn a_slack_thread_whose_first_message_was_deleted_begins_anew() {
    let hook = Hook::start(|_, request| {
        let body: serde_json::Value = serde_json::from_str(&request.body).expect("it is JSON");
        match body["thread_ts"].as_str() {
            Some("1.0") => Reply::With(200, "", r#"{"ok":false,"error":"thread_not_found"}"#),
            _ if body["text"] == "n is 0" => Reply::With(200, "", r#"{"ok":true,"ts":"1.0"}"#),
            _ => Reply::With(200, "", r#"{"ok":true,"ts":"2.0"}"#),
        }
    });
    let world = World::start().await;
    let sql = format!(
        "CREATE SINK ops WITH (connector = 'slack', token = 't', channel = '#ops', api_url = '{}', \
         text = 'n is {{{{ n }}}}', thread_columns = 'all') AS SELECT n, 'one' AS \"all\" FROM numbers",
        hook.url()
    );
    world.client.run(&sql).await;
    for number in 0..3 {
        world.produce(number..number + 1);
        let text = format!("n is {number}");
        wait::until("the message", || {
            let all = hook.requests();
            all.iter().any(|r| r.body.contains(&text)).then_some(())
        });
    }
    let sent = wait::until("the last one's thread", || {
        let all = hook.requests().into_iter();
        let bodies: Vec<serde_json::Value> = all
            .map(|request| serde_json::from_str(&request.body).expect("it is JSON"))
            .collect();
        let pair = |body: &serde_json::Value| (body["text"].clone(), body["thread_ts"].clone());
        let pairs: Vec<_> = bodies.iter().map(pair).collect();
        (pairs.len() >= 4).then_some(pairs)
    });
    let expected = [
        ("n is 0", None),
        ("n is 1", Some("1.0")),
        ("n is 1", None),
        ("n is 2", Some("2.0")),
    ];
    let expected: Vec<(serde_json::Value, serde_json::Value)> = expected
        .iter()
        .map(|(text, thread)| ((*text).into(), (*thread).into()))
        .collect();
    assert_eq!(sent, expected);
    let dead = "SELECT * FROM headwater.outbox_dead_letters";
    assert_eq!(
        world.client.rows(dead).await.len(),
        0,
        "nothing is given up"
    );
}

#[tokio::test]
async fn a_slack_channel_that_is_not_there_takes_no_row_of_others_with_it() {
    let hook = Hook::start(|_, request| {
        let body: serde_json::Value = serde_json::from_str(&request.body).expect("it is JSON");
        match body["channel"].as_str() {
            Some("#gone") => Reply::With(200, "", r#"{"ok":false,"error":"channel_not_found"}"#),
            _ => Reply::With(200, "", r#"{"ok":true,"ts":"1.0"}"#),
        }
    });
    let world = World::start().await;
    let sql = format!(
        "CREATE SINK ops WITH (connector = 'slack', token = 't', channel_column = 'channel', api_url = '{}', \
         text = '{{{{ n }}}}') AS SELECT n, CASE n % 3 WHEN 0 THEN '#gone' WHEN 1 THEN '#ops' ELSE '#desk' END AS channel \
         FROM numbers",
        hook.url()
    );
    world.client.run(&sql).await;
    world.produce(0..30);
    world.client.run("FLUSH").await;
    let of = |rest: u32| -> String {
        let numbers = (0..30).filter(|n| n % 3 == rest);
        numbers
            .map(|n| n.to_string())
            .collect::<Vec<_>>()
            .join("\n")
    };
    wait::until("the rows of the channels that are there", || {
        let bodies = hook.requests().into_iter().map(|request| {
            let body: serde_json::Value = serde_json::from_str(&request.body).expect("it is JSON");
            body
        });
        let bodies: Vec<_> = bodies.collect();
        let texts = |channel: &str| {
            let own = bodies.iter().filter(|body| body["channel"] == channel);
            own.filter_map(|body| body["text"].as_str())
                .collect::<Vec<_>>()
                .join("\n")
        };
        (texts("#ops") == of(1) && texts("#desk") == of(2)).then_some(())
    });
    let dead = "SELECT \"row\" FROM headwater.outbox_dead_letters ORDER BY died_at";
    let dead = wait::until_async("the rows of the channel that is not", async || {
        let rows = world.client.rows(dead).await;
        (rows.len() == 10).then_some(rows)
    })
    .await;
    for row in dead {
        assert!(format!("{row:?}").contains("#gone"), "{row:?}");
    }
}
