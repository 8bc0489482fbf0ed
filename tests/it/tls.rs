//! TLS and the versions of HTTP, on both sides.

use axum::{Router, extract::Request, response::IntoResponse};
use http::Version;
use reqwest::{Certificate, ClientBuilder};

use crate::support::{Backend, Gateway, H2Backend, Scripted, Wire, all_to, echo};

/// The listener that the tests of TLS use, beside the one of every test.
pub(crate) const HTTPS: &str = r#"
[listener.https]
address = "127.0.0.1:0"
tls = { certificate = "cert.pem", key = "key.pem" }
"#;

/// A certificate for `gateway.test` that signs itself, and its key, both PEM.
pub(crate) fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["gateway.test".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A gateway with an HTTPS listener, and the certificate to trust.
pub(crate) fn https_gateway(config: &str) -> (Gateway, String) {
    let (certificate, key) = certificate();
    let files = [("cert.pem", certificate.as_str()), ("key.pem", key.as_str())];
    (Gateway::start_with_files(&files, &format!("{HTTPS}{config}")), certificate)
}

/// A client that trusts this certificate alone and finds `gateway.test` at the gateway.
fn https_client(gateway: &Gateway, pem: &str) -> ClientBuilder {
    tollgate::crypto::install_crypto_provider();
    reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([Certificate::from_pem(pem.as_bytes()).unwrap()])
        .resolve("gateway.test", gateway.listener("https"))
}

fn https_url(gateway: &Gateway, path: &str) -> String {
    format!("https://gateway.test:{}{path}", gateway.listener("https").port())
}

/// Says which version of HTTP the upstream was spoken to in.
fn says_version() -> Router {
    Router::new().fallback(async |request: Request| match request.version() {
        Version::HTTP_2 => echo("two", request).await.into_response(),
        version => format!("{version:?}").into_response(),
    })
}

#[tokio::test]
async fn an_https_listener_speaks_http1_and_http2_by_alpn() {
    let backend = Backend::echo("one").await;
    let (gateway, pem) = https_gateway(&all_to(&[backend.address], ""));
    let both = https_client(&gateway, &pem).build().unwrap();
    let one = https_client(&gateway, &pem).http1_only().build().unwrap();
    for (client, version) in [(both, Version::HTTP_2), (one, Version::HTTP_11)] {
        let answer = client.post(https_url(&gateway, "/x")).body("hi").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        assert_eq!(answer.headers()["via"], "1.1 tollgate");
        let seen: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(seen["body"], "hi");
        assert_eq!(seen["headers"]["x-forwarded-proto"][0], "https");
        let host = format!("gateway.test:{}", gateway.listener("https").port());
        assert_eq!(seen["headers"]["host"][0], host);
        assert_eq!(seen["headers"]["x-forwarded-host"][0], host);
    }
}

#[tokio::test]
async fn a_client_that_trusts_another_authority_is_not_served() {
    let (gateway, _) = https_gateway("");
    let (other, _) = certificate();
    let client = https_client(&gateway, &other).build().unwrap();
    assert!(client.get(https_url(&gateway, "/")).send().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn an_answer_of_our_own_is_whole_on_http2() {
    let (gateway, pem) = https_gateway("");
    let client = https_client(&gateway, &pem).build().unwrap();
    for _ in 0..3 {
        let answer = client.get(https_url(&gateway, "/no")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (404, Version::HTTP_2));
        assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["code"], "no_route");
    }
    let answer = client.head(https_url(&gateway, "/no")).send().await.unwrap();
    assert_eq!(answer.status(), 404);
}

#[tokio::test]
async fn cookie_crumbs_of_http2_become_one_line() {
    let backend = Backend::echo("one").await;
    let (gateway, pem) = https_gateway(&all_to(&[backend.address], ""));
    let client = https_client(&gateway, &pem).build().unwrap();
    let ask = client.get(https_url(&gateway, "/")).header("cookie", "a=1").header("cookie", "b=2");
    let seen: serde_json::Value = ask.send().await.unwrap().json().await.unwrap();
    assert_eq!(seen["headers"]["cookie"], serde_json::json!(["a=1; b=2"]));
}

#[tokio::test]
async fn an_http2_upstream_is_spoken_to_by_prior_knowledge() {
    let backend = H2Backend::serve(says_version()).await;
    let gateway = Gateway::start(&all_to(&[backend.address], "protocol = \"http2\""));
    for body in ["", "hello"] {
        let request = crate::support::client().post(gateway.url("/a?b")).body(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let seen: serde_json::Value = answer.json().await.unwrap();
        assert_eq!((&seen["name"], &seen["body"]), (&"two".into(), &body.into()));
        assert!(seen["target"].as_str().unwrap().ends_with("/a?b"), "{}", seen["target"]);
    }
}

#[tokio::test]
async fn an_https_upstream_is_verified_against_its_authority() {
    let backend = Backend::echo("one").await;
    // The gateway behind is the TLS server, over HTTP/1.1 and over HTTP/2.
    let (behind, pem) = https_gateway(&all_to(&[backend.address], ""));
    let address = behind.listener("https");
    for protocol in ["http1", "http2"] {
        let front = in_front_of(address, &pem, "gateway.test", protocol);
        let answer = crate::support::client().get(front.url("/")).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{protocol}");
        let seen: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(seen["headers"]["via"].as_array().unwrap().len(), 2);
    }
}

/// A gateway whose only upstream is called over TLS.
fn in_front_of(address: std::net::SocketAddr, ca: &str, sni: &str, protocol: &str) -> Gateway {
    let more = format!("protocol = \"{protocol}\"\ntls = {{ sni = \"{sni}\", ca = \"ca.pem\" }}");
    Gateway::start_with_files(&[("ca.pem", ca)], &all_to(&[address], &more))
}

#[tokio::test]
async fn an_https_upstream_that_cannot_be_trusted_is_502() {
    let (behind, pem) = https_gateway("");
    let address = behind.listener("https");
    let (stranger, _) = certificate();
    for (ca, sni) in [(&stranger, "gateway.test"), (&pem, "other.test")] {
        let front = in_front_of(address, ca, sni, "http1");
        let answer = crate::support::client().get(front.url("/")).send().await.unwrap();
        assert_eq!(answer.status(), 502);
        assert_eq!(answer.headers()["proxy-status"], "tollgate; error=tls_protocol_error");
        let problem: serde_json::Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], "connect_failed");
    }
}

#[tokio::test]
async fn the_name_of_an_https_upstream_is_sent_as_sni() {
    let (told, mut hello) = tokio::sync::mpsc::unbounded_channel();
    let server = Scripted::start(move |mut wire: Wire| {
        let told = told.clone();
        async move {
            let mut acceptor = rustls::server::Acceptor::default();
            let mut bytes = vec![0; 4096];
            let read = tokio::io::AsyncReadExt::read(&mut wire.0, &mut bytes).await.unwrap();
            acceptor.read_tls(&mut &bytes[..read]).unwrap();
            let accepted = acceptor.accept().unwrap().expect("a whole hello");
            told.send(accepted.client_hello().server_name().map(str::to_owned)).unwrap();
        }
    })
    .await;
    let (pem, _) = certificate();
    let front = in_front_of(server.address, &pem, "orders.test", "http1");
    let answer = crate::support::client().get(front.url("/")).send().await.unwrap();
    assert_eq!(answer.status(), 502);
    assert_eq!(hello.recv().await.unwrap().as_deref(), Some("orders.test"));
}

#[tokio::test]
async fn plain_http_on_the_https_listener_is_not_answered() {
    let (gateway, _) = https_gateway("");
    let mut wire = Wire::connect(gateway.listener("https")).await;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(!wire.rest().await.starts_with(b"HTTP/"));
}
