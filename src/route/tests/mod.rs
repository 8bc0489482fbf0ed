//! What each matcher takes and leaves. Beside it: which candidate comes first, and that nothing else is ever found.

mod precedence;
mod property;

use http::{HeaderMap, HeaderName, Method};

use super::*;
use crate::config;

/// Routes as an operator writes them: each text is the body of a `[[route]]`.
pub(super) fn routes(bodies: &[impl AsRef<str>]) -> Vec<config::Route> {
    #[derive(serde::Deserialize)]
    struct File {
        route: Vec<config::Route>,
    }

    let tables = bodies
        .iter()
        .enumerate()
        .map(|(i, body)| format!("[[route]]\nname = \"r{i}\"\nto = \"u\"\n{}\n", body.as_ref()));
    toml::from_str::<File>(&tables.collect::<String>()).expect("routes").route
}

/// `GET host/path?query`, with lines of headers below.
struct Asked {
    method: Method,
    host: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
}

impl Asked {
    fn new(text: &str) -> Self {
        let (line, headers) = text.split_once('\n').unwrap_or((text, ""));
        let (method, target) = line.split_once(' ').expect("a method and a target");
        let (host, path) = target.split_at(target.find('/').expect("a path"));
        let (path, query) = path.split_once('?').map_or((path, None), |(p, q)| (p, Some(q)));
        let headers = headers.lines().map(|line| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"))
        });
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| {
            map.append(name, value);
        });
        Self {
            method: method.parse().expect("a method"),
            host: host.into(),
            path: normalise_path(path).expect("a path").into_owned(),
            query: query.map(Into::into),
            headers: map,
        }
    }

    fn request(&self) -> Request<'_> {
        Request {
            method: &self.method,
            host: &self.host,
            path: &self.path,
            query: self.query.as_deref(),
            headers: &self.headers,
        }
    }
}

/// Checks what each request finds among `bodies`: the position of a route, or -1 for none and -405.
fn check(bodies: &[&str], requests: &[(&str, i32)]) {
    let table = Table::new(&routes(bodies)).expect("a table");
    for (text, expected) in requests {
        let found = match table.find(&Asked::new(text).request()) {
            Found::Route(route) => i32::try_from(route).expect("few routes"),
            Found::MethodNotAllowed => -405,
            Found::NoRoute => -1,
        };
        assert_eq!(found, *expected, "{text}");
    }
}

#[test]
fn route_without_matchers_takes_everything() {
    check(&[""], &[("GET a.com/", 0), ("PUT /x/y?z", 0), ("DELETE [::1]/a/", 0)]);
}

#[test]
fn exact_path_takes_itself_alone() {
    check(&["path = '/a'"], &[("GET /a", 0), ("GET /a/", -1), ("GET /a/b", -1), ("GET /ab", -1)]);
    check(&["path = '/a/'"], &[("GET /a/", 0), ("GET /a", -1), ("GET /a/b", -1)]);
    check(&["path = '/'"], &[("GET /", 0), ("GET /a", -1)]);
}

#[test]
fn prefix_takes_whole_segments() {
    check(
        &["path = '/a/**'"],
        &[
            ("GET /a", 0),
            ("GET /a/", 0),
            ("GET /a/x", 0),
            ("GET /a/x/y/", 0),
            ("GET /ab", -1),
            ("GET /", -1),
        ],
    );
    check(
        &["path = '/t/{tenant}/**'"],
        &[
            ("GET /t/x", 0),
            ("GET /t/x/", 0),
            ("GET /t/x/y", 0),
            ("GET /t/", -1),
            ("GET /t", -1),
            ("GET /u/x", -1),
        ],
    );
}

#[test]
fn template_parameter_is_one_segment_that_is_not_empty() {
    check(
        &["path = '/a/{id}'"],
        &[
            ("GET /a/x", 0),
            ("GET /a/%20", 0),
            ("GET /a/", -1),
            ("GET /a", -1),
            ("GET /a/x/", -1),
            ("GET /a/x/y", -1),
        ],
    );
    check(&["path = '/a/{id}/'"], &[("GET /a/x/", 0), ("GET /a/x", -1), ("GET /a//", -1)]);
    check(&["path = '/{a}/x/{b}'"], &[("GET /1/x/2", 0), ("GET /1/y/2", -1)]);
}

#[test]
fn regex_takes_the_whole_path() {
    check(
        &["path = { regex = '/v[0-9]+/.*' }"],
        &[("GET /v1/a", 0), ("GET /v12/", 0), ("GET /x/v1/a", -1), ("GET /v1", -1)],
    );
}

#[test]
fn pattern_is_matched_in_normal_form() {
    check(
        &["path = '/café/**'", "path = '/%7euser'", "path = '/a%c3%a9/{id}'", "path = '/[x]'"],
        &[
            ("GET /caf%C3%A9/x", 0),
            ("GET /caf%c3%a9", 0),
            ("GET /~user", 1),
            ("GET /%7Euser", 1),
            ("GET /a%C3%A9/1", 2),
            ("GET /%5bx%5D", 3),
        ],
    );
}

#[test]
fn host_is_exact_or_below_a_wildcard() {
    check(
        &[
            "host = ['a.com']",
            "host = ['*.a.com']",
            "host = ['b.com', '*.c.com']",
            "host = ['[0:0::1]']",
        ],
        &[
            ("GET a.com/", 0),
            ("GET x.a.com/", 1),
            ("GET y.x.a.com/", 1),
            ("GET xa.com/", -1),
            ("GET com/", -1),
            ("GET b.com/", 2),
            ("GET d.c.com/", 2),
            ("GET c.com/", -1),
            ("GET /", -1),
            ("GET [::1]/", 3),
        ],
    );
}

#[test]
fn method_get_takes_head() {
    check(
        &["path = '/a'\nmethods = ['GET']", "path = '/b'\nmethods = ['POST', 'PURGE']"],
        &[
            ("GET /a", 0),
            ("HEAD /a", 0),
            ("POST /a", -405),
            ("POST /b", 1),
            ("PURGE /b", 1),
            ("HEAD /b", -405),
            ("purge /b", -405),
            ("GET /c", -1),
        ],
    );
}

#[test]
fn header_matches_in_every_line() {
    check(
        &[
            "path = '/e'\nheaders = { X-V = '2' }",
            "path = '/a'\nheaders = { x-v = '*' }",
            "path = '/r'\nheaders = { X-V = { regex = '[a-c]+' } }",
        ],
        &[
            ("GET /e\nx-v: 2", 0),
            ("GET /e\nX-V: 2\nx-v: 2", 0),
            ("GET /e\nx-v: 2\nx-v: 3", -1),
            ("GET /e\nx-v: 22", -1),
            ("GET /e", -1),
            ("GET /a\nx-v: é", 1),
            ("GET /a", -1),
            ("GET /r\nx-v: abc", 2),
            ("GET /r\nx-v: abcd", -1),
        ],
    );
}

#[test]
fn query_is_compared_decoded_and_by_its_first_value() {
    check(
        &[
            "path = '/e'\nquery = { 'a b' = 'c&d' }",
            "path = '/a'\nquery = { q = '*' }",
            "path = '/r'\nquery = { q = { regex = '[é ]+' } }",
        ],
        &[
            ("GET /e?a+b=c%26d", 0),
            ("GET /e?x=1&&a%20b=c%26d&a%20b=e", 0),
            ("GET /e?a%20b=e&a%20b=c%26d", -1),
            ("GET /e?a+b=c&d", -1),
            ("GET /e?A+b=c%26d", -1),
            ("GET /e", -1),
            ("GET /a?q", 1),
            ("GET /a?q=", 1),
            ("GET /a?qq=1&p=q", -1),
            ("GET /a?%71=%", 1),
            ("GET /r?q=%C3%A9+", 2),
            ("GET /r?q=%C3", -1),
            ("GET /r?q=%", -1),
        ],
    );
}

#[test]
fn cookie_is_found_in_any_line() {
    check(
        &[
            "path = '/e'\ncookies = { s = '1' }",
            "path = '/a'\ncookies = { s = '*' }",
            "path = '/r'\ncookies = { s = { regex = '[0-9]' } }",
        ],
        &[
            ("GET /e\ncookie: s=1", 0),
            ("GET /e\ncookie: a=b; s=1;c=d", 0),
            ("GET /e\ncookie: a=b\ncookie: x; s=1", 0),
            ("GET /e\ncookie: s=2; s=1", -1),
            ("GET /e\ncookie: ss=1; as=1; S=1; s1", -1),
            ("GET /e\nx-cookie: s=1", -1),
            ("GET /a\ncookie: s=", 1),
            ("GET /a\ncookie: s", -1),
            ("GET /r\ncookie: s=7", 2),
            ("GET /r\ncookie: s=77", -1),
        ],
    );
}

#[test]
fn what_could_never_match_is_refused() {
    for (path, why) in [
        ("/a/../b", BadPattern::Dots),
        ("/a/./**", BadPattern::Dots),
        ("/%2e/{id}", BadPattern::Dots),
        ("/..", BadPattern::Dots),
        ("/a//b", BadPattern::EmptySegment),
        ("//**", BadPattern::EmptySegment),
        ("/a//**", BadPattern::EmptySegment),
        ("//{id}", BadPattern::EmptySegment),
        ("/a%2Fb", BadPattern::Path(BadPath::Hidden)),
        ("/100%", BadPattern::Path(BadPath::Encoding)),
        ("/a\\b/{id}", BadPattern::Path(BadPath::Character)),
        ("/..;/a", BadPattern::Path(BadPath::Parameter)),
    ] {
        let table = Table::new(&routes(&["", &format!("path = '{path}'")]));
        assert_eq!(table.err(), Some(BadRoute::Pattern(1, why)), "{path}");
    }
    let table = Table::new(&routes(&["headers = { 'a b' = '1' }"]));
    assert_eq!(table.err(), Some(BadRoute::Predicate(0, BadPredicate::Header("a b".into()))));
    let table = Table::new(&routes(&["methods = ['G T']"]));
    assert_eq!(table.err(), Some(BadRoute::Predicate(0, BadPredicate::Method("G T".into()))));
}
