//! What one trial runs on: a broker and a server of its own, and what they are called in the files.
//!
//! Invariant: a file's text never depends on ports; `$KAFKA` stands for the broker's address in both directions.

use tokio::sync::Mutex;

use crate::support::broker::Broker;
use crate::support::client::{Client, Failure};
use crate::support::messages::Cluster;
use crate::support::server::Server;

/// The name of the broker's address in `.slt` files.
const KAFKA: &str = "$KAFKA";

/// A broker and a server that all connections of a trial share.
pub(crate) struct Bench {
    bootstrap: String,
    parts: Mutex<Parts>,
}

struct Parts {
    broker: Broker,
    server: Server,
    /// How often the server was started: connections of an earlier start are dead.
    starts: u64,
}

impl Bench {
    /// Starts both.
    pub(crate) fn start() -> Self {
        let broker = Broker::start();
        let bootstrap = broker.bootstrap();
        let server = Server::start(&bootstrap);
        let parts = Parts {
            broker,
            server,
            starts: 1,
        };
        Self {
            bootstrap,
            parts: Mutex::new(parts),
        }
    }

    /// The broker, for messages that do not come from the product.
    pub(crate) fn cluster(&self) -> Cluster {
        Cluster::at(&self.bootstrap)
    }

    /// A file's text with the real address.
    pub(crate) fn filled(&self, text: &str) -> String {
        text.replace(KAFKA, &self.bootstrap)
    }

    /// An answer with the address's name instead.
    pub(crate) fn named(&self, text: &str) -> String {
        text.replace(&self.bootstrap, KAFKA)
    }

    /// A new connection, and the number of the start that it belongs to.
    pub(crate) async fn connect(&self) -> Result<(Client, u64), Failure> {
        let parts = self.parts.lock().await;
        Ok((Client::connect(parts.server.address()).await?, parts.starts))
    }

    /// How often the server was started.
    pub(crate) async fn starts(&self) -> u64 {
        self.parts.lock().await.starts
    }

    /// Kills the server, starts it again and waits until its queries have caught up.
    pub(crate) async fn crash_server(&self) {
        let mut parts = self.parts.lock().await;
        parts.server.crash_and_start_again();
        parts.starts += 1;
        parts.server.connect().await.run("FLUSH").await;
    }

    /// Kills the broker.
    pub(crate) async fn kill_broker(&self) {
        self.parts.lock().await.broker.kill();
    }

    /// Starts the broker again.
    pub(crate) async fn start_broker(&self) {
        self.parts.lock().await.broker.start_again();
    }

    /// The end of the server's log, for the message of a failed trial.
    pub(crate) async fn server_log(&self) -> String {
        self.parts.lock().await.server.process().last_lines()
    }
}
