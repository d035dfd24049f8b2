//! How to reach a PostgreSQL database.

use std::fmt;

/// What a client needs to connect. What is not given is as in PostgreSQL's own clients.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PostgresConnection {
    /// `postgres://user:password@host:port/database`; what is given beside it goes before it.
    pub url: Option<String>,
    /// A name, an address, or the directory of a socket.
    pub host: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// The database.
    pub database: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<String>,
    /// Whether the connection is encrypted, and what is checked.
    pub tls: Option<PostgresTls>,
    /// The certificates, as PEM, of who may vouch for the server; `None`: whom the system trusts.
    pub roots: Option<String>,
}

/// PostgreSQL's `sslmode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostgresTls {
    /// Never.
    Disable,
    /// If the server can, whoever it is.
    Prefer,
    /// Always, whoever it is.
    Require,
    /// Always, with a certificate that somebody trusted has signed.
    VerifyCa,
    /// The same, and the certificate has the host's name.
    VerifyFull,
}

impl fmt::Debug for PostgresConnection {
    /// Without what may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresConnection")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("database", &self.database)
            .field("user", &self.user)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
