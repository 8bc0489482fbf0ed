//! The thin true path: a request through the gateway to a fixed instance.

use serde_json::Value;

use crate::support::{Backend, Gateway, client};

#[tokio::test]
async fn a_request_reaches_its_instance() {
    let backend = Backend::echo("one").await;
    let gateway = Gateway::start(&format!(
        r#"
        [upstream.service]
        instances = ["{}"]
        [[route]]
        name = "all"
        path = "/**"
        to = "service"
        "#,
        backend.address
    ));
    let answer = client().post(gateway.url("/a/b?c=d")).body("hello").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let seen: Value = answer.json().await.unwrap();
    assert_eq!(seen["method"], "POST");
    assert_eq!(seen["target"], "/a/b?c=d");
    assert_eq!(seen["body"], "hello");
    assert_eq!(seen["headers"]["via"][0], "1.1 tollgate");
    assert_eq!(seen["headers"]["x-forwarded-for"][0], "127.0.0.1");
}

#[tokio::test]
async fn a_path_that_no_route_takes_is_404_with_a_reason() {
    let gateway = Gateway::start("");
    let answer = client().get(gateway.url("/nowhere")).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "no_route");
}
