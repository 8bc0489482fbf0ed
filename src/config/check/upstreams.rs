//! Rules for `[registry.NAME]` and `[upstream.NAME]`.

use super::{Check, Diagnostic, Place, text};
use crate::config::{Ejection, InstanceAddress, NacosRegistry, RegistryKind, Upstream};

impl Check<'_, '_> {
    pub(super) fn registries(&mut self) {
        let draft = self.draft;
        for (name, registry) in &draft.config.registry {
            let place = self.section("registry").key(name);
            match &registry.kind {
                RegistryKind::Embedded(embedded) if !embedded.listen.ip().is_loopback() => {
                    let message = "everyone who reaches this address may register instances";
                    let place = place.key("listen").span();
                    self.pass.findings.push(Diagnostic::warning("open-registry", place, message));
                }
                RegistryKind::Embedded(_) => {}
                RegistryKind::File(file) => {
                    self.not_zero(&place, &[("poll", file.poll.0.is_zero())]);
                    let known = file.path.extension().is_some_and(|e| e == "json" || e == "toml");
                    if !known {
                        let message = "the path has to end with `.json` or `.toml`";
                        self.error("bad-path", place.key("path").span(), message);
                    }
                }
                RegistryKind::Nacos(nacos) => self.nacos(nacos, &place),
            }
        }
    }

    fn nacos(&mut self, nacos: &NacosRegistry, place: &Place<'_>) {
        let list = place.key("address");
        if nacos.address.is_empty() {
            self.error("no-address", list.span(), "a registry needs at least one address");
        }
        for address in nacos.address.iter() {
            let span = address.span().unwrap_or_else(|| list.span());
            let port = address.parse().map(|address| match address {
                InstanceAddress::Host { port, .. } => port,
                InstanceAddress::Socket(socket) => socket.port(),
            });
            match port {
                Ok(port) if nacos.grpc_port.is_none() && port > u16::MAX - 1000 => {
                    let message = "the gRPC port would be this port plus 1000, and there is none";
                    let item = Diagnostic::error("bad-address", span, message);
                    self.pass.findings.push(item.help("write `grpc_port`"));
                }
                Ok(_) => {}
                Err(_) => {
                    let item = Diagnostic::error("bad-address", span, "this is no address");
                    self.pass
                        .findings
                        .push(item.help("write \"HOST:PORT\", such as \"127.0.0.1:8848\""));
                }
            }
        }
        match (place.key("username").exists(), place.key("password").exists()) {
            (true, false) => {
                let message = "`username` needs `password`";
                self.error("missing-key", place.key("username").key_span(), message);
            }
            (false, true) => {
                let message = "`password` needs `username`";
                self.error("missing-key", place.key("password").key_span(), message);
            }
            (true, true) | (false, false) => {}
        }
    }

    pub(super) fn upstreams(&mut self) {
        let draft = self.draft;
        for (name, upstream) in &draft.config.upstream {
            let place = self.section("upstream").key(name);
            if place.key("instances").exists() {
                self.fixed(upstream, &place);
            } else {
                self.service(upstream, name, &place);
            }
            let timeouts = &upstream.timeouts;
            self.not_zero(
                &place.key("timeouts"),
                &[
                    ("connect", timeouts.connect.0.is_zero()),
                    ("read", timeouts.read.0.is_zero()),
                    ("write", timeouts.write.0.is_zero()),
                    ("idle", timeouts.idle.0.is_zero()),
                    ("total", timeouts.total.0.is_zero()),
                ],
            );
            self.ejection(&upstream.ejection, &place.key("ejection"));
            if upstream.retries.tries.get() > 10 {
                let message = "more than 10 tries make an outage worse";
                self.error("out-of-range", place.key("retries").key("tries").span(), message);
            }
            if let Some(tls) = &upstream.tls {
                let place = place.key("tls");
                if !text::is_authority(&tls.sni) || tls.sni.contains(':') {
                    let message = "`sni` has to be a host name, without port";
                    self.error("bad-host", place.key("sni").span(), message);
                }
                if let Some(ca) = &tls.ca {
                    self.file(ca, &place.key("ca"));
                }
            }
        }
    }

    fn fixed(&mut self, upstream: &Upstream, place: &Place<'_>) {
        for key in ["service", "registry"].map(|key| place.key(key)).iter().filter(|k| k.exists()) {
            let message = "an upstream has either `instances` or a registry";
            let item = Diagnostic::error("conflicting-keys", key.key_span(), message)
                .related(place.key("instances").key_span(), "`instances` stands here");
            self.pass.findings.push(item);
        }
        let list = place.key("instances");
        let instances = upstream.instances.as_deref().unwrap_or_default();
        if instances.is_empty() && list.items().next().is_none() {
            self.error("no-instances", list.span(), "an upstream needs at least one instance");
        }
        let mut seen = std::collections::BTreeSet::new();
        for instance in instances {
            if !seen.insert(&instance.address) {
                let span = instance.span().unwrap_or_else(|| list.span());
                self.error("duplicate-instance", span, "this address stands here a second time");
            }
        }
    }

    fn service(&mut self, upstream: &Upstream, name: &str, place: &Place<'_>) {
        let declared = self.declared("registry");
        let written = place.key("registry");
        if upstream.service.as_ref().is_some_and(|service| service.is_empty()) {
            self.error("bad-name", place.key("service").span(), "the name of the service is empty");
        }
        let Some(registry) = &upstream.registry else {
            if !written.exists() {
                self.the_only_registry(name, place.span(), true);
            }
            return;
        };
        if self.declares("registry", registry) {
            self.used.insert("registry", registry);
            return;
        }
        let item = Diagnostic::error(
            "unknown-registry",
            written.span(),
            format!("there is no [registry.{}]", written.quote()),
        );
        let meant = self.pass.findings.closest(written.quote(), declared);
        self.pass.findings.push(match meant {
            Some(meant) => item
                .help(format!("did you mean \"{meant}\"?"))
                .replace(written.span(), format!("\"{meant}\"")),
            None => item,
        });
    }

    /// A service whose registry is not named is looked for in the only one there is.
    pub(super) fn the_only_registry(
        &mut self,
        quoted: &str,
        span: std::ops::Range<usize>,
        declared: bool,
    ) {
        let registries = self.declared("registry");
        if let [only] = registries.as_slice() {
            self.used.insert("registry", only);
            return;
        }
        let item = if registries.is_empty() && declared {
            let message =
                format!("[upstream.{quoted}] has no instances, and there is no registry to ask");
            Diagnostic::error("no-instances", span, message)
                .help("write instances = [\"10.0.0.1:8080\"], or a [registry.NAME] table")
        } else if registries.is_empty() {
            let message = format!("there is no [upstream.{quoted}], and no registry to ask for it");
            let item = Diagnostic::error("unknown-upstream", span.clone(), message);
            match self.pass.findings.closest(quoted, self.declared("upstream")) {
                Some(meant) => item.help(format!("did you mean `{meant}`?")),
                None => item.help(format!(
                    "write [upstream.{quoted}] with instances = [\"10.0.0.1:8080\"], or a [registry.NAME] table"
                )),
            }
        } else {
            let list = registries.join(", ");
            let message = format!("several registries could know `{quoted}`: {list}");
            let first = registries.first().copied().unwrap_or_default();
            Diagnostic::error("ambiguous-registry", span, message)
                .help(format!("write [upstream.{quoted}] with registry = \"{first}\""))
        };
        self.pass.findings.push(item);
    }

    fn ejection(&mut self, ejection: &Ejection, place: &Place<'_>) {
        if ejection.consecutive_failures == 0 {
            return;
        }
        self.not_zero(place, &[("base_time", ejection.base_time.0.is_zero())]);
        if ejection.max_time < ejection.base_time {
            let key = if place.key("max_time").exists() { "max_time" } else { "base_time" };
            let message = "`max_time` has to be `base_time` or more";
            self.error("conflicting-keys", place.key(key).span(), message);
        }
    }
}
