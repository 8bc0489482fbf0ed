//! One service under random inputs in any order, against the rules that no history may break.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use proptest::prelude::*;

use super::{GRACES, instance, numbers};
use crate::registry::{
    Instance, View,
    keeper::service::{Action, Purpose, ReadStart, Service},
};

#[derive(Clone, Debug)]
enum Input {
    BeginRead,
    Disk(u16),
    EndRead(Option<u16>),
    Live,
    Lost,
    View(u16),
    Wait(u64),
}

fn input() -> impl Strategy<Value = Input> {
    prop_oneof![
        4 => set().prop_map(Input::View),
        3 => prop_oneof![0..500_u64, 0..40_000_u64].prop_map(Input::Wait),
        1 => Just(Input::BeginRead),
        2 => proptest::option::of(set()).prop_map(Input::EndRead),
        1 => Just(Input::Live),
        1 => Just(Input::Lost),
        1 => set().prop_map(Input::Disk),
    ]
}

/// Twelve instances, all, few or none of them.
fn set() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0), 0..4096_u16, (0..12_u16).prop_map(|n| 1 << n), Just(4095)]
}

fn instances(set: u16, weight: f64) -> Vec<Instance> {
    let all = (0..12).filter(|n| set & (1 << n) != 0).map(instance);
    all.map(|instance| Instance { weight, ..instance }).collect()
}

struct Model {
    service: Service,
    now: Instant,
    /// What the machine last took as said.
    said: Vec<Instance>,
    heard: bool,
    told: Option<Vec<Instance>>,
    reads: Vec<ReadStart>,
    /// Each view is told apart by its weight.
    weight: f64,
}

impl Model {
    fn published(&self) -> BTreeMap<u16, f64> {
        let all: Vec<_> = self.service.published().cloned().collect();
        numbers(&all).into_iter().zip(all.iter().map(|instance| instance.weight)).collect()
    }

    fn step(&mut self, input: &Input) {
        let before = self.published();
        self.weight += 1.0;
        let mut may_empty = false;
        let mut may_change = true;
        match input {
            Input::View(set) => self.say(*set),
            Input::BeginRead => {
                self.reads.push(self.service.start_read(self.now, Purpose::Relist));
                may_change = false;
            }
            Input::EndRead(answer) => {
                let Some(start) = self.reads.pop() else { return };
                may_empty = !start.is_relist();
                may_change = answer.is_some();
                let all = answer.map(|set| instances(set, self.weight));
                self.service.read(self.now, start, all.clone().map(View::Instances));
                // A push since then is newer, and what it said stands.
                let taken = all.filter(|_| !self.service.has_overtaken(&start));
                if let Some(taken) = taken {
                    (self.said, self.heard) = (taken, true);
                }
            }
            Input::Live => {
                self.service.live(self.now);
                may_change = false;
            }
            Input::Lost => {
                self.service.lost(self.now);
                may_change = false;
            }
            Input::Disk(set) => {
                self.service.disk(self.now, instances(*set, self.weight), self.now);
                may_change = false;
            }
            Input::Wait(millis) => {
                self.now += Duration::from_millis(*millis);
                self.poll();
                may_change = !self.heard;
            }
        }
        let after = self.published();
        assert!(may_change || before == after, "{input:?}: {before:?} -> {after:?}");
        let emptied = after.is_empty() && !before.is_empty();
        assert!(may_empty || !emptied, "{input:?} alone emptied {before:?}");
        if self.heard {
            for instance in &self.said {
                let number = numbers([instance])[0];
                assert_eq!(
                    after.get(&number),
                    Some(&instance.weight),
                    "{input:?}: said is published"
                );
            }
        }
    }

    fn poll(&mut self) {
        while let Some(action) = self.service.poll(self.now) {
            match action {
                Action::Confirm => {
                    self.reads.push(self.service.start_read(self.now, Purpose::Confirm));
                }
                Action::Publish(all) => self.told = Some(all.to_vec()),
            }
        }
    }

    fn say(&mut self, set: u16) {
        let all = instances(set, self.weight);
        self.service.view(self.now, View::Instances(all.clone()));
        (self.said, self.heard) = (all, true);
    }

    /// Nothing goes wrong any more; every read answers with what was said.
    fn settle(&mut self, set: u16) {
        self.weight += 1.0;
        self.service.live(self.now);
        self.say(set);
        let started = self.now;
        for lost in std::mem::take(&mut self.reads) {
            self.service.read(self.now, lost, None);
        }
        loop {
            self.poll();
            if let Some(start) = self.reads.pop() {
                let truth = View::Instances(self.said.clone());
                self.service.read(self.now, start, Some(truth));
                continue;
            }
            let Some(next) = self.service.deadline() else { break };
            assert!(next > self.now, "a deadline that has passed is done");
            self.now = next;
        }
        // A failed confirmation is repeated after 30 s at the latest, then each grace runs once.
        assert!(
            self.now - started <= Duration::from_secs(30 + 30 + 15),
            "{:?}",
            self.now - started
        );
        assert_eq!(self.told, Some(self.said.clone()), "it ends where the registry is");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_the_rules(inputs in proptest::collection::vec(input(), 1..60), end in set()) {
        let mut model = Model {
            service: Service::new(GRACES, false),
            now: Instant::now(),
            said: Vec::new(),
            heard: false,
            told: None,
            reads: Vec::new(),
            weight: 0.0,
        };
        for input in &inputs {
            model.step(input);
        }
        model.settle(end);
    }
}
