//! tollgate: an API gateway on pingora.

pub mod config;
