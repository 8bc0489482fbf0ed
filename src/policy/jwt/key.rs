//! One key and the one algorithm it is for.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ParsedPublicKey};
use jsonwebtoken::{DecodingKey, DecodingKeyKind, crypto::aws_lc::DEFAULT_PROVIDER};

use super::KeyProblem;
use crate::config::Algorithm;

/// A key that can verify, with the algorithm that its entry in the config is for: a token never chooses.
pub(super) struct Key {
    algorithm: Algorithm,
    decoding: DecodingKey,
}

/// What a key is made of, before an algorithm is chosen.
pub(super) enum Material {
    /// An uncompressed point: 4, x, y.
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
    /// Big-endian, without zeros in front.
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    Secret(Vec<u8>),
}

// === impl Key ===

impl Key {
    /// Checks that the key is sound and strong enough. Without an algorithm, its kind says which: ES256, ES384 or EdDSA
    /// by its curve, RS256 for RSA, HS256 for a secret.
    pub(super) fn new(
        material: &Material,
        algorithm: Option<Algorithm>,
    ) -> Result<Self, KeyProblem> {
        let algorithm = algorithm.unwrap_or(material.usual_algorithm());
        if !material.fits(algorithm) {
            return Err(material.mismatch(algorithm));
        }
        material.check(algorithm)?;
        Ok(Self { algorithm, decoding: material.decoding_key() })
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) fn is_secret(&self) -> bool {
        self.algorithm.secret_bytes().is_some()
    }

    /// Whether the signature is this key's.
    pub(super) fn verifies(&self, message: &[u8], signature: &Vec<u8>) -> bool {
        // Named and not the process default, which panics at the first token where two are compiled in.
        let verifier =
            (DEFAULT_PROVIDER.verifier_factory)(&self.algorithm.jsonwebtoken(), &self.decoding);
        verifier.is_ok_and(|verifier| verifier.verify(message, signature).is_ok())
    }
}

// Keys are compared when the config is loaded, where an operator's own secret has no time to leak.
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        use DecodingKeyKind::{RsaModulusExponent, SecretOrDer};
        let same = match (self.decoding.kind(), other.decoding.kind()) {
            (SecretOrDer(one), SecretOrDer(two)) => one == two,
            (RsaModulusExponent { n, e }, RsaModulusExponent { n: n2, e: e2 }) => {
                n == n2 && e == e2
            }
            (SecretOrDer(_), RsaModulusExponent { .. })
            | (RsaModulusExponent { .. }, SecretOrDer(_)) => false,
        };
        same && self.algorithm == other.algorithm
    }
}

// === impl Material ===

impl Material {
    /// Takes leading zeros away, since they would count as bits that the key does not have.
    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        let trim = |number: &[u8]| number.iter().copied().skip_while(|byte| *byte == 0).collect();
        Self::Rsa { modulus: trim(modulus), exponent: trim(exponent) }
    }

    /// A public key in PEM, as `openssl pkey -pubout` writes it.
    pub(super) fn from_pem(pem: &[u8]) -> Result<Self, KeyProblem> {
        let has = |label: &[u8]| pem.windows(label.len()).filter(|at| *at == label).count();
        if has(b"PRIVATE KEY-----") > 0 {
            return Err(KeyProblem::Private);
        }
        if has(b"-----BEGIN CERTIFICATE-----") > 0 {
            return Err(KeyProblem::Certificate);
        }
        if has(b"-----BEGIN ") > 1 {
            return Err(KeyProblem::SeveralPem);
        }
        if let Ok(key) = DecodingKey::from_rsa_pem(pem) {
            let der = key.try_get_as_bytes().unwrap_or_default();
            let parts = (DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der);
            let (modulus, exponent) = parts.map_err(|_| KeyProblem::NotAKey("RSA public key"))?;
            return Ok(Self::rsa(&modulus, &exponent));
        }
        if let Ok(key) = DecodingKey::from_ed_pem(pem) {
            return Ok(Self::Ed25519(key.try_get_as_bytes().unwrap_or_default().into()));
        }
        let key = DecodingKey::from_ec_pem(pem).map_err(|_| KeyProblem::NotAKey("public key"))?;
        let point = key.try_get_as_bytes().unwrap_or_default();
        match point.len() {
            65 => Ok(Self::P256(point.into())),
            97 => Ok(Self::P384(point.into())),
            _ => Err(KeyProblem::Curve),
        }
    }

    const fn usual_algorithm(&self) -> Algorithm {
        match self {
            Self::P256(_) => Algorithm::Es256,
            Self::P384(_) => Algorithm::Es384,
            Self::Ed25519(_) => Algorithm::EdDsa,
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::Secret(_) => Algorithm::Hs256,
        }
    }

    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        match self {
            Self::P256(_) | Self::P384(_) | Self::Ed25519(_) => algorithm == self.usual_algorithm(),
            Self::Rsa { .. } => algorithm.is_rsa(),
            Self::Secret(_) => algorithm.secret_bytes().is_some(),
        }
    }

    fn mismatch(&self, algorithm: Algorithm) -> KeyProblem {
        let (kind, fits) = match self {
            Self::P256(_) => ("a P-256 key", "ES256"),
            Self::P384(_) => ("a P-384 key", "ES384"),
            Self::Ed25519(_) => ("an Ed25519 key", "EdDSA"),
            Self::Rsa { .. } => ("an RSA key", "RS256, RS384, RS512, PS256, PS384 or PS512"),
            Self::Secret(_) => ("a secret", "HS256, HS384 or HS512"),
        };
        KeyProblem::Mismatch { kind, algorithm: algorithm.name(), fits }
    }

    fn check(&self, algorithm: Algorithm) -> Result<(), KeyProblem> {
        match self {
            // A point beside the curve would refuse every token, and nobody would know why.
            Self::P256(point) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .map(drop)
                .map_err(|_| KeyProblem::NotAKey("point of P-256")),
            Self::P384(point) => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point)
                .map(drop)
                .map_err(|_| KeyProblem::NotAKey("point of P-384")),
            Self::Ed25519(key) if key.len() == 32 => Ok(()),
            Self::Ed25519(_) => Err(KeyProblem::NotAKey("Ed25519 key, which has 32 bytes")),
            Self::Rsa { modulus, exponent } => check_rsa(modulus, exponent),
            Self::Secret(secret) => {
                let (bytes, least) = (secret.len(), algorithm.secret_bytes().unwrap_or(usize::MAX));
                let algorithm = algorithm.name();
                if bytes < least {
                    return Err(KeyProblem::ShortSecret { algorithm, bytes, least });
                }
                Ok(())
            }
        }
    }

    fn decoding_key(&self) -> DecodingKey {
        match self {
            Self::P256(point) | Self::P384(point) => DecodingKey::from_ec_der(point),
            Self::Ed25519(key) => DecodingKey::from_ed_der(key),
            Self::Rsa { modulus, exponent } => {
                DecodingKey::from_rsa_raw_components(modulus, exponent)
            }
            Self::Secret(secret) => DecodingKey::from_secret(secret),
        }
    }
}

/// At least 2048 bits (RFC 7518, 3.3), and within what AWS-LC can verify with: an odd exponent of at most 33 bits.
fn check_rsa(modulus: &[u8], exponent: &[u8]) -> Result<(), KeyProblem> {
    let bits = bits(modulus);
    if bits < 2048 {
        return Err(KeyProblem::ShortRsa(bits));
    }
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    let exponent_fits = odd(exponent) && exponent != [1] && self::bits(exponent) <= 33;
    if bits > 8192 || !odd(modulus) || !exponent_fits {
        return Err(KeyProblem::NotAKey("RSA public key of 2048 to 8192 bits"));
    }
    Ok(())
}

fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leading_zeros_do_not_count_as_strength() {
        let mut modulus = vec![0; 128];
        modulus.extend([0xff; 128]);
        let error = Key::new(&Material::rsa(&modulus, &[1, 0, 1]), None).err().unwrap();
        assert!(matches!(error, KeyProblem::ShortRsa(1024)), "{error}");
    }

    #[test]
    fn an_exponent_that_cannot_verify_is_refused() {
        let modulus = [0xff; 256];
        for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[3, 0, 0, 0, 1], &[0xff; 8]] {
            let key = Key::new(&Material::rsa(&modulus, exponent), None);
            assert!(matches!(key.err(), Some(KeyProblem::NotAKey(_))), "{exponent:?}");
        }
        assert!(Key::new(&Material::rsa(&modulus, &[3]), None).is_ok());
        assert!(Key::new(&Material::rsa(&modulus, &[0, 1, 0, 1]), None).is_ok());
    }

    #[test]
    fn a_secret_is_at_least_as_long_as_the_hash() {
        for (algorithm, least) in
            [(Algorithm::Hs256, 32), (Algorithm::Hs384, 48), (Algorithm::Hs512, 64)]
        {
            let key = |bytes| Key::new(&Material::Secret(vec![7; bytes]), Some(algorithm));
            assert!(key(least).is_ok());
            assert!(matches!(key(least - 1).err(), Some(KeyProblem::ShortSecret { .. })));
        }
    }

    #[test]
    fn a_point_beside_the_curve_is_refused() {
        let mut point = vec![4];
        point.extend([1; 64]);
        let error = Key::new(&Material::P256(point), None).err();
        assert!(matches!(error, Some(KeyProblem::NotAKey("point of P-256"))));
    }

    #[test]
    fn a_key_serves_only_algorithms_of_its_kind() {
        let rsa = || Material::rsa(&[0xff; 256], &[1, 0, 1]);
        assert!(Key::new(&rsa(), Some(Algorithm::Ps512)).is_ok());
        for algorithm in [Algorithm::Hs256, Algorithm::Es256, Algorithm::EdDsa] {
            let error = Key::new(&rsa(), Some(algorithm)).err();
            assert!(matches!(error, Some(KeyProblem::Mismatch { .. })), "{algorithm:?}");
        }
        let secret = Key::new(&Material::Secret(vec![7; 64]), Some(Algorithm::Rs256));
        assert!(matches!(secret.err(), Some(KeyProblem::Mismatch { .. })));
    }
}
