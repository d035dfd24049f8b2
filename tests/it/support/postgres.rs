//! A real PostgreSQL of the test's own, from `tests/postgres`, which it may kill.
//!
//! Invariant: one that is started again has the port and the data that it had.

use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;
use tokio_postgres::{NoTls, SimpleQueryMessage};

use super::broker::{free_ports, not_here};

/// The user that the script makes.
pub(crate) const USER: &str = "headwater";
/// Its password.
pub(crate) const PASSWORD: &str = "correct horse";

/// A running server.
pub(crate) struct Postgres {
    folder: TempDir,
    port: u16,
}

impl Postgres {
    /// Starts one, if this machine has PostgreSQL. In CI it must.
    pub(crate) fn start() -> Option<Self> {
        if !script(&["here"]).status.success() {
            not_here("PostgreSQL is not installed; Debian's package postgresql brings it");
            return None;
        }
        let folder = TempDir::new().expect("a temporary folder");
        let port = free_ports();
        let server = Self { folder, port };
        server.act(&["start"], Some(port));
        Some(server)
    }

    /// Its port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Its certificate as PEM; it vouches for itself.
    pub(crate) fn certificate(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("cert.pem"))
            .expect("there is a certificate")
    }

    /// Stops it without a farewell.
    pub(crate) fn kill(&self) {
        self.act(&["kill"], None);
    }

    /// Starts it again.
    pub(crate) fn start_again(&self) {
        self.act(&["again"], None);
    }

    /// The rows of a statement that must succeed, columns between `|`.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<String> {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port);
        config.user(USER).password(PASSWORD).dbname("postgres");
        let connected = config.connect(NoTls).await;
        let (client, connection) = connected.unwrap_or_else(|error| panic!("{error}"));
        let connection = tokio::spawn(connection);
        let messages = client.simple_query(sql).await;
        let messages = messages.unwrap_or_else(|error| panic!("{sql}\n{error:?}"));
        connection.abort();
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        rows.map(|row| {
            let values = (0..row.len()).map(|column| row.get(column).unwrap_or("NULL"));
            values.collect::<Vec<_>>().join("|")
        })
        .collect()
    }

    fn act(&self, words: &[&str], port: Option<u16>) {
        let folder = self.folder.path().to_str().expect("its name is UTF-8");
        let port = port.map(|port| port.to_string());
        let arguments: Vec<&str> = words
            .iter()
            .copied()
            .chain([folder])
            .chain(port.as_deref())
            .collect();
        let output = script(&arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

fn script(arguments: &[&str]) -> Output {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/postgres/postgres");
    let output = Command::new(&path).args(arguments).output();
    output.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
