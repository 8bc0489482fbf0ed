//! What a lost session, a late read and the disk may change: nothing that the registry does not say.

use super::{GRACES, bench::Bench, instance, view};
use crate::{
    config::{Graces, units::Interval},
    registry::keeper::{
        service::{Purpose, Service},
        status::{Origin, ViewState},
    },
};

#[test]
fn losing_the_registry_changes_nothing() {
    let mut bench = Bench::live([1, 2, 3]);
    let publishes = bench.publishes;
    bench.service.lost(bench.now);
    bench.relist(None);
    bench.wait(3_600_000);
    bench.is([1, 2, 3]);
    assert_eq!(bench.publishes, publishes);
    let status = bench.service.status(bench.now);
    assert_eq!(status.state, ViewState::Stale);
    assert_eq!(status.stale_seconds, Some(3601.0));
}

#[test]
fn after_our_reconnect_removals_wait_and_additions_do_not() {
    let mut bench = Bench::live([1, 2, 3]);
    bench.service.lost(bench.now);
    bench.wait(5_000);
    bench.service.live(bench.now);
    bench.say([1, 4]);
    bench.is([1, 2, 3, 4]);
    bench.say([1, 2, 4]);
    bench.wait(28_000);
    assert!(!bench.confirm);
    bench.is([1, 2, 3, 4]);
    bench.confirm(Some(view([1, 2, 4])));
    bench.is([1, 2, 4]);
    bench.say([1, 4]);
    bench.is([1, 4]);
}

#[test]
fn even_a_replacement_waits_after_our_reconnect() {
    let mut bench = Bench::live([1, 2]);
    bench.service.lost(bench.now);
    bench.service.live(bench.now);
    bench.say([3, 4]);
    bench.is([1, 2, 3, 4]);
    bench.wait(30_000);
    bench.confirm(Some(view([3, 4])));
    bench.is([3, 4]);
}

#[test]
fn a_hold_that_a_reconnect_meets_waits_for_the_reconnect_grace() {
    let mut bench = Bench::live([1, 2]);
    bench.say([]);
    bench.wait(10_000);
    bench.service.lost(bench.now);
    bench.wait(4_000);
    bench.service.live(bench.now);
    bench.wait(29_000);
    assert!(!bench.confirm);
    bench.wait(1_000);
    bench.confirm(Some(view([])));
    bench.is([]);
}

#[test]
fn a_registry_that_comes_and_goes_is_believed_in_the_end() {
    let mut bench = Bench::live([1, 2, 3]);
    bench.service.lost(bench.now);
    bench.service.live(bench.now);
    bench.say([1, 2]);
    for _ in 0..11 {
        bench.wait(9_000);
        assert!(!bench.confirm);
        bench.service.lost(bench.now);
        bench.service.live(bench.now);
        bench.say([1, 2]);
        bench.is([1, 2, 3]);
    }
    bench.wait(10_000);
    bench.confirm(Some(view([1, 2])));
    bench.is([1, 2]);
}

#[test]
fn a_read_that_answers_while_the_session_is_lost_only_adds_at_once() {
    let mut bench = Bench::live([1, 2, 3]);
    bench.service.lost(bench.now);
    bench.relist(Some(view([1, 4])));
    bench.is([1, 2, 3, 4]);
    assert_eq!(bench.service.status(bench.now).state, ViewState::Stale);
    bench.wait(29_000);
    bench.confirm(Some(view([1, 4])));
    bench.is([1, 4]);
}

#[test]
fn a_read_that_a_push_has_overtaken_does_not_undo_it() {
    let mut bench = Bench::live([1, 2, 3]);
    let start = bench.service.start_read(bench.now, Purpose::Relist);
    bench.say([1, 2, 3, 4]);
    bench.service.read(bench.now, start, Some(view([1, 2, 3])));
    bench.is([1, 2, 3, 4]);
}

#[test]
fn a_confirming_read_that_a_push_has_overtaken_still_confirms() {
    let mut bench = Bench::live([1, 2, 3, 4]);
    bench.say([]);
    bench.wait(15_000);
    let start = bench.service.start_read(bench.now, Purpose::Confirm);
    bench.say([9]);
    bench.service.read(bench.now, start, Some(view([])));
    bench.is([9]);
}

#[test]
fn a_read_that_saw_an_instance_starts_its_grace_anew() {
    let mut bench = Bench::live([1, 2]);
    bench.say([]);
    bench.wait(15_000);
    assert!(std::mem::take(&mut bench.confirm));
    let start = bench.service.start_read(bench.now, Purpose::Confirm);
    bench.say([]);
    bench.service.read(bench.now, start, Some(view([1, 2])));
    bench.wait(14_999);
    assert!(!bench.confirm, "they were there 15 s ago");
    bench.wait(1);
    bench.confirm(Some(view([])));
    bench.is([]);
}

#[test]
fn the_disk_copy_speaks_when_the_registry_is_silent_or_lost() {
    let saved = || vec![instance(1), instance(2)];
    let mut silent = Bench::new(GRACES);
    silent.service.disk(silent.now, saved(), silent.now);
    silent.wait(999);
    assert_eq!(silent.published, None);
    silent.wait(1);
    assert_eq!(silent.published, Some(vec![1, 2]));

    let mut lost = Bench::new(GRACES);
    lost.service.disk(lost.now, saved(), lost.now);
    lost.service.lost(lost.now);
    lost.wait(0);
    assert_eq!(lost.published, Some(vec![1, 2]));
    let status = lost.service.status(lost.now);
    assert_eq!((status.state, status.origin), (ViewState::Stale, Some(Origin::Disk)));
    assert!(lost.service.to_save().is_none(), "only live views are written");

    let mut down = Bench { service: Service::new(GRACES, true), ..Bench::new(GRACES) };
    down.service.disk(down.now, saved(), down.now);
    down.wait(0);
    assert_eq!(down.published, Some(vec![1, 2]));

    let mut late = Bench::live([7]);
    late.service.disk(late.now, saved(), late.now);
    late.is([7]);
}

#[test]
fn the_first_live_view_replaces_the_disk_copy_unless_it_is_empty() {
    let from_disk = || {
        let mut bench = Bench::new(GRACES);
        let saved = (0..10).map(instance).collect();
        bench.service.disk(bench.now, saved, bench.now);
        bench.service.lost(bench.now);
        bench.wait(2_000);
        bench.service.live(bench.now);
        bench
    };
    let mut full = from_disk();
    full.say([1]);
    full.is([1]);
    assert_eq!(full.service.status(full.now).origin, Some(Origin::Live));

    let mut empty = from_disk();
    empty.say([]);
    empty.is(0..10);
    assert_eq!(empty.service.status(empty.now).origin, Some(Origin::Disk));
    empty.say([3]);
    empty.is([3]);

    let mut confirmed = from_disk();
    confirmed.say([]);
    confirmed.wait(15_000);
    confirmed.confirm(Some(view([])));
    confirmed.is([]);
    assert_eq!(confirmed.service.status(confirmed.now).origin, Some(Origin::Live));
}

#[test]
fn an_empty_first_view_is_held_against_a_disk_copy_that_was_not_used_yet() {
    let start = |graces| {
        let mut bench = Bench::new(graces);
        bench.service.disk(bench.now, vec![instance(1), instance(2)], bench.now);
        bench.service.live(bench.now);
        bench.say([]);
        bench
    };
    let mut back = start(GRACES);
    back.is([1, 2]);
    back.say([2]);
    back.is([2]);

    let mut gone = start(GRACES);
    gone.wait(14_999);
    gone.is([1, 2]);
    gone.wait(1);
    gone.confirm(Some(view([])));
    gone.is([]);

    let mut believed = start(Graces { empty_grace: Interval::secs(0), ..GRACES });
    believed.is([]);
}
