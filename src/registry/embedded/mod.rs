//! tollgate itself as a small registry for one machine.
//!
//! Run by the keeper like any other kind. It speaks the part of Nacos' v1 open API that instances register with, so
//! that Nacos' HTTP clients work with it as they are. It is no cluster, and keeps nothing on disk.


mod params;
mod service;
mod store;
