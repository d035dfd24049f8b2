//! A server put together: definitions, running queries, the PostgreSQL side and the HTTP side.
//!
//! ```text
//! HTTP port → data directory → PostgreSQL port → HTTP (alive) → queries of the catalog → ready
//! ```
//! Invariant: when [`Node::start`] fails, nothing is left behind; when [`Node::run`] returns, every
//! query and connection has ended or its time was over.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::listen::{self, Port};
use super::output;
use crate::clock::SharedClock;
use crate::config::Config;
use crate::console::{self, ConsoleState, OutboxNumbers, ProcessNumbers, QueryNumbers};
use crate::error::Result;
use crate::server::Server;
use crate::session::{self, Services};
use crate::task::{self, Shutdown};
use crate::telemetry::Observe;

const HTTP: Port = Port {
    purpose: "HTTP",
    flag: "--http-listen",
};

/// A running server.
pub(super) struct Node {
    services: Arc<Services>,
    server: Server,
    http_address: SocketAddr,
    http: JoinHandle<Option<Result<()>>>,
}

impl Node {
    /// Opens the ports and the data directory, and starts the queries that are defined.
    ///
    /// # Errors
    /// A port or the data directory is in use or not usable.
    pub(super) async fn start(config: Config, shutdown: &Shutdown) -> Result<Self> {
        let http = listen::open(config.http_listen, HTTP).await?;
        let http_address = http
            .local_addr()
            .map_err(|error| listen::refused(config.http_listen, HTTP, &error))?;
        let config = Arc::new(config);
        let opened = Arc::clone(&config);
        let services = task::spawn_blocking(move || Services::open(opened)).await?;
        let server = Server::bind(config.listen, Arc::clone(&services)).await?;
        let console = ConsoleState::new(sources(&services));
        let serving = console::serve(http, console.clone(), shutdown.clone());
        let http = task::spawn("http", serving);
        session::start_queries(&services).await;
        console.set_ready();
        Ok(Self {
            services,
            server,
            http_address,
            http,
        })
    }

    /// What its sessions share.
    pub(super) fn services(&self) -> &Arc<Services> {
        &self.services
    }

    /// Where it speaks PostgreSQL's protocol.
    pub(super) fn address(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Says on standard output where it listens.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(super) fn announce(&self) -> Result<()> {
        output::line(&format!("listening on {} (postgresql)", self.address()))?;
        output::line(&format!("listening on {} (http)", self.http_address))
    }

    /// Serves until the shutdown is requested, then ends everything within the time for that.
    ///
    /// # Errors
    /// When the HTTP side failed.
    pub(super) async fn run(self, shutdown: Shutdown) -> Result<()> {
        let time = Duration::from_millis(self.services.config.limits.shutdown_ms_max);
        let engine = self.services.engine.clone();
        let outboxes = Arc::clone(&self.services.outboxes);
        let mut requested = shutdown.clone();
        let queries = async {
            requested.requested().await;
            task::spawn_blocking(move || {
                engine.shutdown(time);
                outboxes.shutdown();
                Ok(())
            })
            .await
        };
        let (queries, ()) = tokio::join!(queries, self.server.run(shutdown));
        queries?;
        match tokio::time::timeout(time, self.http).await {
            Ok(Ok(Some(served))) => served,
            // It panicked, which its task has told, or a client holds it up: it is cut off.
            Ok(Ok(None) | Err(_)) | Err(_) => Ok(()),
        }
    }
}

fn sources(services: &Arc<Services>) -> Vec<Arc<dyn Observe>> {
    let clock = || SharedClock::clone(&services.clock);
    vec![
        Arc::new(ProcessNumbers::new(clock())),
        Arc::clone(&services.counters) as Arc<dyn Observe>,
        Arc::new(QueryNumbers::new(services.engine.clone(), clock())),
        Arc::new(OutboxNumbers::new(Arc::clone(&services.outboxes), clock())),
    ]
}
