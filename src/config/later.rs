//! Keys that people try and that this version does not have, with what to do instead.
//!
//! Called by `conform` for keys that the schema does not know. Never makes a key accepted.

/// Keys of later versions: section, key, and what to do until then. An empty section means any.
const LATER: &[(&str, &str, &str)] = &[
    ("jwt", "jwks", KEYS),
    ("jwt", "jwks_uri", KEYS),
    ("jwt", "jwks_url", KEYS),
    ("jwt", "discovery", KEYS),
    ("jwt", "oidc", KEYS),
    ("listener", "client_ca", "let a proxy in front ask clients for certificates"),
    ("listener", "client_auth", "let a proxy in front ask clients for certificates"),
    ("listener", "certificates", ONE_CERTIFICATE),
    ("listener", "sni", ONE_CERTIFICATE),
    ("listener", "acme", "keep `certificate` and `key` renewed from outside"),
    ("listener", "http3", "HTTP/1.1 and HTTP/2 are served"),
    (
        "listener",
        "proxy_protocol",
        "put the proxy into [server] trusted_proxies and let it send X-Forwarded-For",
    ),
    ("upstream", "health_check", HEALTH),
    ("upstream", "health_checks", HEALTH),
    ("upstream", "balancer", "instances are drawn at random by weight"),
    ("upstream", "load_balancing", "instances are drawn at random by weight"),
    ("upstream", "sticky", "instances are drawn at random by weight"),
    ("upstream", "hash", "instances are drawn at random by weight"),
    ("upstream", "slow_start", "let the registry raise the weight step by step"),
    ("upstream", "subset", "give each subset a service name of its own"),
    ("upstream", "max_connections", "use `rate_limit` on the route"),
    ("route", "basic_auth", TOKENS),
    ("route", "api_key", TOKENS),
    ("route", "key_auth", TOKENS),
    ("route", "forward_auth", TOKENS),
    ("route", "ext_auth", TOKENS),
    ("route", "oauth2", TOKENS),
    ("route", "oidc", TOKENS),
    ("route", "hmac_auth", TOKENS),
    ("route", "rbac", "use `scopes` and `claims` of `jwt`"),
    (
        "route",
        "cel",
        "use `scopes` and `claims` of `jwt`, and `headers`, `query` and `cookies` of the route",
    ),
    ("route", "opa", "use `scopes` and `claims` of `jwt`"),
    ("route", "compression", "let the upstream compress"),
    ("route", "gzip", "let the upstream compress"),
    ("route", "cache", "let the upstream or a CDN cache"),
    ("route", "mirror", "send a share with weights: to = { orders = 99, orders-v2 = 1 }"),
    ("route", "fault", "use a route with `answer` and a header that asks for it"),
    ("route", "concurrency", "use `rate_limit`"),
    ("route", "wasm", POLICIES),
    ("route", "lua", POLICIES),
    ("route", "plugins", POLICIES),
    ("route", "policies", POLICIES),
    ("", "tracing", "metrics and the access log are there"),
    ("", "acme", "keep a listener's `certificate` and `key` renewed from outside"),
    ("", "plugins", POLICIES),
    ("", "test", "use `tollgate explain`"),
];

const KEYS: &str = "save the issuer's keys and write keys = { file = \"jwks.json\" }";
const ONE_CERTIFICATE: &str = "write tls = { certificate = \"cert.pem\", key = \"key.pem\" }: one certificate, which may name several hosts";
const HEALTH: &str =
    "`ejection` leaves out instances that fail, and registries say what is healthy";
const TOKENS: &str = "use `jwt`";
const POLICIES: &str =
    "policies are keys of the route: jwt, rate_limit, circuit_breaker, ip_filter, cors, max_body";

/// Words of other gateways for keys that exist: section, their word, ours.
const ALIASES: &[(&str, &str, &str)] = &[
    ("listener", "bind", "address"),
    ("listener", "listen", "address"),
    ("registry", "type", "kind"),
    ("registry", "server", "address"),
    ("registry", "server_addr", "address"),
    ("registry", "servers", "address"),
    ("registry", "user", "username"),
    ("route", "upstream", "to"),
    ("route", "service", "to"),
    ("route", "backend", "to"),
    ("route", "uri", "path"),
    ("route", "id", "name"),
    ("route", "ratelimit", "rate_limit"),
    ("route", "limit", "rate_limit"),
    ("route", "breaker", "circuit_breaker"),
    ("route", "auth", "jwt"),
    ("route", "respond", "answer"),
    ("upstream", "nodes", "instances"),
    ("upstream", "servers", "instances"),
    ("upstream", "targets", "instances"),
    ("upstream", "outlier_detection", "ejection"),
    ("", "routes", "route"),
    ("", "upstreams", "upstream"),
    ("", "service", "upstream"),
    ("", "services", "upstream"),
    ("", "registries", "registry"),
    ("", "discovery", "registry"),
    ("", "issuer", "jwt"),
];

/// Kinds of registries that later versions know.
const KINDS: &[&str] = &["consul", "dns", "etcd", "eureka", "kubernetes", "zookeeper"];

/// What to do without a key that only a later version has.
pub(super) fn instead_of(section: &str, key: &str) -> Option<&'static str> {
    LATER.iter().find(|(s, k, _)| *s == section && *k == key).map(|(_, _, instead)| *instead)
}

/// Our word for another gateway's.
pub(super) fn our_word(section: &str, key: &str) -> Option<&'static str> {
    ALIASES.iter().find(|(s, k, _)| *s == section && *k == key).map(|(_, _, ours)| *ours)
}

pub(super) fn is_later_kind(kind: &str) -> bool {
    KINDS.contains(&kind)
}
