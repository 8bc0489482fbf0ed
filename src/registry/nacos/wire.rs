//! The bytes of Nacos' gRPC: one envelope for every message, whose body is JSON and whose kind is a word.
//!
//! Written by hand after `nacos_grpc_service.proto`, so that a build needs no protoc. Knows no message's meaning.

use std::collections::BTreeMap;

use serde::Serialize;

/// The path of a request with one answer.
pub(super) const REQUEST: &str = "/Request/request";
/// The path of the stream on which the server pushes.
pub(super) const STREAM: &str = "/BiRequestStream/requestBiStream";

/// The envelope.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Payload {
    #[prost(message, optional, tag = "2")]
    pub(super) metadata: Option<Metadata>,
    #[prost(message, optional, tag = "3")]
    pub(super) body: Option<Body>,
}

/// What stands on the envelope.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Metadata {
    /// The message's kind: the simple name of its class in the Java server.
    #[prost(string, tag = "3")]
    pub(super) kind: String,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(super) headers: BTreeMap<String, String>,
    #[prost(string, tag = "8")]
    pub(super) client_ip: String,
}

/// `google.protobuf.Any`, of which Nacos uses the value alone, as JSON.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Body {
    #[prost(bytes = "bytes", tag = "2")]
    pub(super) value: bytes::Bytes,
}

// === impl Payload ===

impl Payload {
    /// An envelope with a JSON body. A message of ours that will not serialise goes out empty and is refused.
    pub(super) fn json(kind: &str, message: &impl Serialize) -> Self {
        let value = serde_json::to_vec(message).unwrap_or_default().into();
        let metadata = Metadata { kind: kind.into(), ..Metadata::default() };
        Self { metadata: Some(metadata), body: Some(Body { value }) }
    }

    /// The message's kind; empty when the envelope does not say.
    pub(super) fn kind(&self) -> &str {
        self.metadata.as_ref().map_or("", |metadata| &metadata.kind)
    }

    /// The body, with whatever is not UTF-8 replaced: one instance's bad bytes must not cost the others.
    pub(super) fn text(&self) -> std::borrow::Cow<'_, str> {
        self.body
            .as_ref()
            .map_or_else(Default::default, |body| String::from_utf8_lossy(&body.value))
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    /// What protoc's code for the same file writes, byte for byte.
    #[test]
    fn the_envelope_is_nacos_own() {
        let mut payload = Payload::json("HealthCheckRequest", &serde_json::json!({}));
        let metadata = payload.metadata.as_mut().unwrap();
        metadata.headers.insert("a".into(), "b".into());
        metadata.client_ip = "1.2.3.4".into();
        let expected = [
            b"\x12\x25".as_slice(),
            b"\x1a\x12HealthCheckRequest",
            b"\x3a\x06\x0a\x01a\x12\x01b",
            b"\x42\x071.2.3.4",
            b"\x1a\x04\x12\x02{}",
        ]
        .concat();
        assert_eq!(payload.encode_to_vec(), expected);
        assert_eq!(Payload::decode(expected.as_slice()).unwrap(), payload);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let body = Body { value: b"{\"a\":\"\xff\"}".as_slice().into() };
        assert_eq!(Payload { metadata: None, body: Some(body) }.text(), "{\"a\":\"\u{fffd}\"}");
    }
}
