//! Which service: namespace, group and name.
//!
//! Called wherever a service is named, by clients in parts and by routes in one word.

/// A service of the embedded registry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ServiceKey {
    pub(super) namespace: String,
    pub(super) group: String,
    pub(super) name: String,
}

pub(super) const PUBLIC: &str = "public";
pub(super) const DEFAULT_GROUP: &str = "DEFAULT_GROUP";

/// The longest name of a service or group, as in Nacos.
const MAX_NAME: usize = 512;

// === impl ServiceKey ===

impl ServiceKey {
    /// A service as a client names it. A group before `@@` in the name wins over one that stands beside it.
    pub(super) fn parse(
        namespace: Option<&str>,
        group: Option<&str>,
        service: &str,
    ) -> Result<Self, &'static str> {
        let (group, name) =
            service.split_once("@@").unwrap_or((group.unwrap_or(DEFAULT_GROUP), service));
        let namespace = Self::namespace_of(namespace);
        if ![namespace, group, name].into_iter().all(|name| is_name(name, MAX_NAME)) {
            return Err("is not a name");
        }
        Ok(Self { namespace: namespace.into(), group: group.into(), name: name.into() })
    }

    /// A service as a route names it: `SERVICE` or `GROUP@@SERVICE`, of the public namespace.
    pub(super) fn of_route(service: &str) -> Self {
        let (group, name) = service.split_once("@@").unwrap_or((DEFAULT_GROUP, service));
        Self { namespace: PUBLIC.into(), group: group.into(), name: name.into() }
    }

    /// The public namespace has no id in Nacos 1 and 2.
    pub(super) fn namespace_of(namespace: Option<&str>) -> &str {
        namespace.filter(|namespace| !namespace.is_empty()).unwrap_or(PUBLIC)
    }

    /// `GROUP@@SERVICE`.
    pub(super) fn grouped(&self) -> String {
        format!("{}@@{}", self.group, self.name)
    }
}

/// A word without spaces, control characters and what Nacos puts names together with.
pub(super) fn is_name(name: &str, max: usize) -> bool {
    let forbidden = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '#' | ',' | char::REPLACEMENT_CHARACTER)
    };
    !name.is_empty() && name.len() <= max && !name.contains(forbidden) && !name.contains("@@")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ways_to_name_a_service_lead_to_the_same() {
        let hello = ServiceKey::of_route("hello");
        for (namespace, group, service) in [
            (None, None, "hello"),
            (Some(""), None, "hello"),
            (Some("public"), Some("DEFAULT_GROUP"), "hello"),
            (Some("public"), Some("OTHER"), "DEFAULT_GROUP@@hello"),
        ] {
            assert_eq!(ServiceKey::parse(namespace, group, service).unwrap(), hello);
        }
        assert_eq!(hello.grouped(), "DEFAULT_GROUP@@hello");
        let grouped = ServiceKey::parse(None, Some("G"), "hello").unwrap();
        assert_eq!(grouped, ServiceKey::of_route("G@@hello"));
        assert_ne!(grouped, hello);
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        let long = "x".repeat(513);
        for service in
            ["", "@@", "G@@", "@@hello", "a@@b@@c", "a b", "a\n", "a#b", "\u{fffd}", &long]
        {
            assert!(ServiceKey::parse(None, None, service).is_err(), "{service:?}");
        }
    }
}
