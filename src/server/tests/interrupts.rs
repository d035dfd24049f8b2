//! What ends a statement from outside: a cancel, a timeout, the client's end, the server's stop.

use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio_postgres::NoTls;

use super::{frame, introduced, lines, message, refused, start, start_with, told};
use crate::task;

/// Runs for hours unless it is stopped, and gives no row before its end.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000000000) AS n WHERE n % 7 = 3";

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_what_runs_within_a_moment() {
    let server = start().await;
    for text in [
        ENDLESS,
        "SELECT n FROM generate_series(1, 1000000000000) AS n WHERE n < 0",
    ] {
        let client = server.connect().await;
        let token = client.cancel_token();
        let running = task::spawn("running", async move {
            let error = client.simple_query(text).await.unwrap_err();
            (told(&error), Instant::now(), client)
        });
        tokio::time::sleep(Duration::from_millis(300)).await;
        let asked = Instant::now();
        token.cancel_query(NoTls).await.unwrap();
        let (error, ended, client) = running.await.unwrap().unwrap();
        assert_eq!(error, "57014 canceling statement due to user request");
        assert!(
            ended - asked < Duration::from_millis(500),
            "{:?}",
            ended - asked
        );
        assert_eq!(lines(&client, "SELECT 1").await, ["1", "-- 1"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_with_the_wrong_key_does_nothing() {
    let server = start().await;
    let client = server.connect().await;
    let mut socket = server.socket().await;
    socket
        .write_all(b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01\0\0\0\x01")
        .await
        .unwrap();
    assert!(
        message(&mut socket).await.is_none(),
        "the connection is closed without an answer"
    );
    assert_eq!(lines(&client, "SELECT 1").await, ["1", "-- 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_ends_at_its_timeout() {
    let server = start().await;
    let client = server.connect().await;
    client
        .batch_execute("SET statement_timeout = '200ms'")
        .await
        .unwrap();
    let began = Instant::now();
    assert_eq!(
        refused(&client, ENDLESS).await,
        "57014 canceling statement due to statement timeout",
    );
    assert!(
        began.elapsed() < Duration::from_millis(900),
        "{:?}",
        began.elapsed()
    );
    let error = client.query(ENDLESS, &[]).await.unwrap_err();
    assert_eq!(
        told(&error),
        "57014 canceling statement due to statement timeout"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_query_of_a_client_that_went_away_ends() {
    let server = start_with(|config| config.limits.connections_max = 1).await;
    let mut socket = introduced(&server).await;
    let query = frame(b'Q', format!("{ENDLESS}\0").as_bytes());
    socket.write_all(&query).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let gone = Instant::now();
    drop(socket);
    while server.try_connect().await.is_err() {
        assert!(
            gone.elapsed() < Duration::from_millis(900),
            "its place is still taken"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_tells_every_client() {
    let server = start().await;
    let mut idle = introduced(&server).await;
    let busy = server.connect().await;
    let running = task::spawn("running", async move {
        told(&busy.simple_query(ENDLESS).await.unwrap_err())
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let asked = Instant::now();
    server.stop.request();
    let (kind, text) = message(&mut idle).await.unwrap();
    assert!(kind == 'E' && text.contains("57P01"), "{text}");
    assert!(running.await.unwrap().unwrap().starts_with("57P01"));
    let mut finished = server.server;
    finished.join().await.unwrap();
    assert!(
        asked.elapsed() < Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_listens_on_this_machine_alone_and_says_when_it_cannot() {
    use crate::{config::Config, server::Server, session::Services};
    use std::sync::Arc;
    let services = Services::in_memory(Arc::new(Config::default())).unwrap();
    let everywhere = Server::bind(([0, 0, 0, 0], 0).into(), Arc::clone(&services)).await;
    assert_eq!(everywhere.unwrap_err().state().code(), "0A000");
    let first = Server::bind(([127, 0, 0, 1], 0).into(), Arc::clone(&services))
        .await
        .unwrap();
    let second = Server::bind(first.local_addr(), services)
        .await
        .unwrap_err();
    assert!(second.message().contains("already in use"), "{second}");
    assert!(second.hint_text().is_some());
}
