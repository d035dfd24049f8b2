//! The simple protocol.

use super::{frame, introduced, lines, message, refused, start, start_with, told, until_ready};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn statements_are_answered_one_by_one() {
    let server = start().await;
    let client = server.connect().await;
    assert_eq!(
        lines(&client, "SELECT 1, 'a', NULL; SELECT 2").await,
        ["1|a|NULL", "-- 1", "2", "-- 1"]
    );
    let mut socket = introduced(&server).await;
    for nothing in ["\0", " ; -- nothing\0"] {
        socket
            .write_all(&frame(b'Q', nothing.as_bytes()))
            .await
            .unwrap();
        assert_eq!(until_ready(&mut socket).await, "IZ");
    }
    assert_eq!(
        lines(
            &client,
            "SELECT n FROM generate_series(1, 3) AS n WHERE n > 1"
        )
        .await,
        ["2", "3", "-- 2"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_an_error_has_been_answered() {
    let server = start().await;
    let mut socket = introduced(&server).await;
    socket
        .write_all(&frame(b'Q', b"SELECT 1; SELECT nope; SELECT 3\0"))
        .await
        .unwrap();
    assert_eq!(until_ready(&mut socket).await, "TDCEZ");
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_a_state_and_a_place() {
    let server = start().await;
    let client = server.connect().await;
    let cases = [
        (
            "SELECT *\nFROM nope",
            "42P01 relation \"nope\" does not exist @15",
        ),
        (
            "SELECT 1 AS é, nope FROM (SELECT 1) t",
            "42703 column \"nope\" does not exist @16",
        ),
        (
            "SELECT frobnicate(1)",
            "42883 function frobnicate does not exist @8",
        ),
        (
            "SELECT a FROM (SELECT 1 a) x, (SELECT 2 a) y",
            "42702 column reference \"a\" is ambiguous @8",
        ),
        ("SELECT 1/0", "22012 division by zero"),
        (
            "SELECT CAST('x' AS int)",
            "22P02 invalid input syntax for type integer: \"x\"",
        ),
        (
            "SELECT a, count(*) FROM (SELECT 1 a, 2 b) t GROUP BY b",
            "42803",
        ),
        (
            "SHOW nonsense",
            "42704 unrecognized configuration parameter \"nonsense\" @6",
        ),
        ("SELECT $1", "42P02 there is no parameter $1"),
        (
            "CLOSE nothing",
            "34000 cursor \"nothing\" does not exist @7",
        ),
        (
            "EXECUTE nothing",
            "26000 prepared statement \"nothing\" does not exist @9",
        ),
        ("COPY t FROM STDIN", "0A000 COPY FROM is not supported"),
    ];
    for (text, expected) in cases {
        let error = refused(&client, text).await;
        assert!(error.starts_with(expected), "{text}: {error}");
    }
    assert!(refused(&client, "SELEC 1").await.starts_with("42601"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_fails_with_its_statement_and_ends_with_rollback() {
    let server = start().await;
    let client = server.connect().await;
    client.batch_execute("BEGIN; SELECT 1").await.unwrap();
    assert!(refused(&client, "SELECT nope").await.starts_with("42703"));
    assert!(refused(&client, "SELECT 1").await.starts_with("25P02"));
    assert!(refused(&client, "SHOW timezone").await.starts_with("25P02"));
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(lines(&client, "SELECT 1").await, ["1", "-- 1"]);
    client.batch_execute("BEGIN; SAVEPOINT s").await.unwrap();
    assert!(refused(&client, "SELECT nope").await.starts_with("42703"));
    client
        .batch_execute("ROLLBACK TO SAVEPOINT s; SELECT 1; RELEASE s; COMMIT")
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_are_set_shown_and_reset() {
    let server = start().await;
    let client = server.connect().await;
    assert_eq!(lines(&client, "SHOW timezone").await, ["UTC", "-- 0"]);
    client
        .batch_execute("SET TIME ZONE 'Asia/Kolkata'")
        .await
        .unwrap();
    let shown = "SELECT CAST('2026-01-01 00:00:00+00' AS timestamptz)";
    assert_eq!(lines(&client, shown).await[0], "2026-01-01 05:30:00+05:30");
    client
        .batch_execute("BEGIN; SET LOCAL timezone = 'America/New_York'")
        .await
        .unwrap();
    assert_eq!(lines(&client, "SHOW timezone").await[0], "America/New_York");
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(lines(&client, "SHOW timezone").await[0], "Asia/Kolkata");
    client
        .batch_execute("BEGIN; SET timezone = 'UTC'; ROLLBACK")
        .await
        .unwrap();
    assert_eq!(
        lines(&client, "SELECT current_setting('timezone')").await[0],
        "Asia/Kolkata"
    );
    client.batch_execute("DISCARD ALL").await.unwrap();
    assert_eq!(lines(&client, "SHOW timezone").await[0], "UTC");
}

#[tokio::test(flavor = "multi_thread")]
async fn cursors_give_their_rows_piece_by_piece() {
    let server = start().await;
    let client = server.connect().await;
    assert!(
        refused(&client, "DECLARE c CURSOR FOR SELECT 1")
            .await
            .starts_with("25P01"),
        "a cursor lives in a transaction",
    );
    client
        .batch_execute("BEGIN; DECLARE c CURSOR FOR SELECT n FROM generate_series(1, 6) AS n")
        .await
        .unwrap();
    assert_eq!(lines(&client, "FETCH 2 FROM c").await, ["1", "2", "-- 2"]);
    assert_eq!(lines(&client, "FETCH c").await, ["3", "-- 1"]);
    assert_eq!(lines(&client, "MOVE 2 IN c").await, ["-- 2"]);
    assert_eq!(lines(&client, "FETCH ALL c").await, ["6", "-- 1"]);
    assert_eq!(lines(&client, "FETCH 1 c").await, ["-- 0"]);
    assert!(
        refused(&client, "DECLARE c CURSOR FOR SELECT 1")
            .await
            .starts_with("42P03")
    );
    client.batch_execute("ROLLBACK").await.unwrap();
    assert!(refused(&client, "FETCH c").await.starts_with("34000"));
    client
        .batch_execute("DECLARE h CURSOR WITH HOLD FOR SELECT 7")
        .await
        .unwrap();
    assert_eq!(lines(&client, "FETCH h").await, ["7", "-- 1"]);
    client.batch_execute("CLOSE h").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_take_values() {
    let server = start().await;
    let client = server.connect().await;
    client
        .batch_execute("PREPARE p (int) AS SELECT $1 + 1, $2::text")
        .await
        .unwrap();
    assert_eq!(lines(&client, "EXECUTE p(41, 'x')").await, ["42|x", "-- 1"]);
    assert!(
        refused(&client, "EXECUTE p(1)")
            .await
            .starts_with("42601 wrong number")
    );
    assert!(
        refused(&client, "PREPARE p AS SELECT 1")
            .await
            .starts_with("42P05")
    );
    client.batch_execute("DEALLOCATE p").await.unwrap();
    assert!(
        refused(&client, "EXECUTE p(1, 2)")
            .await
            .starts_with("26000")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_statement_is_refused_and_the_connection_goes_on() {
    let server = start().await;
    let client = server.connect().await;
    let long = format!("SELECT '{}'", "x".repeat(17 * 1024 * 1024));
    assert!(refused(&client, &long).await.starts_with("54000"));
    let longer = format!("SELECT '{}'", "x".repeat(65 * 1024 * 1024));
    assert!(refused(&client, &longer).await.starts_with("54000"));
    let deep = format!("SELECT {}1{}", "(".repeat(5_000), ")".repeat(5_000));
    assert!(refused(&client, &deep).await.starts_with("54001"));
    assert_eq!(lines(&client, "SELECT 1").await, ["1", "-- 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn encryption_is_declined_and_the_client_goes_on_without() {
    let server = start().await;
    let mut socket = server.socket().await;
    socket
        .write_all(b"\0\0\0\x08\x04\xd2\x16\x2f")
        .await
        .unwrap();
    assert_eq!(socket.read_u8().await.unwrap(), b'N');
    socket
        .write_all(b"\0\0\0\x12\0\x03\0\0user\0ann\0\0")
        .await
        .unwrap();
    assert!(until_ready(&mut socket).await.starts_with("RS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_the_protocol_is_answered_and_closed() {
    let server = start().await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        b"\0\0\0\x09\0\x02\0\0\0",
        b"\0\0\0\x08\0\x03\0\0",
    ] {
        let mut socket = server.socket().await;
        socket.write_all(bytes).await.unwrap();
        socket.shutdown().await.unwrap();
        if let Some((kind, text)) = message(&mut socket).await {
            assert_eq!(kind, 'E', "{text}");
        }
        assert!(message(&mut socket).await.is_none());
    }
    for bytes in [&b"!\0\0\0\x04"[..], b"Q\0\0\0\x01", b"B\0\0\0\x06\0\0"] {
        let mut socket = introduced(&server).await;
        socket.write_all(bytes).await.unwrap();
        let (kind, text) = message(&mut socket).await.unwrap();
        assert!(
            kind == 'E' && text.contains("FATAL") && text.contains("08P01"),
            "{text}"
        );
        assert!(message(&mut socket).await.is_none());
    }
    assert_eq!(
        lines(&server.connect().await, "SELECT 1").await,
        ["1", "-- 1"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_too_many_is_told_so() {
    let server = start_with(|config| config.limits.connections_max = 1).await;
    let first = server.connect().await;
    let error = server.try_connect().await.unwrap_err();
    assert_eq!(told(&error), "53300 sorry, too many clients already");
    drop(first);
    for _ in 0..100 {
        if server.try_connect().await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("the place was not given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_writes_lines() {
    use futures::StreamExt;
    let server = start().await;
    let client = server.connect().await;
    let copy = "COPY (SELECT n, CASE WHEN n = 2 THEN NULL ELSE 'a b' END AS t \
                FROM generate_series(1, 3) AS n) TO STDOUT WITH (FORMAT csv, HEADER true)";
    let data = client.copy_out(copy).await.unwrap();
    let parts: Vec<_> = data.collect().await;
    let text: Vec<u8> = parts
        .into_iter()
        .flat_map(|part| part.unwrap().to_vec())
        .collect();
    assert_eq!(String::from_utf8(text).unwrap(), "n,t\n1,a b\n2,\n3,a b\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_shows_a_plan() {
    let server = start().await;
    let client = server.connect().await;
    let plan = lines(
        &client,
        "EXPLAIN SELECT count(*) FROM generate_series(1, 3)",
    )
    .await;
    assert!(
        plan.iter().any(|line| line.contains("AggregateExec")),
        "{plan:?}"
    );
    let plan = lines(
        &client,
        "EXPLAIN ANALYZE SELECT count(*) FROM generate_series(1, 3)",
    )
    .await;
    assert!(
        plan.iter().any(|line| line.contains("output_rows=1")),
        "{plan:?}"
    );
}
