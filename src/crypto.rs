//! Which cryptography the process uses: ring for TLS, AWS-LC for tokens.
//!
//! `main`, tests and benches call it before anything else. It holds no key and makes no choice at run time.

/// Installs the process-wide providers of `rustls` and `jsonwebtoken`.
///
/// Both crates otherwise guess from their enabled features, and panic at the first use once a dependency enables a
/// second one. Calling it again does nothing; a provider that stands already is left in place.
pub fn install_crypto_provider() {
    // An error says that one stands already, which is what was asked for.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_call_changes_nothing() {
        install_crypto_provider();
        install_crypto_provider();
        let ring = rustls::crypto::ring::default_provider();
        let installed = rustls::crypto::CryptoProvider::get_default().unwrap();
        assert_eq!(format!("{:?}", installed.key_provider), format!("{:?}", ring.key_provider));
    }
}
