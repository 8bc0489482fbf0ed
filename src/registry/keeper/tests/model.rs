//! A keeper under a thousand random histories of faults: what must hold in each, and where each must end.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{runtime::Handle, time::sleep};

use super::{
    GRACES, Told, numbers,
    scripted::{Fault, Order, Said, Scripted},
    view,
};
use crate::registry::{Keeper, RegistryError, View};

const SERVICES: [&str; 3] = ["orders", "users", "stock"];

/// A refused session's longest wait, a session that hangs, a reconnect's grace, a relist, a confirming read: one after
/// the other.
const BOUND: Duration = Duration::from_secs(60 + 30 + 30 + 60 + 45);

/// What goes from the registry's mouth to the subscriber's ear takes no longer: the longest debounce.
const DELAY: Duration = Duration::from_millis(1_100);

#[test]
fn whatever_fails_endpoints_stay_and_end_where_the_registry_is() {
    for seed in 0..1000 {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(play(seed));
    }
}

async fn play(seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    // The keeper's own chance comes from here.
    fastrand::seed(seed);
    let registry = Scripted::new();
    for service in SERVICES {
        registry.set(service, view(0..rng.u16(0..12)));
    }
    let kind = Arc::new(registry.clone());
    let keeper = Keeper::start(&Handle::current(), "main".into(), kind, GRACES, None);
    let told = SERVICES.map(|service| (service, Told::default()));
    let _subscriptions =
        told.each_ref().map(|(service, told)| keeper.subscribe(service, told.listener()));
    for _ in 0..40 {
        disturb(&registry, &mut rng);
        let most = if rng.bool() { 200 } else { 30_000 };
        sleep(Duration::from_millis(rng.u64(0..most))).await;
    }
    registry.change(|world| {
        (world.session, world.list) = (None, None);
        (world.latency, world.mute) = (Duration::ZERO, false);
    });
    sleep(BOUND).await;
    for (service, told) in &told {
        let mut said = registry.said();
        said.retain(|said| said.service == *service);
        // A read says what was so when it was asked, however late it answers.
        said.sort_by_key(|said| said.at);
        let truth = match registry.truth(service) {
            View::Absent => vec![],
            View::Instances(instances) => numbers(&instances),
        };
        assert_eq!(told.last(), Some(truth), "seed {seed}, {service}: does not end at the truth");
        judge(seed, service, &told.timed_numbers(), &said);
    }
}

/// Something happens, more often bad than good.
fn disturb(registry: &Scripted, rng: &mut fastrand::Rng) {
    let service = SERVICES[rng.usize(..SERVICES.len())];
    match rng.u8(0..14) {
        0..4 => registry.tell(service, change(registry.truth(service), rng)),
        4 => registry.set(service, change(registry.truth(service), rng)),
        5 => registry.order(Order::Push(service.into(), View::Absent)),
        6 => {
            let lie = view((0..12).filter(|_| rng.u8(0..4) == 0));
            registry.order(Order::Push(service.into(), lie));
        }
        7 => registry.order(Order::End(fault(rng))),
        8 => {
            let fault = fault(rng);
            registry.change(|world| world.session = Some(fault.clone()));
            registry.order(Order::End(fault));
        }
        9 => registry.change(|world| world.list = Some(fault(rng))),
        10 => registry.change(|world| world.latency = Duration::from_millis(rng.u64(0..6_000))),
        11 => registry.change(|world| world.mute = rng.bool()),
        12 => registry.change(|world| world.session = None),
        _ => registry.change(|world| world.list = None),
    }
}

fn change(view_before: View, rng: &mut fastrand::Rng) -> View {
    let mut all: BTreeSet<u16> = match view_before {
        View::Absent => BTreeSet::new(),
        View::Instances(instances) => numbers(&instances).into_iter().collect(),
    };
    match rng.u8(0..8) {
        0 => return View::Absent,
        1 => return view([]),
        2 => return view((0..rng.u16(1..12)).map(|n| n + 20)),
        3 => all.retain(|_| rng.bool()),
        4 => all.extend(0..rng.u16(0..12)),
        _ => {
            let number = rng.u16(0..32);
            if !all.remove(&number) {
                all.insert(number);
            }
        }
    }
    view(all)
}

fn fault(rng: &mut fastrand::Rng) -> Fault {
    match rng.u8(0..5) {
        0 => Fault::Panic,
        1 => Fault::Hang,
        2 => Fault::Error(RegistryError::Auth("no".into())),
        3 => Fault::Error(RegistryError::Protocol("what".into())),
        _ => Fault::Error(RegistryError::Unavailable("gone".into())),
    }
}

/// What must hold of all that a subscriber was told, given all that the registry ever said.
fn judge(seed: u64, service: &str, told: &[(Instant, Vec<u16>)], said: &[Said]) {
    let mut before: &[u16] = &[];
    for (at, view) in told {
        let past: Vec<_> = said.iter().filter(|said| said.told <= *at).collect();
        let context = || format!("seed {seed}, {service}: {before:?} -> {view:?}");
        for number in view {
            let known = past.iter().any(|said| said.numbers.contains(number));
            assert!(known, "{}: {number} was never heard of", context());
        }
        if view.is_empty() && !before.is_empty() {
            let empty = past.iter().rev().take_while(|said| said.numbers.is_empty()).count();
            assert!(empty >= 2, "{}: the registry said so {empty} times", context());
            for number in before {
                let named = past.iter().rfind(|said| said.numbers.contains(number));
                let gone = at.duration_since(named.unwrap().at);
                assert!(gone >= GRACES.empty_grace.0, "{}: {number} after {gone:?}", context());
            }
        }
        // What it said of late, with what held when that began.
        let late = past.partition_point(|said| said.at + DELAY < *at).saturating_sub(1);
        let mut steady = past[late..].iter().map(|said| said.numbers.clone());
        let first = steady.next().unwrap_or_default();
        let steady = steady.fold(first, |all, said| {
            all.into_iter().filter(|number| said.contains(number)).collect()
        });
        for number in steady {
            assert!(view.contains(&number), "{}: {number} was named all the time", context());
        }
        before = view;
    }
}
