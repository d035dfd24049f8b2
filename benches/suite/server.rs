//! A server whose data outlives it: it can be killed and started again.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::client::{connect, serve};
use crate::meter::{cpu_time_of, memory_mib};
use crate::support::Headwater;

/// How often a server is asked how far it is.
const LOOK: Duration = Duration::from_millis(2);
/// After this it counts as hung.
const PATIENCE: Duration = Duration::from_secs(300);

/// A server process, a connection to it, and its data.
pub(crate) struct Server {
    servers: String,
    data: tempfile::TempDir,
    process: Headwater,
    pub(crate) client: Client,
}

impl Server {
    /// Starts a server without definitions.
    pub(crate) async fn start(servers: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let process = Headwater::start_in(data.path(), &serve(servers), "postgresql");
        let client = connect(&process.address).await;
        Self {
            servers: servers.to_owned(),
            data,
            process,
            client,
        }
    }

    /// Kills it and starts it again; tells when that began.
    pub(crate) async fn restart(&mut self) -> Instant {
        // The old one must be gone first: a data directory has one owner.
        let _ = self.process.process.kill();
        let _ = self.process.process.wait();
        let began = Instant::now();
        let arguments = serve(&self.servers);
        self.process = Headwater::start_in(self.data.path(), &arguments, "postgresql");
        self.client = connect(&self.process.address).await;
        began
    }

    /// Runs statements that have no rows.
    ///
    /// # Errors
    /// What the server answers.
    pub(crate) async fn run(&self, statements: &str) -> Result<(), String> {
        let ran = self.client.batch_execute(statements).await;
        ran.map_err(|error| told(&error))
    }

    /// The one number that a query gives.
    ///
    /// # Errors
    /// What the server answers.
    pub(crate) async fn number(&self, query: &str) -> Result<i64, String> {
        let row = self.client.query_one(query, &[]).await;
        row.map(|row| row.get(0)).map_err(|error| told(&error))
    }

    /// Waits until the query gives this number.
    ///
    /// # Errors
    /// What the server answers, or when it takes too long.
    pub(crate) async fn reaches(&self, query: &str, wanted: i64) -> Result<(), String> {
        let began = Instant::now();
        while self.number(query).await? != wanted {
            if began.elapsed() > PATIENCE {
                return Err(format!("not {wanted} in time: {query}"));
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    /// The processor time that it has used.
    pub(crate) fn cpu_time(&self) -> Duration {
        cpu_time_of(self.process.process.id())
    }

    /// What it holds, MiB.
    pub(crate) fn resident_mib(&self) -> f64 {
        memory_mib(&self.process.process.id().to_string(), "VmRSS")
    }

    /// Bytes under its data folder.
    pub(crate) fn disk_bytes(&self) -> u64 {
        bytes_under(self.data.path())
    }
}

fn bytes_under(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let kind = entry.metadata().ok()?;
            Some(if kind.is_dir() {
                bytes_under(&entry.path())
            } else {
                kind.len()
            })
        })
        .sum()
}

/// What the server said, in one line.
pub(crate) fn told(error: &tokio_postgres::Error) -> String {
    error
        .as_db_error()
        .map_or_else(|| error.to_string(), |said| said.message().to_owned())
}
