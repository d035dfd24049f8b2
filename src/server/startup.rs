//! The opening of a connection: encryption refused for now, the client's wishes, who it is.
//!
//! Connections come from this machine alone (see `Server::bind`), so everyone is who they say.
//! Invariant: a client that says nothing is dropped after [`OPENING_TIME_MAX`].

use std::sync::Arc;
use std::time::Duration;

use pgwire::messages::PgWireBackendMessage as Message;
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, SecretKey,
};
use tokio::io::{AsyncRead, AsyncWrite};

use super::backend::{self, Weight};
use super::cancel::{Cancellations, Registration};
use super::frontend::Opening;
use super::transport::{Incoming, Outgoing};
use crate::error::{Error, Result, SqlState};
use crate::session::{Identity, Services, Session};

/// How long a client may take to introduce itself.
pub(super) const OPENING_TIME_MAX: Duration = Duration::from_secs(10);

/// What a new connection turned out to be.
pub(super) enum Opened {
    /// A client that introduced itself.
    Client(Introduction),
    /// A request to cancel, which has been answered, or nothing at all.
    Over,
}

/// How a client introduced itself.
pub(super) struct Introduction {
    parameters: Vec<(String, String)>,
}

/// Reads the first packets.
///
/// # Errors
/// When the client is gone or speaks another protocol.
pub(super) async fn open<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    incoming: &mut Incoming<R>,
    out: &mut Outgoing<W>,
    cancellations: &Cancellations,
) -> Result<Opened> {
    loop {
        match incoming.opening().await? {
            None => return Ok(Opened::Over),
            Some(Opening::Encryption) => {
                out.bytes(b"N");
                out.flush().await?;
            }
            Some(Opening::Cancel { pid, key }) => {
                cancellations.cancel(pid, key);
                return Ok(Opened::Over);
            }
            Some(Opening::Startup { minor, parameters }) => {
                let (unknown, parameters): (Vec<_>, Vec<_>) = parameters
                    .into_iter()
                    .partition(|(name, _)| name.starts_with("_pq_."));
                if minor > 0 || !unknown.is_empty() {
                    let unknown = unknown.into_iter().map(|(name, _)| name).collect();
                    out.message(&Message::NegotiateProtocolVersion(
                        NegotiateProtocolVersion::new(0, unknown),
                    ))?;
                }
                return Ok(Opened::Client(Introduction { parameters }));
            }
        }
    }
}

impl Introduction {
    /// Makes the client's session, with the variables that it asked for.
    ///
    /// # Errors
    /// 28000 without a user, 42704 and 22023 for variables that do not exist or values that they
    /// do not take.
    pub(super) fn session(
        &self,
        services: Arc<Services>,
        registration: &Registration,
    ) -> Result<Session> {
        let user = self
            .parameter("user")
            .filter(|user| !user.is_empty())
            .ok_or_else(|| {
                Error::user(
                    SqlState::InvalidAuthorizationSpecification,
                    "no PostgreSQL user name specified in startup packet",
                )
            })?;
        let identity = Identity {
            user: user.to_owned(),
            pid: registration.pid,
        };
        let mut session = Session::of(services, identity);
        for (name, value) in &self.parameters {
            match name.as_str() {
                "user" | "database" | "replication" => {}
                "options" => {
                    for (name, value) in options(value)? {
                        session.set_initial(&name, &value)?;
                    }
                }
                name => session.set_initial(name, value)?,
            }
        }
        Ok(session)
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters
            .iter()
            .find(|(given, _)| given == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Reads `-c name=value --name=value`; a backslash keeps a space.
fn options(text: &str) -> Result<Vec<(String, String)>> {
    let mut words = vec![String::new()];
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        let word = words.last_mut().expect("there is always a word");
        match letter {
            '\\' => word.extend(letters.next()),
            space if space.is_whitespace() => words.push(String::new()),
            other => word.push(other),
        }
    }
    let mut found = Vec::new();
    let mut words = words.into_iter().filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let setting = match word.strip_prefix("--") {
            Some(setting) => Some(setting.to_owned()),
            None if word == "-c" => words.next(),
            None => word.strip_prefix("-c").map(str::to_owned),
        };
        let setting = setting
            .as_deref()
            .and_then(|setting| setting.split_once('='))
            .map(|(name, value)| (name.replace('-', "_"), value.to_owned()));
        found.push(setting.ok_or_else(|| {
            Error::user(
                SqlState::SyntaxError,
                format!("invalid command-line argument for server process: {word}"),
            )
        })?);
    }
    Ok(found)
}

/// Tells the client that it is in, and what it has to know.
///
/// # Errors
/// When the client is gone.
pub(super) async fn welcome<W: AsyncWrite + Unpin>(
    session: &mut Session,
    registration: &Registration,
    out: &mut Outgoing<W>,
) -> Result<()> {
    out.message(&Message::Authentication(Authentication::Ok))?;
    for (name, value) in session.take_changed() {
        out.message(&backend::parameter_status(name, &value))?;
    }
    let key = SecretKey::I32(registration.key);
    out.message(&Message::BackendKeyData(BackendKeyData::new(
        registration.pid,
        key,
    )))?;
    out.message(&backend::ready(session.transaction()))?;
    out.flush().await
}

/// Tells the client why it is not let in.
pub(super) async fn refuse<W: AsyncWrite + Unpin>(error: &Error, out: &mut Outgoing<W>) {
    // A client that is gone need not be told.
    if out
        .message(&backend::error(error, Weight::Fatal, ""))
        .is_ok()
    {
        let _ = out.close().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_postgresql_reads_them() {
        let pairs = |text: &str| {
            options(text).map(|found| {
                found
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(
            pairs(r"-c statement_timeout=5s --time-zone=UTC -capplication_name=a\ b").unwrap(),
            [
                "statement_timeout=5s",
                "time_zone=UTC",
                "application_name=a b"
            ],
        );
        assert_eq!(pairs("").unwrap(), Vec::<String>::new());
        assert_eq!(pairs("-c nothing").unwrap_err().state().code(), "42601");
    }
}
