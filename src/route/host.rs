//! Brings the host that a client asked for into the form that routes are matched on.
//!
//! Called by `gateway` once a request, with the value of `Host` or `:authority`. Never lets through what is not
//! exactly a host with or without a port.

use std::{borrow::Cow, net::Ipv6Addr};

/// A host in normal form. The default is the host of a request that names none, as HTTP/1.0 may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host<'a> {
    /// Lower case, without the dot at the end; IPv6 in brackets and in its shortest form.
    pub name: Cow<'a, str>,
    pub port: Option<u16>,
}

/// Why a host is refused. All of these are the client's doing: 400 (RFC 9112 3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadHost {
    #[error("the host is empty")]
    Empty,
    /// Something other than letters, digits, `-`, `_` and single dots, or a label beyond 63 bytes, or 253 in all.
    #[error("the host is no name and no address")]
    Name,
    #[error("the port of the host is no port")]
    Port,
}

const LONGEST_LABEL: usize = 63;
const LONGEST_NAME: usize = 253;

/// Parts the port from a host and brings the name into normal form, borrowed when a name is normal already.
///
/// Stricter than RFC 3986 3.2.2: names are DNS names (and `_`, which service names have), without escapes.
pub fn normalise_host(raw: &str) -> Result<Host<'_>, BadHost> {
    if let Some(rest) = raw.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or(BadHost::Name)?;
        let address: Ipv6Addr = address.parse().map_err(|_| BadHost::Name)?;
        let port = if port.is_empty() { None } else { Some(port) };
        let port = port.map(|port| port.strip_prefix(':').ok_or(BadHost::Port)).transpose()?;
        return Ok(Host { name: format!("[{address}]").into(), port: parse_port(port)? });
    }
    let (name, port) = match raw.split_once(':') {
        Some((name, port)) => (name, Some(port)),
        None => (raw, None),
    };
    Ok(Host { name: normalise_name(name)?, port: parse_port(port)? })
}

fn normalise_name(name: &str) -> Result<Cow<'_, str>, BadHost> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(BadHost::Empty);
    }
    if name.len() > LONGEST_NAME {
        return Err(BadHost::Name);
    }
    let (mut label, mut upper) = (0, false);
    for byte in name.bytes() {
        label = match byte {
            b'.' if label > 0 => 0,
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' if label < LONGEST_LABEL => {
                label + 1
            }
            _ => return Err(BadHost::Name),
        };
        upper |= byte.is_ascii_uppercase();
    }
    match label {
        0 => Err(BadHost::Name),
        _ if upper => Ok(name.to_ascii_lowercase().into()),
        _ => Ok(name.into()),
    }
}

/// An empty port is none (RFC 3986 3.2.3).
fn parse_port(port: Option<&str>) -> Result<Option<u16>, BadHost> {
    match port {
        None | Some("") => Ok(None),
        // `u16` alone would take a plus sign.
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().map(Some).map_err(|_| BadHost::Port)
        }
        Some(_) => Err(BadHost::Port),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(raw: &str, name: &str, port: Option<u16>) {
        assert_eq!(normalise_host(raw), Ok(Host { name: name.into(), port }), "{raw}");
    }

    #[test]
    fn port_case_and_last_dot_are_taken_off() {
        check("example.com", "example.com", None);
        check("API.Example.com:8080", "api.example.com", Some(8080));
        check("example.com.", "example.com", None);
        check("example.com.:443", "example.com", Some(443));
        check("example.com:", "example.com", None);
        check("127.0.0.1:80", "127.0.0.1", Some(80));
        check("my_service", "my_service", None);
    }

    #[test]
    fn ipv6_is_brought_into_its_shortest_form() {
        check("[::1]", "[::1]", None);
        check("[0:0:0:0:0:0:0:1]:8443", "[::1]", Some(8443));
        check("[2001:DB8::A]:", "[2001:db8::a]", None);
    }

    #[test]
    fn normal_name_is_borrowed() {
        for raw in ["example.com", "example.com:80", "example.com."] {
            assert!(matches!(normalise_host(raw).unwrap().name, Cow::Borrowed("example.com")));
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for raw in ["", ".", ":80"] {
            assert_eq!(normalise_host(raw), Err(BadHost::Empty), "{raw}");
        }
        let long_label = "a".repeat(64);
        let long_name = "a.".repeat(127) + "b";
        for raw in [
            "gw/admin",
            "gw evil",
            "a..b",
            ".a",
            "a..",
            "user@a",
            "a%41",
            "é.com",
            "a\tb",
            "*.a",
            "[::1",
            "[]",
            "[fe80::1%25eth0]",
            "[1.2.3.4]",
            "a,b",
            "a?b",
            "[::1].com:1x",
            &long_label,
            &long_name,
        ] {
            let refused = normalise_host(raw);
            assert!(matches!(refused, Err(BadHost::Name | BadHost::Port)), "{raw}: {refused:?}");
        }
        for raw in
            ["gw:80:81", "gw:65536", "gw:+80", "gw:-1", "gw:8o", "[::1]80", "[::1]:x", "gw: 80"]
        {
            assert_eq!(normalise_host(raw), Err(BadHost::Port), "{raw}");
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(raw in "[a-zA-Z0-9._:\\[\\]-]{0,40}|\\PC*") {
            if let Ok(host) = normalise_host(&raw) {
                prop_assert_eq!(normalise_host(&host.name), Ok(Host { name: host.name.clone(), port: None }));
            }
        }
    }
}
