//! Who may call a route, by client address.
//!
//! `decision` asks it first of all policies, with the address that [`TrustedProxies`](super::client::TrustedProxies)
//! tell. It never looks at a header.

use std::net::IpAddr;

use super::networks::Networks;
use crate::config;

/// Two lists: `deny` wins, and with an `allow` list all others are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpFilter {
    allow: Networks,
    deny: Networks,
}

// === impl IpFilter ===

impl IpFilter {
    pub fn new(config: &config::IpFilter) -> Self {
        Self { allow: Networks::new(&config.allow), deny: Networks::new(&config.deny) }
    }

    pub fn allows(&self, client: IpAddr) -> bool {
        !self.deny.contains(client) && (self.allow.is_empty() || self.allow.contains(client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Mode;

    #[test]
    fn deny_wins_and_an_allow_list_refuses_all_others() {
        for (allow, deny, client, allowed) in [
            ("", "", "10.0.0.1", true),
            ("", "10.0.0.0/8", "10.0.0.1", false),
            ("", "10.0.0.0/8", "::ffff:10.0.0.1", false),
            ("", "10.0.0.0/8", "11.0.0.1", true),
            ("10.0.0.0/8", "", "10.0.0.1", true),
            ("10.0.0.0/8", "", "11.0.0.1", false),
            ("10.0.0.0/8", "", "2001:db8::1", false),
            ("10.0.0.0/8", "10.0.0.1", "10.0.0.1", false),
            ("10.0.0.0/8", "10.0.0.1", "10.0.0.2", true),
            ("10.0.0.1", "10.0.0.0/8", "10.0.0.1", false),
            ("2001:db8::/32 10.0.0.0/8", "2001:db8:1::/48", "2001:db8::1", true),
            ("2001:db8::/32 10.0.0.0/8", "2001:db8:1::/48", "2001:db8:1::1", false),
        ] {
            let list = |text: &str| text.split_whitespace().map(|t| t.parse().unwrap()).collect();
            let filter = IpFilter::new(&config::IpFilter {
                allow: list(allow),
                deny: list(deny),
                mode: Mode::Enforce,
            });
            assert_eq!(
                filter.allows(client.parse().unwrap()),
                allowed,
                "{client}, {allow}, {deny}"
            );
        }
    }
}
