//! Listening, the number of connections, and a clean stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::cancel::Cancellations;
use super::connection::Connection;
use super::startup::{self, OPENING_TIME_MAX, Opened};
use super::transport::{Incoming, Outgoing};
use crate::clock;
use crate::error::{Error, Result, SqlState};
use crate::session::Services;
use crate::task::{self, Scoped, Shutdown};

/// Sockets beyond the connections: those that are being opened, refused or only ask for a cancel.
const OPENING_MAX: usize = 64;
/// How long to wait when the system has no socket to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The PostgreSQL server: listens, and serves each client in a task of its own.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Shared,
}

/// What every connection needs. Cheap to clone.
#[derive(Debug, Clone)]
struct Shared {
    services: Arc<Services>,
    cancellations: Cancellations,
    /// One permit for each client that may be connected.
    places: Arc<Semaphore>,
}

impl Server {
    /// Listens. Nobody is served before [`Server::run`].
    ///
    /// # Errors
    /// 0A000 for an address that other machines reach: there is no authentication yet; 55006 for
    /// an address in use; 58030 for one that this machine does not have.
    pub async fn bind(address: SocketAddr, services: Arc<Services>) -> Result<Self> {
        if !address.ip().is_loopback() {
            return Err(Error::user(
                SqlState::FeatureNotSupported,
                format!("cannot listen on {address}: authentication is not there yet"),
            )
            .hint("Listen on a loopback address such as 127.0.0.1."));
        }
        // Built now, so that no client waits for it.
        services.base_state()?;
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| cannot_listen(address, &error))?;
        let address = listener
            .local_addr()
            .map_err(|error| cannot_listen(address, &error))?;
        let places = usize::try_from(services.config.limits.connections_max)
            .unwrap_or(Semaphore::MAX_PERMITS)
            .min(Semaphore::MAX_PERMITS);
        let shared = Shared {
            services,
            cancellations: Cancellations::default(),
            places: Arc::new(Semaphore::new(places)),
        };
        Ok(Self {
            listener,
            address,
            shared,
        })
    }

    /// Where it listens, with the port that the system chose for port 0.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves clients until the stop is requested. Then each is told (57P01); what has not ended
    /// within `limits.shutdown_ms_max` is cut off.
    pub async fn run(self, mut shutdown: Shutdown) {
        let sockets_max = self.shared.places.available_permits() + OPENING_MAX;
        let mut connections: BTreeMap<u64, Scoped<()>> = BTreeMap::new();
        let mut next_id = 0;
        loop {
            let accepted = tokio::select! {
                biased;
                () = shutdown.requested() => break,
                accepted = self.listener.accept() => accepted,
            };
            let socket = match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(error = %error, "cannot accept a connection");
                    clock::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            connections.retain(|_, connection| !connection.is_finished());
            if connections.len() >= sockets_max {
                tracing::warn!(
                    sockets_max,
                    "too many sockets are being opened, one is dropped"
                );
                continue;
            }
            let serving = serve(socket, self.shared.clone(), shutdown.clone());
            connections.insert(next_id, task::spawn_scoped("connection", Box::pin(serving)));
            next_id += 1;
        }
        drop(self.listener);
        let time_max = Duration::from_millis(self.shared.services.config.limits.shutdown_ms_max);
        tokio::select! {
            () = all_ended(&mut connections) => {}
            () = clock::sleep(time_max) => {
                let open = connections.values().filter(|one| !one.is_finished()).count();
                tracing::warn!(open, "connections are cut off");
            }
        }
    }
}

async fn all_ended(connections: &mut BTreeMap<u64, Scoped<()>>) {
    for connection in connections.values_mut() {
        // A panic has been logged by the task itself.
        let _ = connection.join().await;
    }
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::AddrInUse {
        return Error::external(
            SqlState::ObjectInUse,
            true,
            format!("cannot listen on {address}: the address is already in use"),
        )
        .hint("Another server may be running; --listen takes another address or port.");
    }
    Error::external(
        SqlState::IoError,
        false,
        format!("cannot listen on {address}: {error}"),
    )
}

/// Serves one client.
async fn serve(socket: TcpStream, shared: Shared, mut shutdown: Shutdown) {
    // Rows shall leave at once, one by one if they come so.
    if let Err(error) = socket.set_nodelay(true) {
        tracing::warn!(error = %error, "cannot set TCP_NODELAY");
    }
    let (reader, writer) = socket.into_split();
    let (mut incoming, mut out) = (Incoming::new(reader), Outgoing::new(writer));
    let opened = tokio::select! {
        () = shutdown.requested() => return,
        () = clock::sleep(OPENING_TIME_MAX) => return,
        opened = startup::open(&mut incoming, &mut out, &shared.cancellations) => opened,
    };
    let introduction = match opened {
        Ok(Opened::Client(introduction)) => introduction,
        Ok(Opened::Over) => return,
        Err(error) => return startup::refuse(&error, &mut out).await,
    };
    let Ok(_place) = shared.places.try_acquire() else {
        let error = Error::external(
            SqlState::TooManyConnections,
            true,
            "sorry, too many clients already",
        );
        return startup::refuse(&error, &mut out).await;
    };
    let _counted = shared.services.counters.connection();
    let registration = shared.cancellations.register();
    let mut session = match introduction.session(Arc::clone(&shared.services), &registration) {
        Ok(session) => session,
        Err(error) => return startup::refuse(&error, &mut out).await,
    };
    if startup::welcome(&mut session, &registration, &mut out)
        .await
        .is_ok()
    {
        Connection::new(incoming, out, session, &registration, shutdown)
            .run()
            .await;
    }
}
