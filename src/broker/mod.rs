//! The embedded broker: a small single-node Kafka, for demos, tests and a first try.
//!
//! Any Kafka client can use it: produce and fetch, idempotence, transactions, consumer groups, and
//! the usual administration. It is not for production: there is one copy of the data, nothing is
//! synced to the disk (data outlives the process, not the machine's power), and anyone who can
//! connect may do anything. It knows nothing of the rest of the crate.
//!
//! What differs from Apache Kafka: no topic ids, no fetch sessions, no KIP-848 groups, no SASL, no
//! compaction (a compacted topic keeps everything), no log-append time; committed offsets and
//! transactional ids never expire. Batches are not unpacked: the offset of a time that lies inside
//! a compressed batch is the batch's first offset, so a reader sees some records too many, never
//! one too few.
//!
//! ```text
//! connection ── api ─┬─ topics ── partition ── log      batches, in segments on the disk
//!  a client    one a ├─ groups                          members; what they committed
//!              kind  └─ transactions                    producers' ids, epochs, outcomes
//!                           └── all of them ── journal  what must outlive a crash
//! ```

mod config;
mod server;
mod connection;
mod api;
mod shape;
mod topics;
mod topic_config;
mod partition;
mod log;
mod batch;
mod groups;
mod transactions;
mod journal;
mod append_file;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tracing::{info, warn};

pub use config::BrokerConfig;

use self::server::Server;
use crate::clock;
use crate::error::{Error, Result, SqlState};
use crate::task;

/// How long connections may take to end when the broker stops.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(700);
/// How long to wait when no connection can be accepted (no file handles left, say).
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A running broker. It stops when it is dropped, too, but then waits for nothing.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    server: Arc<Server>,
    stop: watch::Sender<bool>,
    /// Each connection holds one.
    connections: Arc<Semaphore>,
    /// The listener and the upkeep.
    running: [JoinHandle<Option<()>>; 2],
}

impl Broker {
    /// Opens the data directory, if there is one, and begins to listen.
    ///
    /// # Errors
    /// The port or the data directory is in use, or the directory cannot be read or written.
    pub async fn start(config: BrokerConfig) -> Result<Self> {
        let listen = config.listen;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|e| cannot_listen(listen, &e))?;
        let address = listener
            .local_addr()
            .map_err(|error| cannot_listen(listen, &error))?;
        let server = Arc::new(task::spawn_blocking(move || Server::open(config)).await?);
        let (stop, stopped) = watch::channel(false);
        let connections_max = usize::try_from(server.config.connections_max).unwrap_or(usize::MAX);
        let connections = Arc::new(Semaphore::new(connections_max));
        let accepting = accept(
            listener,
            Arc::clone(&server),
            Arc::clone(&connections),
            stopped.clone(),
        );
        let running = [
            task::spawn("broker listener", accepting),
            task::spawn("broker upkeep", Arc::clone(&server).look_after(stopped)),
        ];
        info!(
            %address,
            topics = server.topics.all().len(),
            data_dir = server.config.data_dir.as_ref().map(|dir| dir.display().to_string()),
            "embedded broker started: for demos and tests, not for production"
        );
        Ok(Self {
            address,
            server,
            stop,
            connections,
            running,
        })
    }

    /// What clients connect to: `host:port`.
    pub fn bootstrap_servers(&self) -> String {
        self.address.to_string()
    }

    /// Ends all connections and leaves the data as the next start wants it; takes less than a
    /// second.
    pub async fn shutdown(self) {
        self.stop.send_replace(true);
        let all = self.server.config.connections_max;
        let ended = self.connections.acquire_many(all);
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, ended).await.is_err() {
            warn!("the embedded broker stops while connections are still open");
        }
        for task in self.running {
            // An error means that it has ended already; `task` has told of a panic.
            let _ = task.await;
        }
        let server = Arc::clone(&self.server);
        let closing = task::spawn_blocking(move || {
            server.topics.close();
            Ok(())
        });
        if let Err(error) = closing.await {
            warn!(%error, "the embedded broker's data was not closed in order");
        }
        info!(address = %self.address, "embedded broker stopped");
    }
}

async fn accept(
    listener: TcpListener,
    server: Arc<Server>,
    connections: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let accepted = async {
            let permit = Arc::clone(&connections)
                .acquire_owned()
                .await
                .map_err(io::Error::other)?;
            listener.accept().await.map(|(socket, _)| (socket, permit))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((socket, permit)) => {
                let serving = connection::serve(Arc::clone(&server), socket, stop.clone());
                task::spawn("broker connection", async move {
                    serving.await;
                    drop(permit);
                });
            }
            Err(error) => {
                warn!(%error, "the embedded broker cannot accept a connection, trying again");
                clock::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::AddrInUse {
        let message = format!(
            "port {} is in use, the embedded broker cannot listen on {address}",
            address.port()
        );
        return Error::external(SqlState::ObjectInUse, false, message).hint(
            "Stop the program that listens there, or give another port; port 0 takes a free one.",
        );
    }
    let message = format!("the embedded broker cannot listen on {address}: {error}");
    Error::external(SqlState::IoError, false, message)
        .hint("Give an address of this machine and a port that this user may use.")
}

#[cfg(test)]
mod tests;
