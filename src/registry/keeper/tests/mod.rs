//! The keeper under a registry that is told what to say, on a clock that is told when.

mod bench;
mod disk;
mod driver;
mod model;
mod reconnect;
mod scripted;
mod service;
mod service_model;

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

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

/// Remembers what a subscriber was told, and when.
#[derive(Clone, Default)]
pub(super) struct Told(Arc<Mutex<Vec<TellTime>>>);

type TellTime = (Instant, Vec<Instance>);

impl Told {
    pub(super) fn listener(&self) -> impl Fn(&[Instance]) + Send + Sync + 'static {
        let told = self.0.clone();
        move |view: &[Instance]| told.lock().push((super::driver::now(), view.to_vec()))
    }

    pub(super) fn last(&self) -> Option<Vec<u16>> {
        self.0.lock().last().map(|(_, view)| numbers(view))
    }

    pub(super) fn all(&self) -> Vec<Vec<u16>> {
        self.0.lock().iter().map(|(_, view)| numbers(view)).collect()
    }

    pub(super) fn timed_numbers(&self) -> Vec<(Instant, Vec<u16>)> {
        self.0.lock().iter().map(|(at, view)| (*at, numbers(view))).collect()
    }

    pub(super) fn gaps(&self) -> Vec<Duration> {
        let told = self.0.lock();
        told.windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }
}
