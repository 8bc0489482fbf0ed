//! Which route, may it pass, which instance: the one function that decides.
//!
//! The proxy calls it for every request, `explain` and the tests call the same. It reads one snapshot and the facts of
//! one request; time and chance come in, and only [`Act::Take`] changes anything (a token, a permit).

use std::{net::IpAddr, sync::Arc, time::Instant};

use crate::{
    answer::Cause,
    config::Mode,
    policy::{
        cors::{Preflight, PreflightRefusal},
        jwt::{Claims, Refusal},
        rate_limit,
    },
    route::{self, Found, Table},
    snapshot::{Action, Destination, Guarded, Route, Snapshot},
    telemetry::{LimitDecision, Policies, Policy, TokenResult},
    upstream::{CircuitBreaker, Instance, Permit, Tried},
};
use fastrand::Rng;
use http::HeaderMap;

/// What is known of a request when it is decided.
pub struct Facts<'a> {
    pub request: route::Request<'a>,
    pub client: IpAddr,
    pub now: Instant,
    /// Seconds since 1970, for tokens alone.
    pub now_unix: u64,
}

/// Whether deciding uses anything up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Only looks: for `explain`.
    Peek,
    /// Takes a token from the bucket and a permit from the breaker: for a request that is really there.
    Take,
}

/// Told what was looked at on the way. Deciding with `()` costs nothing for it.
pub trait Recorder {
    /// Finds the route; one that is curious asks the table why it is not another.
    fn find(&mut self, table: &Table, request: &route::Request<'_>) -> Found {
        table.find(request)
    }

    /// A policy was asked; `refusal` is its "no", which shadow mode lets pass.
    fn policy(&mut self, _policy: Policy, _mode: Mode, _refusal: Option<&Cause>) {}
}

impl Recorder for () {}

/// What was decided, and what the response has to say of it.
pub struct Decided {
    /// The place of the route in the snapshot: a request that holds the one need not hold the other.
    pub route: Option<usize>,
    pub claims: Option<Arc<Claims>>,
    /// Of a limit that refuses: one in shadow mode must not tell clients to slow down.
    pub limit: Option<rate_limit::Verdict>,
    /// What was found where the route asks for a token.
    pub token: Option<TokenResult>,
    /// What the rate limit said, in shadow mode too.
    pub limited: Option<LimitDecision>,
    /// The policies that would have refused, were they not in shadow mode.
    pub shadow: Policies,
    pub verdict: Verdict,
}

impl Decided {
    /// The route that was found in `snapshot`, which has to be the one that was decided by.
    pub fn route<'a>(&self, snapshot: &'a Snapshot) -> Option<&'a Arc<Route>> {
        self.route.and_then(|index| snapshot.route(index))
    }
}

/// What happens to the request.
pub enum Verdict {
    /// The route answers by itself.
    Answer,
    Forward(Forward),
    /// CORS answers a preflight with these headers.
    Preflight(HeaderMap),
    Redirect,
    Refused(Cause),
}

/// Where a request goes.
pub struct Forward {
    /// Which of the route's targets.
    pub target: usize,
    /// The first pick.
    pub instance: Arc<Instance>,
    /// The breaker's permit; None without a breaker, and where shadow mode lets pass.
    pub permit: Option<Permit>,
}

/// Decides on one request.
pub fn decide(
    snapshot: &Snapshot,
    facts: &Facts<'_>,
    act: Act,
    rng: &mut Rng,
    recorder: &mut impl Recorder,
) -> Decided {
    let mut decided = Decided {
        route: None,
        claims: None,
        limit: None,
        token: None,
        limited: None,
        shadow: Policies::default(),
        verdict: Verdict::Answer,
    };
    let found = recorder.find(snapshot.table(), &facts.request);
    let route = match found {
        Found::Route(index) => snapshot.route(index).map(|route| (index, route)),
        Found::MethodNotAllowed => {
            let allow = snapshot.table().allowed(&facts.request).into_iter().cloned().collect();
            decided.verdict = Verdict::Refused(Cause::MethodNotAllowed { allow });
            return decided;
        }
        Found::NoRoute => None,
    };
    let Some((index, route)) = route else {
        decided.verdict = Verdict::Refused(Cause::NoRoute);
        return decided;
    };
    let mut judge = Judge { route, facts, act, recorder, decided: &mut decided };
    let verdict = judge.policies().and_then(|early| match early {
        Some(verdict) => Ok(verdict),
        None => judge.destination(rng),
    });
    decided.verdict = verdict.unwrap_or_else(Verdict::Refused);
    decided.route = Some(index);
    decided
}

/// One request before one route.
struct Judge<'a, 'f, R> {
    route: &'a Route,
    facts: &'a Facts<'f>,
    act: Act,
    recorder: &'a mut R,
    decided: &'a mut Decided,
}

impl<R: Recorder> Judge<'_, '_, R> {
    /// Asks each policy in turn. A preflight ends it early: it carries no credentials and reaches no upstream.
    fn policies(&mut self) -> Result<Option<Verdict>, Cause> {
        self.ip_filter()?;
        if let Some(grant) = self.cors()? {
            return Ok(Some(Verdict::Preflight(grant)));
        }
        self.jwt()?;
        self.rate_limit()?;
        self.max_body()?;
        Ok(None)
    }

    fn ip_filter(&mut self) -> Result<(), Cause> {
        let Some(filter) = &self.route.ip_filter else { return Ok(()) };
        let refusal = (!filter.policy.allows(self.facts.client)).then_some(Cause::Denied);
        self.heard(Policy::IpFilter, filter.mode, refusal)
    }

    /// The answer to a preflight that is allowed. In shadow mode a preflight is the upstream's to answer.
    fn cors(&mut self) -> Result<Option<HeaderMap>, Cause> {
        let Some(cors) = &self.route.cors else { return Ok(None) };
        match cors.policy.preflight(self.facts.request.method, self.facts.request.headers) {
            None => Ok(None),
            Some(Preflight::Grant(headers)) => {
                self.heard(Policy::Cors, cors.mode, None)?;
                Ok((cors.mode == Mode::Enforce).then_some(headers))
            }
            Some(Preflight::Refuse(
                PreflightRefusal::Origin | PreflightRefusal::Method | PreflightRefusal::Headers,
            )) => self.heard(Policy::Cors, cors.mode, Some(Cause::Denied)).map(|()| None),
        }
    }

    fn jwt(&mut self) -> Result<(), Cause> {
        let Some(jwt) = &self.route.jwt else { return Ok(()) };
        let checked = jwt.policy.check(self.facts.request.headers, self.facts.now_unix);
        self.decided.token = Some(token_result(checked.as_ref().err()));
        let refusal = match checked {
            Ok(claims) => {
                self.decided.claims = Some(claims);
                None
            }
            Err(refusal) => Some(Cause::Jwt(refusal)),
        };
        self.heard(Policy::Jwt, jwt.mode, refusal)
    }

    fn rate_limit(&mut self) -> Result<(), Cause> {
        let Some(limit) = &self.route.rate_limit else { return Ok(()) };
        let buckets = &limit.policy.buckets;
        let claims = self.decided.claims.as_deref();
        let key =
            buckets.key(self.facts.client, self.facts.request.headers, |name| claims?.get(name));
        let verdict = match self.act {
            Act::Peek => buckets.peek(key, self.facts.now),
            Act::Take => buckets.take(key, self.facts.now),
        };
        let refusal = (!verdict.allowed)
            .then(|| Cause::RateLimited { retry_after: whole_seconds(verdict.reset) });
        self.decided.limited = Some(match (verdict.allowed, limit.mode) {
            (true, _) => LimitDecision::Allow,
            (false, Mode::Enforce) => LimitDecision::Deny,
            (false, Mode::Shadow) => LimitDecision::ShadowDeny,
        });
        if limit.mode == Mode::Enforce {
            self.decided.limit = Some(verdict);
        }
        self.heard(Policy::RateLimit, limit.mode, refusal)
    }

    fn max_body(&mut self) -> Result<(), Cause> {
        let Some(limit) = &self.route.max_body else { return Ok(()) };
        let refusal =
            limit.policy.check(self.facts.request.headers).is_err().then_some(Cause::BodyTooLarge);
        self.heard(Policy::MaxBody, limit.mode, refusal)
    }

    /// What the route does with a request that may pass.
    fn destination(&mut self, rng: &mut Rng) -> Result<Verdict, Cause> {
        match &self.route.action {
            Action::Answer(_) => Ok(Verdict::Answer),
            Action::Redirect(_) => Ok(Verdict::Redirect),
            Action::Forward(destination) => self.forward(destination, rng).map(Verdict::Forward),
        }
    }

    /// Chooses an upstream whose breaker lets calls through, and an instance of it.
    fn forward(&mut self, destination: &Destination, rng: &mut Rng) -> Result<Forward, Cause> {
        let now = self.facts.now;
        let target = destination.choose(rng, now);
        let Some(chosen) = destination.target(target) else { return Err(Cause::NoInstance) };
        let permit = match &chosen.breaker {
            None => None,
            Some(breaker) => self.permit(breaker)?,
        };
        let instance =
            chosen.upstream.pick(&Tried::default(), now, rng).ok_or(Cause::NoInstance)?;
        Ok(Forward { target, instance, permit })
    }

    fn permit(&mut self, breaker: &Guarded<Arc<CircuitBreaker>>) -> Result<Option<Permit>, Cause> {
        let asked = match self.act {
            Act::Peek => breaker.policy.peek(self.facts.now).map(|()| None),
            Act::Take => breaker.policy.try_acquire(self.facts.now).map(Some),
        };
        match asked {
            Ok(permit) => self.heard(Policy::CircuitBreaker, breaker.mode, None).map(|()| permit),
            Err(open) => {
                let refusal =
                    Cause::CircuitBreakerOpen { retry_after: whole_seconds(open.retry_after) };
                self.heard(Policy::CircuitBreaker, breaker.mode, Some(refusal)).map(|()| None)
            }
        }
    }

    /// Turns a policy's "no" into a refusal, or in shadow mode into a mark.
    fn heard(&mut self, policy: Policy, mode: Mode, refusal: Option<Cause>) -> Result<(), Cause> {
        self.recorder.policy(policy, mode, refusal.as_ref());
        match (refusal, mode) {
            (None, _) => Ok(()),
            (Some(refusal), Mode::Enforce) => Err(refusal),
            (Some(_), Mode::Shadow) => {
                self.decided.shadow.insert(policy);
                Ok(())
            }
        }
    }
}

fn token_result(refusal: Option<&Refusal>) -> TokenResult {
    match refusal {
        None => TokenResult::Valid,
        Some(Refusal::Ambiguous) => TokenResult::Ambiguous,
        Some(Refusal::Forbidden(_)) => TokenResult::Forbidden,
        Some(Refusal::Invalid(_)) => TokenResult::Invalid,
        Some(Refusal::Missing) => TokenResult::Missing,
    }
}

/// Rounded up: a client that waits as long as it was told must not be refused again.
fn whole_seconds(time: std::time::Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
