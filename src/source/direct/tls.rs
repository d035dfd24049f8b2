//! TLS as the properties want it, by rustls.
//!
//! Invariant: a certificate is not checked only where a property says so.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use super::Stop;
use super::setup::text;
use crate::source::kafka::properties::Properties;
use crate::source::read::WhyLibrary;

const NOT_OURS: Stop = Stop::Unserved(WhyLibrary::Certificate);

/// How to set up connections.
///
/// # Errors
/// Files that cannot be read here; librdkafka may know more formats, and says what is wrong.
pub(super) fn config(properties: &Properties) -> Result<Arc<ClientConfig>, Stop> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|_| NOT_OURS)?;
    let verify = Verify {
        chain: match flag(properties, "enable.ssl.certificate.verification")? {
            false => None,
            true => {
                let roots = Arc::new(roots(properties)?);
                let chain =
                    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
                Some(chain.build().map_err(|_| NOT_OURS)?)
            }
        },
        name: match text(properties, "ssl.endpoint.identification.algorithm") {
            None | Some("https") => true,
            Some("none") => false,
            Some(_) => return Err(NOT_OURS),
        },
        provider,
    };
    let builder = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verify));
    let certificate = pem(properties, "ssl.certificate")?;
    let key = pem(properties, "ssl.key")?;
    let config = match (certificate, key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(certificate), Some(key)) => {
            let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| NOT_OURS)?;
            builder
                .with_client_auth_cert(certificates(&certificate)?, key)
                .map_err(|_| NOT_OURS)?
        }
        _ => return Err(NOT_OURS),
    };
    Ok(Arc::new(config))
}

/// How to set up connections of other protocols: whether a certificate must be signed by somebody
/// trusted, and whether it must have the host's name. `roots`: who is trusted, as PEM; `None`: whom the
/// system trusts. Gives nothing when that cannot be read.
pub(crate) fn tls_client(
    chain: bool,
    name: bool,
    roots: Option<&str>,
) -> Option<Arc<ClientConfig>> {
    let mut properties = Properties::new();
    let mut set = |name: &str, value: &str| properties.insert(name.to_owned(), value.to_owned());
    let algorithm = if name { "https" } else { "none" };
    set("enable.ssl.certificate.verification", &chain.to_string());
    set("ssl.endpoint.identification.algorithm", algorithm);
    set("ssl.ca.location", "probe");
    if let Some(roots) = roots {
        set("ssl.ca.pem", roots);
    }
    config(&properties).ok()
}

/// Who may vouch for a broker.
fn roots(properties: &Properties) -> Result<RootCertStore, Stop> {
    let mut roots = RootCertStore::empty();
    if text(properties, "ssl.ca.location") == Some("probe")
        && !properties.contains_key("ssl.ca.pem")
    {
        let found = rustls_native_certs::load_native_certs();
        roots.add_parsable_certificates(found.certs);
    } else if let Some(authorities) = pem(properties, "ssl.ca")? {
        for authority in certificates(&authorities)? {
            roots.add(authority).map_err(|_| NOT_OURS)?;
        }
    }
    if roots.is_empty() {
        Err(NOT_OURS)
    } else {
        Ok(roots)
    }
}

/// What `NAME.pem` holds, or the file that `NAME.location` names.
fn pem(properties: &Properties, name: &str) -> Result<Option<Vec<u8>>, Stop> {
    let given = text(properties, &format!("{name}.pem"));
    let location = text(properties, &format!("{name}.location"));
    match (given, location) {
        // With authorities in the table's own text the place for them is one that nobody gave.
        (Some(pem), None | Some("probe")) => Ok(Some(pem.as_bytes().to_vec())),
        (Some(_), Some(_)) => Err(NOT_OURS),
        (None, Some(path)) => std::fs::read(Path::new(path))
            .map(Some)
            .map_err(|_| NOT_OURS),
        (None, None) => Ok(None),
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Stop> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or(NOT_OURS)
}

fn flag(properties: &Properties, name: &str) -> Result<bool, Stop> {
    match text(properties, name) {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(_) => Err(NOT_OURS),
    }
}

/// True when a broker's certificate was not taken.
pub(super) fn is_about_certificate(error: &std::io::Error) -> bool {
    let error = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<Error>());
    matches!(error, Some(Error::InvalidCertificate(_)))
}

/// Checks a broker's certificate as far as the properties want it.
#[derive(Debug)]
struct Verify {
    /// `None`: any certificate will do.
    chain: Option<Arc<WebPkiServerVerifier>>,
    /// Whether the broker's name must be in it.
    name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verify {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
