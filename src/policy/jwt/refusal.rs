//! Why a request may not pass, in the terms of RFC 6750.

use std::{fmt, sync::Arc};

/// A "no" of the JWT policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Two credentials, or a Bearer one that is not of the form `Bearer TOKEN`: 400 `invalid_request`.
    Ambiguous,
    /// The token is valid and does not show what the route asks for: 403 `insufficient_scope`. With the scopes that
    /// the route asks for, separated by spaces; empty when it asks for none.
    Forbidden(Arc<str>),
    /// The token is not valid here: 401 `invalid_token`.
    Invalid(Reason),
    /// No Bearer token: 401 without an error code.
    Missing,
}

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    BadSignature,
    Expired,
    /// Not three parts of canonical base64url, or not the JSON that RFC 7519 asks for.
    Malformed,
    /// `exp`, or another claim that the issuer's tokens must carry.
    MissingClaim,
    NotYetValid,
    TooLarge,
    UnknownKey,
    /// `crit` names extensions that must be understood, and none is.
    UnsupportedExtension,
    /// The key is not for this algorithm, or no key is.
    WrongAlgorithm,
    WrongAudience,
    WrongIssuer,
    /// `typ` says that it is something else than an access token.
    WrongType,
}

// === impl Reason ===

impl Reason {
    /// The word for logs, metrics and `error_description`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadSignature => "bad_signature",
            Self::Expired => "expired",
            Self::Malformed => "malformed",
            Self::MissingClaim => "missing_claim",
            Self::NotYetValid => "not_yet_valid",
            Self::TooLarge => "too_large",
            Self::UnknownKey => "unknown_key",
            Self::UnsupportedExtension => "unsupported_extension",
            Self::WrongAlgorithm => "wrong_algorithm",
            Self::WrongAudience => "wrong_audience",
            Self::WrongIssuer => "wrong_issuer",
            Self::WrongType => "wrong_type",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        Self::Invalid(reason)
    }
}
