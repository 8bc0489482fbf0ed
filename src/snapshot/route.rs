//! A route as it runs: its policies, and what it does with a request that may pass.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{BuildError, Served, Snapshot};
use crate::{
    answer::Answer,
    config::{self, Mode},
    forward::Edits,
    policy::{
        body_size::BodyLimit,
        cors::Cors,
        ip_filter::IpFilter,
        jwt::{Issuer, JwtPolicy},
        rate_limit::{LimitFields, RATE_LIMIT, RATE_LIMIT_POLICY, RateLimit, Verdict},
    },
    route::{Redirect, Rewrite},
    telemetry::metrics::{Metrics, RouteMetrics, UpstreamMetrics},
    upstream::{CircuitBreaker, Targets, Upstream},
};

/// One `[[route]]`, ready to judge requests.
pub struct Route {
    pub name: Arc<str>,
    pub metrics: Arc<RouteMetrics>,
    pub ip_filter: Option<Guarded<IpFilter>>,
    pub cors: Option<Guarded<Cors>>,
    pub jwt: Option<Guarded<JwtPolicy>>,
    pub rate_limit: Option<Guarded<Limit>>,
    pub max_body: Option<Guarded<BodyLimit>>,
    pub action: Action,
    pub rewrite: Rewrite,
    pub request_edits: Edits,
    pub response_edits: Edits,
    pattern: String,
    config: config::Route,
}

/// A policy and whether its "no" refuses.
pub struct Guarded<P> {
    pub policy: P,
    pub mode: Mode,
}

/// A rate limit, and what responses say of it.
pub struct Limit {
    pub buckets: Arc<RateLimit>,
    pub fields: LimitFields,
}

/// What a route does.
pub enum Action {
    Answer(Answer),
    Forward(Destination),
    Redirect(Redirect),
}

/// The upstreams that a route forwards to.
pub struct Destination {
    targets: Targets<usize>,
    to: Vec<Target>,
}

/// One of a route's upstreams, and the breaker between the two.
pub struct Target {
    pub name: Arc<str>,
    pub upstream: Arc<Upstream>,
    pub metrics: Arc<UpstreamMetrics>,
    pub breaker: Option<Guarded<Arc<CircuitBreaker>>>,
}

/// What routes are built from.
pub(super) struct Parts<'a> {
    pub(super) upstreams: &'a BTreeMap<Arc<str>, Served>,
    pub(super) issuers: &'a BTreeMap<String, Arc<Issuer>>,
    pub(super) metrics: &'a Metrics,
    pub(super) before: Option<&'a Snapshot>,
}

// === impl Route ===

impl Route {
    pub(super) fn build(config: &config::Route, parts: &Parts<'_>) -> Result<Self, BuildError> {
        let before =
            parts.before.and_then(|before| before.route_named(&config.name)).map(|route| &**route);
        let wrong = |message: String| BuildError {
            span: config.name.span(),
            message: format!("route `{}`: {message}", *config.name),
        };
        let header_edits = |edits| Edits::new(edits).map_err(|error| wrong(error.to_string()));
        Ok(Self {
            name: config.name.as_str().into(),
            metrics: parts.metrics.route(&config.name),
            ip_filter: config
                .ip_filter
                .as_ref()
                .map(|filter| Guarded { policy: IpFilter::new(filter), mode: filter.mode }),
            cors: config.cors.as_ref().map(|cors| build_cors(cors, wrong)).transpose()?,
            jwt: config
                .jwt
                .as_ref()
                .map(|config::UseJwt(jwt)| build_jwt(jwt, parts, wrong))
                .transpose()?,
            rate_limit: config.rate_limit.as_ref().map(|limit| build_limit(config, limit, before)),
            max_body: config
                .max_body
                .as_ref()
                .map(|limit| Guarded { policy: BodyLimit::new(limit.size), mode: limit.mode }),
            action: build_action(config, parts, before).map_err(wrong)?,
            rewrite: Rewrite::new(&config.rewrite, &config.path)
                .map_err(|error| wrong(error.to_string()))?,
            request_edits: header_edits(&config.request_headers)?,
            response_edits: header_edits(&config.response_headers)?,
            pattern: config.path.to_string(),
            config: config.clone(),
        })
    }

    /// What the file says of it.
    pub fn config(&self) -> &config::Route {
        &self.config
    }

    /// The targets, where it forwards.
    pub fn targets(&self) -> &[Target] {
        match &self.action {
            Action::Forward(destination) => &destination.to,
            Action::Answer(_) | Action::Redirect(_) => &[],
        }
    }

    /// Whether CORS decides here who may read responses, and not the upstream.
    pub fn has_cors(&self) -> bool {
        self.cors.as_ref().is_some_and(|cors| cors.mode == Mode::Enforce)
    }

    /// Whether [`Route::annotations`] has anything to say.
    pub fn annotates(&self) -> bool {
        self.cors.is_some() || self.rate_limit.is_some()
    }

    /// What the policies add to every response, answers of our own included.
    pub fn annotations(
        &self,
        request: &HeaderMap,
        verdict: Option<&Verdict>,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let cors = self
            .cors
            .as_ref()
            .filter(|_| self.has_cors())
            .map(|cors| cors.policy.annotations(request));
        let limit = self.rate_limit.as_ref().zip(verdict).map(|(limit, verdict)| {
            let fields = &limit.policy.fields;
            [(RATE_LIMIT_POLICY, fields.policy().clone()), (RATE_LIMIT, fields.state(verdict))]
        });
        cors.into_iter().flatten().chain(limit.into_iter().flatten())
    }

    /// The route's pattern of the path, as metrics and logs name it.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Headers that are set from claims.
    pub(super) fn identity_headers(&self) -> impl Iterator<Item = &HeaderName> {
        self.jwt.iter().flat_map(|jwt| jwt.policy.header_names())
    }
}

fn build_jwt(
    jwt: &config::JwtPolicy,
    parts: &Parts<'_>,
    wrong: impl Fn(String) -> BuildError,
) -> Result<Guarded<JwtPolicy>, BuildError> {
    let issuer = parts
        .issuers
        .get(jwt.issuer.as_str())
        .ok_or_else(|| wrong(format!("there is no [jwt.{}]", *jwt.issuer)))?;
    let policy = JwtPolicy::new(jwt, issuer.clone()).map_err(|error| wrong(error.to_string()))?;
    Ok(Guarded { policy, mode: jwt.mode })
}

fn build_cors(
    cors: &config::Cors,
    wrong: impl Fn(String) -> BuildError,
) -> Result<Guarded<Cors>, BuildError> {
    let policy = Cors::new(cors).map_err(|error| wrong(error.to_string()))?;
    Ok(Guarded { policy, mode: cors.mode })
}

/// Buckets live on while their own parameters are as before.
fn build_limit(
    route: &config::Route,
    limit: &config::RateLimit,
    before: Option<&Route>,
) -> Guarded<Limit> {
    let running =
        before.and_then(|before| before.rate_limit.as_ref()).map(|running| &running.policy.buckets);
    let kept = running.filter(|running| running.same(limit)).cloned();
    let buckets = kept.unwrap_or_else(|| Arc::new(RateLimit::new(limit, Instant::now())));
    let fields = LimitFields::new(&route.name, &buckets);
    Guarded { policy: Limit { buckets, fields }, mode: limit.mode }
}

fn build_action(
    config: &config::Route,
    parts: &Parts<'_>,
    before: Option<&Route>,
) -> Result<Action, String> {
    if let Some(redirect) = &config.redirect {
        return Redirect::new(redirect, &config.path)
            .map(Action::Redirect)
            .map_err(|error| error.to_string());
    }
    if let Some(answer) = &config.answer {
        return Answer::configured(answer).map(Action::Answer).map_err(|error| error.to_string());
    }
    let Some(to) = &config.to else {
        return Err("it has neither `to` nor `redirect` nor `answer`".into());
    };
    let target = |target: &config::WeightedTarget| {
        let served = parts.upstreams.get(target.upstream.as_str());
        let served =
            served.ok_or_else(|| format!("there is no upstream `{}`", *target.upstream))?;
        let breaker = config
            .circuit_breaker
            .as_ref()
            .map(|breaker| build_breaker(breaker, &target.upstream, before));
        let metrics = parts.metrics.upstream(&target.upstream);
        Ok(Target {
            name: target.upstream.as_str().into(),
            upstream: served.upstream.clone(),
            metrics,
            breaker,
        })
    };
    let targets = Targets::new(to.0.iter().map(|target| target.weight).enumerate())
        .ok_or("none of its upstreams has a weight")?;
    let to = to.0.iter().map(target).collect::<Result<_, String>>()?;
    Ok(Action::Forward(Destination { targets, to }))
}

/// A breaker's window lives on while its own parameters are as before.
fn build_breaker(
    breaker: &config::CircuitBreaker,
    upstream: &str,
    before: Option<&Route>,
) -> Guarded<Arc<CircuitBreaker>> {
    let same = |was: &config::CircuitBreaker| {
        config::CircuitBreaker { mode: breaker.mode, ..was.clone() } == *breaker
    };
    let kept = before.filter(|before| before.config.circuit_breaker.as_ref().is_some_and(same));
    let kept =
        kept.and_then(|before| before.targets().iter().find(|target| &*target.name == upstream));
    let kept =
        kept.and_then(|target| target.breaker.as_ref()).map(|breaker| breaker.policy.clone());
    let policy = kept.unwrap_or_else(|| Arc::new(CircuitBreaker::new(breaker, Instant::now())));
    Guarded { policy, mode: breaker.mode }
}

// === impl Destination ===

impl Destination {
    /// Draws a target by weight. One that cannot take the call is passed over when another one can.
    pub fn choose(&self, rng: &mut fastrand::Rng, now: Instant) -> usize {
        let takes_calls =
            |index: &usize| self.target(*index).is_some_and(|target| target.takes_calls(now));
        self.targets.choose(rng, takes_calls).copied().unwrap_or_default()
    }

    pub fn target(&self, index: usize) -> Option<&Target> {
        self.to.get(index)
    }
}

// === impl Target ===

impl Target {
    fn takes_calls(&self, now: Instant) -> bool {
        let open = |breaker: &Guarded<Arc<CircuitBreaker>>| {
            breaker.mode == Mode::Enforce && breaker.policy.peek(now).is_err()
        };
        !self.breaker.as_ref().is_some_and(open) && self.upstream.has_instances()
    }
}
