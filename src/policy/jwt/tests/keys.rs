//! Which keys an issuer takes, and what the operator reads where it does not.

use super::*;

fn problem(config: &config::Jwt) -> String {
    Issuer::new(config).err().map(|error| error.to_string()).unwrap_or_default()
}

fn in_set(set: &str) -> (tempfile::NamedTempFile, config::Jwt) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, set).unwrap();
    let keys = Some(KeySource::File(file.path().into()).into());
    (file, config::Jwt { keys, ..config() })
}

/// That the one key of the set can be used, and that its tokens are taken.
fn check_accepts(config: &config::Jwt, algorithm: Algorithm) {
    let verdict = issuer(config).verify(token(algorithm).as_bytes(), NOW);
    assert!(verdict.is_ok(), "{algorithm:?}: {verdict:?}");
}

fn check_refuses(config: &config::Jwt, words: &str) {
    let problem = problem(config);
    assert!(problem.contains(words), "{words:?} is not in {problem:?}");
    assert!(!problem.contains(SECRET));
}

#[test]
fn pem_files_say_their_algorithm_themselves() {
    for (name, algorithm) in [
        ("rsa-2048.pub.pem", Algorithm::Rs256),
        ("rsa-2048.pkcs1.pub.pem", Algorithm::Rs256),
        ("p256.pub.pem", Algorithm::Es256),
        ("p384.pub.pem", Algorithm::Es384),
        ("ed25519.pub.pem", Algorithm::EdDsa),
    ] {
        check_accepts(&with_file(name, None), algorithm);
    }
}

#[test]
fn pem_files_that_hold_no_fit_public_key_are_refused() {
    check_refuses(&with_file("p256.pem", None), "a private key: only the public one");
    check_refuses(&with_file("p256.crt", None), "openssl x509 -pubkey");
    check_refuses(&with_file("p521.pub.pem", None), "its curve is not supported");
    check_refuses(&with_file("secp256k1.pub.pem", None), "not a valid point of P-256");
    check_refuses(&with_file("rsa-1024.pub.pem", None), "1024 bits of RSA");
    check_refuses(&with_file("p256.pub.pem", Some(Algorithm::Rs256)), "cannot be used for RS256");
    check_refuses(&with_file("README.md", None), "neither a JWK set (JSON) nor a public key");
    check_refuses(&with_file("absent.pem", None), "cannot read");
    check_refuses(&with_file("", None), "cannot read");
}

#[test]
fn pem_files_have_one_block_that_is_whole() {
    let pem = std::fs::read_to_string(key_file("p256.pub.pem")).unwrap();
    let (_file, config) = in_set(&pem.repeat(2));
    check_refuses(&config, "more than one PEM block");
    for broken in [pem.replace("MFkw", "AAAA"), pem.replace("-----END", ""), pem[..60].into()] {
        let (_file, config) = in_set(&broken);
        check_refuses(&config, "not a valid public key");
    }
}

#[test]
fn jwk_sets_are_read_from_a_file_or_inline() {
    for (stem, algorithm) in [
        ("rsa-2048", Algorithm::Rs256),
        ("p256", Algorithm::Es256),
        ("p384", Algorithm::Es384),
        ("ed25519", Algorithm::EdDsa),
    ] {
        check_accepts(&with_jwks(json!([jwk(stem)])), algorithm);
        let (_file, config) = in_set(&json!({ "keys": [jwk(stem)] }).to_string());
        check_accepts(&config, algorithm);
    }
    let secret = json!({ "kty": "oct", "k": encode(SECRET), "alg": "HS512" });
    check_accepts(&with_jwks(json!([secret])), Algorithm::Hs512);
}

#[test]
fn a_jwks_own_algorithm_wins() {
    let config = config::Jwt {
        algorithm: Some(Algorithm::Rs512),
        ..with_jwks(json!([with(jwk("rsa-2048"), "alg", "PS384"), jwk("rsa-2048"), jwk("p256")]))
    };
    for algorithm in [Algorithm::Ps384, Algorithm::Rs512, Algorithm::Es256] {
        check_accepts(&config, algorithm);
    }
    check_refuses(&with_jwks(json!([with(jwk("rsa-2048"), "alg", "HS256")])), "an RSA key cannot");
    check_refuses(&with_jwks(json!([with(jwk("p256"), "alg", "ES384")])), "it needs ES256");
}

#[test]
fn keys_that_are_not_for_signatures_are_passed_over() {
    for other in [
        with(jwk("rsa-2048"), "use", "enc"),
        with(jwk("rsa-2048"), "key_ops", json!(["encrypt", "sign"])),
        with(jwk("rsa-2048"), "alg", "RSA-OAEP"),
        with(jwk("rsa-2048"), "alg", "none"),
        with(jwk("p256"), "crv", "P-521"),
        with(jwk("ed25519"), "crv", "X25519"),
        json!({ "kty": "AKP" }),
    ] {
        check_refuses(&with_jwks(json!([other])), "none of its 1 keys can check a signature");
        let beside = with(jwk("p384"), "key_ops", json!(["verify"]));
        check_accepts(&with_jwks(json!([other, with(beside, "use", "sig")])), Algorithm::Es384);
    }
}

#[test]
fn broken_jwks_are_refused_with_their_place() {
    let point = jwk("p256")["x"].as_str().unwrap().to_owned();
    for (jwk, words) in [
        (json!({}), "`kty` must be there"),
        (json!({ "kty": 7 }), "`kty` must be a string"),
        (with(jwk("p256"), "use", 7), "`use` must be a string"),
        (with(jwk("p256"), "key_ops", "verify"), "`key_ops` must be a list"),
        (with(jwk("p256"), "alg", 7), "`alg` must be a string"),
        (with(jwk("p256"), "kid", 7), "`kid` must be a string"),
        (with(jwk("p256"), "kid", "k".repeat(257)), "`kid` has more than 256 bytes"),
        (with(jwk("p256"), "x", "AAAA"), "as long as the curve's coordinates"),
        (with(jwk("p256"), "y", point), "not a valid point of P-256"),
        (with(jwk("p256"), "y", "A="), "`y` is missing, or is not base64url"),
        (with(jwk("p256"), "d", "AAAA"), "a private key"),
        (with(jwk("ed25519"), "x", "AAAA"), "Ed25519 key, which has 32 bytes"),
        (with(jwk("rsa-2048"), "n", encode([0xff; 128])), "1024 bits of RSA"),
        (with(jwk("rsa-2048"), "e", "AA"), "not a valid RSA public key"),
        (json!({ "kty": "RSA", "e": "AQAB" }), "`n` is missing"),
        (json!({ "kty": "oct", "k": encode([7; 31]) }), "31 bytes are too short for HS256"),
    ] {
        let config = with_jwks(json!([with(super::jwk("p384"), "kid", "fine"), jwk]));
        check_refuses(&config, words);
        check_refuses(&config, "keys, key 2");
    }
}

#[test]
fn keys_that_a_token_could_not_tell_apart_are_refused() {
    let twice = json!([with(jwk("p256"), "kid", "k"), with(jwk("p384"), "kid", "k")]);
    check_refuses(&with_jwks(twice), "keys, key 2 (kid \"k\"): another key has the same `kid`");
    let unnamed = json!([jwk("rsa-2048"), jwk("rsa-2048")]);
    check_refuses(&with_jwks(unnamed), "a second key without `kid` for RS256");
}

#[test]
fn secrets_never_stand_together_with_public_keys() {
    let secret = json!({ "kty": "oct", "k": encode(SECRET) });
    check_refuses(&with_jwks(json!([secret, jwk("p256")])), "secrets and public keys");
    check_refuses(&with_jwks(json!([jwk("p256"), secret])), "secrets and public keys");
}

#[test]
fn a_secret_is_as_long_as_its_algorithm_asks() {
    let secret = |length: usize, algorithm| config::Jwt {
        secret: Some(Secret::new("s".repeat(length))),
        algorithm,
        ..config()
    };
    check_refuses(&secret(31, None), "secret: 31 bytes are too short for HS256");
    check_refuses(&secret(47, Some(Algorithm::Hs384)), "needs 48 at least");
    check_refuses(&secret(63, Some(Algorithm::Hs512)), "openssl rand -base64 64");
    check_refuses(&secret(99, Some(Algorithm::Es256)), "a secret cannot be used for ES256");
    for (length, algorithm) in
        [(32, None), (48, Some(Algorithm::Hs384)), (64, Some(Algorithm::Hs512))]
    {
        assert_eq!(problem(&secret(length, algorithm)), "");
    }
}

#[test]
fn an_issuer_has_exactly_one_source_of_keys() {
    check_refuses(&config(), "no keys: write");
    let both = config::Jwt { secret: Some(Secret::new(SECRET)), ..with_file("p256.pub.pem", None) };
    check_refuses(&both, "`secret` and `keys` are both set");
}

#[test]
fn key_sets_are_bounded_and_strict() {
    for (set, words) in [
        ("{}".into(), "`keys` must be a list of JWKs"),
        (r#"{"keys":[7]}"#.into(), "`keys` must be a list of JWKs"),
        (r#"{"keys":[]}"#.into(), "none of its 0 keys"),
        (r#"{"keys":[],"keys":[]}"#.into(), "a name stands twice"),
        (r#"{"keys":[{"kty":"EC","kty":"RSA"}]}"#.into(), "a name stands twice"),
        ("{".into(), "not a JSON object"),
        (format!("{{{}", " ".repeat(300_000)), "more than 262144 bytes"),
        (json!({ "keys": vec![json!({}); 101] }).to_string(), "more than 100 keys"),
    ] {
        let (_file, config) = in_set(&set);
        check_refuses(&config, words);
    }
}

#[test]
fn an_issuer_knows_whether_another_takes_the_same_tokens() {
    let set = json!({ "keys": [with(jwk("rsa-2048"), "kid", "a"), jwk("p256")] }).to_string();
    let (file, config) = in_set(&set);
    let one = issuer(&config);
    assert!(one.takes_the_same(&issuer(&config)));
    let other = config::Jwt { issuer: Some("x".into()), ..config.clone() };
    assert!(!one.takes_the_same(&issuer(&other)));
    std::fs::write(&file, set.replace("\"a\"", "\"b\"")).unwrap();
    assert!(!one.takes_the_same(&issuer(&config)));
    std::fs::write(&file, json!({ "keys": [jwk("p256")] }).to_string()).unwrap();
    assert!(!one.takes_the_same(&issuer(&config)));
}
