//! Which of several candidates is found, and what is told of the others.

use http::{HeaderName, Method};

use super::*;

#[test]
fn host_precedes_path() {
    check(
        &[
            "path = '/a'",
            "host = ['*.com']\npath = '/a'",
            "host = ['*.b.com']\npath = { regex = '/.*' }",
            "host = ['a.b.com']",
        ],
        &[
            ("GET a.b.com/a", 3),
            ("GET c.b.com/a", 2),
            ("GET d.c.b.com/a", 2),
            ("GET c.com/a", 1),
            ("GET c.org/a", 0),
        ],
    );
}

#[test]
fn path_kinds_have_their_order() {
    check(
        &[
            "path = { regex = '/.*' }",
            "path = '/a/**'",
            "path = '/a/b/**'",
            "path = '/a/{x}'",
            "path = '/a/b'",
            "path = '/a/{x}/**'",
        ],
        &[
            ("GET /a/b", 4),
            ("GET /a/c", 3),
            ("GET /a/b/", 2),
            ("GET /a/b/c", 2),
            ("GET /a/c/d", 5),
            ("GET /a/c/", 5),
            ("GET /a", 1),
            ("GET /b", 0),
        ],
    );
}

#[test]
fn literal_precedes_parameter_in_each_segment() {
    check(
        &["path = '/{a}/{b}/z'", "path = '/{a}/y/z'", "path = '/x/{b}/{c}'", "path = '/x/{b}/z'"],
        &[
            ("GET /x/y/z", 3),
            ("GET /x/y/w", 2),
            ("GET /w/y/z", 1),
            ("GET /w/v/z", 0),
            ("GET /w/v/u", -1),
        ],
    );
    check(
        &[
            "path = '/{a}/y/**'",
            "path = '/x/{b}/**'",
            "path = '/x/y/**'",
            "path = '/{a}/{b}/{c}/**'",
        ],
        &[("GET /x/y", 2), ("GET /x/z", 1), ("GET /w/y", 0), ("GET /x/y/z", 3), ("GET /x/y/", 2)],
    );
}

#[test]
fn what_asks_for_more_comes_first() {
    check(
        &[
            "",
            "query = { a = '*', b = '*', c = '*' }",
            "headers = { x = '*' }",
            "cookies = { c = '*' }\nheaders = { x = '*' }",
            "methods = ['GET']",
            "headers = { x = '*' }\nquery = { a = '*' }",
        ],
        &[
            ("GET /?a&b&c\nx: 1\ncookie: c=1", 4),
            ("PUT /?a&b&c\nx: 1\ncookie: c=1", 3),
            ("PUT /?a&b&c\nx: 1", 5),
            ("PUT /?b&c\nx: 1", 2),
            ("PUT /?a&b&c", 1),
            ("PUT /?a&b", 0),
        ],
    );
}

#[test]
fn order_in_the_file_breaks_ties() {
    check(
        &["path = '/{a}/b'\nheaders = { x = '1' }", "path = '/{c}/b'\nheaders = { y = '1' }"],
        &[("GET /a/b\nx: 1\ny: 1", 0), ("GET /a/b\ny: 1", 1)],
    );
    check(
        &["path = { regex = '/a.*' }", "path = { regex = '/.*' }"],
        &[("GET /ab", 0), ("GET /b", 1)],
    );
}

#[test]
fn failed_predicate_falls_through_paths_and_hosts() {
    check(
        &[
            "host = ['a.com']\npath = '/a/b'\nheaders = { x = '1' }",
            "host = ['a.com']\npath = '/a/{id}'\nquery = { q = '1' }",
            "host = ['a.com']\npath = '/{x}/b'\ncookies = { c = '1' }",
            "host = ['a.com']\npath = '/a/**'\nmethods = ['POST']",
            "host = ['a.com']\npath = { regex = '/a/.*' }\nheaders = { y = '1' }",
            "host = ['*.com']\npath = '/a/b'\nheaders = { z = '1' }",
            "path = '/a/**'",
        ],
        &[
            ("GET a.com/a/b?q=1\nx: 1\ncookie: c=1", 0),
            ("GET a.com/a/b?q=1\ncookie: c=1", 1),
            ("GET a.com/a/b\ncookie: c=1", 2),
            ("POST a.com/a/b", 3),
            ("GET a.com/a/b\ny: 1\nz: 1", 4),
            ("GET a.com/a/b\nz: 1", 5),
            ("GET a.com/a/b", 6),
            ("GET a.com/b", -1),
        ],
    );
}

#[test]
fn method_is_to_blame_only_when_nothing_else_fails() {
    let bodies = [
        "path = '/a'\nmethods = ['GET']\nheaders = { x = '1' }",
        "path = '/a/**'\nmethods = ['PUT', 'GET']",
    ];
    check(&bodies[..1], &[("POST /a", -1), ("POST /a\nx: 1", -405)]);
    let table = Table::new(&routes(&bodies)).expect("a table");
    let allowed = |text| {
        let methods = table
            .allowed(&Asked::new(text).request())
            .into_iter()
            .map(Method::as_str)
            .collect::<Vec<_>>();
        methods.join(", ")
    };
    assert_eq!(allowed("POST /a\nx: 1"), "GET, HEAD, PUT");
    assert_eq!(allowed("POST /a"), "PUT, GET, HEAD");
    assert_eq!(allowed("POST /b"), "");
}

#[test]
fn explain_names_what_failed_in_order_of_precedence() {
    let bodies = [
        "",
        "host = ['a.com', '*.com']\nmethods = ['PUT']",
        "path = '/a'\nheaders = { x-v = '2', x-w = '1' }",
        "path = '/a'\ncookies = { c = '1' }\nquery = { q = '1' }",
        "host = ['b.com']",
        "path = '/b'",
        "path = { regex = '/.*' }",
    ];
    let table = Table::new(&routes(&bodies)).expect("a table");
    let mut told = Vec::new();
    let asked = Asked::new("GET a.com/a\ncookie: c=1");
    let found = table.explain(&asked.request(), &mut |route, why| told.push((route, why)));
    let header = HeaderName::from_static("x-v");
    assert_eq!(found, Found::Route(0));
    assert_eq!(
        told,
        [
            (1, Mismatch::Method),
            (2, Mismatch::Header(&header)),
            (3, Mismatch::Query("q")),
            (4, Mismatch::Host),
            (5, Mismatch::Path),
            (6, Mismatch::Outranked)
        ]
    );
}
