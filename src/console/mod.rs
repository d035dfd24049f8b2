//! The HTTP side: is the server alive, is it ready, and its numbers in Prometheus' text form.
//!
//! Owns the routes. Changes nothing in the server: it only reads.
//!
//! | path | answers |
//! |---|---|
//! | `/healthz` | 200 while the process serves at all |
//! | `/readyz` | 200 when statements can be run, 503 before that |
//! | `/metrics` | every metric of [`crate::telemetry::Metric`] |

mod metrics;
mod outboxes;
mod process;
mod queries;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

pub use outboxes::OutboxNumbers;
pub use process::ProcessNumbers;
pub use queries::QueryNumbers;

use crate::error::{Error, Result, SqlState};
use crate::task::Shutdown;
use crate::telemetry::{Observe, Sample};

/// What the HTTP side shows.
#[derive(Debug, Clone, Default)]
pub struct ConsoleState {
    ready: Arc<AtomicBool>,
    sources: Vec<Arc<dyn Observe>>,
}

impl ConsoleState {
    /// Shows the numbers of these, and that the server is not ready yet.
    pub fn new(sources: Vec<Arc<dyn Observe>>) -> Self {
        Self {
            ready: Arc::default(),
            sources,
        }
    }

    /// From now on `/readyz` says so.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    fn samples(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        for source in &self.sources {
            source.observe(&mut samples);
        }
        samples
    }
}

/// Serves until the shutdown is requested and the requests under way are answered.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    state: ConsoleState,
    mut shutdown: Shutdown,
) -> Result<()> {
    axum::serve(listener, routes(state))
        .with_graceful_shutdown(async move { shutdown.requested().await })
        .await
        .map_err(|error| {
            Error::external(
                SqlState::IoError,
                false,
                format!("the HTTP side stopped: {error}"),
            )
        })
}

fn routes(state: ConsoleState) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(readiness))
        .route("/metrics", get(metrics_text))
        .with_state(state)
}

async fn readiness(State(state): State<ConsoleState>) -> (StatusCode, &'static str) {
    if state.ready.load(Ordering::Acquire) {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n")
    }
}

async fn metrics_text(State(state): State<ConsoleState>) -> Response {
    match metrics::encode(state.samples()) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("metrics could not be written: {error}\n"),
        )
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::{ConsoleState, serve};
    use crate::task;
    use crate::telemetry::ServerCounters;

    async fn ask(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn health_readiness_and_metrics_are_served_until_shutdown() {
        let counters = Arc::new(ServerCounters::default());
        let _open = [counters.connection(), counters.connection()];
        let state = ConsoleState::new(vec![counters]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, shutdown) = task::shutdown();
        let server = task::spawn("console", serve(listener, state.clone(), shutdown));

        assert!(ask(address, "/healthz").await.starts_with("HTTP/1.1 200"));
        assert!(ask(address, "/readyz").await.starts_with("HTTP/1.1 503"));
        state.set_ready();
        assert!(ask(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        let metrics = ask(address, "/metrics").await;
        assert!(
            metrics.contains("headwater_connections_total 2"),
            "{metrics}"
        );
        assert!(ask(address, "/other").await.starts_with("HTTP/1.1 404"));

        stop.request();
        server.await.unwrap().unwrap().unwrap();
    }
}
