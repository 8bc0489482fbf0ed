//! Preflights and responses, request by request, as a browser sees them.

use super::*;
use crate::config::{Mode, OneOrMany, units::Interval};

fn config(origins: &[&str]) -> config::Cors {
    config::Cors {
        origins: OneOrMany(origins.iter().map(|origin| String::from(*origin).into()).collect()),
        methods: vec!["GET".into(), "put".into()],
        headers: vec!["Authorization".into(), "X-One".into()],
        expose: vec!["ETag".into(), "X-Two".into()],
        credentials: true,
        max_age: Interval::secs(600),
        mode: Mode::Enforce,
    }
}

fn listed() -> Cors {
    Cors::new(&config(&["https://app.com", "https://*.app.com"])).unwrap()
}

/// For all origins, methods and headers.
fn open() -> Cors {
    let any = || vec!["*".into()];
    let any = config::Cors {
        methods: any(),
        headers: any(),
        expose: any(),
        credentials: false,
        ..config(&["*"])
    };
    Cors::new(&any).unwrap()
}

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let line = |(name, value): &(&str, &'static str)| {
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static(value))
    };
    lines.iter().map(line).collect()
}

/// Headers in lines, as they would be written.
fn text(headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>) -> Vec<String> {
    let line =
        |(name, value): (HeaderName, HeaderValue)| format!("{name}: {}", value.to_str().unwrap());
    headers.into_iter().map(line).collect()
}

/// The answer of a grant, or its refusal.
fn preflight(
    cors: &Cors,
    request: &[(&'static str, &'static str)],
) -> Result<HeaderMap, PreflightRefusal> {
    match cors.preflight(&Method::OPTIONS, &headers(request)) {
        Some(Preflight::Grant(answer)) => Ok(answer),
        Some(Preflight::Refuse(refusal)) => Err(refusal),
        None => panic!("no preflight: {request:?}"),
    }
}

const APP: (&str, &str) = ("origin", "https://app.com");

#[test]
fn only_options_with_origin_and_method_are_a_preflight() {
    let all = [APP, ("access-control-request-method", "PUT")];
    let preflight = |method, request: &[_]| listed().preflight(&method, &headers(request));
    assert!(preflight(Method::OPTIONS, &all).is_some());
    assert!(preflight(Method::GET, &all).is_none());
    assert!(preflight(Method::OPTIONS, &all[..1]).is_none());
    assert!(preflight(Method::OPTIONS, &all[1..]).is_none());
}

#[test]
fn a_granted_preflight_names_all_that_is_allowed() {
    let request = [
        ("origin", "https://a.app.com"),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "authorization, x-one"),
    ];
    let answer = preflight(&listed(), &request).unwrap();
    let expected = headers(&[
        ("access-control-allow-origin", "https://a.app.com"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET, PUT"),
        ("access-control-allow-headers", "authorization, x-one"),
        ("access-control-max-age", "600"),
        ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    ]);
    assert_eq!(answer, expected);
}

#[test]
fn a_preflight_is_refused_for_what_is_not_allowed() {
    use PreflightRefusal::{Headers, Method, Origin};
    // 64 names, and one more.
    let many = ["x-one"; 65].join(",");
    let many: &'static str = many.leak();
    for (origin, method, names, refusal) in [
        ("https://app.com", "PUT", "", None),
        ("https://app.com", "PUT", "X-ONE ,, authorization", None),
        ("https://app.com", "PUT", &many[6..], None),
        ("https://app.com", "PUT", many, Some(Headers)),
        ("https://app.com", "POST", "x-one", None),
        ("https://evil.org", "PUT", "", Some(Origin)),
        ("null", "GET", "", Some(Origin)),
        ("https://app.com", "DELETE", "", Some(Method)),
        ("https://app.com", "put", "", Some(Method)),
        ("https://app.com", "P T", "", Some(Method)),
        ("https://app.com", "", "", Some(Method)),
        ("https://app.com", "PUT", "x-one, x-other", Some(Headers)),
        ("https://app.com", "PUT", "x one", Some(Headers)),
    ] {
        let request = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", names),
        ];
        assert_eq!(preflight(&listed(), &request).err(), refusal, "{request:?}");
    }
}

#[test]
fn an_open_route_grants_what_is_asked_for_by_name() {
    let request = [
        ("origin", "null"),
        ("access-control-request-method", "PURGE"),
        ("access-control-request-headers", "authorization,x-any"),
    ];
    let expected = headers(&[
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "PURGE"),
        ("access-control-allow-headers", "authorization,x-any"),
        ("access-control-max-age", "600"),
        ("vary", "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    ]);
    assert_eq!(preflight(&open(), &request).unwrap(), expected);
    let odd = [APP, request[1], ("access-control-request-headers", "a b")];
    assert_eq!(preflight(&open(), &odd).unwrap_err(), PreflightRefusal::Headers);
}

#[test]
fn only_allowed_origins_are_told_that_they_may_read() {
    let told: &[_] = &[
        "access-control-allow-origin: https://app.com",
        "access-control-allow-credentials: true",
        "access-control-expose-headers: etag, x-two",
        "vary: Origin",
    ];
    for (request, expected) in [
        (&[APP] as &[_], told),
        (&[], &["vary: Origin"]),
        (&[("origin", "https://evil.org")], &["vary: Origin"]),
        (&[APP, APP], &["vary: Origin"]),
    ] {
        assert_eq!(text(listed().annotations(&headers(request))), expected, "{request:?}");
    }
}

#[test]
fn an_open_route_tells_everybody_the_same() {
    let told = ["access-control-allow-origin: *", "access-control-expose-headers: *"];
    for request in [&[APP] as &[_], &[], &[("origin", "null")]] {
        assert_eq!(text(open().annotations(&headers(request))), told);
    }
}

#[test]
fn callers_are_counted_by_what_their_origin_means() {
    let caller = |lines: &[_]| match listed().caller(&headers(lines)) {
        Caller::NotCors => None,
        Caller::Allowed(_) => Some(true),
        Caller::Refused => Some(false),
    };
    assert_eq!(caller(&[]), None);
    assert_eq!(caller(&[APP]), Some(true));
    assert_eq!(caller(&[("origin", "https://evil.org")]), Some(false));
    assert_eq!(caller(&[APP, ("origin", "https://evil.org")]), Some(false));
}

#[test]
fn what_cannot_work_is_an_error() {
    let error = |change: fn(&mut config::Cors)| {
        let mut config = config(&["https://app.com"]);
        change(&mut config);
        Cors::new(&config).map(drop)
    };
    assert_eq!(error(|_| ()), Ok(()));
    let any = Err(CorsError::AnyWithCredentials);
    assert_eq!(error(|config| config.origins.0.push(String::from("*").into())), any);
    assert_eq!(error(|config| config.expose = vec!["*".into()]), any);
    assert_eq!(
        error(|config| config.methods = vec!["G T".into()]),
        Err(CorsError::Method("G T".into()))
    );
    assert_eq!(
        error(|config| config.headers = vec!["a:".into()]),
        Err(CorsError::Header("a:".into()))
    );
    assert_eq!(error(|config| config.expose = vec!["".into()]), Err(CorsError::Header("".into())));
}
