//! The keeper under a registry that is told what to say, on a clock that is told when.

mod disk;
mod service;

use std::net::SocketAddr;

use crate::{
    config::{
        Graces,
        units::{Interval, Percent},
    },
    registry::{Instance, View},
};

pub(super) const GRACES: Graces = Graces {
    empty_grace: Interval::secs(15),
    reconnect_grace: Interval::secs(30),
    shrink_threshold: Percent(0.7),
};

/// An instance called by a small number.
pub(super) fn instance(number: u16) -> Instance {
    Instance {
        address: SocketAddr::from(([10, 0, 0, 1], 1000 + number)),
        weight: 1.0,
        healthy: true,
        enabled: true,
        metadata: std::collections::BTreeMap::new(),
    }
}

pub(super) fn view(numbers: impl IntoIterator<Item = u16>) -> View {
    View::Instances(numbers.into_iter().map(instance).collect())
}

pub(super) fn numbers<'a>(instances: impl IntoIterator<Item = &'a Instance>) -> Vec<u16> {
    instances.into_iter().map(|instance| instance.address.port() - 1000).collect()
}
