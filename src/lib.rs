//! tollgate: an API gateway on pingora.
