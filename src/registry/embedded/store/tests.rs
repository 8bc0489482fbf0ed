use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn hello() -> ServiceKey {
    ServiceKey::of_route("hello")
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn instance(port: u16) -> Registered {
    Registered {
        address: address(port),
        weight: 1.0,
        enabled: true,
        healthy: true,
        ephemeral: true,
        cluster: "DEFAULT".into(),
        metadata: BTreeMap::new(),
    }
}

fn with_metadata(pairs: &[(&str, &str)]) -> Registered {
    let metadata = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    Registered { metadata, ..instance(1) }
}

/// Ports of the instances of `hello`, each with its health.
fn health(store: &Store) -> Vec<(u16, bool)> {
    let key = hello();
    store.instances(&key).map(|(instance, _)| (instance.address.port(), instance.healthy)).collect()
}

fn has_changed(store: &mut Store) -> bool {
    !store.take_changed().is_empty()
}

#[test]
fn silence_makes_unhealthy_after_15_s_and_removes_after_30() {
    let (mut store, start) = (Store::default(), Instant::now());
    store.register(&hello(), instance(1), start).unwrap();
    assert!(has_changed(&mut store));
    assert_eq!(store.expire(start + 14 * SECOND), Some(start + 15 * SECOND));
    assert!(!has_changed(&mut store));
    assert_eq!(store.expire(start + 15 * SECOND), Some(start + 30 * SECOND));
    assert!(has_changed(&mut store));
    assert_eq!(health(&store), [(1, false)]);
    assert_eq!(store.expire(start + 29 * SECOND), Some(start + 30 * SECOND));
    assert!(!has_changed(&mut store));
    assert_eq!(store.expire(start + 30 * SECOND), None);
    assert!(has_changed(&mut store));
    assert_eq!(store.view(&hello()), View::Absent);
    assert_eq!(store.counts(), (0, 0));
}

#[test]
fn beats_keep_alive_and_heal_and_change_nothing_else() {
    let (mut store, start) = (Store::default(), Instant::now());
    store.register(&hello(), Registered { weight: 0.5, ..instance(1) }, start).unwrap();
    has_changed(&mut store);
    for second in (5..100).step_by(5) {
        let now = start + second * SECOND;
        store.expire(now);
        assert_eq!(store.beat(&hello(), address(1), now), Some(5 * SECOND));
        assert!(!has_changed(&mut store));
    }
    store.expire(start + 115 * SECOND);
    assert_eq!(health(&store), [(1, false)]);
    has_changed(&mut store);
    store.beat(&hello(), address(1), start + 120 * SECOND);
    assert!(has_changed(&mut store));
    assert_eq!(store.expire(start + 125 * SECOND), Some(start + 135 * SECOND));
    let View::Instances(view) = store.view(&hello()) else { panic!("gone") };
    assert!(view[0].healthy && view[0].weight == 0.5);
}

#[test]
fn a_beat_of_an_unknown_instance_is_not_taken() {
    let mut store = Store::default();
    assert_eq!(store.beat(&hello(), address(1), Instant::now()), None);
    store.register(&hello(), instance(2), Instant::now()).unwrap();
    assert_eq!(store.beat(&hello(), address(1), Instant::now()), None);
}

#[test]
fn persistent_instances_never_expire() {
    let (mut store, start) = (Store::default(), Instant::now());
    store.register(&hello(), Registered { ephemeral: false, ..instance(1) }, start).unwrap();
    store.register(&hello(), instance(2), start).unwrap();
    assert_eq!(store.expire(start + 86_400 * SECOND), None);
    assert_eq!(health(&store), [(1, true)]);
}

#[test]
fn an_instance_sets_its_own_pulse_within_bounds() {
    let pulse = |pairs: &[(&str, &str)]| Pulse::of(&with_metadata(pairs));
    let secs = |interval, unhealthy, removed| Pulse {
        interval: interval * SECOND,
        unhealthy_after: unhealthy * SECOND,
        removed_after: removed * SECOND,
    };
    let (interval, timeout, delete) = (
        "preserved.heart.beat.interval",
        "preserved.heart.beat.timeout",
        "preserved.ip.delete.timeout",
    );
    assert_eq!(pulse(&[]), secs(5, 15, 30));
    assert_eq!(pulse(&[(interval, "2000"), (timeout, "6000"), (delete, "9000")]), secs(2, 6, 9));
    assert_eq!(pulse(&[(interval, "0"), (timeout, "0"), (delete, "0")]), secs(1, 1, 1));
    assert_eq!(pulse(&[(timeout, "60000")]), secs(5, 60, 60));
    let huge = u64::MAX.to_string();
    assert_eq!(pulse(&[(interval, &huge), (timeout, &huge), (delete, "-1")]), secs(60, 3600, 3600));
}

#[test]
fn registering_again_replaces_and_changes_only_what_differs() {
    let (mut store, start) = (Store::default(), Instant::now());
    store.register(&hello(), instance(1), start).unwrap();
    has_changed(&mut store);
    store.register(&hello(), instance(1), start + 10 * SECOND).unwrap();
    assert!(!has_changed(&mut store));
    store.expire(start + 24 * SECOND);
    assert_eq!(health(&store), [(1, true)]);
    store.register(&hello(), Registered { weight: 0.0, ..instance(1) }, start).unwrap();
    assert!(has_changed(&mut store));
    assert_eq!(store.counts(), (1, 1));
}

#[test]
fn an_edit_changes_what_it_names_and_outlives_beats() {
    let (mut store, start) = (Store::default(), Instant::now());
    store.register(&hello(), with_metadata(&[("zone", "a")]), start).unwrap();
    has_changed(&mut store);
    assert!(store.edit(&hello(), address(1), Edit { enabled: Some(false), ..Edit::default() }));
    assert!(has_changed(&mut store));
    store.beat(&hello(), address(1), start + SECOND);
    assert!(store.edit(&hello(), address(1), Edit::default()));
    assert!(!has_changed(&mut store));
    let View::Instances(view) = store.view(&hello()) else { panic!("gone") };
    assert!(!view[0].enabled && view[0].metadata["zone"] == "a");
    assert!(!store.edit(&hello(), address(2), Edit::default()));
}

#[test]
fn an_edit_that_shortens_the_pulse_is_felt_in_time() {
    let (mut store, start) = (Store::default(), Instant::now());
    store.register(&hello(), instance(1), start).unwrap();
    store.expire(start);
    let metadata = with_metadata(&[("preserved.heart.beat.timeout", "2000")]).metadata;
    store.edit(&hello(), address(1), Edit { metadata: Some(metadata), ..Edit::default() });
    assert_eq!(store.expire(start + SECOND), Some(start + 2 * SECOND));
}

#[test]
fn time_in_which_nobody_listened_does_not_count() {
    let (mut store, start) = (Store::default(), Instant::now());
    store.register(&hello(), instance(1), start).unwrap();
    let back = start + 3600 * SECOND;
    store.resume(back);
    assert_eq!(store.expire(back), Some(back + 15 * SECOND));
    assert_eq!(health(&store), [(1, true)]);
}

#[test]
fn what_deregisters_is_gone_at_once_and_more_than_once() {
    let mut store = Store::default();
    store.register(&hello(), instance(1), Instant::now()).unwrap();
    store.deregister(&hello(), address(2));
    assert_eq!(store.counts(), (1, 1));
    store.deregister(&hello(), address(1));
    store.deregister(&hello(), address(1));
    assert_eq!(store.counts(), (0, 0));
    assert_eq!(store.view(&hello()), View::Absent);
}

#[test]
fn what_does_not_fit_is_refused_and_what_is_known_still_beats() {
    let (mut store, now) = (Store::default(), Instant::now());
    for port in 1..=MAX_SERVICE_INSTANCES as u16 {
        store.register(&hello(), instance(port), now).unwrap();
    }
    let more = instance(MAX_SERVICE_INSTANCES as u16 + 1);
    assert_eq!(store.register(&hello(), more, now), Err(Full("instances of this service")));
    store.register(&hello(), Registered { weight: 2.0, ..instance(1) }, now).unwrap();
    let services: Vec<_> =
        (1..MAX_SERVICES).map(|n| ServiceKey::of_route(&n.to_string())).collect();
    services.iter().for_each(|key| store.register(key, instance(1), now).unwrap());
    assert_eq!(
        store.register(&ServiceKey::of_route("more"), instance(1), now),
        Err(Full("services"))
    );
    let pairs = (2..20).flat_map(|port| services.iter().map(move |key| (key, port)));
    let refused =
        pairs.map(|(key, port)| store.register(key, instance(port), now)).find_map(Result::err);
    assert_eq!(refused, Some(Full("instances")));
    assert_eq!(store.counts(), (MAX_SERVICES, MAX_INSTANCES));
    assert!(store.beat(&hello(), address(1), now).is_some());
}
