//! The wire beyond single statements: parameters of every type, many statements in one text, pipelines, notices.

use tokio_postgres::types::{ToSql, Type};

use crate::support::broker::Broker;
use crate::support::client::{Answer, Client};
use crate::support::server::Server;

async fn server() -> (Server, Client) {
    let mut server = Server::start_with(&[]);
    let client = server.connect().await;
    (server, client)
}

/// Sends a value as a parameter and reads it back.
async fn check<T>(client: &Client, sql_type: &str, value: T)
where
    T: ToSql + Sync + PartialEq + std::fmt::Debug + for<'a> tokio_postgres::types::FromSql<'a>,
{
    let sql = format!("SELECT $1::{sql_type}");
    let row = client.raw().query_one(&sql, &[&value]).await;
    let row = row.unwrap_or_else(|error| panic!("{sql} of {value:?}: {error:?}"));
    assert_eq!(row.get::<_, T>(0), value, "{sql}");
}

#[tokio::test]
async fn parameters_of_every_type_come_back_as_they_were() {
    let (_server, client) = server().await;
    check(&client, "boolean", true).await;
    check(&client, "smallint", -2_i16).await;
    check(&client, "int", i32::MIN).await;
    check(&client, "bigint", i64::MAX).await;
    check(&client, "real", 0.1_f32).await;
    check(&client, "double precision", f64::MAX).await;
    check(&client, "text", "ä \" ' \\".to_owned()).await;
    check(&client, "bytea", vec![0_u8, 255]).await;
    check(&client, "text", None::<String>).await;
    check(&client, "bigint[]", vec![Some(1_i64), None]).await;
    check(&client, "text[]", vec!["a,b".to_owned(), String::new()]).await;
    let time =
        std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_micros(1_767_225_600_123_456);
    check(&client, "timestamptz", time).await;
}

#[tokio::test]
async fn text_and_binary_say_the_same() {
    let (_server, client) = server().await;
    let sql = "SELECT 1::smallint AS a, 1.50::numeric(5,2) AS b, 'x'::text AS c, NULL::date AS d, ARRAY[1, 2] AS e";
    let (Ok(Answer::Rows(text)), Ok(Answer::Rows(binary))) =
        (client.simple(sql).await, client.extended(sql).await)
    else {
        panic!("both answer with rows");
    };
    assert_eq!(text, binary);
    let statement = client.raw().prepare(sql).await.expect("it is valid");
    let described: Vec<_> = statement
        .columns()
        .iter()
        .map(|column| (column.name(), column.type_()))
        .collect();
    let expected = [
        ("a", &Type::INT2),
        ("b", &Type::NUMERIC),
        ("c", &Type::TEXT),
        ("d", &Type::DATE),
        ("e", &Type::INT8_ARRAY),
    ];
    assert_eq!(described, expected);
}

#[tokio::test]
async fn one_text_may_hold_many_statements_and_stops_at_the_first_error() {
    let (_server, client) = server().await;
    let answers = client
        .raw()
        .simple_query("SELECT 1; SELECT 2 AS two; SET application_name = 'x'")
        .await;
    let rows = answers.expect("all are valid").into_iter();
    let rows: Vec<String> = rows
        .filter_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .collect();
    assert_eq!(rows, ["1", "2"]);
    let error = client
        .error("SELECT 1; SELECT nothing; SET application_name = 'y'")
        .await;
    assert_eq!(error.state, "42703");
    assert!(
        error.text.ends_with("AT: 1:18"),
        "the place is in the whole text: {error}"
    );
    assert_eq!(
        client.value("SHOW application_name").await,
        "x",
        "what follows is not run"
    );
}

#[tokio::test]
async fn statements_may_be_sent_ahead_of_their_answers() {
    let (_server, client) = server().await;
    let raw = client.raw();
    let (one, two, three) = tokio::join!(
        raw.query_one("SELECT 1::bigint", &[]),
        raw.query_one("SELECT nothing", &[]),
        raw.query_one("SELECT 3::bigint", &[]),
    );
    assert_eq!(one.expect("it is valid").get::<_, i64>(0), 1);
    assert!(two.is_err(), "an error is its own statement's alone");
    assert_eq!(three.expect("it is valid").get::<_, i64>(0), 3);
}

#[tokio::test]
async fn portals_give_their_rows_in_parts() {
    let (_server, mut client) = server().await;
    let transaction = client.raw_mut().transaction().await.expect("it begins");
    let portal = transaction
        .bind("SELECT * FROM generate_series(1, 5)", &[])
        .await
        .expect("it is valid");
    let mut sizes = Vec::new();
    loop {
        let rows = transaction
            .query_portal(&portal, 2)
            .await
            .expect("it goes on");
        sizes.push(rows.len());
        if rows.len() < 2 {
            break;
        }
    }
    assert_eq!(sizes, [2, 2, 1]);
    transaction.commit().await.expect("it commits");
}

#[tokio::test]
async fn what_the_server_decides_by_itself_is_told_by_a_notice() {
    let broker = Broker::start();
    let mut server = Server::start(&broker.bootstrap());
    let client = server.connect().await;
    client
        .run("CREATE TABLE a (n int) WITH (connector = 'kafka', topic = 'a', create_topic = true)")
        .await;
    client.notices();
    client
        .run("CREATE SINK s WITH (connector = 'kafka', topic = 'new-topic') AS SELECT n FROM a")
        .await;
    let notices = client.notices();
    assert!(
        notices.iter().any(|notice| notice.contains("new-topic")),
        "{notices:?}"
    );
    assert_eq!(client.run("INSERT INTO a VALUES (1)").await, 1);
    client
        .run("CREATE TABLE b WITH (connector = 'kafka', topic = 'a', schema = 'infer')")
        .await;
    let notices = client.notices();
    assert!(
        notices.iter().any(|notice| notice.contains("n bigint")),
        "{notices:?}"
    );
    client.run("DROP TABLE IF EXISTS nothing").await;
    assert_eq!(client.notices().len(), 1);
}

#[tokio::test]
async fn a_client_notices_that_the_server_was_killed() {
    let (mut server, client) = server().await;
    server.crash_and_start_again();
    assert!(
        client.simple("SELECT 1").await.is_err(),
        "its server is gone"
    );
    assert!(!client.is_open());
    assert_eq!(server.connect().await.value("SELECT 1").await, "1");
}
