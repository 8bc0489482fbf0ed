//! Which tokens an issuer takes.

use proptest::prelude::*;

use super::*;

fn refusal(config: &config::Jwt, token: &str) -> Option<Reason> {
    issuer(config).verify(token.as_bytes(), NOW).err()
}

#[test]
fn a_token_of_each_algorithm_is_accepted() {
    for algorithm in ALGORITHMS {
        let issuer = issuer(&config_for(algorithm));
        let token = token(algorithm);
        // The second time it comes from the cache.
        for _ in 0..2 {
            let claims = issuer.verify(token.as_bytes(), NOW).unwrap();
            assert_eq!(claims.text("sub"), Some("ann"), "{algorithm:?}");
            assert_eq!(claims.expires_at(), NOW + 60);
        }
    }
}

#[test]
fn a_token_of_each_algorithm_with_a_wrong_signature_is_refused() {
    for algorithm in ALGORITHMS {
        let token = token(algorithm);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let other = format!(r#"{{"sub":"eve","exp":{}}}"#, NOW + 60);
        let (header, _) = signed.split_once('.').unwrap();
        let forged = format!("{header}.{}.{signature}", encode(other));
        let config = config_for(algorithm);
        assert_eq!(refusal(&config, &forged), Some(Reason::BadSignature), "{algorithm:?}");
        assert_eq!(refusal(&config, &format!("{signed}.")), Some(Reason::BadSignature));
        let zeros = encode(vec![0; URL_SAFE_NO_PAD.decode(signature).unwrap().len()]);
        let zeros = format!("{signed}.{zeros}");
        assert_eq!(refusal(&config, &zeros), Some(Reason::BadSignature), "{algorithm:?}");
    }
}

#[test]
fn a_token_of_any_other_algorithm_is_refused() {
    for ours in ALGORITHMS {
        let issuer = issuer(&config_for(ours));
        for other in ALGORITHMS.into_iter().filter(|other| *other != ours) {
            let verdict = issuer.verify(token(other).as_bytes(), NOW);
            assert_eq!(verdict.err(), Some(Reason::WrongAlgorithm), "{other:?} by {ours:?}");
        }
    }
}

#[test]
fn a_public_key_is_never_taken_for_a_secret() {
    let named = with_jwks(json!([with(jwk("rsa-2048"), "kid", "k")]));
    let modulus = jwk("rsa-2048")["n"].as_str().unwrap().to_owned();
    for (config, public) in [
        (with_file("rsa-2048.pub.pem", None), std::fs::read(key_file("rsa-2048.pub.pem")).unwrap()),
        (named, URL_SAFE_NO_PAD.decode(modulus).unwrap()),
    ] {
        let key = EncodingKey::from_secret(&public);
        let claims = format!(r#"{{"exp":{}}}"#, NOW + 60);
        for header in [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","kid":"k"}"#] {
            let token = sign_with(&key, Algorithm::Hs256, header, &claims);
            assert_eq!(refusal(&config, &token), Some(Reason::WrongAlgorithm), "{header}");
        }
    }
}

#[test]
fn a_token_without_signature_is_refused() {
    let claims = encode(format!(r#"{{"exp":{}}}"#, NOW + 60));
    for name in ["none", "None", "NONE", "nOnE", ""] {
        let header = encode(format!(r#"{{"alg":"{name}"}}"#));
        for signature in ["", "AAAA"] {
            let token = format!("{header}.{claims}.{signature}");
            let refusal = refusal(&config_for(Algorithm::Rs256), &token);
            assert_eq!(refusal, Some(Reason::WrongAlgorithm), "{name}");
        }
    }
}

#[test]
fn an_ed25519_token_may_use_the_name_of_rfc_9864() {
    let token = sign(Algorithm::EdDsa, r#"{"alg":"Ed25519"}"#, &json!({ "exp": NOW }).to_string());
    assert_eq!(refusal(&config_for(Algorithm::EdDsa), &token), None);
}

#[test]
fn a_kid_chooses_among_our_keys() {
    let config = with_jwks(json!([
        with(jwk("p256"), "kid", "one"),
        with(jwk("p384"), "kid", "two"),
        with(with(jwk("rsa-2048"), "kid", "three"), "alg", "PS256"),
        with(with(jwk("rsa-2048"), "kid", "four"), "alg", "PS256"),
    ]));
    let claims = json!({ "exp": NOW }).to_string();
    for (algorithm, header, verdict) in [
        (Algorithm::Es256, r#"{"alg":"ES256","kid":"one"}"#, None),
        (Algorithm::Es256, r#"{"alg":"ES256"}"#, None),
        (Algorithm::Es256, r#"{"alg":"ES256","kid":"five"}"#, Some(Reason::UnknownKey)),
        (Algorithm::Es256, r#"{"alg":"ES256","kid":""}"#, Some(Reason::UnknownKey)),
        (Algorithm::Es256, r#"{"alg":"ES256","kid":"two"}"#, Some(Reason::WrongAlgorithm)),
        (Algorithm::Ps256, r#"{"alg":"PS256","kid":"four"}"#, None),
        (Algorithm::Ps256, r#"{"alg":"PS256"}"#, Some(Reason::UnknownKey)),
        (Algorithm::Rs256, r#"{"alg":"RS256","kid":"four"}"#, Some(Reason::WrongAlgorithm)),
        (Algorithm::Rs256, r#"{"alg":"RS256"}"#, Some(Reason::WrongAlgorithm)),
    ] {
        assert_eq!(refusal(&config, &sign(algorithm, header, &claims)), verdict, "{header}");
    }
}

#[test]
fn a_key_without_kid_serves_whatever_a_token_calls_it() {
    let header = r#"{"alg":"HS256","kid":"2027-01"}"#;
    let token = sign(Algorithm::Hs256, header, &json!({ "exp": NOW }).to_string());
    assert_eq!(refusal(&config_for(Algorithm::Hs256), &token), None);
}

#[test]
fn keys_in_a_token_are_ignored() {
    let mine = EncodingKey::from_secret(&[1; 32]);
    let header = json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": encode([1; 32]) } });
    let token = sign_with(&mine, Algorithm::Hs256, &header.to_string(), r#"{"exp":1900000000}"#);
    assert_eq!(refusal(&config_for(Algorithm::Hs256), &token), Some(Reason::BadSignature));
}

#[test]
fn a_critical_extension_is_refused_though_signed() {
    let header = r#"{"alg":"HS256","crit":["b64"],"b64":false}"#;
    let token = sign(Algorithm::Hs256, header, r#"{"exp":1900000000}"#);
    assert_eq!(refusal(&config_for(Algorithm::Hs256), &token), Some(Reason::UnsupportedExtension));
}

#[test]
fn another_type_is_refused_though_signed() {
    let token =
        sign(Algorithm::Hs256, r#"{"alg":"HS256","typ":"dpop+jwt"}"#, r#"{"exp":1900000000}"#);
    assert_eq!(refusal(&config_for(Algorithm::Hs256), &token), Some(Reason::WrongType));
}

#[test]
fn claims_that_stand_twice_are_refused_though_signed() {
    let claims = format!(r#"{{"exp":{0},"sub":"ann","sub":"eve"}}"#, NOW + 60);
    let token = sign(Algorithm::Hs256, r#"{"alg":"HS256"}"#, &claims);
    assert_eq!(refusal(&config_for(Algorithm::Hs256), &token), Some(Reason::Malformed));
}

#[test]
fn a_token_has_three_parts_of_canonical_base64url() {
    let token = token(Algorithm::Hs256);
    let parts: Vec<&str> = token.split('.').collect();
    let (header, claims, signature) = (parts[0], parts[1], parts[2]);
    // The 32 bytes of the signature leave two bits over, which must be zero.
    let last = signature.bytes().last().unwrap();
    let stray = format!("{}{}", &signature[..signature.len() - 1], char::from(last + 1));
    for token in [
        String::new(),
        ".".into(),
        "..".into(),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{signature}.{signature}"),
        format!("{header}.{claims}.{signature}="),
        format!("{header}.{claims}.{stray}"),
        format!("{header}=.{claims}.{signature}"),
        format!("{header} .{claims}.{signature}"),
        format!("{header}.{claims}.{signature}\n"),
        format!("{header}.{claims}.{}", "é"),
    ] {
        let refusal = refusal(&config_for(Algorithm::Hs256), &token);
        assert_eq!(refusal, Some(Reason::Malformed), "{token}");
    }
    // A payload is decoded after its signature was found right, and its spelling is judged all the same.
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    for payload in
        ["eyJleHAiOjE5MDAwMDAwMDB9", "eyJleHAiOjE5MDAwMDAwMDB9IA", "eyJleHAiOjE5MDAwMDAwMDB9IB"]
    {
        let message = format!("{header}.{payload}");
        let signature =
            jsonwebtoken::crypto::sign(message.as_bytes(), &key, jsonwebtoken::Algorithm::HS256);
        let token = format!("{message}.{}", signature.unwrap());
        let verdict = payload.ends_with("IB").then_some(Reason::Malformed);
        assert_eq!(refusal(&config_for(Algorithm::Hs256), &token), verdict, "{payload}");
    }
}

#[test]
fn a_token_has_at_most_8_kib() {
    let claims = |length| json!({ "exp": NOW, "pad": "x".repeat(length) }).to_string();
    let header = r#"{"alg":"HS256"}"#;
    let (mut length, mut token) = (6_000, String::new());
    while token.len() < 8_192 {
        length += 1;
        token = sign(Algorithm::Hs256, header, &claims(length));
    }
    assert_eq!(token.len(), 8_192);
    assert_eq!(refusal(&config_for(Algorithm::Hs256), &token), None);
    let token = sign(Algorithm::Hs256, header, &claims(length + 1));
    assert_eq!(refusal(&config_for(Algorithm::Hs256), &token), Some(Reason::TooLarge));
    assert_eq!(
        refusal(&config_for(Algorithm::Hs256), &"a".repeat(1 << 20)),
        Some(Reason::TooLarge)
    );
}

#[test]
fn time_is_judged_at_every_use() {
    let claims = json!({ "nbf": NOW, "exp": NOW + 60 }).to_string();
    let token = sign(Algorithm::Hs256, r#"{"alg":"HS256"}"#, &claims);
    let issuer = issuer(&config_for(Algorithm::Hs256));
    for (now, verdict) in [
        (NOW - 31, Some(Reason::NotYetValid)),
        (NOW - 30, None),
        (NOW + 60, None),
        // From here on it comes from the cache.
        (NOW - 31, Some(Reason::NotYetValid)),
        (NOW + 89, None),
        (NOW + 90, Some(Reason::Expired)),
        (NOW + 90, Some(Reason::Expired)),
        (NOW + 89, None),
    ] {
        assert_eq!(issuer.verify(token.as_bytes(), now).err(), verdict, "{now}");
    }
}

#[test]
fn leeway_is_at_most_a_minute() {
    let config = config::Jwt { leeway: Interval::secs(3_600), ..config_for(Algorithm::Hs256) };
    assert_eq!(judge(&config, &json!({ "exp": NOW - 59 })), Ok(()));
    assert_eq!(judge(&config, &json!({ "exp": NOW - 60 })), Err(Reason::Expired));
}

#[test]
fn the_issuer_is_compared_exactly() {
    let ours = "https://idp.example.com/";
    let config = config::Jwt { issuer: Some(ours.into()), ..config_for(Algorithm::Hs256) };
    let judge = |iss: Value| judge(&config, &json!({ "exp": NOW, "iss": iss }));
    assert_eq!(judge(ours.into()), Ok(()));
    for other in ["https://idp.example.com", "HTTPS://idp.example.com/", ""] {
        assert_eq!(judge(other.into()), Err(Reason::WrongIssuer), "{other}");
    }
    assert_eq!(judge(json!([ours])), Err(Reason::Malformed));
    assert_eq!(super::judge(&config, &json!({ "exp": NOW })), Err(Reason::WrongIssuer));
}

#[test]
fn the_audience_is_one_of_ours() {
    let audience = OneOrMany(vec!["orders".into(), "stock".into()]);
    let config = config::Jwt { audience, ..config_for(Algorithm::Hs256) };
    for (aud, verdict) in [
        (json!("orders"), Ok(())),
        (json!(["mail", "stock"]), Ok(())),
        (json!("mail"), Err(Reason::WrongAudience)),
        (json!("orders "), Err(Reason::WrongAudience)),
        (json!([]), Err(Reason::WrongAudience)),
        (json!(["orders", 7]), Err(Reason::Malformed)),
        (json!({ "orders": 1 }), Err(Reason::Malformed)),
        (json!(null), Err(Reason::Malformed)),
    ] {
        assert_eq!(judge(&config, &json!({ "exp": NOW, "aud": aud })), verdict, "{aud}");
    }
    assert_eq!(judge(&config, &json!({ "exp": NOW })), Err(Reason::WrongAudience));
}

#[test]
fn a_required_claim_must_be_there_and_not_null() {
    let required_claims = vec!["tenant".into()];
    let config = config::Jwt { required_claims, ..config_for(Algorithm::Hs256) };
    assert_eq!(judge(&config, &json!({ "exp": NOW, "tenant": 7 })), Ok(()));
    for claims in [json!({ "exp": NOW }), json!({ "exp": NOW, "tenant": null })] {
        assert_eq!(judge(&config, &claims), Err(Reason::MissingClaim), "{claims}");
    }
    let endless = json!({ "tenant": 7 });
    assert_eq!(judge(&config, &endless), Err(Reason::MissingClaim));
}

#[test]
fn what_has_ended_is_forgotten_and_stays_refused() {
    let issuer = issuer(&config_for(Algorithm::Es256));
    let token = token(Algorithm::Es256);
    assert!(issuer.verify(token.as_bytes(), NOW).is_ok());
    issuer.forget_ended(NOW + 90);
    assert_eq!(issuer.verify(token.as_bytes(), NOW + 90).err(), Some(Reason::Expired));
    assert!(issuer.verify(token.as_bytes(), NOW).is_ok());
}

#[test]
fn no_bytes_panic() {
    let issuer = issuer(&config_for(Algorithm::Hs256));
    proptest!(|(bytes: Vec<u8>)| prop_assert!(issuer.verify(&bytes, NOW).is_err()));
}

#[test]
fn no_parts_panic() {
    let issuer = issuer(&config_for(Algorithm::Rs256));
    proptest!(|(header: Vec<u8>, claims: Vec<u8>, signature: Vec<u8>)| {
        let token = [header, claims, signature].map(encode).join(".");
        prop_assert!(issuer.verify(token.as_bytes(), NOW).is_err());
    });
}

#[test]
fn no_signed_claims_panic() {
    let issuer = issuer(&config_for(Algorithm::Hs256));
    proptest!(|(claims in r#"\{"exp":[0-9.e+-]{0,6}[{}\[\]":,a0-9. \\-]{0,40}"#, now: u64)| {
        let token = sign(Algorithm::Hs256, r#"{"alg":"HS256"}"#, &claims);
        let verdict = issuer.verify(token.as_bytes(), now);
        prop_assert_ne!(verdict.err(), Some(Reason::BadSignature));
    });
}

#[test]
fn no_changed_character_verifies() {
    let genuine = ALGORITHMS.map(|algorithm| {
        let (issuer, token) = (issuer(&config_for(algorithm)), token(algorithm));
        // The true one is in the cache.
        assert!(issuer.verify(token.as_bytes(), NOW).is_ok());
        (issuer, token)
    });
    proptest!(|(which in 0..ALGORITHMS.len(), at: prop::sample::Index, byte: u8)| {
        let (issuer, token) = &genuine[which];
        let mut token = token.clone().into_bytes();
        let at = at.index(token.len());
        prop_assume!(token[at] != byte);
        token[at] = byte;
        prop_assert!(issuer.verify(&token, NOW).is_err());
    });
}
