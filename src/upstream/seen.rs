//! What an upstream remembers of addresses: those of its view, and for a while those that have left it.
//!
//! Kept by `Upstream` under its lock. Never larger than the view and a fixed number of addresses that are gone.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::instance::InstanceState;

/// The state of each address, and whether the view has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen(HashMap<SocketAddr, (Arc<InstanceState>, Presence)>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Gone(Instant),
    Present,
}

/// How long an address is remembered after it has left the view: a flap must not clear an ejection.
pub(super) const LINGER: Duration = Duration::from_secs(300);
/// The most addresses that are remembered without being in the view.
pub(super) const MOST_GONE: usize = 16_384;

// === impl Seen ===

impl Seen {
    /// Takes in what another has seen, as of addresses that have just gone.
    pub(super) fn inherit(&mut self, mut other: Self, now: Instant) {
        other.begin_view(now);
        for (address, seen) in other.0 {
            self.0.entry(address).or_insert(seen);
        }
    }

    /// Takes all to be gone until the view says otherwise.
    pub(super) fn begin_view(&mut self, now: Instant) {
        for (_, presence) in self.0.values_mut().filter(|(_, p)| *p == Presence::Present) {
            *presence = Presence::Gone(now);
        }
    }

    pub(super) fn state(&mut self, address: SocketAddr, now: Instant) -> Arc<InstanceState> {
        let new = || (Arc::new(InstanceState::new(now)), Presence::Present);
        let (state, presence) = self.0.entry(address).or_insert_with(new);
        *presence = Presence::Present;
        Arc::clone(state)
    }

    /// How many addresses are remembered.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Forgets who has been gone for long, and the longest gone where they are too many.
    pub(super) fn forget(&mut self, now: Instant) {
        let mut gone: Vec<Instant> = self
            .0
            .values()
            .filter_map(|(_, presence)| match presence {
                Presence::Gone(since) => Some(*since),
                Presence::Present => None,
            })
            .collect();
        gone.sort_unstable_by(|a, b| b.cmp(a));
        let cut = gone.get(MOST_GONE).copied();
        self.0.retain(|_, (_, presence)| match presence {
            Presence::Gone(since) => {
                now.saturating_duration_since(*since) < LINGER && cut.is_none_or(|cut| *since > cut)
            }
            Presence::Present => true,
        });
    }
}
