//! Stops calls of a route to an upstream that fails, with the semantics of Resilience4j.

mod window;
