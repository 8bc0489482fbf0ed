//! A whole keeper on paused time: sessions, reads, subscribers, the disk copy and the status.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    runtime::Handle,
    time::{Instant, advance, sleep, timeout},
};

use super::{
    GRACES, Told, instance,
    scripted::{Fault, Order, Scripted},
    view,
};
use crate::registry::{DiskCopy, Keeper, LinkState, Registry, RegistryError, View, ViewState};

const SECOND: Duration = Duration::from_secs(1);

fn keep(registry: &Scripted) -> Arc<Keeper> {
    Keeper::start(&Handle::current(), "main".into(), Arc::new(registry.clone()), GRACES, None)
}

fn unavailable() -> Fault {
    Fault::Error(RegistryError::Unavailable("gone".into()))
}

/// Lets the keeper do what it can do now, on a clock that stands.
async fn idle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_is_told_what_the_registry_says() {
    let registry = Scripted::new();
    registry.set("orders", view([1, 2]));
    let keeper = keep(&registry);
    let told = Told::default();
    let subscription = keeper.subscribe("orders", told.listener());
    assert!(!subscription.has_view());
    timeout(SECOND, subscription.first_view()).await.unwrap();
    assert_eq!(told.last(), Some(vec![1, 2]));

    sleep(SECOND).await;
    registry.tell("orders", view([1, 2, 3]));
    idle().await;
    assert_eq!(told.last(), Some(vec![1, 2, 3]));

    let late = Told::default();
    let second = keeper.subscribe("orders", late.listener());
    assert!(second.has_view());
    assert_eq!(late.last(), Some(vec![1, 2, 3]), "the last view is replayed before this returns");
    drop(second);
    sleep(SECOND).await;
    registry.tell("orders", view([1, 2]));
    idle().await;
    assert_eq!(late.all().len(), 1, "who has left is told no more");
    assert_eq!(told.last(), Some(vec![1, 2]));
}

#[tokio::test(start_paused = true)]
async fn a_service_that_the_registry_does_not_know_has_a_view_too() {
    let keeper = keep(&Scripted::new());
    let told = Told::default();
    let subscription = keeper.subscribe("nothing", told.listener());
    timeout(SECOND, subscription.first_view()).await.unwrap();
    assert_eq!(told.last(), Some(vec![]));
}

#[tokio::test(start_paused = true)]
async fn a_lost_registry_changes_nothing_and_is_found_again() {
    let registry = Scripted::new();
    registry.set("orders", view([1, 2]));
    let keeper = keep(&registry);
    let told = Told::default();
    let _subscription = keeper.subscribe("orders", told.listener());
    sleep(100 * SECOND).await;
    registry.change(|world| {
        world.session = Some(unavailable());
        world.list = Some(unavailable());
    });
    registry.order(Order::End(unavailable()));
    sleep(3600 * SECOND).await;
    assert_eq!(told.all(), [[1, 2]]);
    let status = keeper.status();
    assert_eq!(status.state, LinkState::Down);
    assert!((3599.0..3601.0).contains(&status.since_seconds), "{status:?}");
    assert_eq!(status.last_error.as_deref(), Some("unreachable: gone"));
    let service = &status.services["orders"];
    assert_eq!((service.state, service.instances), (ViewState::Stale, 2));
    assert!(service.age_seconds.unwrap() > 3600.0);

    registry.change(|world| (world.session, world.list) = (None, None));
    registry.set("orders", view([1, 2, 3]));
    sleep(31 * SECOND).await;
    assert_eq!(told.last(), Some(vec![1, 2, 3]));
    let status = keeper.status();
    assert_eq!((status.state, status.sessions), (LinkState::Live, 2));
    assert_eq!(status.services["orders"].state, ViewState::Fresh);
}

#[tokio::test(start_paused = true)]
async fn attempts_are_spread_out_and_begin_anew_after_a_session_that_lasted() {
    let registry = Scripted::new();
    let started = Instant::now();
    let _keeper = keep(&registry);
    for lasted in [61, 70, 200] {
        sleep(lasted * SECOND).await;
        registry.order(Order::End(unavailable()));
        let sessions = registry.sessions.load(Ordering::SeqCst);
        sleep(Duration::from_millis(499)).await;
        assert_eq!(registry.sessions.load(Ordering::SeqCst), sessions, "at least half a second");
        sleep(Duration::from_millis(502)).await;
        assert_eq!(registry.sessions.load(Ordering::SeqCst), sessions + 1, "at most a whole one");
    }
    // Sessions that end at once are failures in a row.
    let before = registry.sessions.load(Ordering::SeqCst);
    let flapping = Instant::now();
    while flapping.elapsed() < 600 * SECOND {
        registry.order(Order::End(unavailable()));
        sleep(Duration::from_millis(100)).await;
    }
    let sessions = registry.sessions.load(Ordering::SeqCst) - before;
    assert!((20..50).contains(&sessions), "{sessions} in {:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_waits_longer() {
    let registry = Scripted::new();
    registry.change(|world| world.session = Some(Fault::Error(RegistryError::Auth("no".into()))));
    let keeper = keep(&registry);
    idle().await;
    assert_eq!(keeper.status().state, LinkState::Down);
    registry.change(|world| world.session = None);
    sleep(Duration::from_millis(4_990)).await;
    assert_eq!(keeper.status().state, LinkState::Down);
    sleep(Duration::from_millis(5_020)).await;
    assert_eq!(keeper.status().state, LinkState::Live);
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_panics_or_hangs_is_an_error_and_no_more() {
    let registry = Scripted::new();
    registry.set("orders", view([1]));
    registry.change(|world| world.session = Some(Fault::Panic));
    let keeper = keep(&registry);
    let told = Told::default();
    let _subscription = keeper.subscribe("orders", told.listener());
    idle().await;
    let status = keeper.status();
    assert_eq!(status.state, LinkState::Down);
    assert!(status.last_error.unwrap().starts_with("unexpected answer: "));

    registry.change(|world| world.session = Some(Fault::Hang));
    sleep(Duration::from_millis(1_001)).await;
    registry.change(|world| world.session = None);
    sleep(27 * SECOND).await;
    assert_eq!(keeper.status().state, LinkState::Down, "still waiting to be accepted");
    sleep(7 * SECOND).await;
    assert_eq!(keeper.status().state, LinkState::Live);
    assert_eq!(told.last(), Some(vec![1]));

    registry.change(|world| world.list = Some(Fault::Panic));
    sleep(61 * SECOND).await;
    assert_eq!(keeper.status().state, LinkState::Degraded, "the session lives, reads panic");
    registry.change(|world| world.list = Some(Fault::Hang));
    sleep(70 * SECOND).await;
    let status = keeper.status();
    assert_eq!(status.last_error.as_deref(), Some("unreachable: no answer within 5s"));
    registry.change(|world| world.list = None);
    sleep(70 * SECOND).await;
    assert_eq!(keeper.status().state, LinkState::Live);
    assert_eq!(told.all(), [[1]]);
}

#[tokio::test(start_paused = true)]
async fn what_a_push_lost_is_found_within_a_minute() {
    let registry = Scripted::new();
    registry.set("orders", view([1]));
    let keeper = keep(&registry);
    let told = Told::default();
    let _subscription = keeper.subscribe("orders", told.listener());
    sleep(3 * SECOND).await;
    assert_eq!(registry.lists.load(Ordering::SeqCst), 0, "the session has said it all");
    registry.set("orders", view([1, 2]));
    sleep(25 * SECOND).await;
    assert_eq!(told.last(), Some(vec![1]), "reads are at least 30 s apart");
    sleep(36 * SECOND).await;
    assert_eq!(told.last(), Some(vec![1, 2]));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_says_nothing_is_helped_by_reads() {
    let registry = Scripted::new();
    registry.set("orders", view([1]));
    registry.change(|world| world.mute = true);
    let keeper = keep(&registry);
    let told = Told::default();
    let subscription = keeper.subscribe("orders", told.listener());
    timeout(3 * SECOND, subscription.first_view()).await.unwrap();
    assert_eq!(told.last(), Some(vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_wiped_registry_is_believed_late_and_read_before() {
    let registry = Scripted::new();
    registry.set("orders", view([1, 2, 3]));
    let keeper = keep(&registry);
    let told = Told::default();
    let _subscription = keeper.subscribe("orders", told.listener());
    sleep(SECOND).await;
    registry.tell("orders", View::Absent);
    sleep(14 * SECOND).await;
    let status = keeper.status();
    assert!(status.services["orders"].held);
    assert_eq!(status.services["orders"].views.held, 1);
    assert_eq!(told.all(), [[1, 2, 3]]);
    sleep(2 * SECOND).await;
    assert_eq!(told.last(), Some(vec![]));
    assert!(!keeper.status().services["orders"].held);
}

#[tokio::test(start_paused = true)]
async fn reads_of_many_services_are_bounded_in_rate_and_number() {
    let registry = Scripted::new();
    registry.change(|world| {
        world.mute = true;
        world.latency = Duration::from_millis(200);
    });
    let keeper = keep(&registry);
    let told = Told::default();
    let all: Vec<_> =
        (0..1000).map(|n| keeper.subscribe(&format!("service-{n}"), told.listener())).collect();
    sleep(3 * SECOND).await;
    let first = registry.lists.load(Ordering::SeqCst);
    assert!((60..=216).contains(&first), "{first} within a second");
    for subscription in &all {
        timeout(60 * SECOND, subscription.first_view()).await.unwrap();
    }
    assert!(registry.most_running.load(Ordering::SeqCst) <= 16);
}

#[tokio::test(start_paused = true)]
async fn changes_that_follow_each_other_are_told_in_bunches() {
    let registry = Scripted::new();
    let keeper = keep(&registry);
    let told = Told::default();
    let _subscription = keeper.subscribe("orders", told.listener());
    sleep(SECOND).await;
    for n in 1..=100 {
        registry.tell("orders", view(1..=n));
        sleep(Duration::from_millis(30)).await;
    }
    sleep(SECOND).await;
    assert_eq!(told.last(), Some((1..=100).collect()));
    assert!((3..8).contains(&told.all().len()), "{}", told.all().len());
    assert!(
        told.gaps().iter().all(|gap| *gap <= Duration::from_millis(1_101)),
        "{:?}",
        told.gaps()
    );
}

#[tokio::test(start_paused = true)]
async fn a_service_lingers_for_a_minute_after_its_last_subscriber() {
    let registry = Scripted::new();
    registry.set("orders", view([1]));
    let keeper = keep(&registry);
    let told = Told::default();
    drop(keeper.subscribe("orders", told.listener()));
    sleep(59 * SECOND).await;
    let again = keeper.subscribe("orders", told.listener());
    assert!(again.has_view(), "it was still kept");
    sleep(600 * SECOND).await;
    assert_eq!(keeper.status().services.len(), 1);
    drop(again);
    sleep(61 * SECOND).await;
    assert_eq!(keeper.status().services.len(), 0);
    let anew = keeper.subscribe("orders", told.listener());
    assert!(!anew.has_view());
    timeout(SECOND, anew.first_view()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dropped_keeper_stops_and_a_subscription_keeps_it() {
    let registry = Arc::new(Scripted::new());
    let kind: Arc<dyn Registry> = registry.clone();
    let keeper = Keeper::start(&Handle::current(), "main".into(), kind, GRACES, None);
    let told = Told::default();
    let subscription = keeper.subscribe("orders", told.listener());
    drop(keeper);
    sleep(SECOND).await;
    registry.tell("orders", view([1]));
    idle().await;
    assert_eq!(told.last(), Some(vec![1]));
    drop(subscription);
    idle().await;
    assert_eq!(Arc::strong_count(&registry), 1, "neither task nor session lives on");
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_that_panics_does_not_harm_the_others() {
    let registry = Scripted::new();
    let keeper = keep(&registry);
    let told = Told::default();
    let _bad = keeper.subscribe("orders", |_| panic!("as the test says"));
    let _good = keeper.subscribe("orders", told.listener());
    sleep(SECOND).await;
    registry.tell("orders", view([1]));
    idle().await;
    assert_eq!(told.last(), Some(vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_subscriber_may_subscribe_leave_and_ask() {
    let registry = Scripted::new();
    registry.set("orders", view([1]));
    let keeper = keep(&registry);
    let (inner, told) = (Arc::downgrade(&keeper), Told::default());
    let listener = parking_lot::Mutex::new(Some(told.listener()));
    let _subscription = keeper.subscribe("orders", move |_| {
        let (Some(keeper), Some(listener)) = (inner.upgrade(), listener.lock().take()) else {
            return;
        };
        assert_eq!(keeper.status().services.len(), 1);
        drop(keeper.subscribe("orders", listener));
    });
    idle().await;
    assert_eq!(told.last(), Some(vec![1]));
}

#[tokio::test(start_paused = true)]
async fn a_start_without_registry_uses_the_disk_copy() {
    let directory = tempfile::tempdir().unwrap();
    let disk = || Some(DiskCopy::new(directory.path(), "main", "print"));
    let registry = Scripted::new();
    registry.set("orders", view([1, 2]));
    let start = |registry: &Scripted| {
        let kind = Arc::new(registry.clone());
        Keeper::start(&Handle::current(), "main".into(), kind, GRACES, disk())
    };
    let first = start(&registry);
    let subscription = first.subscribe("orders", |_| {});
    timeout(SECOND, subscription.first_view()).await.unwrap();
    let path = disk().unwrap().path("orders");
    eventually(|| path.exists()).await;
    drop((subscription, first));

    let down = Scripted::new();
    down.change(|world| {
        world.session = Some(unavailable());
        world.list = Some(unavailable());
    });
    let second = start(&down);
    let told = Told::default();
    let subscription = second.subscribe("orders", told.listener());
    timeout(2 * SECOND, subscription.first_view()).await.unwrap();
    assert_eq!(told.last(), Some(vec![1, 2]));
    down.set("orders", view([2, 3]));
    down.change(|world| (world.session, world.list) = (None, None));
    sleep(31 * SECOND).await;
    assert_eq!(told.last(), Some(vec![2, 3]));
    eventually(|| saved(&disk().unwrap()) == [instance(2), instance(3)]).await;
}

#[tokio::test(start_paused = true)]
async fn the_disk_is_written_at_most_each_five_seconds() {
    let directory = tempfile::tempdir().unwrap();
    let disk = DiskCopy::new(directory.path(), "main", "print");
    let registry = Scripted::new();
    registry.set("orders", view([1]));
    let kind = Arc::new(registry.clone());
    let keeper = Keeper::start(&Handle::current(), "main".into(), kind, GRACES, Some(disk.clone()));
    let _subscription = keeper.subscribe("orders", |_| {});
    eventually(|| disk.path("orders").exists()).await;
    registry.tell("orders", view([1, 2]));
    sleep(4 * SECOND).await;
    assert_eq!(saved(&disk), [instance(1)]);
    eventually(|| saved(&disk) == [instance(1), instance(2)]).await;
    registry.tell("orders", View::Absent);
    sleep(10 * SECOND).await;
    assert_eq!(saved(&disk), [instance(1), instance(2)], "what is in doubt is not written");
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_written_harms_nobody() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let registry = Scripted::new();
    registry.set("orders", view([1]));
    let disk = DiskCopy::new(file.path().join("below-a-file"), "main", "print");
    let keeper = Keeper::start(
        &Handle::current(),
        "main".into(),
        Arc::new(registry.clone()),
        GRACES,
        Some(disk),
    );
    let told = Told::default();
    let _subscription = keeper.subscribe("orders", told.listener());
    sleep(10 * SECOND).await;
    registry.tell("orders", view([1, 2]));
    sleep(SECOND).await;
    assert_eq!(told.last(), Some(vec![1, 2]));
}

#[tokio::test(start_paused = true)]
async fn the_status_is_json_in_the_words_of_the_design() {
    let registry = Scripted::new();
    registry.set("orders", view([1]));
    let keeper = keep(&registry);
    let _subscription = keeper.subscribe("orders", |_| {});
    sleep(SECOND).await;
    advance(SECOND).await;
    let mut status = serde_json::to_value(keeper.status()).unwrap();
    let service = status["services"]["orders"].take();
    assert!(service["age_seconds"].as_f64().unwrap() >= 1.0);
    let words = (&status["name"], &status["state"], &service["state"], &service["origin"]);
    assert_eq!(words, (&"main".into(), &"live".into(), &"fresh".into(), &"live".into()));
    assert_eq!(service["views"]["applied"], 1);
    assert_eq!(service["held"], false);
}

fn saved(disk: &DiskCopy) -> Vec<crate::registry::Instance> {
    disk.load("orders").map(|saved| saved.instances).unwrap_or_default()
}

/// Waits for a file, on a clock that runs as soon as nothing else does.
async fn eventually(mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(60 * SECOND, wait).await.unwrap();
}
