//! Opening the ports, with errors that say which setting to change.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::error::{Error, Result, SqlState};

/// A port to open: what for, and which flag names it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Port {
    /// For messages.
    pub(super) purpose: &'static str,
    /// For hints.
    pub(super) flag: &'static str,
}

/// Opens the port.
///
/// # Errors
/// When it is taken, the address is not this machine's, or not allowed.
pub(super) async fn open(address: SocketAddr, port: Port) -> Result<TcpListener> {
    require_loopback(address, port)?;
    TcpListener::bind(address)
        .await
        .map_err(|error| refused(address, port, &error))
}

/// The error of a port that cannot be opened.
pub(super) fn refused(address: SocketAddr, port: Port, error: &std::io::Error) -> Error {
    let Port { purpose, flag } = port;
    let message = format!("could not listen on {address} for {purpose}: {error}");
    Error::external(SqlState::ObjectInUse, false, message).hint(format!(
        "Is another server running there? Choose another address with {flag}; port 0 takes any \
         free one."
    ))
}

/// Without authentication nobody outside this machine may come in.
///
/// # Errors
/// When the address is not a loopback address.
pub(super) fn require_loopback(address: SocketAddr, port: Port) -> Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let message = format!(
        "refusing to listen on {address} for {}: everybody who reaches it would come in",
        port.purpose
    );
    Err(
        Error::user(SqlState::InvalidParameterValue, message).hint(format!(
            "Listen on a loopback address ({} 127.0.0.1:{}) and reach it through an SSH tunnel.",
            port.flag,
            address.port()
        )),
    )
}

#[cfg(test)]
mod tests {
    use super::{Port, open};

    const PORT: Port = Port {
        purpose: "tests",
        flag: "--listen",
    };

    #[tokio::test]
    async fn a_taken_port_is_told_with_the_flag_that_changes_it() {
        let first = open(([127, 0, 0, 1], 0).into(), PORT).await.unwrap();
        let error = open(first.local_addr().unwrap(), PORT).await.unwrap_err();
        assert!(error.message().contains("for tests"), "{error}");
        assert!(error.hint_text().unwrap().contains("--listen"));
    }

    #[tokio::test]
    async fn other_machines_are_kept_out() {
        let error = open(([0, 0, 0, 0], 5433).into(), PORT).await.unwrap_err();
        assert!(
            error
                .message()
                .starts_with("refusing to listen on 0.0.0.0:5433")
        );
    }
}
