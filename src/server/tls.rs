//! The certificate of a listener.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use pingora::{listeners::tls::TlsSettings, tls::ResolvesServerCert};
use rustls::{
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::ClientHello,
    sign::CertifiedKey,
};

use crate::{
    config::{Diagnostics, ListenerTls},
    reload::Loaded,
};

/// Why a certificate or a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("there is no certificate in {0}")]
    Empty(PathBuf),
    #[error(
        "certificate and key do not belong together, or are of a kind that TLS does not use: {0}"
    )]
    Mismatch(rustls::Error),
    #[error("cannot read {0} as PEM: {1}")]
    Pem(PathBuf, pem::Error),
    #[error("{0}")]
    Tls(String),
}

/// The TLS settings of each listener that has some, by its name.
pub type Certificates = BTreeMap<String, TlsSettings>;

/// Reads the certificates of all listeners.
pub fn certificates(loaded: &Loaded) -> Result<Certificates, Diagnostics> {
    let tls = loaded
        .config
        .listener
        .iter()
        .filter_map(|(name, listener)| Some((name, listener.tls.as_ref()?)));
    tls.map(|(name, files)| {
        let refuse = |error: CertificateError| {
            loaded.refuse("bad-certificate", error.to_string(), files.certificate.span())
        };
        settings(files).map(|settings| (name.clone(), settings)).map_err(refuse)
    })
    .collect()
}

/// The settings of a TLS listener: HTTP/2 and HTTP/1.1 by ALPN, TLS 1.2 and 1.3.
fn settings(tls: &ListenerTls) -> Result<TlsSettings, CertificateError> {
    let certificate = Arc::new(OneCertificate(Arc::new(load(&tls.certificate, &tls.key)?)));
    let mut settings = TlsSettings::intermediate("", "")
        .map_err(|error| CertificateError::Tls(error.to_string()))?;
    settings.set_cert_resolver(certificate);
    settings.enable_h2();
    Ok(settings)
}

/// Reads a chain and its key, and makes sure that they belong together.
fn load(certificate: &Path, key: &Path) -> Result<CertifiedKey, CertificateError> {
    let read = |error| CertificateError::Pem(certificate.into(), error);
    let chain =
        CertificateDer::pem_file_iter(certificate).map_err(read)?.collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| CertificateError::Pem(certificate.into(), error))?;
    if chain.is_empty() {
        return Err(CertificateError::Empty(certificate.into()));
    }
    let private = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| CertificateError::Pem(key.into(), error))?;
    CertifiedKey::from_der(chain, private, &rustls::crypto::ring::default_provider())
        .map_err(CertificateError::Mismatch)
}

/// Shows the same certificate whatever name is asked for.
#[derive(Debug)]
struct OneCertificate(Arc<CertifiedKey>);

impl ResolvesServerCert for OneCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
}
