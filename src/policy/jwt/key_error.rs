//! Why the keys of an issuer cannot be used, in words for the operator who wrote them down.

use std::path::PathBuf;

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct KeyError {
    /// Where it stands: `secret`, or the file with the key's number and `kid`.
    pub key: String,
    pub problem: KeyProblem,
}

/// What is wrong with a key, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyProblem {
    #[error("`{0}` is missing, or is not base64url without padding")]
    Base64(&'static str),
    #[error("a certificate, not a key: take its key out with `openssl x509 -pubkey -noout`")]
    Certificate,
    #[error("its curve is not supported: use P-256, P-384 or Ed25519")]
    Curve,
    #[error("another key has the same `kid`: each key needs its own")]
    DuplicateKid,
    #[error("neither a JWK set (JSON) nor a public key (PEM)")]
    Format,
    #[error("not a JSON object, or a name stands twice in it")]
    Json,
    #[error("`kid` has more than 256 bytes")]
    KidTooLong,
    #[error("`{0}` must be {1}")]
    Member(&'static str, &'static str),
    #[error("{kind} cannot be used for {algorithm}: it needs {fits}")]
    Mismatch { kind: &'static str, algorithm: &'static str, fits: &'static str },
    #[error(
        "secrets and public keys for one issuer: whoever can read the public one could sign with it; use two issuers"
    )]
    Mixed,
    #[error("no keys: write `secret = \"${{NAME}}\"` or `keys = {{ file = \"...\" }}`")]
    NoSource,
    #[error(
        "none of its {0} keys can check a signature: all are for encryption, or of a kind that is not supported"
    )]
    NoUsableKey(usize),
    #[error("not a valid {0}")]
    NotAKey(&'static str),
    #[error("a private key: only the public one belongs here")]
    Private,
    #[error("a second key without `kid` for {0}: no token could say which of them it means")]
    SecondUnnamed(&'static str),
    #[error("more than one PEM block: give one public key, or a JWK set for several")]
    SeveralPem,
    #[error("{0} bits of RSA can be broken: use 2048 at least")]
    ShortRsa(usize),
    #[error(
        "{bytes} bytes are too short for {algorithm}, which needs {least} at least (RFC 7518, 3.2): \
         make one with `openssl rand -base64 {least}`"
    )]
    ShortSecret { algorithm: &'static str, bytes: usize, least: usize },
    #[error("more than {0} keys")]
    TooMany(usize),
    #[error("more than {0} bytes")]
    TooLarge(u64),
    #[error("`secret` and `keys` are both set: one issuer has one or the other")]
    TwoSources,
    #[error("cannot read {path}: {error}")]
    Unreadable { path: PathBuf, error: std::io::Error },
}
