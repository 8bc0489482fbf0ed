//! The compact form of a token, taken apart: three parts of base64url, and the header of the first (RFC 7515).
//!
//! Nothing here is verified. Of the header only `alg` and `kid` are used, to choose among our own keys; `jku`, `jwk`,
//! `x5u` and `x5c` would let a token bring its key along, and are never looked at.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Map, Value};

use super::{Reason, json};
use crate::config::Algorithm;

/// Bytes of the longest token. Longer ones are refused before anything of them is decoded.
pub(super) const MAX_TOKEN: usize = 8 * 1024;

/// Bytes of the longest `kid`.
pub(super) const MAX_KID: usize = 256;

/// A token whose form is right.
pub(super) struct Token<'a> {
    pub(super) header: Header,
    /// What the signature is over: the first two parts as they came.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
    payload: &'a [u8],
}

/// What a token says of its signature.
pub(super) struct Header {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<String>,
}

// === impl Token ===

impl<'a> Token<'a> {
    pub(super) fn parse(token: &'a [u8]) -> Result<Self, Reason> {
        if token.len() > MAX_TOKEN {
            return Err(Reason::TooLarge);
        }
        let (signed, signature) = split_last(token).ok_or(Reason::Malformed)?;
        let (header, payload) = split_last(signed).ok_or(Reason::Malformed)?;
        Ok(Self {
            header: Header::parse(&decode(header)?)?,
            signed,
            signature: decode(signature)?,
            payload,
        })
    }

    /// The JSON of the claims, for when the signature is known to be right.
    pub(super) fn payload(&self) -> Result<Vec<u8>, Reason> {
        decode(self.payload)
    }
}

// === impl Header ===

impl Header {
    fn parse(json: &[u8]) -> Result<Self, Reason> {
        let mut header = json::object(json).ok_or(Reason::Malformed)?;
        if header.contains_key("crit") {
            return Err(Reason::UnsupportedExtension);
        }
        if text(&mut header, "typ")?.is_some_and(|typ| !is_access_token(&typ)) {
            return Err(Reason::WrongType);
        }
        let kid = text(&mut header, "kid")?;
        if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
            return Err(Reason::TooLarge);
        }
        let algorithm = text(&mut header, "alg")?.ok_or(Reason::Malformed)?;
        let algorithm = Algorithm::named(&algorithm).ok_or(Reason::WrongAlgorithm)?;
        Ok(Self { algorithm, kid })
    }
}

/// Decodes base64url in its one canonical form: no padding, no other alphabet, no stray bits at the end. A second
/// spelling of a token would slip past whatever knows it by its text.
pub(super) fn decode(part: &[u8]) -> Result<Vec<u8>, Reason> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Reason::Malformed)
}

/// What stands before and after the last dot. A dot more makes a part that is not base64url.
fn split_last(token: &[u8]) -> Option<(&[u8], &[u8])> {
    let dot = token.iter().rposition(|byte| *byte == b'.')?;
    Some((token.get(..dot)?, token.get(dot + 1..)?))
}

fn text(header: &mut Map<String, Value>, name: &str) -> Result<Option<String>, Reason> {
    match header.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Reason::Malformed),
    }
}

/// `typ` is a media type, and its `application/` may be left out (RFC 7515, 4.1.9; RFC 9068, 2.1).
fn is_access_token(typ: &str) -> bool {
    const PREFIX: &str = "application/";
    let name = match typ.split_at_checked(PREFIX.len()) {
        Some((prefix, name)) if prefix.eq_ignore_ascii_case(PREFIX) => name,
        _ => typ,
    };
    name.eq_ignore_ascii_case("JWT") || name.eq_ignore_ascii_case("at+jwt")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(json: &str) -> Result<(Algorithm, Option<String>), Reason> {
        Header::parse(json.as_bytes()).map(|header| (header.algorithm, header.kid))
    }

    #[test]
    fn a_header_gives_algorithm_and_kid_and_nothing_else() {
        let json = r#"{"alg":"ES256","kid":"k","jku":"https://x","x5u":1,"jwk":{},"x5c":[]}"#;
        assert_eq!(header(json), Ok((Algorithm::Es256, Some("k".into()))));
        assert_eq!(header(r#"{"alg":"RS256"}"#), Ok((Algorithm::Rs256, None)));
    }

    #[test]
    fn a_header_that_is_not_ours_to_judge_is_refused() {
        for (json, reason) in [
            (r#"{"alg":"none"}"#, Reason::WrongAlgorithm),
            (r#"{"alg":"nOnE"}"#, Reason::WrongAlgorithm),
            (r#"{"alg":["RS256"]}"#, Reason::Malformed),
            (r#"{"typ":"JWT"}"#, Reason::Malformed),
            (r#"{"alg":"RS256","alg":"HS256"}"#, Reason::Malformed),
            (r#"{"alg":"RS256","kid":7}"#, Reason::Malformed),
            (r#"{"alg":"RS256","crit":["exp"]}"#, Reason::UnsupportedExtension),
            (r#"{"alg":"RS256","crit":[]}"#, Reason::UnsupportedExtension),
            (r#"{"alg":"RS256","crit":null}"#, Reason::UnsupportedExtension),
            (r#"{"alg":"RS256","typ":1}"#, Reason::Malformed),
        ] {
            assert_eq!(header(json), Err(reason), "{json}");
        }
    }

    #[test]
    fn only_access_tokens_pass_by_type() {
        for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/jwt", "Application/AT+jwt"] {
            assert!(header(&format!(r#"{{"alg":"RS256","typ":"{typ}"}}"#)).is_ok(), "{typ}");
        }
        for typ in ["", "logout+jwt", "dpop+jwt", "JWE", "application/", "text/jwt", "jwt ", "é"] {
            let json = format!(r#"{{"alg":"RS256","typ":"{typ}"}}"#);
            assert_eq!(header(&json), Err(Reason::WrongType), "{typ}");
        }
    }

    #[test]
    fn a_kid_has_at_most_256_bytes() {
        let json = |length: usize| format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(length));
        assert!(header(&json(256)).is_ok());
        assert_eq!(header(&json(257)), Err(Reason::TooLarge));
    }

    #[test]
    fn base64_has_one_spelling() {
        assert_eq!(decode(b"Zg"), Ok(b"f".into()));
        for part in ["Zg==", "Zh", "Zg=", "Z", "Z g", "Zg\n", "+/+/", "Zé"] {
            assert_eq!(decode(part.as_bytes()), Err(Reason::Malformed), "{part}");
        }
    }
}
