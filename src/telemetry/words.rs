//! The closed sets of words that label metrics and stand in access-log lines.
//!
//! Called by whoever counts or logs. No word here comes from a request.

/// Declares an enum whose variants each have one word, with `ALL` in order and `as_str`.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)*
        }

        impl $name {
            /// Every variant, in the order of their declaration.
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            pub(super) const COUNT: usize = Self::ALL.len();

            /// The word for it, in metrics, logs and answers alike.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    /// How a request ended. The same status means opposite things from an upstream and from us; this tells them apart.
    Outcome {
        /// Not well formed, or not to be understood in one way only.
        BadRequest = "bad_request",
        /// The upstream spoke, and it was not HTTP.
        BadUpstream = "bad_upstream",
        CircuitBreakerOpen = "circuit_breaker_open",
        /// The client went away before the end.
        ClientClosed = "client_closed",
        ConnectFailed = "connect_failed",
        /// Known who, but not allowed.
        Forbidden = "forbidden",
        /// Our own fault.
        Internal = "internal",
        /// The request has come through here before.
        Loop = "loop",
        /// A route has the path, but not with this method.
        MethodNotAllowed = "method_not_allowed",
        NoInstance = "no_instance",
        NoRoute = "no_route",
        /// Answered as the route says, by an upstream (below 500) or by us.
        Ok = "ok",
        /// A cap on requests or connections was reached.
        Overloaded = "overloaded",
        RateLimited = "rate_limited",
        /// The upstream closed the connection before its response was whole.
        Reset = "reset",
        Timeout = "timeout",
        /// Request line, headers or body beyond their bounds.
        TooLarge = "too_large",
        /// Not known who.
        Unauthorized = "unauthorized",
        /// The upstream itself answered with 500 or above.
        UpstreamStatus = "upstream_status",
    }
}

words! {
    /// A policy that may be in shadow mode, by its key in `[[route]]`.
    Policy {
        CircuitBreaker = "circuit_breaker",
        Cors = "cors",
        IpFilter = "ip_filter",
        Jwt = "jwt",
        MaxBody = "max_body",
        RateLimit = "rate_limit",
    }
}

words! {
    /// What a rate limit said of a request.
    LimitDecision {
        Allow = "allow",
        Deny = "deny",
        /// It would have refused, were it not in shadow mode.
        ShadowDeny = "shadow_deny",
    }
}

words! {
    /// What was found where a route asks for a token, in shadow mode too.
    TokenResult {
        /// Two credentials, or a malformed one.
        Ambiguous = "ambiguous",
        /// Valid, but not for this route.
        Forbidden = "forbidden",
        Invalid = "invalid",
        Missing = "missing",
        Valid = "valid",
    }
}

words! {
    /// Why a request was tried on another instance.
    RetryReason {
        ConnectFailed = "connect_failed",
        /// A connection from the pool turned out dead before any of the response came.
        DeadConnection = "dead_connection",
    }
}

/// A set of policies, such as those that would have refused a request were they not in shadow mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policies(u8);

// === impl Policies ===

impl Policies {
    pub fn insert(&mut self, policy: Policy) {
        self.0 |= Self::bit(policy);
    }

    pub fn contains(self, policy: Policy) -> bool {
        self.0 & Self::bit(policy) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Policy> {
        Policy::ALL.iter().copied().filter(move |policy| self.contains(*policy))
    }

    const fn bit(policy: Policy) -> u8 {
        const { assert!(Policy::COUNT <= 8) };
        1 << policy as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_snake_case_and_each_is_used_once() {
        let words: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.as_str()).collect();
        let distinct: std::collections::BTreeSet<_> = words.iter().collect();
        assert_eq!(distinct.len(), words.len());
        for word in words {
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{word}");
        }
    }

    #[test]
    fn a_set_holds_what_was_put_in_and_no_more() {
        let mut set = Policies::default();
        assert!(set.is_empty());
        set.insert(Policy::RateLimit);
        set.insert(Policy::Cors);
        set.insert(Policy::Cors);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Policy::Cors, Policy::RateLimit]);
        assert!(!set.contains(Policy::Jwt));
    }
}
