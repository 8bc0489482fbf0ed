//! One service on a clock that is moved by hand.

use std::time::{Duration, Instant};

use super::{GRACES, numbers, view};
use crate::{
    config::Graces,
    registry::{
        View,
        keeper::service::{Action, Purpose, Service},
    },
};

/// A service, its clock, and what was published last.
pub(super) struct Bench {
    pub(super) service: Service,
    pub(super) now: Instant,
    pub(super) published: Option<Vec<u16>>,
    pub(super) publishes: usize,
    pub(super) confirm: bool,
}

impl Bench {
    pub(super) fn new(graces: Graces) -> Self {
        let service = Service::new(graces, false);
        Self { service, now: Instant::now(), published: None, publishes: 0, confirm: false }
    }

    pub(super) fn live(numbers: impl IntoIterator<Item = u16>) -> Self {
        let mut bench = Self::new(GRACES);
        bench.service.live(bench.now);
        bench.say(numbers);
        bench
    }

    pub(super) fn say(&mut self, numbers: impl IntoIterator<Item = u16>) {
        self.view(view(numbers));
    }

    pub(super) fn view(&mut self, view: View) {
        self.service.view(self.now, view);
        self.wait(0);
    }

    /// Lets time pass, deadline by deadline; without answers to confirming reads.
    pub(super) fn wait(&mut self, millis: u64) {
        let until = self.now + Duration::from_millis(millis);
        loop {
            while let Some(action) = self.service.poll(self.now) {
                match action {
                    Action::Confirm => self.confirm = true,
                    Action::Publish(all) => {
                        self.published = Some(numbers(all.iter()));
                        self.publishes += 1;
                    }
                }
            }
            match self.service.deadline().filter(|at| *at <= until) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
        }
        self.now = until;
    }

    pub(super) fn confirm(&mut self, answer: Option<View>) {
        assert!(std::mem::take(&mut self.confirm), "no confirming read was asked for");
        let start = self.service.start_read(self.now, Purpose::Confirm);
        self.service.read(self.now, start, answer);
        self.wait(0);
    }

    pub(super) fn relist(&mut self, answer: Option<View>) {
        let start = self.service.start_read(self.now, Purpose::Relist);
        self.service.read(self.now, start, answer);
        self.wait(0);
    }

    /// Past any debounce.
    pub(super) fn settle(&mut self) -> Vec<u16> {
        self.wait(1000);
        self.published.clone().unwrap()
    }

    #[track_caller]
    pub(super) fn is(&mut self, expected: impl IntoIterator<Item = u16>) {
        assert_eq!(self.settle(), expected.into_iter().collect::<Vec<_>>());
    }

    pub(super) fn held(&self) -> bool {
        self.service.status(self.now).held
    }
}
