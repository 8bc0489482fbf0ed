//! `tollgate explain`: what the gateway would do with a request, and why.
//!
//! It is the proxy's own decision that speaks here, asked to look and to take nothing.

use std::{
    net::IpAddr,
    path::PathBuf,
    process::ExitCode,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use clap::Args;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Uri,
    header::{AUTHORIZATION, HOST},
};

use super::{CONFIG_ERRORS, check, config_file, fail, live, say, show};
use crate::{
    admin::UpstreamStatus,
    answer::Cause,
    config::Mode,
    decision::{self, Act, Decided, Facts, Recorder, Verdict},
    registry,
    reload::Source,
    route::{self, Found, Mismatch, Table, normalise_host, normalise_path},
    snapshot::Snapshot,
    telemetry::Policy,
};

#[derive(Args)]
pub(super) struct Explain {
    method: Method,
    /// As a client would ask for it: https://api.example.com/orders/42
    url: Uri,
    /// A header of the request: 'x-canary: 1'
    #[arg(short = 'H', long = "header", value_name = "HEADER")]
    headers: Vec<String>,
    /// A bearer token
    #[arg(long)]
    token: Option<String>,
    /// The address that the request comes from
    #[arg(long, default_value = "127.0.0.1")]
    client: IpAddr,
    /// The config [default: $TOLLGATE_CONFIG, or routes.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Explain {
    pub(super) fn run(self) -> ExitCode {
        crate::crypto::install_crypto_provider();
        let path = config_file(self.config.clone());
        let built = Source::file(path).load().and_then(|loaded| check::build(&loaded));
        let snapshot = match built {
            Ok(snapshot) => snapshot,
            Err(problems) => {
                show(&problems);
                return ExitCode::from(CONFIG_ERRORS);
            }
        };
        match self.explain(&snapshot) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error),
        }
    }

    fn explain(&self, snapshot: &Snapshot) -> Result<(), String> {
        let headers = self.headers()?;
        let path =
            normalise_path(self.url.path()).map_err(|error| format!("400 bad_request: {error}"))?;
        let authority = self.url.authority().map(http::uri::Authority::as_str);
        let host_header = headers.get(HOST).and_then(|host| host.to_str().ok());
        let host = normalise_host(host_header.or(authority).unwrap_or_default())
            .map_err(|error| format!("400 bad_request: {error}"))?;
        let live = live::upstreams(snapshot.config());
        if let Ok(upstreams) = &live {
            take_views(snapshot, upstreams);
        }
        let client = snapshot.trusted_proxies().client(self.client, &headers);
        let facts = Facts {
            request: route::Request {
                method: &self.method,
                host: &host.name,
                path: &path,
                query: self.url.query(),
                headers: &headers,
            },
            client: client.address,
            now: Instant::now(),
            now_unix: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
        };
        line("config", format_args!("{}", snapshot.version()));
        line("request", format_args!("{} {}{path}", self.method, host.name));
        line("client", format_args!("{}: {}", client.address, client.source));
        let mut trail = Trail { snapshot };
        let decided =
            decision::decide(snapshot, &facts, Act::Peek, &mut fastrand::Rng::new(), &mut trail);
        tell(snapshot, &decided, &live);
        Ok(())
    }

    fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        for header in &self.headers {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| format!("`{header}` is no header: write 'name: value'"))?;
            let name =
                HeaderName::try_from(name.trim()).map_err(|error| format!("`{name}`: {error}"))?;
            let value = HeaderValue::try_from(value.trim())
                .map_err(|error| format!("`{header}`: {error}"))?;
            headers.append(name, value);
        }
        if let Some(token) = &self.token {
            let value = HeaderValue::try_from(format!("Bearer {token}"))
                .map_err(|_| "the token has characters that no token has")?;
            headers.insert(AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

/// Gives the snapshot's upstreams the instances that the running gateway has.
fn take_views(snapshot: &Snapshot, upstreams: &[UpstreamStatus]) {
    for status in upstreams {
        let Some(served) = snapshot.upstreams().get(&*status.name) else { continue };
        let view: Vec<registry::Instance> =
            status.instances.iter().map(|instance| instance.as_registered()).collect();
        served.upstream.apply(&view, Instant::now());
    }
}

/// Prints what the decision looks at, as it goes.
struct Trail<'a> {
    snapshot: &'a Snapshot,
}

impl Recorder for Trail<'_> {
    fn find(&mut self, table: &Table, request: &route::Request<'_>) -> Found {
        table.explain(request, &mut |route, why| {
            let name = self.snapshot.route(route).map_or("?", |route| &*route.name);
            line("  not", format_args!("{name}: {}", reason(why)));
        })
    }

    fn policy(&mut self, policy: Policy, mode: Mode, refusal: Option<&Cause>) {
        let verdict = match (refusal, mode) {
            (None, _) => "pass".to_owned(),
            (Some(cause), Mode::Enforce) => {
                format!("refuse: {} {}", cause.status(), cause.outcome().as_str())
            }
            (Some(cause), Mode::Shadow) => format!(
                "pass, in shadow mode; enforced it would be {} {}",
                cause.status(),
                cause.outcome().as_str()
            ),
        };
        line(policy.as_str(), format_args!("{verdict}"));
    }
}

fn reason(why: Mismatch<'_>) -> String {
    match why {
        Mismatch::Host => "another host".into(),
        Mismatch::Path => "another path".into(),
        Mismatch::Method => "another method".into(),
        Mismatch::Header(name) => format!("header {name}"),
        Mismatch::Query(name) => format!("query parameter {name}"),
        Mismatch::Cookie(name) => format!("cookie {name}"),
        Mismatch::Outranked => "it matches too, and the route below precedes it".into(),
    }
}

fn tell(snapshot: &Snapshot, decided: &Decided, live: &Result<Vec<UpstreamStatus>, String>) {
    let route = decided.route(snapshot);
    line("route", format_args!("{}", route.map_or("none", |route| &route.name)));
    if let Some(claims) = &decided.claims {
        line("subject", format_args!("{}", claims.text("sub").unwrap_or("(none)")));
    }
    for target in route.map_or(&[][..], |route| route.targets()) {
        line("upstream", format_args!("{}", target.name));
        match live {
            Ok(upstreams) => instances(upstreams.iter().find(|status| status.name == *target.name)),
            Err(why) => line(
                "  instances",
                format_args!("unknown: {why} (http://{})", *snapshot.config().admin.address),
            ),
        }
    }
    line("decision", format_args!("{}", verdict(decided, live.is_ok())));
}

fn instances(status: Option<&UpstreamStatus>) {
    let Some(status) = status else {
        return line(
            "  instances",
            format_args!("unknown: the running gateway has no such upstream"),
        );
    };
    if status.instances.is_empty() {
        line("  instances", format_args!("none"));
    }
    for instance in &status.instances {
        line(
            "  instance",
            format_args!("{} weight {} {}", instance.address, instance.weight, instance.state),
        );
    }
}

fn verdict(decided: &Decided, live: bool) -> String {
    match &decided.verdict {
        Verdict::Answer => "answer as the route says".into(),
        Verdict::Forward(forward) => format!("forward, say to {}", forward.instance.address),
        Verdict::Preflight(_) => "answer the CORS preflight".into(),
        Verdict::Redirect => "redirect".into(),
        Verdict::Refused(Cause::NoInstance) if !live => {
            "forward to an instance of the upstream".into()
        }
        Verdict::Refused(cause) => {
            format!("answer {} {}", cause.status(), cause.outcome().as_str())
        }
    }
}

fn line(what: &str, text: std::fmt::Arguments<'_>) {
    say(format_args!("{what:<15} {text}"));
}
