use axum::{body::Body, http::Request};
use http_body_util::BodyExt;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use proptest::prelude::*;

use super::*;

const INSTANCE: &str = "/nacos/v1/ns/instance";
const BEAT: &str = "/nacos/v1/ns/instance/beat";
const LIST: &str = "/nacos/v1/ns/instance/list";

struct Api(Router);

impl Api {
    fn new() -> Self {
        Self(router(Arc::default()))
    }

    async fn send(&self, request: Request<Body>) -> (u16, String) {
        let service = TowerToHyperService::new(self.0.clone());
        let (head, body) = service.call(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        (head.status.as_u16(), String::from_utf8(body.to_vec()).unwrap())
    }

    async fn call(&self, method: &str, path: &str, query: &str) -> (u16, String) {
        let uri = format!("{path}?{query}");
        self.send(Request::builder().method(method).uri(uri).body(Body::empty()).unwrap()).await
    }

    async fn form(&self, method: &str, path: &str, form: &str) -> (u16, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/x-www-form-urlencoded;charset=UTF-8");
        self.send(request.body(Body::from(form.to_owned())).unwrap()).await
    }

    async fn ok(&self, method: &str, path: &str, query: &str) {
        assert_eq!(self.call(method, path, query).await, (200, "ok".into()), "{method} {query}");
    }

    async fn json(&self, method: &str, path: &str, query: &str) -> Value {
        let (status, body) = self.call(method, path, query).await;
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    /// Ports of the listed instances.
    async fn ports(&self, query: &str) -> Vec<u64> {
        let list = self.json("GET", LIST, query).await;
        let hosts = list["hosts"].as_array().unwrap();
        hosts.iter().map(|host| host["port"].as_u64().unwrap()).collect()
    }
}

#[tokio::test]
async fn an_instance_is_listed_as_nacos_lists_it() {
    let api = Api::new();
    let query =
        "serviceName=hello&ip=10.0.0.1&port=8080&weight=2.5&metadata=%7B%22zone%22%3A%22a%22%7D";
    api.ok("POST", INSTANCE, query).await;
    let mut list = api.json("GET", LIST, "serviceName=hello&clusters=DEFAULT").await;
    assert!(list["lastRefTime"].take().as_u64().unwrap() > 1_700_000_000_000);
    let host = json!({
        "instanceId": "10.0.0.1#8080#DEFAULT#DEFAULT_GROUP@@hello",
        "ip": "10.0.0.1", "port": 8080, "weight": 2.5, "healthy": true, "enabled": true,
        "ephemeral": true, "clusterName": "DEFAULT", "serviceName": "DEFAULT_GROUP@@hello",
        "metadata": { "zone": "a" }, "instanceHeartBeatInterval": 5000,
        "instanceHeartBeatTimeOut": 15000, "ipDeleteTimeout": 30000,
    });
    assert_eq!(
        list,
        json!({
            "name": "DEFAULT_GROUP@@hello", "groupName": "DEFAULT_GROUP", "clusters": "DEFAULT",
            "cacheMillis": 10000, "hosts": [host], "lastRefTime": null, "checksum": "",
            "allIPs": false, "reachProtectionThreshold": false, "valid": true,
        })
    );
    let shown = api.json("GET", INSTANCE, "serviceName=hello&ip=10.0.0.1&port=8080").await;
    assert_eq!(
        (&shown["service"], &shown["weight"]),
        (&json!("DEFAULT_GROUP@@hello"), &json!(2.5))
    );
}

#[tokio::test]
async fn parameters_come_by_query_or_by_form() {
    let api = Api::new();
    let form = "serviceName=hello&ip=10.0.0.1&port=80&metadata=zone%3Da";
    assert_eq!(api.form("POST", INSTANCE, form).await, (200, "ok".into()));
    assert_eq!(api.form("PUT", INSTANCE, &format!("{form}&weight=0")).await, (200, "ok".into()));
    let host = api.json("GET", LIST, "serviceName=hello").await["hosts"][0].take();
    assert_eq!((&host["weight"], &host["metadata"]["zone"]), (&json!(0.0), &json!("a")));
    let beat = format!("{form}&beat=");
    assert!(api.form("PUT", BEAT, &beat).await.1.contains("10200"));
    assert_eq!(api.form("DELETE", INSTANCE, form).await, (200, "ok".into()));
    assert!(api.ports("serviceName=hello").await.is_empty());
}

#[tokio::test]
async fn namespaces_and_groups_are_apart() {
    let api = Api::new();
    api.ok("POST", INSTANCE, "serviceName=hello&ip=10.0.0.1&port=1&namespaceId=public").await;
    api.ok("POST", INSTANCE, "serviceName=hello&ip=10.0.0.1&port=2&namespaceId=dev").await;
    api.ok("POST", INSTANCE, "serviceName=hello&ip=10.0.0.1&port=3&groupName=G").await;
    api.ok("POST", INSTANCE, "serviceName=G%40%40hello&ip=10.0.0.1&port=4&groupName=G").await;
    assert_eq!(api.ports("serviceName=hello").await, [1]);
    assert_eq!(api.ports("serviceName=hello&namespaceId=").await, [1]);
    assert_eq!(api.ports("serviceName=hello&namespaceId=dev").await, [2]);
    assert_eq!(api.ports("serviceName=G%40%40hello").await, [3, 4]);
    let services =
        api.json("GET", "/nacos/v1/ns/service/list", "pageNo=1&pageSize=10&groupName=G").await;
    assert_eq!(services, json!({ "count": 1, "doms": ["hello"] }));
}

#[tokio::test]
async fn services_are_listed_by_the_page() {
    let api = Api::new();
    for name in ["a", "b", "c"] {
        api.ok("POST", INSTANCE, &format!("serviceName={name}&ip=10.0.0.1&port=1")).await;
    }
    let path = "/nacos/v1/ns/service/list";
    let page = async |query: &str| api.json("GET", path, query).await;
    assert_eq!(page("pageNo=2&pageSize=2").await, json!({ "count": 3, "doms": ["c"] }));
    assert_eq!(page("").await, json!({ "count": 3, "doms": ["a", "b", "c"] }));
    let far = format!("pageNo={}&pageSize={}", usize::MAX, usize::MAX);
    assert_eq!(page(&far).await, json!({ "count": 3, "doms": [] }));
}

#[tokio::test]
async fn the_list_leaves_out_what_the_caller_does_not_want() {
    let api = Api::new();
    api.ok("POST", INSTANCE, "serviceName=s&ip=10.0.0.1&port=1&clusterName=a").await;
    api.ok("POST", INSTANCE, "serviceName=s&ip=10.0.0.1&port=2&clusterName=b&healthy=false").await;
    api.ok("POST", INSTANCE, "serviceName=s&ip=10.0.0.1&port=3&enabled=false").await;
    api.ok("POST", INSTANCE, "serviceName=s&ip=10.0.0.1&port=4&enable=false").await;
    assert_eq!(api.ports("serviceName=s").await, [1, 2]);
    assert_eq!(api.ports("serviceName=s&healthyOnly=true").await, [1]);
    assert_eq!(api.ports("serviceName=s&clusters=b,%20c").await, [2]);
    assert_eq!(api.ports("serviceName=s&clusters=DEFAULT").await, Vec::<u64>::new());
}

#[tokio::test]
async fn a_full_beat_registers_and_a_light_one_does_not() {
    let api = Api::new();
    let light = "serviceName=s&ip=10.0.0.1&port=1";
    let unknown = json!({ "clientBeatInterval": 5000, "code": 20404, "lightBeatEnabled": true });
    assert_eq!(api.json("PUT", BEAT, light).await, unknown);
    assert!(api.ports("serviceName=s").await.is_empty());
    // {"ip":"10.0.0.1","port":1,"ephemeral":false,"metadata":{"preserved.heart.beat.interval":"2000"}}
    let full = "serviceName=s&beat=%7B%22ip%22%3A%2210.0.0.1%22%2C%22port%22%3A1%2C%22ephemeral%22%3Afalse%2C\
                %22metadata%22%3A%7B%22preserved.heart.beat.interval%22%3A%222000%22%7D%7D";
    let known = json!({ "clientBeatInterval": 2000, "code": 10200, "lightBeatEnabled": true });
    assert_eq!(api.json("PUT", BEAT, full).await, known);
    assert_eq!(api.json("PUT", BEAT, full).await, known);
    assert_eq!(api.json("PUT", BEAT, light).await, known);
    let shown = api.json("GET", INSTANCE, light).await;
    assert_eq!(shown["ephemeral"], true, "who beats is ephemeral");
}

/// What comes after a good service and address, and what is wrong with it.
const BAD_INSTANCES: [(&str, &str); 4] = [
    ("&weight=NaN", "`weight` is not a number from 0 to 10000"),
    ("&enabled=maybe", "`enabled` is neither true nor false"),
    ("&metadata=x", "`metadata` is not a flat object"),
    ("&clusterName=a,b", "`clusterName` is not a name"),
];

#[tokio::test]
async fn what_is_wrong_is_named_in_plain_text() {
    let (api, good) = (Api::new(), "serviceName=s&ip=10.0.0.1&port=1");
    for (query, text) in [
        ("ip=10.0.0.1&port=1", "`serviceName` is missing"),
        ("serviceName=a%20b&ip=10.0.0.1&port=1", "`serviceName` is not a name"),
        ("serviceName=s&ip=localhost&port=1", "`ip` is not an IP address"),
        ("serviceName=s&ip=10.0.0.1&port=0", "`port` is not a port from 1 to 65535"),
    ] {
        assert_eq!(api.call("POST", INSTANCE, query).await, (400, text.into()), "{query}");
    }
    for (more, text) in BAD_INSTANCES {
        let query = format!("{good}{more}");
        assert_eq!(api.call("POST", INSTANCE, &query).await, (400, text.into()), "{query}");
    }
    let nobody = "`ip` and `port` are of no instance of this service";
    assert_eq!(api.call("PUT", INSTANCE, good).await, (400, nobody.into()));
    assert_eq!(api.call("GET", INSTANCE, good).await, (404, "no such instance".into()));
    assert_eq!(api.call("GET", LIST, "").await, (400, "`serviceName` is missing".into()));
    let (status, text) = api.call("PUT", BEAT, "serviceName=s&beat=%7B").await;
    assert!(status == 400 && text.starts_with("`beat` EOF"), "{text}");
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused() {
    let form = format!("serviceName=s&x={}", "y".repeat(MAX_BODY));
    assert_eq!(Api::new().form("POST", INSTANCE, &form).await.0, 413);
}

#[tokio::test]
async fn clients_that_ask_for_more_than_instances_are_content() {
    let api = Api::new();
    api.ok("POST", INSTANCE, "serviceName=s&ip=10.0.0.1&port=1").await;
    assert_eq!(
        api.json("GET", "/nacos/v1/ns/operator/metrics", "").await,
        json!({ "status": "UP", "serviceCount": 1, "instanceCount": 1 })
    );
    api.ok("GET", "/nacos/v1/console/health/readiness", "").await;
    let token = api.json("POST", "/nacos/v1/auth/login", "username=u&password=p").await;
    assert_eq!(token["tokenTtl"], TOKEN_TTL);
    assert_eq!(api.call("GET", "/nacos/v1/cs/configs", "dataId=d").await.0, 404);
}

proptest! {
    #[test]
    fn nothing_that_is_sent_does_more_than_be_refused(
        path in prop::sample::select(vec![INSTANCE, BEAT, LIST]),
        method in prop::sample::select(vec!["POST", "PUT", "DELETE"]),
        service in prop::sample::select(vec!["s", "%FF", "@@", "G@@s", ""]),
        body: Vec<u8>,
        beat in "[{}\\[\\]\":,0-9a-z.%]{0,60}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}?serviceName={service}&ip=10.0.0.1&port=1"))
            .header("content-type", "application/x-www-form-urlencoded");
        let body = [b"beat=", beat.as_bytes(), b"&", &body].concat();
        let (status, _) =
            runtime.block_on(Api::new().send(request.body(Body::from(body)).unwrap()));
        prop_assert!(status < 500, "{status}");
    }
}
