//! Ctrl-C and SIGTERM, as a clean stop.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Error, Result, SqlState};
use crate::task::{self, Shutdown};

/// Turns the first SIGINT or SIGTERM into the shutdown; a second one ends the process at once.
///
/// # Errors
/// When the system refuses to tell of signals.
pub(super) fn watch() -> Result<Shutdown> {
    let refused = |error| {
        Error::external(
            SqlState::IoError,
            false,
            format!("could not listen for signals: {error}"),
        )
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
    let (stop, shutdown) = task::shutdown();
    task::spawn("signals", async move {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        tracing::info!(signal = name, "stopping");
        stop.request();
        // The sender stays: whoever asks later must not take its end for a second request.
        std::future::pending::<()>().await;
    });
    Ok(shutdown)
}

/// What a command that was stopped by a signal returns: stopping it is how it ends.
pub(super) const STOPPED: ExitCode = ExitCode::SUCCESS;
