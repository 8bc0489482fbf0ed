//! What a view may take away: one service's rules, one table line each.

use super::{GRACES, bench::Bench, instance, view};
use crate::{
    config::{
        Graces,
        units::{Interval, Percent},
    },
    registry::{View, keeper::status::ViewState},
};

/// What is published and whether anything is held, right after one view follows another.
#[track_caller]
fn check(before: &[u16], after: &[u16], published: &[u16], held: bool) {
    let mut bench = Bench::live(before.iter().copied());
    bench.say(after.iter().copied());
    let now = (bench.settle(), bench.held());
    assert_eq!(now, (published.to_vec(), held), "{before:?} -> {after:?}");
}

#[test]
fn only_what_disappears_sharply_is_held() {
    let ten: [u16; 10] = std::array::from_fn(|n| n as u16);
    let to = |n: usize| &ten[..n];
    check(&[], &[], &[], false);
    check(&[], &[1], &[1], false);
    check(&[1], &[], &[1], true);
    check(&[1, 2], &[], &[1, 2], true);
    check(&[1, 2], &[1], &[1], false);
    check(&[1, 2, 3], &[1], &[1], false);
    check(&[1, 2, 3, 4], &[1, 2], &[1, 2], false);
    check(&[1, 2, 3, 4], &[1], &[1, 2, 3, 4], true);
    check(&ten, to(4), to(4), false);
    check(&ten, to(3), &ten, true);
    check(&ten, &[], &ten, true);
    check(&[1], &[2], &[2], false);
    check(&[1, 2, 3, 4], &[5, 6, 7, 8], &[5, 6, 7, 8], false);
    check(&[1, 2, 3, 4], &[5, 6], &[5, 6], false);
    check(&[1, 2, 3, 4], &[5], &[1, 2, 3, 4, 5], true);
    check(&[1, 2, 3, 4], &[1, 5], &[1, 2, 3, 4, 5], true);
    check(&ten, &[0, 20, 21, 22], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20, 21, 22], true);
    check(&ten, &[0, 20, 21, 22, 23, 24], &[0, 20, 21, 22, 23, 24], false);
}

#[test]
fn an_absent_service_is_an_empty_one() {
    let mut bench = Bench::live([1, 2]);
    bench.view(View::Absent);
    bench.is([1, 2]);
    bench.wait(15_000);
    bench.confirm(Some(View::Absent));
    bench.is([]);
}

#[test]
fn an_empty_list_is_believed_after_its_grace_and_a_read_that_agrees() {
    let mut bench = Bench::live([1, 2]);
    bench.say([]);
    bench.wait(14_999);
    assert!(!bench.confirm, "the grace is not over");
    bench.wait(1);
    bench.confirm(Some(view([])));
    assert_eq!(bench.published, Some(vec![]));
    assert!(!bench.held());
}

#[test]
fn a_confirming_read_that_fails_changes_nothing_and_is_tried_again() {
    let mut bench = Bench::live([1, 2]);
    bench.say([]);
    bench.wait(15_000);
    for _ in 0..20 {
        bench.confirm(None);
        bench.is([1, 2]);
        assert!(bench.held());
        bench.wait(30_000);
    }
    bench.confirm(Some(view([])));
    bench.is([]);
}

#[test]
fn a_confirming_read_that_disagrees_is_taken_at_its_word() {
    let mut bench = Bench::live([1, 2, 3]);
    bench.say([]);
    bench.wait(15_000);
    bench.confirm(Some(view([2, 4])));
    bench.is([2, 4]);
    assert!(!bench.held());
}

#[test]
fn instances_that_come_back_end_the_hold() {
    let mut bench = Bench::live(0..10);
    bench.say([]);
    bench.wait(10_000);
    bench.say(0..10);
    assert!(!bench.held());
    bench.wait(60_000);
    assert!(!bench.confirm, "nothing is left to confirm");
    bench.is(0..10);
}

#[test]
fn instances_that_come_back_one_by_one_do_not_cost_the_others() {
    let mut bench = Bench::live(0..10);
    bench.say([]);
    for back in 1..10 {
        bench.wait(1000);
        bench.say(0..back);
        bench.is(0..10);
    }
    bench.wait(6_000);
    bench.confirm(Some(view(0..9)));
    bench.is(0..9);
}

#[test]
fn a_replacement_that_comes_during_a_hold_is_believed() {
    let mut bench = Bench::live([1, 2, 3, 4]);
    bench.say([]);
    bench.wait(1000);
    bench.say([5]);
    bench.is([1, 2, 3, 4, 5]);
    bench.say([5, 6]);
    bench.is([5, 6]);
    assert!(!bench.held());
}

#[test]
fn each_instance_is_held_for_its_own_grace() {
    let mut bench = Bench::live(0..10);
    bench.say([0, 1]);
    bench.wait(14_000);
    bench.say([0]);
    bench.is(0..10);
    bench.confirm(Some(view([0])));
    bench.is([0, 1]);
    bench.wait(14_000);
    bench.confirm(Some(view([0])));
    bench.is([0]);
}

#[test]
fn what_is_added_or_changed_applies_at_once_even_during_a_hold() {
    let mut bench = Bench::live([1, 2, 3, 4]);
    let mut left = instance(1);
    left.weight = 0.0;
    left.enabled = false;
    left.healthy = false;
    left.metadata.insert("zone".into(), "b".into());
    bench.view(View::Instances(vec![left.clone(), instance(9)]));
    bench.is([1, 2, 3, 4, 9]);
    let sent = bench.service.to_save();
    assert!(sent.is_none(), "what is held is not written to the disk");
    bench.wait(15_000);
    bench.confirm(Some(View::Instances(vec![left.clone(), instance(9)])));
    let sent = bench.service.to_save().unwrap();
    assert_eq!(sent.to_vec(), vec![left, instance(9)]);
}

#[test]
fn a_grace_of_zero_is_none() {
    let none =
        Graces { empty_grace: Interval::secs(0), reconnect_grace: Interval::secs(0), ..GRACES };
    let mut bench = Bench::new(none);
    bench.say(0..10);
    bench.say([]);
    bench.is([]);
    let mut bench = Bench::new(Graces { shrink_threshold: Percent(0.0), ..GRACES });
    bench.say(0..10);
    bench.say([1]);
    bench.is([1]);
    bench.say([]);
    bench.is([1]);
}

#[test]
fn the_threshold_counts_in_whole_instances() {
    let mut bench = Bench::new(Graces { shrink_threshold: Percent(0.55), ..GRACES });
    bench.say(0..20);
    bench.say(0..9);
    assert!(bench.held(), "11 of 20 are 55 %");
}

#[test]
fn the_first_view_is_believed_as_it_is() {
    let mut bench = Bench::new(GRACES);
    assert_eq!(bench.service.status(bench.now).state, ViewState::Never);
    bench.say([]);
    assert_eq!(bench.published, Some(vec![]), "a service without instances is known as such");
    bench.say([1]);
    bench.is([1]);
    assert_eq!(bench.service.status(bench.now).state, ViewState::Fresh);
}

#[test]
fn equal_views_are_dropped_whatever_their_order() {
    let mut bench = Bench::live([1, 2, 3]);
    let mut odd = instance(4);
    odd.weight = f64::NAN;
    bench.view(View::Instances(vec![odd.clone(), instance(1), instance(2), instance(3)]));
    let publishes = bench.publishes + 1;
    bench.settle();
    for _ in 0..3 {
        let doubled = vec![instance(3), instance(2), odd.clone(), instance(1), instance(2)];
        bench.view(View::Instances(doubled));
        bench.settle();
    }
    let views = bench.service.status(bench.now).views;
    assert_eq!((views.applied, views.unchanged), (2, 3));
    assert_eq!(bench.publishes, publishes);
}

#[test]
fn a_change_that_is_undone_while_it_waits_is_not_told() {
    let mut bench = Bench::live([1, 2, 3, 4]);
    bench.say([1, 2, 3]);
    bench.say([1, 2, 3, 4]);
    bench.is([1, 2, 3, 4]);
    assert_eq!(bench.publishes, 1);
}

#[test]
fn the_first_change_goes_out_at_once_and_the_rest_in_bunches() {
    let mut bench = Bench::live([1]);
    bench.wait(1_000);
    bench.say([1, 2]);
    assert_eq!(bench.publishes, 2, "after a quiet time at once");
    for n in 3..33 {
        bench.wait(50);
        bench.say(1..=n);
    }
    assert_eq!(bench.publishes, 3, "at most a second after the first of them");
    bench.wait(100);
    assert_eq!(bench.publishes, 4);
    bench.is(1..=32);
}

#[test]
fn a_view_too_large_to_be_true_is_refused() {
    let mut bench = Bench::live([1]);
    bench.view(View::Instances(vec![instance(2); 65_537]));
    bench.is([1]);
    bench.relist(Some(View::Instances(vec![instance(2); 65_537])));
    bench.is([1]);
    assert_eq!(bench.service.status(bench.now).views.refused, 2);
}
