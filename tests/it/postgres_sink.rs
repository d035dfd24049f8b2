//! Rows into tables of a real PostgreSQL: each once, whoever dies.
//!
//! Left out where PostgreSQL is not installed, except in CI.

use crate::support::broker::Broker;
use crate::support::client::{Client, Failure};
use crate::support::messages::{Cluster, Record};
use crate::support::postgres::{PASSWORD, Postgres, USER};
use crate::support::server::Server;
use crate::support::wait;

const CLICKS: &str = "CREATE TABLE IF NOT EXISTS clicks (who text, n bigint) \
    WITH (connector = 'kafka', topic = 'clicks', format = 'json')";
/// What is there of each name; a sum that leaves 1 when divided by 3 is not.
const SUMS: &str =
    "SELECT who, sum(n)::bigint AS s FROM clicks GROUP BY who HAVING sum(n)::bigint % 3 <> 1";
/// More places than this would be a mistake of the test.
const PLACES_MAX: usize = 100;

struct Stage {
    postgres: Postgres,
    cluster: Cluster,
    server: Server,
    _broker: Broker,
}

impl Stage {
    async fn set() -> Option<Self> {
        Self::set_to_crash(None).await
    }

    async fn set_to_crash(at: Option<usize>) -> Option<Self> {
        let postgres = Postgres::start()?;
        let broker = Broker::start();
        let cluster = Cluster::at(broker.bootstrap());
        cluster.create_topic("clicks", 2).await;
        let server = match at {
            None => Server::start(&broker.bootstrap()),
            Some(nth) => Server::start_to_crash(&["--kafka", &broker.bootstrap()], nth),
        };
        Some(Self {
            postgres,
            cluster,
            server,
            _broker: broker,
        })
    }

    async fn client(&mut self) -> Client {
        let client = self.server.connect().await;
        client.run(CLICKS).await;
        client
            .run(&format!("CREATE SECRET IF NOT EXISTS pw AS '{PASSWORD}'"))
            .await;
        client
    }

    /// The options of a sink.
    fn options(&self, more: &str) -> String {
        let port = self.postgres.port();
        format!(
            "WITH (connector = 'postgres', host = '127.0.0.1', port = {port}, database = 'postgres', \
             user = '{USER}', password = SECRET pw, checkpoint_interval = '50 ms', {more})"
        )
    }

    fn append(&self) -> String {
        let with = self.options("table = 'clicked'");
        format!("CREATE SINK IF NOT EXISTS added {with} AS SELECT who, n FROM clicks")
    }

    fn upsert(&self) -> String {
        let with = self.options("table = 'sums', mode = 'upsert', key_columns = 'who'");
        format!("CREATE SINK IF NOT EXISTS newest {with} AS {SUMS}")
    }

    /// Compares both tables with what snapshots answer.
    async fn check(&self, client: &Client, what: &str) {
        for (query, table) in [("SELECT who, n FROM clicks", "clicked"), (SUMS, "sums")] {
            let rows = client.rows(query).await;
            let text = |value: Option<String>| value.unwrap_or_else(|| "NULL".to_owned());
            let mut expected: Vec<String> = rows
                .into_iter()
                .map(|row| row.into_iter().map(text).collect::<Vec<_>>().join("|"))
                .collect();
            expected.sort();
            let mut found = self.postgres.rows(&format!("SELECT * FROM {table}")).await;
            found.sort();
            assert!(!expected.is_empty(), "{what}: nothing is expected");
            assert_eq!(found, expected, "{what}: {table}");
        }
    }
}

/// Clicks of five people, one of whom has no name.
fn clicks(range: std::ops::Range<i64>) -> Vec<Record> {
    let record = |n: i64| {
        let who = match n % 5 {
            0 => "null".to_owned(),
            who => format!("\"p{who}\""),
        };
        Record::of(format!(r#"{{"who":{who},"n":{n}}}"#)).in_partition(i32::from(n % 2 == 0))
    };
    range.map(record).collect()
}

async fn of_sink(client: &Client, name: &str, column: &str) -> String {
    let sql = format!("SELECT {column}::text FROM headwater.sinks WHERE name = '{name}'");
    client.value(&sql).await
}

#[tokio::test]
async fn rows_are_added_and_the_newest_of_each_key_is_kept() {
    let Some(mut stage) = Stage::set().await else {
        return;
    };
    let client = stage.client().await;
    client.run(&stage.append()).await;
    assert_eq!(
        client.notices(),
        ["NOTICE: table \"clicked\" did not exist and was made"]
    );
    client.run(&stage.upsert()).await;
    for range in [0..50, 50..51, 51..200] {
        stage.cluster.produce("clicks", &clicks(range));
        client.run("FLUSH").await;
        stage.check(&client, "after FLUSH").await;
    }
    let rows = client
        .rows("SELECT name, connector, target, delivery, state, rows_out > 0, last_error FROM headwater.sinks")
        .await;
    let row = |name: &str, table: &str| {
        let texts = [name, "postgres", table, "exactly once", "running", "t"];
        let mut row: Vec<Option<String>> = texts.map(|text| Some(text.to_owned())).into();
        row.push(None);
        row
    };
    assert_eq!(rows, [row("added", "clicked"), row("newest", "sums")]);
    let shown = client.value("SHOW CREATE SINK added").await;
    assert!(shown.contains("password = SECRET pw"), "{shown}");
}

#[tokio::test]
async fn values_of_every_type_arrive_as_they_are() {
    let Some(mut stage) = Stage::set().await else {
        return;
    };
    let client = stage.client().await;
    let with = stage.options("table = 'typed'");
    let query = "SELECT n, n::int AS i, n::smallint AS h, n > 1 AS b, n / 4.0::double precision AS d, \
        CAST(n AS numeric(12, 3)) AS x, who || E'\\t\\\\\\n' AS t, \
        TIMESTAMP '2026-01-02 03:04:05.678' AS at, TIMESTAMPTZ '2026-01-02T03:04:05Z' AS tz, \
        DATE '2026-01-02' AS day, INTERVAL '1 month 2 days 3.5 seconds' AS length, \
        ARRAY[n, NULL] AS list, NULL AS nothing FROM clicks";
    client
        .run(&format!("CREATE SINK typed {with} AS {query}"))
        .await;
    stage.cluster.produce("clicks", &clicks(7..8));
    client.run("FLUSH").await;
    let found = stage
        .postgres
        .rows("SET TimeZone = 'UTC'; SELECT * FROM typed")
        .await;
    let expected = "7|7|7|t|1.75|7.000|p2\t\\\n|2026-01-02 03:04:05.678|2026-01-02 03:04:05+00|\
        2026-01-02|1 mon 2 days 00:00:03.5|[7, null]|NULL";
    assert_eq!(found, [expected]);
}

#[tokio::test]
async fn rows_come_once_although_the_database_dies() {
    let Some(mut stage) = Stage::set().await else {
        return;
    };
    let client = stage.client().await;
    client.run(&stage.append()).await;
    client.run(&stage.upsert()).await;
    for round in 0..3 {
        let from = round * 100;
        stage.cluster.produce("clicks", &clicks(from..from + 50));
        stage.postgres.kill();
        stage
            .cluster
            .produce("clicks", &clicks(from + 50..from + 100));
        let down = async || (of_sink(&client, "added", "last_error").await != "NULL").then_some(());
        wait::until_async("error of the sink", down).await;
        stage.postgres.start_again();
        client.run("FLUSH").await;
        stage.check(&client, &format!("round {round}")).await;
    }
}

/// Makes what is not there and lets everything go through.
async fn act(stage: &Stage) -> Result<(), Failure> {
    let client = Client::connect(stage.server.address()).await?;
    let secret = format!("CREATE SECRET IF NOT EXISTS pw AS '{PASSWORD}'");
    for statement in [CLICKS, &secret, &stage.append(), &stage.upsert(), "FLUSH"] {
        client.simple(statement).await?;
    }
    Ok(())
}

/// One run in which the server dies at the n-th place; false when there is no such place.
async fn dies_at(stage: &mut Stage, nth: usize) -> bool {
    let mut died = false;
    for from in [0, 40, 80] {
        stage.cluster.produce("clicks", &clicks(from..from + 40));
        let Err(failure) = act(stage).await else {
            continue;
        };
        assert!(!died, "place {nth}: {failure}");
        died = true;
        stage.server.process().wait_for_end();
        stage.server.start_again();
        let acted = act(stage).await;
        acted.unwrap_or_else(|failure| panic!("place {nth}: {failure}"));
    }
    if !died {
        stage.server.crash_and_start_again();
        let acted = act(stage).await;
        acted.unwrap_or_else(|failure| panic!("place {nth}: {failure}"));
    }
    let client = stage.client().await;
    stage.check(&client, &format!("place {nth}")).await;
    died
}

#[tokio::test]
async fn a_crash_at_any_place_loses_and_doubles_no_row() {
    let mut tried = 0;
    // The epochs of a short interval pass many places; a step of three tries each kind of them.
    for nth in (1..PLACES_MAX).step_by(3) {
        let Some(mut stage) = Stage::set_to_crash(Some(nth)).await else {
            return;
        };
        if !Box::pin(dies_at(&mut stage, nth)).await {
            break;
        }
        tried += 1;
    }
    assert!(tried > 5, "there are only {tried} places");
}

#[tokio::test]
async fn a_sink_that_is_created_again_begins_anew() {
    let Some(mut stage) = Stage::set().await else {
        return;
    };
    let client = stage.client().await;
    client.run(&stage.append()).await;
    stage.cluster.produce("clicks", &clicks(0..10));
    client.run("FLUSH").await;
    client.run("DROP SINK added").await;
    client.run(&stage.append()).await;
    client.run("FLUSH").await;
    let found = stage.postgres.rows("SELECT count(*) FROM clicked").await;
    assert_eq!(found, ["20"]);
    stage.server.crash_and_start_again();
    let client = stage.client().await;
    client.run("FLUSH").await;
    let found = stage.postgres.rows("SELECT count(*) FROM clicked").await;
    assert_eq!(found, ["20"]);
}

#[tokio::test]
async fn a_new_password_is_taken_by_the_sink_that_runs() {
    let Some(mut stage) = Stage::set().await else {
        return;
    };
    let client = stage.client().await;
    client.run(&stage.append()).await;
    stage
        .postgres
        .rows("ALTER USER headwater PASSWORD 'another'")
        .await;
    client.run("CREATE OR REPLACE SECRET pw AS 'another'").await;
    stage.cluster.produce("clicks", &clicks(0..10));
    client.run("FLUSH").await;
    assert_eq!(of_sink(&client, "added", "state").await, "running");
    assert_eq!(of_sink(&client, "added", "last_error").await, "NULL");
    let failure = client.error("DROP SECRET pw").await;
    assert_eq!(failure.state, "2BP01");
    let file = std::fs::read_to_string(stage.server.data().join("catalog.json"));
    assert!(
        file.is_ok_and(|file| file.contains("another")),
        "it is kept"
    );
    assert!(
        !stage.server.process().output().contains("another"),
        "it is logged"
    );
}

#[tokio::test]
async fn what_cannot_be_is_said_when_the_sink_is_created() {
    let Some(mut stage) = Stage::set().await else {
        return;
    };
    let client = stage.client().await;
    stage
        .postgres
        .rows("CREATE TABLE narrow (who int, n bigint); CREATE TABLE keyless (who text, n bigint)")
        .await;
    let port = stage.postgres.port();
    let at = |database: &str, password: &str| {
        format!(
            "connector = 'postgres', host = '127.0.0.1', port = {port}, user = '{USER}', \
             database = '{database}', password = '{password}', table = 'x'"
        )
    };
    let own = |more: &str| {
        let with = stage.options(more);
        with.trim_start_matches("WITH (")
            .trim_end_matches(')')
            .to_owned()
    };
    for (options, state, words) in [
        (at("postgres", "wrong"), "28000", "password"),
        (at("nowhere", PASSWORD), "3D000", "Create the database"),
        (
            own("table = 'narrow'"),
            "42804",
            "is integer, and the query's is text",
        ),
        (
            own("table = 'gone', create_table = false"),
            "42P01",
            "create_table",
        ),
        (
            own("table = 'keyless', mode = 'upsert', key_columns = 'who'"),
            "42P10",
            "UNIQUE",
        ),
        (own("table = 'no.where'"), "3F000", "no"),
        (
            own("table = 'x', sslmode = 'verify-full'"),
            "08001",
            "sslrootcert",
        ),
    ] {
        let sql = format!("CREATE SINK s WITH ({options}) AS SELECT who, n FROM clicks");
        let failure = client.error(&sql).await;
        assert_eq!(failure.state, state, "{options}: {failure}");
        assert!(failure.text.contains(words), "{options}: {failure}");
        assert!(!failure.text.contains(PASSWORD), "the password is shown");
    }
}

#[tokio::test]
async fn a_row_that_repeats_a_key_fails_the_sink_for_good() {
    let Some(mut stage) = Stage::set().await else {
        return;
    };
    let client = stage.client().await;
    stage
        .postgres
        .rows("CREATE TABLE clicked (who text, n bigint PRIMARY KEY)")
        .await;
    client.run(&stage.append()).await;
    stage.cluster.produce("clicks", &clicks(1..4));
    client.run("FLUSH").await;
    stage.cluster.produce("clicks", &clicks(3..5));
    let failed = async || (of_sink(&client, "added", "state").await == "failed").then_some(());
    wait::until_async("failure", failed).await;
    let error = of_sink(&client, "added", "last_error").await;
    assert!(error.contains("duplicate key"), "{error}");
    let found = stage.postgres.rows("SELECT count(*) FROM clicked").await;
    assert_eq!(found, ["3"]);
}

#[tokio::test]
async fn a_certificate_is_checked_as_sslmode_says() {
    let Some(mut stage) = Stage::set().await else {
        return;
    };
    let client = stage.client().await;
    let (port, roots) = (stage.postgres.port(), stage.postgres.certificate());
    let sink = |name: &str, host: &str, more: &str| {
        format!(
            "CREATE SINK {name} WITH (connector = 'postgres', host = '{host}', port = {port}, \
             database = 'postgres', user = '{USER}', password = SECRET pw, table = 'clicked', {more}) \
             AS SELECT who, n FROM clicks"
        )
    };
    let checked = format!("sslrootcert = '{roots}', sslmode = 'verify-full'");
    client.run(&sink("full", "localhost", &checked)).await;
    let failure = client.error(&sink("named", "127.0.0.1", &checked)).await;
    assert!(failure.text.contains("certificate"), "{failure}");
    let signed = format!("sslrootcert = '{roots}', sslmode = 'verify-ca'");
    client.run(&sink("signed", "127.0.0.1", &signed)).await;
    client
        .run(&sink("required", "127.0.0.1", "sslmode = 'require'"))
        .await;
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'headwater'";
    let is_encrypted = async || (stage.postgres.rows(encrypted).await == ["t"]).then_some(());
    wait::until_async("connection with TLS", is_encrypted).await;
    let url = format!("postgres://{USER}@127.0.0.1:{port}/postgres?sslmode=disable");
    client
        .run(&format!(
            "CREATE SINK by_url WITH (connector = 'postgres', url = '{url}', password = SECRET pw, \
             table = 'clicked') AS SELECT who, n FROM clicks"
        ))
        .await;
    let shown = client.value("SHOW CREATE SINK by_url").await;
    assert!(!shown.contains("postgres://"), "{shown}");
}
