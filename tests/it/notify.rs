//! What alerts tell: a destination that is down holds up nobody, and has it all when it is back.
//!
//! With PostgreSQL, which is left out where it is not installed, except in CI.

use std::collections::BTreeSet;

use tempfile::TempDir;

use crate::support::broker::Broker;
use crate::support::client::Client;
use crate::support::hook::{Hook, Reply};
use crate::support::messages::{Cluster, Record};
use crate::support::postgres::{PASSWORD, Postgres, USER};
use crate::support::server::Server;
use crate::support::wait;

/// A server with a table of trades, whose sinks may send to this machine.
struct World {
    server: Server,
    client: Client,
    trades: Cluster,
    _broker: Broker,
    _folder: TempDir,
}

impl World {
    async fn start() -> Self {
        let broker = Broker::start();
        let trades = Cluster::at(broker.bootstrap());
        trades.create_topic("trades", 1).await;
        let (mut server, folder) = Server::start_with_local_sinks(&broker.bootstrap());
        let client = server.connect().await;
        client
            .run(
                "CREATE TABLE trades (symbol text, price bigint, at timestamp, WATERMARK FOR at AS at) \
                 WITH (topic = 'trades')",
            )
            .await;
        Self {
            server,
            client,
            trades,
            _broker: broker,
            _folder: folder,
        }
    }

    /// An alert that each row tells something of: prices are high, low, high ..
    async fn alert(&self, sinks: &str) {
        let sql = format!(
            "CREATE ALERT high ON (SELECT symbol, price, at FROM trades) KEY (symbol) \
             WHEN price > 100 NOTIFY {sinks}"
        );
        self.client.run(&sql).await;
    }

    fn trade(&self, numbers: std::ops::Range<u32>) {
        let row = |n: u32| {
            let price = if n.is_multiple_of(2) { 101 } else { 99 };
            Record::of(format!(
                r#"{{"symbol":"BTC","price":{price},"at":"2026-01-01T00:00:{n:02}"}}"#
            ))
        };
        let rows: Vec<Record> = numbers.map(row).collect();
        self.trades.produce("trades", &rows);
    }

    /// The ids of so many transitions, in their order, once they are kept.
    async fn ids(&self, count: usize) -> Vec<String> {
        wait::until_async(&format!("{count} transitions"), async || {
            let sql = "SELECT id FROM headwater.alert_events ORDER BY number";
            let ids: Vec<String> = texts(self.client.rows(sql).await);
            (ids.len() >= count).then_some(ids)
        })
        .await
    }

    async fn outbox(&self, sink: &str, column: &str) -> String {
        let sql = format!("SELECT {column}::text FROM headwater.outboxes WHERE sink = '{sink}'");
        self.client.value(&sql).await
    }

    /// Waits until the outbox before a sink is empty.
    async fn emptied(&self, sink: &str) {
        wait::until_async(&format!("an empty outbox of {sink}"), async || {
            (self.outbox(sink, "waiting").await == "0").then_some(())
        })
        .await;
    }

    /// Waits until something has gone wrong on the way to a sink; gives what.
    async fn trouble(&self, sink: &str) -> String {
        let sql = format!("SELECT last_error FROM headwater.sinks WHERE name = '{sink}'");
        wait::until_async(&format!("trouble with {sink}"), async || {
            self.client.rows(&sql).await.first()?.first()?.clone()
        })
        .await
    }

    async fn crash(&mut self) {
        self.server.crash_and_start_again();
        self.client = self.server.connect().await;
    }

    /// What was given up for a sink: key and reason.
    async fn dead(&self, sink: &str) -> Vec<Vec<String>> {
        let sql =
            format!("SELECT key, reason FROM headwater.outbox_dead_letters WHERE sink = '{sink}'");
        let rows = self.client.rows(&sql).await.into_iter();
        rows.map(|row| row.into_iter().flatten().collect())
            .collect()
    }
}

/// The first column.
fn texts(rows: Vec<Vec<Option<String>>>) -> Vec<String> {
    rows.into_iter()
        .filter_map(|row| row.into_iter().next().flatten())
        .collect()
}

fn id_of(json: &str) -> String {
    let told: serde_json::Value = serde_json::from_str(json).expect("it is JSON");
    told["id"].as_str().expect("an id").to_owned()
}

/// The ids of a topic's messages, each where it came first.
fn first_ids(cluster: &Cluster, topic: &str) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let records = cluster.read(topic);
    let ids = records.iter().map(|record| id_of(&record.text()));
    ids.filter(|id| seen.insert(id.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kafka_that_is_down_holds_up_nobody_and_has_it_all_in_order_when_it_is_back() {
    let hook = Hook::start(|_, _| Reply::OK);
    let mut world = World::start().await;
    let mut away = Broker::start();
    let told = Cluster::at(away.bootstrap());
    let create = format!(
        "CREATE SINK told WITH (connector = 'kafka', bootstrap_servers = '{}', topic = 'told', \
         key_columns = 'alert', headers = 'severity')",
        away.bootstrap()
    );
    world.client.run(&create).await;
    let url = hook.url();
    let create = format!("CREATE SINK hook WITH (connector = 'webhook', url = '{url}')");
    world.client.run(&create).await;
    away.kill();
    world.alert("told, hook").await;
    world.trade(0..4);
    let ids = world.ids(4).await;
    let taken = hook.taken(4);
    let keys: Vec<&str> = taken.iter().map(|r| r.header("idempotency-key")).collect();
    assert_eq!(keys, ids, "the webhook is told at once");
    assert_eq!(world.outbox("told", "waiting").await, "4");
    let trouble = world.trouble("told").await;
    let says = format!("no answer from kafka at \"{}\"", away.bootstrap());
    assert!(trouble.starts_with(&says), "{trouble}");
    world.client.run("FLUSH").await;

    world.crash().await;
    world.trade(4..10);
    let ids = world.ids(10).await;
    assert_eq!(world.outbox("told", "waiting").await, "10");
    away.start_again();
    world.emptied("told").await;
    assert_eq!(first_ids(&told, "told"), ids);
    let first = &told.read("told")[0];
    assert_eq!(first.key.as_deref(), Some("high"));
    assert!(!first.text().contains("severity"), "{}", first.text());

    // It goes on without delay, and what is there is not sent again.
    let before = told.read("told").len();
    world.trade(10..11);
    let ids = world.ids(11).await;
    world.emptied("told").await;
    assert_eq!(first_ids(&told, "told"), ids);
    assert_eq!(told.read("told").len(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_topic_never_takes_is_a_dead_letter_and_the_rest_goes_on() {
    let world = World::start().await;
    world
        .trades
        .create_topic_of_small_messages("told", 1_000)
        .await;
    let create = "CREATE SINK told WITH (connector = 'kafka', topic = 'told')";
    world.client.run(create).await;
    world.alert("told").await;
    // Nobody's messages are compressed to less.
    let chance: String = (0_u64..400)
        .map(|n| format!("{:x}", n.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
        .collect();
    let long = format!(r#"{{"symbol":"{chance}","price":101,"at":"2026-01-01T00:00:00"}}"#);
    world.trades.produce("trades", &[Record::of(long)]);
    world.trade(1..5);
    let ids = world.ids(4).await;
    world.emptied("told").await;
    let dead = world.dead("told").await;
    assert_eq!(dead.len(), 1, "{dead:?}");
    let says = "a message is larger than topic \"told\" takes";
    assert!(dead[0][1].starts_with(says), "{dead:?}");
    let found = first_ids(&world.trades, "told");
    assert_eq!(found.len(), ids.len() - 1);
    assert!(!found.contains(&dead[0][0]), "{dead:?}");
}

/// The options of a sink into a table.
fn into(postgres: &Postgres, more: &str) -> String {
    let port = postgres.port();
    format!(
        "WITH (connector = 'postgres', host = '127.0.0.1', port = {port}, database = 'postgres', \
         user = '{USER}', password = SECRET pw, {more})"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postgresql_that_is_down_holds_up_nobody_and_has_each_once_when_it_is_back() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let hook = Hook::start(|_, _| Reply::OK);
    let mut world = World::start().await;
    let newest = "table = 'newest', mode = 'upsert', key_columns = 'alert, state'";
    for statement in [
        format!("CREATE SECRET pw AS '{PASSWORD}'"),
        format!("CREATE SINK added {}", into(&postgres, "table = 'added'")),
        format!("CREATE SINK newest {}", into(&postgres, newest)),
        format!(
            "CREATE SINK hook WITH (connector = 'webhook', url = '{}')",
            hook.url()
        ),
    ] {
        world.client.run(&statement).await;
    }
    let made = world.client.notices();
    assert!(
        made.contains(&"NOTICE: table \"added\" did not exist and was made".to_owned()),
        "{made:?}"
    );
    postgres.kill();
    world.alert("added, newest, hook").await;
    world.trade(0..4);
    world.ids(4).await;
    hook.taken(4);
    let trouble = world.trouble("added").await;
    let says = "cannot connect to PostgreSQL";
    assert!(trouble.starts_with(says), "{trouble}");

    world.crash().await;
    world.trade(4..10);
    let ids = world.ids(10).await;
    assert_eq!(world.outbox("added", "waiting").await, "10");
    postgres.start_again();
    for sink in ["added", "newest"] {
        world.emptied(sink).await;
    }
    let found = postgres.rows("SELECT id FROM added ORDER BY number").await;
    assert_eq!(found, ids, "each is there once");
    let found = postgres
        .rows("SELECT id, key->>'symbol', \"values\"->>'price' FROM newest ORDER BY number")
        .await;
    let last = [(8, 101), (9, 99)].map(|(at, price)| format!("{}|BTC|{price}", ids[at]));
    assert_eq!(found, last);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_table_refuses_is_a_dead_letter_and_a_table_that_is_gone_is_waited_for() {
    let Some(postgres) = Postgres::start() else {
        return;
    };
    let world = World::start().await;
    let table = into(&postgres, "table = 'added', create_table = false");
    let secret = format!("CREATE SECRET pw AS '{PASSWORD}'");
    world.client.run(&secret).await;
    let refused = world
        .client
        .error(&format!("CREATE SINK added {table}"))
        .await;
    assert_eq!(refused.state, "42P01", "{}", refused.text);
    let make = "CREATE TABLE added (id text, alert text, state text, severity text, key jsonb, \
        \"values\" jsonb, message text, window_start timestamptz, window_end timestamptz, \
        event_time timestamptz, offsets jsonb, number bigint CHECK (number <> 2), \
        silenced boolean, at timestamptz)";
    postgres.rows(make).await;
    let create = format!("CREATE SINK added {table}");
    world.client.run(&create).await;
    world.alert("added").await;
    world.trade(0..4);
    let ids = world.ids(4).await;
    world.emptied("added").await;
    let dead = world.dead("added").await;
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert_eq!(dead[0][0], ids[1]);
    assert!(dead[0][1].contains("check constraint"), "{dead:?}");

    postgres.rows("ALTER TABLE added RENAME TO gone").await;
    world.trade(4..6);
    let ids = world.ids(6).await;
    wait::until_async("a sending that is repeated", async || {
        (world.outbox("added", "retried").await != "0").then_some(())
    })
    .await;
    postgres.rows("ALTER TABLE gone RENAME TO added").await;
    world.emptied("added").await;
    let found = postgres.rows("SELECT id FROM added ORDER BY number").await;
    let kept = [&ids[..1], &ids[2..]].concat();
    assert_eq!(found, kept);
    assert_eq!(world.dead("added").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_is_dropped_while_its_kafka_is_down_gives_up_what_waits() {
    let world = World::start().await;
    let mut away = Broker::start();
    let create = format!(
        "CREATE SINK told WITH (connector = 'kafka', bootstrap_servers = '{}', topic = 'told')",
        away.bootstrap()
    );
    world.client.run(&create).await;
    away.kill();
    world.alert("told").await;
    world.trade(0..3);
    world.ids(3).await;
    world.client.notices();
    world.client.run("DROP SINK told CASCADE").await;
    assert_eq!(
        world.client.notices(),
        [
            "NOTICE: drop cascades to alert high",
            "NOTICE: 3 notifications of alert \"high\" had not been delivered and are given up"
        ]
    );
    let left = world
        .client
        .value("SELECT count(*) FROM headwater.outboxes")
        .await;
    assert_eq!(left, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_is_replaced_hears_what_its_alerts_tell_and_what_waited() {
    let hook = Hook::start(|_, _| Reply::OK);
    let world = World::start().await;
    let sink = |url: &str| {
        format!("CREATE OR REPLACE SINK desk WITH (connector = 'webhook', url = '{url}')")
    };
    let nowhere = format!("http://{}/hook", Hook::nowhere());
    world.client.run(&sink(&nowhere)).await;
    world.alert("desk").await;
    world.trade(0..2);
    let first = world.ids(2).await;
    world.trouble("desk").await;
    world.client.notices();
    world.client.run(&sink(&hook.url())).await;
    let told =
        "NOTICE: alert high tells the new sink from here on, also what waited for the former one";
    assert_eq!(world.client.notices(), [told]);
    world.trade(2..4);
    let ids = world.ids(4).await;
    assert_eq!(ids[..2], first);
    let taken = hook.taken(4);
    let taken: Vec<String> = taken.iter().map(|one| id_of(&one.body)).collect();
    assert_eq!(taken, ids);
    let own =
        "CREATE OR REPLACE SINK desk WITH (connector = 'blackhole') AS SELECT price FROM trades";
    let error = world.client.error(own).await;
    assert_eq!(error.state, "2BP01", "{}", error.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_for_a_sink_whose_place_one_without_an_outbox_takes_is_given_up_and_told() {
    let mut world = World::start().await;
    let nowhere = format!("http://{}/hook", Hook::nowhere());
    let sink = format!("CREATE SINK desk WITH (connector = 'webhook', url = '{nowhere}')");
    world.client.run(&sink).await;
    world.alert("desk").await;
    world.trade(0..2);
    world.ids(2).await;
    world.trouble("desk").await;
    world.client.notices();
    let print = "CREATE OR REPLACE SINK desk WITH (connector = 'print')";
    world.client.run(print).await;
    let told = "NOTICE: alerts tell the new sink from here on; 2 notifications that waited for the former one are given up";
    assert_eq!(world.client.notices(), [told]);
    let outboxes = "SELECT count(*) FROM headwater.outboxes WHERE sink = 'desk'";
    assert_eq!(world.client.value(outboxes).await, "0");
    world.crash().await;
    assert_eq!(world.client.value(outboxes).await, "0");
}
