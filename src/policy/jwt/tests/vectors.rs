//! The examples of the RFCs.

use super::*;

/// RFC 7515, A: `{"iss":"joe", "exp":1300819380, "http://example.com/is_root":true}`, broken over lines.
const JOE: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
                   cGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
const JOE_UNTIL: u64 = 1_300_819_380;

/// RFC 7520, 4. No claims, so that a right signature ends in `Malformed`.
const BILBO: &str = "It\u{2019}s a dangerous business, Frodo, going out your door. You step onto the road, \
                     and if you don't keep your feet, there\u{2019}s no knowing where you might be swept off to.";

fn check_joe(jwk: &Value, header: &str, signature: &str) {
    let issuer = issuer(&config::Jwt { issuer: Some("joe".into()), ..with_jwks(json!([jwk])) });
    let token = format!("{header}.{JOE}.{signature}");
    let claims = issuer.verify(token.as_bytes(), JOE_UNTIL - 1).unwrap();
    assert_eq!(claims.get("http://example.com/is_root"), Some(&Value::Bool(true)));
    let late = issuer.verify(token.as_bytes(), JOE_UNTIL + 30);
    assert_eq!(late.err(), Some(Reason::Expired));
}

fn check_bilbo(jwk: &Value, header: &Value, signature: &str) {
    let issuer = issuer(&with_jwks(json!([jwk])));
    let message = format!("{}.{}", encode(header.to_string()), encode(BILBO));
    let token = format!("{message}.{signature}");
    assert_eq!(issuer.verify(token.as_bytes(), NOW).err(), Some(Reason::Malformed));
    let other = format!("{message}A.{signature}");
    assert_eq!(issuer.verify(other.as_bytes(), NOW).err(), Some(Reason::BadSignature));
}

#[test]
fn rfc_7515_a_1_hs256() {
    let k =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
    let signature = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let header = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9";
    check_joe(&json!({ "kty": "oct", "k": k }), header, signature);
}

#[test]
fn rfc_7515_a_2_rs256() {
    let n = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-\
             SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS\
             -UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2\
             ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
    let signature = "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5ju\
                     jGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07\
                     Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipU\
                     TI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
    check_joe(&json!({ "kty": "RSA", "n": n, "e": "AQAB" }), "eyJhbGciOiJSUzI1NiJ9", signature);
}

#[test]
fn rfc_7515_a_3_es256() {
    let jwk = json!({
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let signature =
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    check_joe(&jwk, "eyJhbGciOiJFUzI1NiJ9", signature);
}

#[test]
fn rfc_7520_4_1_rs256() {
    let signature = "MRjdkly7_-oTPTS3AXP41iQIGKa80A0ZmTuV5MEaHoxnW2e5CZ5NlKtainoFmKZopdHM1O2U4mwzJdQx996ivp83xuglII\
                     7PNDi84wnB-BDkoBwA78185hX-Es4JIwmDLJK3lfWRa-XtL0RnltuYv746iYTh_qHRD68BNt1uSNCrUCTJDt5aAE6x8wW1\
                     Kt9eRo4QPocSadnHXFxnt8Is9UzpERV0ePPQdLuW3IS_de3xyIrDaLGdjluPxUAhb6L2aXic1U12podGU0KLUQSE_oI-Zn\
                     mKJ3F4uOZDnd6QZWJushZ41Axf_fcIe8u9ipH84ogoree7vjbU5y18kDquDg";
    let n = "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSF\
             KrKb2wqVwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNL\
             YD5lFHpPI9bTwJlsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7\
             jig3__kRhuaxwUkRz5iaiQkqgc5gHdrNP5zw";
    let kid = "bilbo.baggins@hobbiton.example";
    let jwk = json!({ "kty": "RSA", "kid": kid, "use": "sig", "n": n, "e": "AQAB" });
    check_bilbo(&jwk, &json!({ "alg": "RS256", "kid": kid }), signature);
}

#[test]
fn rfc_7520_4_4_hs256() {
    let kid = "018c0ae5-4d9b-471b-bfd6-eef314bc7037";
    let k = "hJtXIZ2uSN5kbQfbtTNWbpdmhkV8FJG-Onbc6mxCcYg";
    let jwk = json!({ "kty": "oct", "kid": kid, "use": "sig", "alg": "HS256", "k": k });
    let header = json!({ "alg": "HS256", "kid": kid });
    check_bilbo(&jwk, &header, "s0h6KThzkfBBBkLspW1h84VsJZFTsPPqMDA7g1Md7p0");
}

#[test]
fn rfc_8037_a_4_eddsa() {
    let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    let issuer = issuer(&with_jwks(json!([{ "kty": "OKP", "crv": "Ed25519", "x": x }])));
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
                 hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    assert_eq!(issuer.verify(token.as_bytes(), NOW).err(), Some(Reason::Malformed));
    let other = token.replacen("RXhh", "RXhi", 1);
    assert_eq!(issuer.verify(other.as_bytes(), NOW).err(), Some(Reason::BadSignature));
}
