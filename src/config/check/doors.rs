//! Rules for `[server]`, `[listener.NAME]`, `[admin]` and what else listens.

use std::{net::SocketAddr, ops::Range, path::Path};

use super::{Check, Diagnostic, Place};
use crate::config::{Listener, RegistryKind, units::Size};

/// The limits of a request's head that make sense: RFC 9110 asks for 8000 bytes of URI alone.
const HEADS: std::ops::RangeInclusive<Size> = Size::kib(1)..=Size::kib(1024);

impl Check<'_, '_> {
    pub(super) fn doors(&mut self) {
        self.trusted_proxies();
        let draft = self.draft;
        for (name, listener) in &draft.config.listener {
            let place = self.section("listener").key(name);
            self.listener(listener, &place);
        }
        let admin = &draft.config.admin;
        let place = self.section("admin");
        if !admin.address.ip().is_loopback() && !place.key("token").exists() {
            let message = "the admin listener is open to the network without a token";
            let item = Diagnostic::error("open-admin", place.key("address").span(), message)
                .help("add token = \"${ADMIN_TOKEN}\", or listen on 127.0.0.1");
            self.pass.findings.push(item);
        }
        self.addresses();
    }

    fn trusted_proxies(&mut self) {
        let place = self.section("server").key("trusted_proxies");
        let everyone =
            self.draft.config.server.trusted_proxies.iter().any(|n| n.0.prefix_len() == 0);
        if everyone {
            let message = "every client is trusted to say who it is";
            let item = Diagnostic::warning("trusts-everyone", place.span(), message)
                .help("name the networks of your own proxies");
            self.pass.findings.push(item);
        }
    }

    fn listener(&mut self, listener: &Listener, place: &Place<'_>) {
        self.not_zero(
            place,
            &[
                ("keep_alive", listener.keep_alive.0.is_zero()),
                ("read_timeout", listener.read_timeout.0.is_zero()),
                ("write_timeout", listener.write_timeout.0.is_zero()),
            ],
        );
        if !HEADS.contains(&listener.max_head) {
            let message = "`max_head` has to be from 1KiB to 1MiB";
            self.error("out-of-range", place.key("max_head").span(), message);
        }
        if let Some(tls) = &listener.tls {
            let place = place.key("tls");
            self.file(&tls.certificate, &place.key("certificate"));
            self.file(&tls.key, &place.key("key"));
        }
    }

    /// A wait of zero is no wait or an endless one, depending on whom one asks.
    pub(super) fn not_zero(&mut self, place: &Place<'_>, waits: &[(&str, bool)]) {
        for (key, _) in waits.iter().filter(|(_, zero)| *zero) {
            let message = format!("`{key}` has to be above zero");
            self.error("zero-time", place.key(key).span(), message);
        }
    }

    /// A file that the config needs has to be there when it is checked.
    pub(super) fn file(&mut self, path: &Path, place: &Place<'_>) {
        if let Err(error) =
            std::fs::File::open(path).and_then(|file| file.metadata()).and_then(|file| {
                if file.is_dir() { Err(std::io::ErrorKind::IsADirectory.into()) } else { Ok(()) }
            })
        {
            let message = format!("cannot read `{}`: {}", place.quote(), error.kind());
            let item = Diagnostic::error("unreadable-file", place.span(), message)
                .help("relative paths start at the folder of this file");
            self.pass.findings.push(item);
        }
    }

    /// No two listeners may want one address, the admin's and the embedded registries' included.
    fn addresses(&mut self) {
        let mut taken: Vec<(SocketAddr, Range<usize>, String)> = Vec::new();
        for (address, place, who) in self.listening() {
            let clash = taken.iter().find(|(other, ..)| clash(*other, address));
            if let Some((_, other, whose)) = clash {
                let message = format!("{who} wants the address that {whose} has");
                let item = Diagnostic::error("address-taken", place.clone(), message);
                let differs = !other.is_empty() && *other != place;
                self.pass.findings.push(match differs {
                    true => item.related(other.clone(), "taken here"),
                    false => item,
                });
            }
            taken.push((address, place, who));
        }
    }

    fn listening(&self) -> Vec<(SocketAddr, Range<usize>, String)> {
        let config = &self.draft.config;
        let admin = self.section("admin").key("address").span();
        let mut all = Vec::new();
        if !self.section("listener").exists() {
            let unwritten = Listener::default();
            all.push((*unwritten.address, 0..0, String::from("the default listener")));
        }
        all.push((*config.admin.address, admin, String::from("the admin listener")));
        for (name, listener) in &config.listener {
            let place = self.section("listener").key(name).key("address");
            all.push((*listener.address, place.span(), format!("listener `{name}`")));
        }
        for (name, registry) in &config.registry {
            if let RegistryKind::Embedded(embedded) = &registry.kind {
                let place = self.section("registry").key(name).key("listen");
                all.push((*embedded.listen, place.span(), format!("registry `{name}`")));
            }
        }
        all
    }
}

/// Port 0 is another port for each; an unspecified address is all of them.
fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let all = |address: SocketAddr| address.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || all(a) || all(b))
}
