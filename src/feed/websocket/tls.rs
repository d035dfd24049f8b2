//! TLS for websockets, by rustls and the system's certificates.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use tokio_tungstenite::Connector;

use crate::error::{Error, Result, SqlState};

/// Sets up encrypted connections; the other side's certificate is always checked.
///
/// # Errors
/// When the system has no certificates of authorities.
pub(super) fn connector() -> Result<Connector> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let message = "no certificates of authorities were found on this machine";
        return Err(
            Error::external(SqlState::ConnectionUnable, false, message).hint(
                "Install the system's package of them (ca-certificates), or name a file of them in \
                 SSL_CERT_FILE.",
            ),
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Connector::Rustls(Arc::new(config)))
}
