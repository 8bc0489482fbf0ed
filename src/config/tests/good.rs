//! Configs that are good: the shipped one, and samples that use every key.

use super::*;
use crate::config::units::{Interval, Percent};

/// Every key of every table, in one file or another.
pub(super) const SAMPLES: [&str; 4] = [EVERY_ROUTE_KEY, EVERY_TABLE, "", SHORT_FORMS];

const EVERY_ROUTE_KEY: &str = r#"
[jwt.idp]
issuer = "https://idp.example.com/"
audience = ["a", "b"]
secret = "${SECRET}"
algorithm = "HS256"
leeway = "10s"
required_claims = ["sub"]

[registry.main]
kind = "embedded"

[[route]]
name = "orders"
host = ["api.example.com", "*.example.org"]
path = "/orders/{id}/**"
methods = ["GET", "PURGE"]
headers = { x-canary = "*", x-tenant = { regex = "[a-z]+" } }
query = { v = "2" }
cookies = { session = "*" }
to = { orders = 90, orders-v2 = 10 }
rewrite = { prefix = "/v2", host = "orders.internal:8080" }
request_headers = { set = { x-a = "1" }, add = { x-b = "2" }, remove = ["x-c"] }
response_headers = { remove = ["server"] }
ip_filter = { allow = ["10.0.0.0/8"], deny = ["10.0.0.1"], mode = "shadow" }
cors = { origins = ["https://*.example.com"], methods = ["GET"], headers = ["*"], expose = ["x-a"], credentials = false, max_age = "1h", mode = "enforce" }
jwt = { issuer = "idp", scopes = "orders.read", claims = { tenant = ["a", "b"] }, headers = { x-user-id = "sub" }, forward_token = false, mode = "enforce" }
rate_limit = { rate = "100/s", burst = 50, per = ["jwt.sub", "header.X-Tenant", "client"], max_keys = 1000, mode = "shadow" }
max_body = { size = "1MiB", mode = "shadow" }
circuit_breaker = { failure_rate = "50%", slow_call_rate = "80%", slow_call = "2s", minimum_calls = 20, window = "30s", open_for = "10s", half_open_calls = 5, mode = "enforce" }

[[route]]
name = "old"
path = { regex = "/old/[0-9]+" }
redirect = { scheme = "https", host = "example.com:8443", path = "/new", status = 308 }

[[route]]
name = "by-template"
path = "/t/{id}"
to = "orders"
rewrite = { path = "/u/{id}" }

[[route]]
name = "pong"
path = "/ping"
answer = { status = 200, body = "pong", headers = { content-type = "text/plain" } }
"#;

const EVERY_TABLE: &str = r#"
[server]
threads = 2
trusted_proxies = ["10.0.0.0/8", "::1"]
boot_timeout = "5s"
drain_delay = "0"
drain_timeout = "1m"
state_dir = "state"

[listener.http]
address = "[::]:8080"
keep_alive = "75s"
max_head = "64KiB"
read_timeout = "10s"
write_timeout = "10s"

[listener.https]
address = "0.0.0.0:8443"
tls = { certificate = "Cargo.toml", key = "Cargo.toml" }

[admin]
address = "0.0.0.0:9180"
token = "${SECRET}"

[access_log]
output = "access.log"

[registry.file]
kind = "file"
path = "instances.json"
poll = "5s"
empty_grace = "1s"
reconnect_grace = "2s"
shrink_threshold = "50%"

[registry.nacos]
kind = "nacos"
address = ["127.0.0.1:8848", "nacos.example:8848"]
grpc_port = 9848
namespace = "public"
group = "DEFAULT_GROUP"
clusters = ["a"]
username = "nacos"
password = { file = "Cargo.toml" }

[jwt.file]
keys = { file = "Cargo.toml" }

[upstream.fixed]
instances = ["127.0.0.1:9001", { address = "host.example:9002", weight = 3, metadata = { zone = "a" } }]
protocol = "http2"
tls = { sni = "host.example", ca = "Cargo.toml" }
timeouts = { connect = "1s", read = "10s", write = "10s", idle = "10s", total = "20s" }
retries = { tries = 3, budget = "10%", floor = 1 }
ejection = { consecutive_failures = 3, base_time = "5s", max_time = "1m", max_share = "30%", panic_threshold = "20%" }

[upstream.orders]
service = "GROUP@@orders"
registry = "nacos"

[upstream.users]
registry = "file"

[[route]]
name = "all"
to = { fixed = 1, orders = 0.5, users = 2 }
jwt = "file"
"#;

const SHORT_FORMS: &str = r#"
upstream.a.instances = ["127.0.0.1:1"]
route = [
    { name = "a", to = "a", methods = "GET", host = "*.example.com" },
    { name = "b", to = "a", rate_limit.rate = "10/5s" },
    { name = "c", path = "/c", to.b = 1 },
]
[registry.r]
kind = "embedded"
listen = "127.0.0.1:${PORT:-8848}"
[upstream.b]
registry = "r"
"#;

/// Parses with the crate's folder as the base, where some files are.
fn good(text: &str) -> Checked {
    let env = |name: &str| (name == "SECRET").then(|| "0123456789".repeat(4));
    parse("routes.toml", text, root(), &env).unwrap_or_else(|all| panic!("{}", all.render(false)))
}

#[test]
fn the_shipped_config_is_clean_with_nothing_set() {
    let text = std::fs::read_to_string(root().join("routes.toml")).unwrap();
    let checked = parse("routes.toml", &text, root(), &|_| None)
        .unwrap_or_else(|all| panic!("{}", all.render(false)));
    assert!(checked.warnings.is_empty(), "{}", checked.warnings.render(false));
    let names: Vec<_> = checked.config.route.iter().map(|route| route.name.as_str()).collect();
    assert!(["hello", "me", "limited", "flaky"].iter().all(|name| names.contains(name)));
    assert!(matches!(checked.config.registry["local"].kind, RegistryKind::Embedded(_)));
    let loaded = load(&root().join("routes.toml")).unwrap();
    assert_eq!(loaded.config, checked.config);
}

#[test]
fn samples_of_every_key_are_good() {
    for sample in SAMPLES {
        good(sample);
    }
}

#[test]
fn good_samples_agree_with_the_schema() {
    let schema = schema();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let shipped = std::fs::read_to_string(root().join("routes.toml")).unwrap();
    for sample in SAMPLES.into_iter().chain([shipped.as_str()]) {
        let value: serde_json::Value = toml::from_str(sample).unwrap();
        let errors: Vec<_> = validator.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {sample}");
    }
    for bad in [
        "routes = []",
        "[[route]]\nname = \"a\"\npth = \"/\"",
        "[registry.a]\nkind = \"file\"",
        "[admin]\ntoken = \"literal\"",
        "[[route]]\nname = \"a\"\nmax_body = \"1\"",
    ] {
        let value: serde_json::Value = toml::from_str(bad).unwrap();
        assert!(!validator.is_valid(&value), "{bad}");
    }
}

#[test]
fn what_is_written_is_what_comes_out() {
    let config = good(EVERY_ROUTE_KEY).config;
    assert_eq!(config.listener["http"], Listener::default());
    assert_eq!(config.jwt["idp"].secret.as_ref().unwrap().reveal(), "0123456789".repeat(4));
    let orders = &config.route[0];
    assert_eq!(orders.to.as_ref().unwrap().0.len(), 2);
    assert_eq!(orders.circuit_breaker.as_ref().unwrap().open_for, Interval::secs(10));
    assert_eq!(*orders.host[1], HostPattern::Wildcard("example.org".into()));
    let config = good(EVERY_TABLE).config;
    assert_eq!(config.server.state_dir.as_deref(), Some(&*root().join("state")));
    assert_eq!(config.access_log.output, LogOutput::File(root().join("access.log")));
    assert_eq!(config.registry["file"].graces.shrink_threshold, Percent(0.5));
    assert_eq!(config.registry["nacos"].graces.reconnect_grace, Interval::secs(30));
    let RegistryKind::Nacos(nacos) = &config.registry["nacos"].kind else { panic!() };
    assert!(nacos.password.as_ref().unwrap().reveal().contains("[package]"));
}

#[test]
fn what_is_doubtful_is_a_warning() {
    let warnings = |text: &str| -> Vec<_> {
        good(text).warnings.iter().map(|item| (item.code, item.severity)).collect()
    };
    let base = "[upstream.a]\ninstances = [\"127.0.0.1:1\"]\n";
    let route =
        |name: &str, more: &str| format!("[[route]]\nname = \"{name}\"\nto = \"a\"\n{more}\n");
    for (text, code) in [
        (String::new(), "no-routes"),
        (format!("{base}{}{}", route("x", "path = \"/a/{b}\""), route("y", "path = \"/a/{c}\"")), "never-reached"),
        (format!("{base}[upstream.b]\ninstances = [\"127.0.0.1:1\"]\n{}", route("x", "")), "unused"),
        (format!("{base}[registry.b]\nkind = \"embedded\"\n{}", route("x", "")), "unused"),
        (format!("{base}[server]\ntrusted_proxies = [\"0.0.0.0/0\"]\n{}", route("x", "")), "trusts-everyone"),
        ("[registry.r]\nkind = \"embedded\"\nlisten = \"0.0.0.0:8848\"\n[[route]]\nname = \"x\"\nto = \"s\"".into(), "open-registry"),
        ("[jwt.a]\nsecret = { file = \".gitignore\" }\n[[route]]\nname = \"x\"\nanswer = {}\njwt = \"a\"".into(), "weak-secret"),
        (format!("{base}{}", route("x", "circuit_breaker = { window = 10, minimum_calls = 20 }")), "minimum-above-window"),
    ] {
        assert_eq!(warnings(&text), [(code, Severity::Warning)], "{text}");
    }
    assert_eq!(
        warnings(&format!(
            "{base}{}{}",
            route("x", "path = \"/a\""),
            route("y", "path = \"/a\"\nmethods = \"GET\"")
        )),
        []
    );
    assert_eq!(warnings(&format!("{base}{}", route("x", "circuit_breaker = { window = 10 }"))), []);
}
