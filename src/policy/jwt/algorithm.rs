//! The names and strengths of signature algorithms.

use crate::config::Algorithm;

impl Algorithm {
    const ALL: [Self; 12] = [
        Self::EdDsa,
        Self::Es256,
        Self::Es384,
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
    ];

    /// The algorithm of a JOSE `alg`. `none` is not one.
    pub(super) fn named(name: &str) -> Option<Self> {
        // RFC 9864 gave EdDSA on this curve a name of its own, and both are in use.
        let name = if name == "Ed25519" { "EdDSA" } else { name };
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The JOSE `alg`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }

    /// The least bytes of an HMAC secret: the length of the hash (RFC 7518, 3.2). None for the other algorithms.
    pub(super) const fn secret_bytes(self) -> Option<usize> {
        match self {
            Self::Hs256 => Some(32),
            Self::Hs384 => Some(48),
            Self::Hs512 => Some(64),
            Self::EdDsa
            | Self::Es256
            | Self::Es384
            | Self::Ps256
            | Self::Ps384
            | Self::Ps512
            | Self::Rs256
            | Self::Rs384
            | Self::Rs512 => None,
        }
    }

    pub(super) const fn is_rsa(self) -> bool {
        matches!(
            self,
            Self::Ps256 | Self::Ps384 | Self::Ps512 | Self::Rs256 | Self::Rs384 | Self::Rs512
        )
    }

    /// The same in the terms of the crate that verifies.
    pub(super) const fn jsonwebtoken(self) -> jsonwebtoken::Algorithm {
        use jsonwebtoken::Algorithm as Jws;
        match self {
            Self::EdDsa => Jws::EdDSA,
            Self::Es256 => Jws::ES256,
            Self::Es384 => Jws::ES384,
            Self::Hs256 => Jws::HS256,
            Self::Hs384 => Jws::HS384,
            Self::Hs512 => Jws::HS512,
            Self::Ps256 => Jws::PS256,
            Self::Ps384 => Jws::PS384,
            Self::Ps512 => Jws::PS512,
            Self::Rs256 => Jws::RS256,
            Self::Rs384 => Jws::RS384,
            Self::Rs512 => Jws::RS512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_the_same_in_a_token_and_in_the_config() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
            let quoted = format!("{:?}", algorithm.name());
            assert_eq!(serde_json::from_str::<Algorithm>(&quoted).unwrap(), algorithm);
            assert_eq!(algorithm.name().parse(), Ok(algorithm.jsonwebtoken()));
        }
    }

    #[test]
    fn none_is_not_an_algorithm() {
        for name in ["none", "None", "NONE", "", "rs256", "RS256 ", "ES512", "RSA-OAEP"] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }
}
