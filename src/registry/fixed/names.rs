//! Which names have been resolved to what, and when each is asked for again.
//!
//! Used by the `fixed` kind. A failure to resolve never changes what is known.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::resolver::{Answer, Family, ResolveError};

/// However short its TTL, a name is not asked for more often than this.
const SHORTEST: Duration = Duration::from_secs(1);

/// What a TTL of zero means to us.
const WITHOUT_TTL: Duration = Duration::from_secs(5);

/// However long its TTL, a name is asked for again by then.
const LONGEST: Duration = Duration::from_secs(60);

/// The first wait after a failure; each further one is twice as long, up to [`LONGEST`].
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// A name and one family of addresses: each is answered, fails and expires by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    pub(super) name: String,
    pub(super) family: Family,
}

/// The last answer to each question.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<BTreeMap<Question, Learnt>>);

#[derive(Debug, Default)]
struct Learnt {
    addresses: Vec<IpAddr>,
    /// Whether there were addresses before, and are none now.
    lost: bool,
}

/// When each question is asked next.
#[derive(Debug, Default)]
pub(super) struct Schedule(BTreeMap<Question, Turn>);

#[derive(Debug)]
struct Turn {
    /// `None` while it is being asked.
    at: Option<Instant>,
    failures: u32,
}

// === impl Question ===

impl Question {
    pub(super) fn both(name: &str) -> [Self; 2] {
        [Family::V4, Family::V6].map(|family| Self { name: name.into(), family })
    }
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.family {
            Family::V4 => "A",
            Family::V6 => "AAAA",
        };
        write!(f, "{} {kind}", self.name)
    }
}

// === impl Known ===

impl Known {
    /// Empty when the name is known to have none; `None` when it was never answered.
    pub(super) fn addresses(&self, question: &Question) -> Option<Vec<IpAddr>> {
        self.0.lock().get(question).map(|learnt| learnt.addresses.clone())
    }

    /// Whether there were addresses that an answer has taken away.
    pub(super) fn has_lost(&self, question: &Question) -> bool {
        self.0.lock().get(question).is_some_and(|learnt| learnt.lost)
    }

    pub(super) fn learn(&self, question: &Question, answer: Answer) {
        let mut known = self.0.lock();
        let learnt = known.entry(question.clone()).or_default();
        let had = learnt.lost || !learnt.addresses.is_empty();
        learnt.lost = had && answer.addresses.is_empty();
        learnt.addresses = answer.addresses;
    }
}

// === impl Schedule ===

impl Schedule {
    /// Asks these, and no others: new ones now.
    pub(super) fn want(&mut self, questions: BTreeSet<Question>, now: Instant) {
        self.0.retain(|question, _| questions.contains(question));
        for question in questions {
            self.0.entry(question).or_insert(Turn { at: Some(now), failures: 0 });
        }
    }

    /// A question whose time has come; it is out until it [`Self::ended`].
    pub(super) fn next(&mut self, now: Instant) -> Option<Question> {
        let due = |turn: &Turn| turn.at.is_some_and(|at| at <= now);
        let (question, turn) = self.0.iter_mut().find(|(_, turn)| due(turn))?;
        turn.at = None;
        Some(question.clone())
    }

    pub(super) fn ended(
        &mut self,
        question: &Question,
        outcome: &Result<Answer, ResolveError>,
        now: Instant,
        chance: f64,
    ) {
        let Some(turn) = self.0.get_mut(question) else { return };
        let wait = match outcome {
            Ok(answer) => {
                turn.failures = 0;
                let ttl = if answer.ttl.is_zero() { WITHOUT_TTL } else { answer.ttl };
                ttl.clamp(SHORTEST, LONGEST)
            }
            Err(_) => {
                turn.failures = turn.failures.saturating_add(1);
                let factor = 1_u32.checked_shl(turn.failures - 1).unwrap_or(u32::MAX);
                AFTER_FAILURE.saturating_mul(factor).min(LONGEST)
            }
        };
        // A tenth more or less, so that names do not come due together, nor gateways.
        turn.at = Some(now + wait.mul_f64(0.9 + 0.2 * chance));
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.0.values().filter_map(|turn| turn.at).min()
    }
}
