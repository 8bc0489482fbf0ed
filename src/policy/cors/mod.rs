//! Which other origins a browser may call a route from: the CORS protocol of the Fetch standard.

mod origin;

/// Why a config is no CORS policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorsError {
    #[error(
        "`{0}` is no origin: write \"https://app.example.com\", \"https://*.example.com\" or \"*\""
    )]
    Origin(String),
}
