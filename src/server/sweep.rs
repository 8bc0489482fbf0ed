//! Gives back memory that nobody asks for by itself.

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    reload::{Reloader, aside},
    snapshot::Pins,
};

/// How often tokens that have ended are looked for.
const TOKENS: Duration = Duration::from_secs(60);
/// How often memory is given back. The allocator keeps what is freed for a second, in case it is wanted again.
const MEMORY: Duration = Duration::from_secs(2);

/// Frees the memory of tokens that have ended, which otherwise stay until others need the room.
pub(super) async fn tokens(snapshots: Arc<Pins>) {
    let mut ticks = tokio::time::interval(TOKENS);
    loop {
        ticks.tick().await;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        snapshots.load().forget_ended_tokens(now);
    }
}

/// Frees snapshots that ran out, and has the allocator return to the system what it has not used for a while.
///
/// mimalloc looks for that when a thread allocates much, or ends. A gateway that has little to do would keep for hours
/// what a reload or a rush of connections took for a moment.
pub(super) async fn memory(reloader: Arc<Reloader>) {
    let mut ticks = tokio::time::interval(MEMORY);
    loop {
        ticks.tick().await;
        let reloader = reloader.clone();
        let swept = aside("tollgate-sweep", move || {
            reloader.forget_retired();
            // Only a thread that has allocated has anything to end.
            drop(black_box(Box::new(0_u64)));
        });
        if let Err(error) = swept.await {
            tracing::debug!(%error, "Memory is not given back");
        }
    }
}
