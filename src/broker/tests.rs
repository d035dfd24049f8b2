//! The broker from outside: starting, stopping, and clients that do not behave.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

fn config() -> BrokerConfig {
    BrokerConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        ..BrokerConfig::default()
    }
}

async fn connect(broker: &Broker) -> TcpStream {
    TcpStream::connect(broker.bootstrap_servers())
        .await
        .unwrap()
}

/// An ApiVersions request, version 0, with an empty client id.
const API_VERSIONS: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0, 0];

async fn api_versions(socket: &mut TcpStream) -> bool {
    if socket.write_all(&API_VERSIONS).await.is_err() {
        return false;
    }
    let mut head = [0; 10];
    if socket.read_exact(&mut head).await.is_err() {
        return false;
    }
    let length = usize::try_from(i32::from_be_bytes(head[..4].try_into().unwrap())).unwrap();
    let mut rest = vec![0; length - 6];
    socket.read_exact(&mut rest).await.unwrap();
    head[4..] == [0, 0, 0, 7, 0, 0] // The correlation id, and no error.
}

async fn is_closed(socket: &mut TcpStream) -> bool {
    let mut byte = [0; 1];
    let read = tokio::time::timeout(Duration::from_secs(5), socket.read(&mut byte)).await;
    matches!(read.expect("closed in time"), Ok(0) | Err(_))
}

#[tokio::test]
async fn malformed_requests_close_their_connection_and_no_other() {
    let broker = Broker::start(config()).await.unwrap();
    let mut good = connect(&broker).await;
    let hostile: [&[u8]; 7] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        &[0xff; 20],
        &[0, 0, 0, 0],
        &[0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0],
        &[0, 0, 0, 10, 0x40, 0, 0, 0, 0, 0, 0, 1, 0, 0],
        &[
            0, 0, 0, 14, 0, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0x7f, 0xff, 0xff, 0xff,
        ],
        &[0, 0, 0, 8, 0, 18, 0, 0, 0, 0, 0, 7],
    ];
    for bytes in hostile {
        let mut bad = connect(&broker).await;
        bad.write_all(bytes).await.unwrap();
        assert!(is_closed(&mut bad).await, "{bytes:?}");
        assert!(
            api_versions(&mut good).await,
            "another client is still served after {bytes:?}"
        );
    }
    broker.shutdown().await;
}

#[tokio::test]
async fn requests_may_arrive_in_pieces_and_several_at_once() {
    let broker = Broker::start(config()).await.unwrap();
    let mut socket = connect(&broker).await;
    socket.set_nodelay(true).unwrap();
    for piece in API_VERSIONS[..13].chunks(3) {
        socket.write_all(piece).await.unwrap();
        clock::sleep(Duration::from_millis(2)).await;
    }
    let several = [&API_VERSIONS[13..], &API_VERSIONS, &API_VERSIONS].concat();
    socket.write_all(&several).await.unwrap();
    let mut answers = Vec::new();
    while answers.len() < 10 || answers.len() % 3 != 0 {
        assert!(
            socket.read_buf(&mut answers).await.unwrap() > 0,
            "three answers come"
        );
    }
    let one = 4 + usize::try_from(i32::from_be_bytes(answers[..4].try_into().unwrap())).unwrap();
    while answers.len() < 3 * one {
        assert!(
            socket.read_buf(&mut answers).await.unwrap() > 0,
            "three answers come"
        );
    }
    assert_eq!(answers[..one], answers[one..2 * one]);
    assert_eq!(answers[..one], answers[2 * one..]);
    broker.shutdown().await;
}

#[tokio::test]
async fn a_port_or_a_directory_in_use_is_an_error_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let first = BrokerConfig {
        data_dir: Some(dir.path().to_owned()),
        ..config()
    };
    let broker = Broker::start(first.clone()).await.unwrap();
    let second = BrokerConfig {
        listen: broker.address,
        ..config()
    };
    let error = Broker::start(second).await.unwrap_err();
    assert_eq!(error.state(), SqlState::ObjectInUse);
    assert!(error.hint_text().is_some(), "it says what to do");
    let error = Broker::start(first.clone()).await.unwrap_err();
    assert_eq!(error.state(), SqlState::LockFileExists);
    broker.shutdown().await;
    Broker::start(first)
        .await
        .expect("the directory is free again")
        .shutdown()
        .await;
}

#[tokio::test]
async fn stopping_ends_connections_and_takes_less_than_a_second() {
    let broker = Broker::start(config()).await.unwrap();
    let mut idle = connect(&broker).await;
    assert!(api_versions(&mut idle).await, "it is served");
    let mut half = connect(&broker).await;
    half.write_all(&API_VERSIONS[..7]).await.unwrap();
    let address = broker.address;
    let began = clock::instant();
    broker.shutdown().await;
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "it took {:?}",
        began.elapsed()
    );
    assert!(
        is_closed(&mut idle).await && is_closed(&mut half).await,
        "the connections end"
    );
    assert!(
        TcpStream::connect(address).await.is_err(),
        "nothing listens any more"
    );
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_one_to_end() {
    let broker = Broker::start(BrokerConfig {
        connections_max: 1,
        ..config()
    })
    .await
    .unwrap();
    let mut first = connect(&broker).await;
    assert!(api_versions(&mut first).await, "it is served");
    let mut second = connect(&broker).await;
    let served = tokio::time::timeout(Duration::from_millis(100), api_versions(&mut second)).await;
    assert!(served.is_err(), "it has to wait");
    drop(first);
    let mut answer = [0; 10];
    second.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer[4..8], [0, 0, 0, 7]);
    broker.shutdown().await;
}
