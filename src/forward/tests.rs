use super::*;

fn origin() -> Origin {
    let peer = "192.0.2.7".parse().unwrap();
    Origin { peer, trusted: false, tls: true, at: std::time::SystemTime::now() }
}

/// A head, sent on as `change` says.
fn sent(
    target: &str,
    headers: &[(&'static str, &'static str)],
    change: impl Fn(&mut Origin, &mut Onward<'_>),
) -> Parts {
    let mut request = http::Request::get(target);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut head = request.body(()).unwrap().into_parts().0;
    let (mut changed, edits) = (origin(), Edits::default());
    let (unchanged, marks) = (origin(), Marks::of(&head.headers, &origin()));
    let mut onward = Onward {
        origin: &unchanged,
        marks: &marks,
        authority: "shop.example:8443",
        host: None,
        path: "/a",
        identity: &[],
        drop_token: false,
        edits: &edits,
    };
    change(&mut changed, &mut onward);
    onward.origin = &changed;
    onward.apply(&mut head).unwrap();
    head
}

fn value<'a>(head: &'a Parts, name: &str) -> &'a str {
    head.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

#[test]
fn a_strangers_forwarding_headers_are_replaced() {
    let lies = [
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "ftp"),
        ("x-real-ip", "10.0.0.1"),
        ("forwarded", "for=x"),
    ];
    let head = sent("/a", &lies, |_, _| {});
    assert_eq!(value(&head, "x-forwarded-for"), "192.0.2.7");
    assert_eq!(value(&head, "x-forwarded-proto"), "https");
    assert_eq!(value(&head, "x-forwarded-host"), "shop.example:8443");
    assert_eq!(value(&head, "x-real-ip"), "");
    assert_eq!(value(&head, "forwarded"), "");
    assert_eq!(value(&head, "via"), "1.1 tollgate");
}

#[test]
fn a_trusted_proxys_forwarding_headers_are_continued() {
    let chain = [
        ("x-forwarded-for", "203.0.113.9"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "http"),
    ];
    let head = sent("/a", &chain, |origin, _| origin.trusted = true);
    assert_eq!(value(&head, "x-forwarded-for"), "203.0.113.9, 10.0.0.1, 192.0.2.7");
    assert_eq!(value(&head, "x-forwarded-proto"), "http");
    assert_eq!(value(&head, "x-forwarded-host"), "shop.example:8443");
}

#[test]
fn the_target_becomes_the_path_that_was_matched() {
    let head = sent("/b/../a?q=1", &[("host", "shop.example")], |_, _| {});
    assert_eq!(head.uri.to_string(), "/a?q=1");
    assert_eq!(value(&head, "host"), "shop.example");
    let head = sent("http://shop.example/a", &[], |_, _| {});
    assert_eq!(head.uri.to_string(), "/a");
    assert_eq!(value(&head, "host"), "shop.example:8443");
}

#[test]
fn identity_headers_and_tokens_of_a_client_stay_here() {
    let forged =
        [("x-user-id", "admin"), ("authorization", "Bearer t"), ("proxy-authorization", "Basic x")];
    let identity = vec![HeaderName::from_static("x-user-id")];
    let head = sent("/a", &forged, |_, onward| {
        onward.identity = identity.clone().leak();
        onward.drop_token = true;
    });
    for name in ["x-user-id", "authorization", "proxy-authorization"] {
        assert!(!head.headers.contains_key(name), "{name}");
    }
}

#[test]
fn cookie_crumbs_are_joined() {
    let head = sent("/a", &[("cookie", "a=1"), ("cookie", "b=2")], |_, _| {});
    assert_eq!(value(&head, "cookie"), "a=1; b=2");
    assert_eq!(head.headers.get_all("cookie").iter().count(), 1);
}

#[test]
fn hop_by_hop_headers_of_a_response_stay_here() {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("connection", "x-secret, close"),
        ("x-secret", "1"),
        ("keep-alive", "timeout=5"),
        ("x-kept", "1"),
    ] {
        headers.append(name, HeaderValue::from_static(value));
    }
    let id = Marks::of(&HeaderMap::new(), &origin()).request_id;
    response(&mut headers, StatusCode::OK, &id, &Edits::default());
    assert!(!headers.contains_key("x-secret"));
    assert!(!headers.contains_key("keep-alive"));
    assert!(headers.contains_key("x-kept"));
    assert_eq!(headers.get("x-request-id"), Some(&id.value()));
}
