//! What a reload carries over: the state of policies and instances whose own parameters stay as they are.

use tokio::net::TcpListener;

use crate::support::{Backend, Gateway, eventually};

/// Reloads with a route more, which is no parameter of anything else.
async fn reload(gateway: &Gateway, config: &str, change: &str) {
    let more = format!("[[route]]\nname = {change:?}\npath = \"/{change}\"\nanswer = {{}}\n");
    gateway.write(&format!("{config}{more}"));
    assert_eq!(gateway.reload().await.0, 200);
    assert_eq!(gateway.get(&format!("/{change}")).await.0, 200);
}

#[tokio::test]
async fn an_exhausted_bucket_stays_so_until_its_own_rate_changes() {
    let config = |limit: &str, status: u16| {
        format!(
            "[[route]]\nname = \"limited\"\npath = \"/limited\"\nanswer = {{ status = {status} }}\nrate_limit = {{ {limit} }}\n"
        )
    };
    let strict = "rate = \"1/h\", burst = 2";
    let gateway = Gateway::start(&config(strict, 200)).ready().await;
    let ask = async || gateway.get("/limited").await.0;
    assert_eq!([ask().await, ask().await, ask().await], [200, 200, 429]);
    reload(&gateway, &config(strict, 200), "unrelated").await;
    assert_eq!(ask().await, 429);
    // Another part of the same route is no parameter of the bucket.
    reload(&gateway, &config(strict, 201), "route").await;
    assert_eq!(ask().await, 429);
    reload(&gateway, &config("rate = \"1/h\", burst = 3", 200), "burst").await;
    assert_eq!([ask().await, ask().await, ask().await, ask().await], [200, 200, 200, 429]);
}

#[tokio::test]
async fn an_open_breaker_stays_so_until_its_own_parameters_change() {
    let backend = Backend::status(500).await;
    let config = |open_for: &str, prefix: &str| {
        format!(
            r#"
            [upstream.failing]
            instances = ["{}"]
            [[route]]
            name = "failing"
            path = "/failing/**"
            to = "failing"
            rewrite = {{ prefix = "{prefix}" }}
            circuit_breaker = {{ failure_rate = "50%", minimum_calls = 2, window = 2, open_for = "{open_for}" }}
            "#,
            backend.address
        )
    };
    let gateway = Gateway::start(&config("10m", "/a")).ready().await;
    let ask = async || gateway.get("/failing/").await.0;
    assert_eq!([ask().await, ask().await, ask().await], [500, 500, 503]);
    reload(&gateway, &config("10m", "/a"), "unrelated").await;
    reload(&gateway, &config("10m", "/b"), "route").await;
    assert_eq!(ask().await, 503);
    assert_eq!(backend.served(), 2, "an open breaker calls nobody");
    let open =
        "tollgate_circuit_breaker_state{route=\"failing\",upstream=\"failing\",state=\"open\"}";
    assert_eq!(gateway.metric(open).await, Some(1.0));
    reload(&gateway, &config("11m", "/b"), "breaker").await;
    assert_eq!([ask().await, ask().await, ask().await], [500, 500, 503]);
    assert_eq!(backend.served(), 4);
}

#[tokio::test]
async fn an_ejected_instance_stays_so_until_the_ejection_changes() {
    let good = Backend::echo("good").await;
    // Bound and closed again: nothing listens there.
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let config = |ejection: &str, connect: &str| {
        format!(
            r#"
            [upstream.pair]
            instances = ["{}", "{dead}"]
            ejection = {{ consecutive_failures = 2, {ejection} }}
            timeouts = {{ connect = "{connect}" }}
            [[route]]
            name = "pair"
            path = "/pair"
            to = "pair"
            "#,
            good.address
        )
    };
    let ten = "base_time = \"10m\", max_time = \"10m\"";
    let gateway = Gateway::start(&config(ten, "1s")).ready().await;
    let state = async || {
        let upstreams = gateway.status("upstreams").await;
        let instances = upstreams[0]["instances"].as_array().unwrap().clone();
        let dead = instances.iter().find(|one| one["address"] == dead.to_string());
        dead.map(|one| one["state"].as_str().unwrap().to_owned())
    };
    eventually("the dead instance is ejected", async || {
        assert_eq!(gateway.get("/pair").await.0, 200, "a retry finds the good one");
        state().await.as_deref() == Some("ejected")
    })
    .await;
    reload(&gateway, &config(ten, "1s"), "unrelated").await;
    assert_eq!(state().await.as_deref(), Some("ejected"));
    reload(&gateway, &config(ten, "2s"), "timeout").await;
    assert_eq!(state().await.as_deref(), Some("ejected"));
    reload(&gateway, &config("base_time = \"9m\", max_time = \"9m\"", "2s"), "ejection").await;
    assert_eq!(state().await.as_deref(), Some("ready"));
}
