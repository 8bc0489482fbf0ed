//! What to believe of one service: the state machine that every registry's views go through.
//!
//! Driven by the keeper's task, which tells it what was heard and when, and carries out what [`Service::poll`] asks
//! for. It never does I/O, never reads a clock, and never takes an error for an answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    backoff::Backoff,
    instances::{ByAddress, by_address, same},
    outbox::Outbox,
    status::{Origin, ServiceStatus, ViewCounts, ViewState},
};
use crate::{
    config::Graces,
    registry::{Instance, View},
};

/// A registry that lives is asked first; only when it is silent for this long does the disk copy speak.
pub(super) const DISK_PATIENCE: Duration = Duration::from_secs(1);

/// Fewer instances than this are no crowd: that one of two goes says nothing.
const SMALLEST_CROWD: usize = 4;

/// Reconnects put a removal off by so many reconnect graces in all.
const MOST_RECONNECTS: u32 = 4;

const CONFIRM_AGAIN: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30));

/// All that is believed of one service.
///
/// Published is what the registry said last, with the instances that it no longer names but that are kept: each until
/// it comes back, or until it was gone for its grace and a read of its own agrees, or until others replace them all.
#[derive(Debug)]
pub(super) struct Service {
    graces: Graces,
    origin: Option<Origin>,
    said: ByAddress,
    kept: BTreeMap<SocketAddr, Kept>,
    hold: Option<Hold>,
    confirm: Confirm,
    disk: Option<DiskView>,
    link: Link,
    stale_since: Option<Instant>,
    heard: Option<Instant>,
    /// Counts pushes, so that a read which a push has overtaken is known.
    pushes: u64,
    outbox: Outbox,
    sent: Option<Arc<[Instance]>>,
    counts: ViewCounts,
}

/// What the keeper is to do next.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Read the service, independently of the session, and report with [`Service::read`].
    Confirm,
    /// Hand these to the subscribers.
    Publish(Arc<[Instance]>),
}

/// Taken when a read begins, and given back with its outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadStart {
    at: Instant,
    pushes: u64,
    purpose: Purpose,
}

/// Why a service is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Confirm,
    /// To find what a push has lost.
    Relist,
}

/// An instance that the registry no longer names.
#[derive(Debug)]
struct Kept {
    instance: Instance,
    since: Instant,
    /// When its removal may be believed, if a read agrees.
    due: Instant,
}

/// Since when instances are kept, and what stood before.
#[derive(Debug)]
struct Hold {
    since: Instant,
    base: BTreeSet<SocketAddr>,
}

#[derive(Debug)]
enum Confirm {
    Idle { failures: u32, not_before: Option<Instant> },
    Reading { failures: u32 },
}

#[derive(Debug)]
struct DiskView {
    instances: ByAddress,
    written: Instant,
    /// When it is used, if nothing better came.
    at: Instant,
}

#[derive(Debug)]
enum Link {
    Up {
        /// Until then our own reconnect is recent, and removals wait.
        settling: Option<Instant>,
    },
    Down,
}

// === impl Service ===

impl Service {
    /// A service of which nothing is known. `down`: whether the registry is known to be lost now.
    pub(super) fn new(graces: Graces, down: bool) -> Self {
        Self {
            graces,
            origin: None,
            said: ByAddress::new(),
            kept: BTreeMap::new(),
            hold: None,
            confirm: Confirm::IDLE,
            disk: None,
            link: if down { Link::Down } else { Link::Up { settling: None } },
            stale_since: None,
            heard: None,
            pushes: 0,
            outbox: Outbox::default(),
            sent: None,
            counts: ViewCounts::default(),
        }
    }

    /// The session says all there is.
    pub(super) fn view(&mut self, now: Instant, view: View) {
        self.pushes += 1;
        match by_address(view) {
            Some(view) => self.take(now, view),
            None => self.counts.refused += 1,
        }
    }

    /// A read of the service begins.
    pub(super) fn start_read(&self, now: Instant, purpose: Purpose) -> ReadStart {
        ReadStart { at: now, pushes: self.pushes, purpose }
    }

    /// A read has ended, with what the registry says or without (`None`).
    pub(super) fn read(&mut self, now: Instant, start: ReadStart, view: Option<View>) {
        let answered = view.is_some();
        let view = view.and_then(by_address);
        if answered && view.is_none() {
            self.counts.refused += 1;
        }
        if start.purpose == Purpose::Confirm {
            self.confirm = self.confirm.ended(now, view.is_some());
        }
        let Some(view) = view else { return };
        // That nothing is left is only believed of a push and a read that both say so.
        let agrees = !self.said.is_empty() || view.is_empty() || !self.has_overtaken(&start);
        if start.purpose == Purpose::Confirm && agrees {
            self.release(now, start.at, &view);
        }
        if self.has_overtaken(&start) {
            self.extend(start.at, &view);
        } else {
            self.take(now, view);
        }
    }

    /// Whether a push has come since: what it said is newer than what the read says.
    pub(super) fn has_overtaken(&self, start: &ReadStart) -> bool {
        start.pushes != self.pushes
    }

    /// The session is lost, or an attempt at one has failed.
    pub(super) fn lost(&mut self, now: Instant) {
        if matches!(self.link, Link::Down) {
            return;
        }
        self.link = Link::Down;
        if self.origin.is_some() && self.stale_since.is_none() {
            self.stale_since = Some(now);
        }
        if let Some(disk) = &mut self.disk {
            disk.at = disk.at.min(now);
        }
    }

    /// The registry has accepted a session.
    pub(super) fn live(&mut self, now: Instant) {
        let again = matches!(self.link, Link::Down) && self.origin == Some(Origin::Live);
        let grace = self.graces.reconnect_grace.0;
        let settling = (again && !grace.is_zero()).then(|| now + grace);
        self.link = Link::Up { settling };
        // A registry that is just back may still be collecting its instances; one that comes and goes for ever is not.
        for kept in self.kept.values_mut() {
            let until = settling.map(|until| until.min(kept.since + grace * MOST_RECONNECTS));
            kept.due = kept.due.max(until.unwrap_or(kept.due));
        }
    }

    /// What an earlier run left on the disk, for when the registry is silent.
    pub(super) fn disk(&mut self, now: Instant, instances: Vec<Instance>, written: Instant) {
        let Some(instances) = by_address(View::Instances(instances)) else { return };
        if self.origin.is_none() {
            let patience =
                if matches!(self.link, Link::Down) { Duration::ZERO } else { DISK_PATIENCE };
            self.disk = Some(DiskView { instances, written, at: now + patience });
        }
    }

    /// What is to be done now; asked again until there is nothing.
    pub(super) fn poll(&mut self, now: Instant) -> Option<Action> {
        if self.disk.as_ref().is_some_and(|disk| disk.at <= now) {
            self.use_disk(now);
        }
        if self.outbox.take(now) {
            let all: Arc<[Instance]> = self.published().cloned().collect();
            let known = self.sent.as_ref().is_some_and(|sent| same(sent.iter(), all.iter()));
            if !known {
                self.sent = Some(all.clone());
                return Some(Action::Publish(all));
            }
        }
        let confirm = self.confirm_at().is_some_and(|at| at <= now);
        confirm.then(|| {
            self.confirm = self.confirm.started();
            Action::Confirm
        })
    }

    /// When [`Self::poll`] has something to say though nothing more is heard.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let disk = self.disk.as_ref().map(|disk| disk.at);
        [disk, self.outbox.deadline(), self.confirm_at()].into_iter().flatten().min()
    }

    /// What may be kept on the disk: only what the registry itself has said, and nothing while it is in doubt.
    pub(super) fn to_save(&self) -> Option<&Arc<[Instance]>> {
        let sure = self.origin == Some(Origin::Live) && self.hold.is_none();
        self.sent.as_ref().filter(|_| sure && self.outbox.deadline().is_none())
    }

    /// Whether the registry itself has ever said anything of it.
    pub(super) fn is_known(&self) -> bool {
        self.origin == Some(Origin::Live)
    }

    pub(super) fn status(&self, now: Instant) -> ServiceStatus {
        let age = |at: Instant| now.saturating_duration_since(at).as_secs_f64();
        let state = match (self.origin, self.stale_since) {
            (None, _) => ViewState::Never,
            (Some(_), None) => ViewState::Fresh,
            (Some(_), Some(_)) => ViewState::Stale,
        };
        ServiceStatus {
            state,
            age_seconds: self.heard.map(age),
            stale_seconds: self.stale_since.map(age),
            origin: self.origin,
            instances: self.said.len() + self.kept.len(),
            held: self.hold.is_some(),
            held_seconds: self.hold.as_ref().map(|hold| age(hold.since)),
            views: self.counts,
        }
    }

    /// In the order of addresses: no address is both said and kept.
    pub(super) fn published(&self) -> impl Iterator<Item = &Instance> {
        let kept: BTreeMap<_, _> =
            self.kept.iter().map(|(at, kept)| (at, &kept.instance)).collect();
        let mut all = kept;
        all.extend(self.said.iter());
        all.into_values()
    }

    fn confirm_at(&self) -> Option<Instant> {
        let Confirm::Idle { not_before, .. } = self.confirm else { return None };
        let due = self.kept.values().map(|kept| kept.due).min()?;
        Some(not_before.map_or(due, |at| at.max(due)))
    }

    /// Takes what the registry says now. What it adds or changes holds at once; what it misses is judged.
    fn take(&mut self, now: Instant, view: ByAddress) {
        // A registry that starts together with us may still be collecting its instances.
        if view.is_empty() && !self.graces.empty_grace.0.is_zero() {
            self.use_disk(now);
        }
        self.heard = Some(now);
        self.disk = None;
        self.stale_since = match self.link {
            Link::Up { .. } => None,
            Link::Down => self.stale_since.or(Some(now)),
        };
        let old = std::mem::replace(&mut self.said, view);
        let first = self.origin.is_none();
        let known = !first && same(old.values(), self.said.values());
        let kept_before = self.kept.len();
        self.kept.retain(|address, _| !self.said.contains_key(address));
        let base = self.base(&old);
        let gone: Vec<_> =
            old.into_values().filter(|i| !self.said.contains_key(&i.address)).collect();
        let held = match self.judge(now, &base) {
            Verdict::Keep(due) if !gone.is_empty() => {
                self.hold.get_or_insert(Hold { since: now, base });
                let keep =
                    |instance: Instance| (instance.address, Kept { instance, since: now, due });
                self.kept.extend(gone.into_iter().map(keep));
                true
            }
            Verdict::Replaced => {
                self.kept.clear();
                false
            }
            Verdict::Believe | Verdict::Keep(_) => false,
        };
        if self.kept.is_empty() {
            self.end_hold();
        }
        let changed = !known || kept_before != self.kept.len();
        self.count(held, changed);
        self.origin = Some(self.origin_now());
        if changed {
            self.outbox.changed(now);
        }
    }

    /// What stood before anything was missed.
    fn base(&self, old: &ByAddress) -> BTreeSet<SocketAddr> {
        match &self.hold {
            Some(hold) => hold.base.clone(),
            None => old.keys().copied().collect(),
        }
    }

    /// How far to believe that what `base` has and `said` has not is gone.
    fn judge(&self, now: Instant, base: &BTreeSet<SocketAddr>) -> Verdict {
        let nothing = self.said.is_empty();
        if self.origin == Some(Origin::Disk) && !nothing {
            return Verdict::Replaced;
        }
        let missing = base.iter().filter(|address| !self.said.contains_key(address)).count();
        let added = self.said.keys().filter(|address| !base.contains(address)).count();
        let settling = self.settling(now);
        if settling.is_none() && !nothing && added * 2 >= missing {
            return Verdict::Replaced;
        }
        let empty_grace = self.graces.empty_grace.0;
        let threshold = self.graces.shrink_threshold.0;
        let shrunken = threshold > 0.0
            && base.len() >= SMALLEST_CROWD
            // Shares such as 55 % of 20 are a hair above the whole number they mean.
            && missing as f64 >= threshold * base.len() as f64 - 1e-9;
        let doubted = (!empty_grace.is_zero() && (nothing || shrunken)).then(|| now + empty_grace);
        match settling.max(doubted) {
            Some(due) => Verdict::Keep(due),
            None => Verdict::Believe,
        }
    }

    /// Until when removals wait because our own session is lost or was just found again.
    fn settling(&self, now: Instant) -> Option<Instant> {
        match self.link {
            Link::Up { settling } => settling.filter(|until| now < *until),
            Link::Down => {
                let grace = self.graces.reconnect_grace.0;
                (!grace.is_zero()).then(|| now + grace)
            }
        }
    }

    /// A read that began at `read_at` agrees that these are gone: they were due by then, and it does not name them.
    fn release(&mut self, now: Instant, read_at: Instant, view: &ByAddress) {
        let before = self.kept.len();
        self.kept.retain(|address, kept| kept.due > read_at || view.contains_key(address));
        if self.kept.len() == before {
            return;
        }
        let base = self.published().map(|instance| instance.address).collect();
        if let Some(hold) = &mut self.hold {
            hold.base = base;
        }
        if self.kept.is_empty() {
            self.end_hold();
        }
        self.origin = Some(self.origin_now());
        self.outbox.changed(now);
    }

    /// What a read saw, though a push has taken it away since, has not been gone for longer than that.
    fn extend(&mut self, read_at: Instant, view: &ByAddress) {
        let due = read_at + self.graces.empty_grace.0;
        for (_, kept) in self.kept.iter_mut().filter(|(address, _)| view.contains_key(address)) {
            kept.due = kept.due.max(due);
        }
    }

    fn end_hold(&mut self) {
        self.hold = None;
        if let Confirm::Idle { .. } = self.confirm {
            self.confirm = Confirm::IDLE;
        }
    }

    fn count(&mut self, held: bool, changed: bool) {
        let counter = match (held, changed) {
            (true, _) => &mut self.counts.held,
            (false, true) => &mut self.counts.applied,
            (false, false) => &mut self.counts.unchanged,
        };
        *counter += 1;
    }

    /// Instances from the disk are in use until the registry names others, or they are believed to be gone.
    fn origin_now(&self) -> Origin {
        let still_disk =
            self.origin == Some(Origin::Disk) && self.said.is_empty() && !self.kept.is_empty();
        if still_disk { Origin::Disk } else { Origin::Live }
    }

    fn use_disk(&mut self, now: Instant) {
        let Some(disk) = self.disk.take() else { return };
        self.said = disk.instances;
        self.heard = Some(disk.written);
        self.stale_since = Some(now);
        self.origin = Some(Origin::Disk);
        self.outbox.changed(now);
    }
}

/// What to make of the instances that a view misses.
enum Verdict {
    /// They are gone.
    Believe,
    /// They stay until then, and until a read agrees.
    Keep(Instant),
    /// Others stand in their place: they are gone, and with them all that was kept before.
    Replaced,
}

// === impl ReadStart ===

impl ReadStart {
    pub(super) fn is_relist(&self) -> bool {
        self.purpose == Purpose::Relist
    }
}

// === impl Confirm ===

impl Confirm {
    const IDLE: Self = Self::Idle { failures: 0, not_before: None };

    fn started(&self) -> Self {
        let (Self::Idle { failures, .. } | Self::Reading { failures }) = *self;
        Self::Reading { failures }
    }

    fn ended(&self, now: Instant, answered: bool) -> Self {
        if answered {
            return Self::IDLE;
        }
        let (Self::Idle { failures, .. } | Self::Reading { failures }) = *self;
        let failures = failures.saturating_add(1);
        // The keeper spreads reads over time; no jitter is needed here.
        Self::Idle { failures, not_before: Some(now + CONFIRM_AGAIN.after(failures, 0)) }
    }
}
