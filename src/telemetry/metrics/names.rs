//! Every metric that tollgate exports: its name and its help text, in this one file.
//!
//! Called by what writes to a [`Page`](super::Page). The names follow Prometheus' rules: one prefix, base units, the
//! unit at the end, `_total` for counters; labels come from the config, never from a request.

use std::marker::PhantomData;

/// A family of series: what its `HELP` and `TYPE` lines say.
#[derive(Debug)]
pub struct Family<Kind> {
    pub name: &'static str,
    pub help: &'static str,
    kind: PhantomData<Kind>,
}

/// A family that only grows.
#[derive(Debug)]
pub enum Counter {}

/// A family that goes up and down.
#[derive(Debug)]
pub enum Gauge {}

/// A family of durations in buckets.
#[derive(Debug)]
pub enum Histogram {}

macro_rules! families {
    ($($id:ident: $kind:ident = $name:literal, $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: Family<$kind> = Family { name: $name, help: $help, kind: PhantomData };
        )*

        /// The name, kind and help of each.
        pub const ALL: &[(&str, &str, &str)] = &[$(($name, stringify!($kind), $help)),*];
    };
}

families! {
    // Requests, by route.
    HTTP_REQUESTS: Counter = "tollgate_http_requests_total",
        "Requests answered, by route, method and status code.";
    HTTP_REQUEST_DURATION: Histogram = "tollgate_http_request_duration_seconds",
        "Whole time of a request as its client sees it.";
    HTTP_OVERHEAD_DURATION: Histogram = "tollgate_http_overhead_duration_seconds",
        "Time of a request that tollgate itself took.";
    HTTP_REQUESTS_IN_FLIGHT: Gauge = "tollgate_http_requests_in_flight",
        "Requests that are being answered now.";
    HTTP_REQUEST_BYTES: Counter = "tollgate_http_request_bytes_total",
        "Bytes of request bodies received.";
    HTTP_RESPONSE_BYTES: Counter = "tollgate_http_response_bytes_total",
        "Bytes of response bodies sent.";
    OUTCOMES: Counter = "tollgate_outcomes_total",
        "Requests by how they ended, whoever set the status.";
    SHADOW_REJECTIONS: Counter = "tollgate_shadow_rejections_total",
        "Requests that a policy in shadow mode would have refused.";

    // Tries, by upstream.
    UPSTREAM_REQUESTS: Counter = "tollgate_upstream_requests_total",
        "Tries sent to an upstream, by class of its status code (none: it did not answer).";
    UPSTREAM_REQUEST_DURATION: Histogram = "tollgate_upstream_request_duration_seconds",
        "Time of one try, from the pick of an instance to the end of its response.";
    UPSTREAM_CONNECT_FAILURES: Counter = "tollgate_upstream_connect_failures_total",
        "Connections to instances that could not be made.";
    UPSTREAM_RETRIES: Counter = "tollgate_upstream_retries_total",
        "Requests tried again on another instance.";
    UPSTREAM_RETRIES_REFUSED: Counter = "tollgate_upstream_retries_refused_total",
        "Retries not made because the retry budget was spent.";
    UPSTREAM_INSTANCES: Gauge = "tollgate_upstream_instances",
        "Instances of an upstream, by state.";
    UPSTREAM_EJECTIONS: Counter = "tollgate_upstream_ejections_total",
        "Instances taken out of an upstream for a while.";

    // Policies.
    CIRCUIT_BREAKER_STATE: Gauge = "tollgate_circuit_breaker_state",
        "1 for the state that a circuit breaker is in, 0 for the others.";
    CIRCUIT_BREAKER_TRANSITIONS: Counter = "tollgate_circuit_breaker_transitions_total",
        "Changes of a circuit breaker's state, by the state it came to.";
    RATE_LIMIT_DECISIONS: Counter = "tollgate_rate_limit_decisions_total",
        "Requests that a rate limit was asked about, by what it said.";
    RATE_LIMIT_KEYS: Gauge = "tollgate_rate_limit_keys",
        "Buckets that a rate limit keeps now.";
    RATE_LIMIT_EVICTIONS: Counter = "tollgate_rate_limit_evictions_total",
        "Buckets of a rate limit that had to make room for others.";
    JWT_VERIFICATIONS: Counter = "tollgate_jwt_verifications_total",
        "Requests that were asked for a token, by what was found.";

    // Registries.
    REGISTRY_UP: Gauge = "tollgate_registry_up",
        "1 while a registry's session is live.";
    REGISTRY_LAST_SUCCESS: Gauge = "tollgate_registry_last_success_timestamp_seconds",
        "When a registry last told something, in seconds since 1970.";
    REGISTRY_STALE_SERVICES: Gauge = "tollgate_registry_stale_services",
        "Services whose last view is from before their registry was lost.";
    REGISTRY_SESSIONS: Counter = "tollgate_registry_sessions_total",
        "Sessions begun with a registry.";
    REGISTRY_VIEWS: Counter = "tollgate_registry_views_total",
        "Views received from a registry, by what became of them.";

    // The process.
    CONFIG_LAST_RELOAD_SUCCESSFUL: Gauge = "tollgate_config_last_reload_successful",
        "1 if the config read last is in use, 0 if it was refused.";
    CONFIG_LAST_RELOAD_SUCCESS: Gauge = "tollgate_config_last_reload_success_timestamp_seconds",
        "When the config in use was taken, in seconds since 1970.";
    CONFIG_RELOADS: Counter = "tollgate_config_reloads_total",
        "Reloads of the config, by result.";
    CONFIG_RELOAD_DURATION: Histogram = "tollgate_config_reload_duration_seconds",
        "Time of a reload that was applied, from the read of the file to its use.";
    CONFIG_INFO: Gauge = "tollgate_config_info",
        "1, labelled with the hash of the config in use.";
    BUILD_INFO: Gauge = "tollgate_build_info",
        "1, labelled with what was built.";
    ACCESS_LOG_DROPPED: Counter = "tollgate_access_log_dropped_total",
        "Access-log lines lost, because the queue was full or a write failed.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_prometheus() {
        for (name, kind, _) in ALL {
            assert!(name.starts_with("tollgate_"), "{name}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
            assert!(!name.contains("__"), "{name}");
            assert_eq!(*kind == "Counter", name.ends_with("_total"), "{name}");
            assert_eq!(*kind == "Histogram", name.ends_with("_duration_seconds"), "{name}");
        }
    }

    #[test]
    fn units_are_base_units_and_stand_at_the_end() {
        for (name, _, _) in ALL {
            for scaled in ["_ms", "_millis", "_micros", "_minutes", "_kb", "_percent"] {
                assert!(!name.contains(scaled), "{name}");
            }
            let bare = name.trim_end_matches("_total");
            for unit in ["seconds", "bytes"] {
                assert_eq!(bare.contains(unit), bare.ends_with(unit), "{name}");
            }
        }
    }

    #[test]
    fn each_name_is_used_once_and_each_help_is_a_sentence() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|family| family.0).collect();
        assert_eq!(names.len(), ALL.len());
        for (name, _, help) in ALL {
            assert!(help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
        }
    }
}
