//! Rules for the policies of a route.

use std::time::Duration;

use super::{Check, Diagnostic, Place, text};
use crate::config::{
    BreakerWindow, CircuitBreaker, Cors, IpFilter, JwtPolicy, LimitKey, RateLimit, Route,
};

/// Buckets that one limit may keep; each takes some tens of bytes.
const MOST_KEYS: u32 = 10_000_000;
/// Calls that a breaker may look back on, each a byte for each route and upstream.
const MOST_CALLS: u32 = 100_000;
/// How far a breaker may look back.
const LONGEST_WINDOW: Duration = Duration::from_secs(3600);
/// How long a bucket may take to fill.
const LONGEST_FILL: Duration = Duration::from_secs(10 * 366 * 86_400);

impl Check<'_, '_> {
    pub(super) fn policies(&mut self, route: &Route, place: &Place<'_>) {
        if let Some(filter) = &route.ip_filter {
            self.ip_filter(filter, &place.key("ip_filter"));
        }
        if let Some(cors) = &route.cors {
            self.cors(cors, &place.key("cors"));
        }
        if let Some(jwt) = &route.jwt {
            self.jwt(&jwt.0, &place.key("jwt"));
        }
        if let Some(limit) = &route.rate_limit {
            self.rate_limit(limit, place);
        }
        if let Some(breaker) = &route.circuit_breaker {
            self.breaker(breaker, &place.key("circuit_breaker"));
        }
    }

    fn ip_filter(&mut self, filter: &IpFilter, place: &Place<'_>) {
        let written = ["allow", "deny"].iter().any(|key| place.key(key).items().next().is_some());
        if !written && filter.allow.is_empty() && filter.deny.is_empty() {
            let message = "this filter lets everybody through: it needs `allow` or `deny`";
            self.error("empty-policy", place.span(), message);
        }
    }

    fn jwt(&mut self, jwt: &JwtPolicy, place: &Place<'_>) {
        // `jwt = "idp"` has its issuer in place of the table.
        let issuer = if place.written().is_some() { place.clone() } else { place.key("issuer") };
        self.used.insert("jwt", &jwt.issuer);
        if !self.declares("jwt", &jwt.issuer) {
            let message = format!("there is no [jwt.{}]", issuer.quote());
            let item = Diagnostic::error("unknown-issuer", issuer.span(), message);
            let meant = self.pass.findings.closest(issuer.quote(), self.declared("jwt"));
            self.pass.findings.push(match meant {
                Some(meant) => item
                    .help(format!("did you mean \"{meant}\"?"))
                    .replace(issuer.span(), format!("\"{meant}\"")),
                None => {
                    item.help("write a table of that name with the issuer's `keys` or `secret`")
                }
            });
        }
        let headers = place.key("headers");
        self.header_names(jwt.headers.keys(), &headers);
        for (name, claim) in jwt.headers.iter().filter(|(_, claim)| claim.is_empty()) {
            let _ = claim;
            self.error("bad-claim", headers.key(name).span(), "this names no claim");
        }
        for (claim, _) in jwt.claims.iter().filter(|(_, values)| values.is_empty()) {
            let message = "no value is allowed here, so no token would pass";
            self.error("bad-claim", place.key("claims").key(claim).span(), message);
        }
    }

    fn rate_limit(&mut self, limit: &RateLimit, route: &Place<'_>) {
        let place = route.key("rate_limit");
        let per = place.key("per");
        if limit.per.is_empty() && per.items().next().is_none() {
            self.error(
                "empty-policy",
                per.span(),
                "this list says nobody: write \"client\" or \"route\"",
            );
        }
        for key in limit.per.iter() {
            match key {
                LimitKey::Claim(claim) if !route.key("jwt").exists() => {
                    let at = per.find(&format!("jwt.{claim}"));
                    let message = format!(
                        "`{}` needs a token, and the route does not ask for one",
                        at.quote()
                    );
                    let item = Diagnostic::error("limit-without-jwt", at.span(), message);
                    self.pass.findings.push(
                        item.help("add jwt = \"NAME\" to the route, or limit per \"client\""),
                    );
                }
                LimitKey::Claim(_) | LimitKey::Client | LimitKey::Header(_) | LimitKey::Route => {}
            }
        }
        if limit.max_keys.get() > MOST_KEYS {
            let message = format!("`max_keys` may be {MOST_KEYS} at most");
            self.error("out-of-range", place.key("max_keys").span(), message);
        }
        let each = limit.rate.per / limit.rate.events.get();
        if each.is_zero() {
            self.error(
                "out-of-range",
                place.key("rate").span(),
                "this rate is faster than time is counted",
            );
        }
        let burst = limit.burst.unwrap_or(limit.rate.events).get();
        if each.checked_mul(burst).is_none_or(|fill| fill > LONGEST_FILL) {
            let message = "at this rate the bucket would take more than ten years to fill";
            self.error("out-of-range", place.key("rate").span(), message);
        }
    }

    fn breaker(&mut self, breaker: &CircuitBreaker, place: &Place<'_>) {
        self.not_zero(
            place,
            &[
                ("open_for", breaker.open_for.0.is_zero()),
                ("slow_call", breaker.slow_call.0.is_zero()),
            ],
        );
        let slow = breaker.slow_call_rate.is_some_and(|rate| rate.0 <= 0.0);
        for (key, zero) in
            [("failure_rate", breaker.failure_rate.0 <= 0.0), ("slow_call_rate", slow)]
        {
            if zero {
                let message = format!("with `{key}` at 0% the breaker would open on good calls");
                self.error("out-of-range", place.key(key).span(), message);
            }
        }
        let window = place.key("window");
        match breaker.window {
            BreakerWindow::Calls(calls) if calls.get() > MOST_CALLS => {
                let message = format!("a window may hold {MOST_CALLS} calls at most");
                self.error("out-of-range", window.span(), message);
            }
            BreakerWindow::Calls(calls)
                if calls < breaker.minimum_calls && place.key("minimum_calls").exists() =>
            {
                let message =
                    "`minimum_calls` is more than the window holds: the window's size counts";
                let place = place.key("minimum_calls").span();
                self.pass.findings.push(Diagnostic::warning(
                    "minimum-above-window",
                    place,
                    message,
                ));
            }
            BreakerWindow::Time(time) if time.0 > LONGEST_WINDOW => {
                self.error("out-of-range", window.span(), "a window may be 1h at most");
            }
            BreakerWindow::Calls(_) | BreakerWindow::Time(_) => {}
        }
    }

    fn cors(&mut self, cors: &Cors, place: &Place<'_>) {
        let list = place.key("origins");
        if cors.origins.is_empty() && list.items().next().is_none() {
            self.error(
                "empty-policy",
                list.span(),
                "no origin is allowed here: write \"*\" for any",
            );
        }
        for origin in cors.origins.iter() {
            let span = origin.span().unwrap_or_else(|| list.span());
            if cors.credentials && **origin == "*" {
                let item = Diagnostic::error(
                    "cors-credentials",
                    span,
                    "with `credentials`, browsers refuse the origin `*`",
                )
                .related(place.key("credentials").key_span(), "asked for here")
                .help("name the origins: \"https://app.example.com\", \"https://*.example.com\"");
                self.pass.findings.push(item);
            } else if !text::is_origin(origin) {
                let item =
                    Diagnostic::error("bad-origin", span, "this is no origin that a browser sends")
                        .help("write \"https://app.example.com\", without a path, in lower case");
                self.pass.findings.push(item);
            }
        }
        let methods = place.key("methods");
        for method in &cors.methods {
            self.method(method, methods.find(method).span());
        }
        for (key, names) in [("headers", &cors.headers), ("expose", &cors.expose)] {
            let list = place.key(key);
            for name in names {
                let at = list.find(name).span();
                if name == "*" && cors.credentials {
                    let message = "with `credentials`, `*` is taken as a header of that name: list the headers";
                    self.error("cors-credentials", at, message);
                } else if name != "*" && !text::is_token(name) {
                    self.error("bad-header", at, "this is no name of a header");
                }
            }
        }
    }
}
