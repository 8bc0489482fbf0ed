//! Rules for `[jwt.NAME]`.

use super::{Check, Diagnostic, Place};
use crate::config::{Algorithm, Jwt, KeySource, Secret, units::Interval};

/// Members of a JWK that only the issuer may know, RFC 7518, 6.
const PRIVATE: [&str; 8] = ["d", "dp", "dq", "k", "oth", "p", "q", "qi"];

const NETWORK_KEYS: &str = "keys over the network (OIDC discovery, jwks = \"https://...\") are not in this version: save the issuer's keys and write keys = { file = \"jwks.json\" }, or secret = \"${NAME}\"";

impl Check<'_, '_> {
    pub(super) fn issuers(&mut self) {
        let draft = self.draft;
        for (name, jwt) in &draft.config.jwt {
            let place = self.section("jwt").key(name);
            self.key_or_secret(name, &place);
            self.algorithm(jwt, &place);
            if jwt.leeway > Interval::secs(60) {
                let message = "`leeway` may be 60s at most: longer, and expired tokens live on";
                self.error("out-of-range", place.key("leeway").span(), message);
            }
            if let Some(secret) = &jwt.secret {
                self.strength(secret, jwt.algorithm, &place);
            }
            match jwt.keys.as_deref() {
                Some(KeySource::File(path)) => self.file(path, &place.key("keys").key("file")),
                Some(KeySource::Inline(_)) => self.inline(&place.key("keys")),
                None => {}
            }
        }
    }

    fn key_or_secret(&mut self, name: &str, place: &Place<'_>) {
        let (keys, secret) = (place.key("keys"), place.key("secret"));
        match (keys.exists(), secret.exists()) {
            // A key of a later version, refused by itself, is what stands in for them.
            (false, false)
                if ["jwks", "jwks_uri", "jwks_url"].iter().any(|k| place.key(k).exists()) => {}
            (false, false) => {
                let message = format!("[jwt.{name}] has neither `keys` nor `secret`");
                let item = Diagnostic::error("missing-key", place.span(), message);
                self.pass.findings.push(item.help(NETWORK_KEYS));
            }
            (true, true) => {
                let message = format!("[jwt.{name}] has both `keys` and `secret`");
                let item = Diagnostic::error("conflicting-keys", secret.key_span(), message)
                    .help("an issuer signs with one or the other: taking both lets a public key pass for a secret")
                    .related(keys.key_span(), "`keys` stands here");
                self.pass.findings.push(item);
            }
            (true, false) | (false, true) => {}
        }
    }

    fn algorithm(&mut self, jwt: &Jwt, place: &Place<'_>) {
        let Some(algorithm) = jwt.algorithm else { return };
        let (keys, secret) = (place.key("keys").exists(), place.key("secret").exists());
        let message = match (is_hmac(algorithm), keys, secret) {
            (true, true, false) => {
                "this algorithm signs with a shared secret, and `keys` are public"
            }
            (false, false, true) => {
                "this algorithm signs with a private key, and `secret` is shared"
            }
            _ => return,
        };
        self.error("algorithm-mismatch", place.key("algorithm").span(), message);
    }

    /// RFC 7518, 3.2: a key as long as the hash, or longer.
    fn strength(&mut self, secret: &Secret, algorithm: Option<Algorithm>, place: &Place<'_>) {
        let least = match algorithm {
            Some(Algorithm::Hs384) => 48,
            Some(Algorithm::Hs512) => 64,
            _ => 32,
        };
        if secret.reveal().len() < least {
            let message = format!(
                "this secret is shorter than the {least} bytes of its hash and can be guessed"
            );
            let place = place.key("secret").span();
            self.pass.findings.push(Diagnostic::warning("weak-secret", place, message));
        }
    }

    fn inline(&mut self, list: &Place<'_>) {
        if list.items().next().is_none() {
            self.error("no-keys", list.span(), "an issuer needs at least one key");
        }
        for key in list.items() {
            for (member, place) in key.entries().filter(|(member, _)| PRIVATE.contains(member)) {
                self.pass.secrets.push(place.span());
                let message = format!(
                    "`{member}` is the private part of a key, and only public keys stand here"
                );
                let item = Diagnostic::error("private-key", place.key_span(), message)
                    .help("take it out; a shared secret goes into `secret = \"${NAME}\"`");
                self.pass.findings.push(item);
            }
            let kind = key.key("kty");
            let message = match kind.written() {
                Some("EC" | "OKP" | "RSA") => continue,
                Some("oct") => {
                    "a key of type `oct` is a shared secret: write `secret = \"${NAME}\"` instead"
                }
                Some(_) => "`kty` has to be \"RSA\", \"EC\" or \"OKP\"",
                None => "a JWK needs its `kty`: \"RSA\", \"EC\" or \"OKP\"",
            };
            self.error("bad-key", kind.span(), message);
        }
    }
}

fn is_hmac(algorithm: Algorithm) -> bool {
    use Algorithm::{
        EdDsa, Es256, Es384, Hs256, Hs384, Hs512, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512,
    };
    match algorithm {
        Hs256 | Hs384 | Hs512 => true,
        EdDsa | Es256 | Es384 | Ps256 | Ps384 | Ps512 | Rs256 | Rs384 | Rs512 => false,
    }
}
