//! What stops the server from starting, and limits on what a client may send: one clear error, and nothing left behind.

use std::net::TcpListener;
use std::process::Command;

use tempfile::TempDir;

use crate::support::broker::Broker;
use crate::support::http::get;
use crate::support::process::Process;
use crate::support::server::Server;
use crate::support::wait;

/// Runs `headwater serve` with those arguments; it must end by itself with a failure. Returns what it wrote.
fn refused(arguments: &[&str]) -> String {
    let folder = TempDir::new().expect("a temporary folder");
    let mut command: Command = Process::headwater();
    command
        .current_dir(folder.path())
        .arg("serve")
        .args(arguments);
    let mut process = Process::start(&mut command, &folder.path().join("log"));
    let status = process.ended_within(wait::PATIENCE);
    let output = process.output();
    assert!(
        status.is_some_and(|status| !status.success()),
        "{arguments:?}: {status:?}\n{output}"
    );
    output
}

fn text(path: &std::path::Path) -> String {
    path.to_str()
        .expect("a temporary folder's name is UTF-8")
        .to_owned()
}

#[tokio::test]
async fn a_data_folder_belongs_to_one_server() {
    let mut server = Server::start_with(&[]);
    let data = text(&server.data());
    let any = "127.0.0.1:0";
    let output = refused(&["--listen", any, "--http-listen", any, "--data-dir", &data]);
    assert!(output.contains("data directory is in use"), "{output}");
    assert_eq!(
        server.connect().await.value("SELECT 1").await,
        "1",
        "the first one goes on"
    );
    // A crash leaves no lock behind.
    server.crash_and_start_again();
    assert_eq!(server.connect().await.value("SELECT 1").await, "1");
}

#[test]
fn a_taken_port_is_told_with_the_flag_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let any = "127.0.0.1:0";
    let output = refused(&["--listen", &address, "--http-listen", any]);
    assert!(
        output.contains(&address) && output.contains("--listen"),
        "{output}"
    );
    let output = refused(&["--listen", any, "--http-listen", &address]);
    assert!(
        output.contains(&address) && output.contains("--http-listen"),
        "{output}"
    );
}

#[test]
fn a_data_folder_that_cannot_be_made_is_told() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("file");
    std::fs::write(&file, "not a folder").expect("it can be written");
    let any = "127.0.0.1:0";
    let below = text(&file.join("data"));
    let output = refused(&["--listen", any, "--http-listen", any, "--data-dir", &below]);
    assert!(output.contains(&below), "{output}");
    assert!(!output.contains("panicked"), "{output}");
}

#[test]
fn an_unknown_setting_is_told_with_the_nearest() {
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("headwater.toml");
    std::fs::write(&file, "listne = \"127.0.0.1:0\"\n").expect("it can be written");
    let output = refused(&["--config", &text(&file)]);
    assert!(
        output.contains("listne") && output.contains("\"listen\""),
        "{output}"
    );
}

#[tokio::test]
async fn a_statement_of_10_mb_is_answered_and_one_beyond_the_limit_is_refused() {
    let mut server = Server::start_with(&[]);
    let client = server.connect().await;
    let long = format!("SELECT length('{}')", "x".repeat(10_000_000));
    assert_eq!(client.value(&long).await, "10000000");
    let too_long = format!("SELECT length('{}')", "x".repeat(20_000_000));
    assert_eq!(client.error(&too_long).await.state, "54000");
    let deep = format!("SELECT {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert_eq!(client.error(&deep).await.state, "54001");
    assert_eq!(
        client.value("SELECT 1").await,
        "1",
        "the connection goes on"
    );
}

#[tokio::test]
async fn a_broker_that_does_not_answer_is_an_error_soon() {
    // It accepts connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let silent = silent.local_addr().expect("it is bound").to_string();
    let mut server = Server::start_with(&[]);
    let client = server.connect().await;
    for bootstrap in ["127.0.0.1:1", &silent] {
        let create = format!(
            "CREATE TABLE t (a int) WITH (connector = 'kafka', topic = 't', bootstrap_servers = '{bootstrap}')"
        );
        let error = client.error(&create).await;
        assert_eq!(error.state, "08001", "{error}");
        assert!(error.text.contains(bootstrap), "{error}");
        assert_eq!(
            client.error("SELECT * FROM t").await.state,
            "42P01",
            "nothing is left behind"
        );
    }
}

#[tokio::test]
async fn health_and_metrics_answer() {
    let broker = Broker::start();
    let server = Server::start(&broker.bootstrap());
    for (path, expected) in [
        ("/healthz", "200"),
        ("/readyz", "200"),
        ("/metrics", "# EOF"),
    ] {
        let answer = get(server.http(), path);
        assert!(answer.contains(expected), "{path}: {answer}");
    }
    assert!(
        get(server.http(), "/nothing").contains("404"),
        "an unknown path is told"
    );
}

#[test]
fn a_property_that_the_kafka_library_does_not_know_is_told_at_the_start() {
    let any = "127.0.0.1:0";
    let output = refused(&[
        "--listen",
        any,
        "--http-listen",
        any,
        "--kafka",
        "127.0.0.1:1",
        "--kafka-property",
        "foo=bar",
    ]);
    assert!(output.contains("foo"), "{output}");
}
