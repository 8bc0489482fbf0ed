//! What the end of a call says about who served it.
//!
//! `gateway` makes an [`Ending`] of what it saw; the circuit breaker and the ejection read it differently. Nothing that a
//! client can bring about alone counts against an upstream.

/// What one call, or one try, counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Failure,
    /// Neither good nor bad: it is as if the call had not been made.
    Neutral,
    Success,
}

/// How a call to an instance ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// By us or by the client: it left, stalled its own body, or was refused on the way.
    Aborted,
    /// With a response of this status, complete as far as we know.
    Answered(u16),
    /// Without one: the connect failed, the connection was reset or broke its protocol, a time-out of the instance ran out.
    Failed,
}

// === impl Ending ===

impl Ending {
    /// For the circuit breaker, which asks whether the service works: every 5xx is a failure, a 4xx says nothing.
    pub const fn for_breaker(self) -> Outcome {
        match self {
            Self::Failed | Self::Answered(500..=599) => Outcome::Failure,
            Self::Answered(100..=399) => Outcome::Success,
            Self::Aborted | Self::Answered(_) => Outcome::Neutral,
        }
    }

    /// For ejection, which asks whether this one instance can be reached and serves: of the 5xx only 502, 503 and 504
    /// are failures, since a bug that answers 500 is the same bug on all the others.
    pub const fn for_ejection(self) -> Outcome {
        match self {
            Self::Failed | Self::Answered(502..=504) => Outcome::Failure,
            Self::Answered(100..=399) => Outcome::Success,
            Self::Aborted | Self::Answered(_) => Outcome::Neutral,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaker_and_ejection_read_endings_in_their_own_way() {
        use Outcome::{Failure, Neutral, Success};
        for (ending, breaker, ejection) in [
            (Ending::Failed, Failure, Failure),
            (Ending::Aborted, Neutral, Neutral),
            (Ending::Answered(101), Success, Success),
            (Ending::Answered(200), Success, Success),
            (Ending::Answered(304), Success, Success),
            (Ending::Answered(404), Neutral, Neutral),
            (Ending::Answered(429), Neutral, Neutral),
            (Ending::Answered(500), Failure, Neutral),
            (Ending::Answered(501), Failure, Neutral),
            (Ending::Answered(502), Failure, Failure),
            (Ending::Answered(503), Failure, Failure),
            (Ending::Answered(504), Failure, Failure),
            (Ending::Answered(599), Failure, Neutral),
            (Ending::Answered(0), Neutral, Neutral),
            (Ending::Answered(999), Neutral, Neutral),
        ] {
            assert_eq!(ending.for_breaker(), breaker, "{ending:?}");
            assert_eq!(ending.for_ejection(), ejection, "{ending:?}");
        }
    }
}
