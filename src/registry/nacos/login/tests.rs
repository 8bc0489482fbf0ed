use std::sync::{
    Arc as Shared,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Form, Router, http::Uri, response::IntoResponse};

use super::*;

type Fields = std::collections::BTreeMap<String, String>;

/// A server that knows one password, `p&ss=ü 1`, and answers at one path; and how often it was logged in to.
async fn serve(path: &'static str, lifetime: u64) -> (Server, Shared<AtomicUsize>) {
    let logins = Shared::new(AtomicUsize::new(0));
    let count = logins.clone();
    let answer = async move |uri: Uri, Form(fields): Form<Fields>| {
        if uri.path() != path {
            return StatusCode::NOT_FOUND.into_response();
        }
        assert_eq!(uri.query(), None, "credentials stay out of the query");
        if fields["password"] != "p&ss=ü 1" || fields["username"] != "gate" {
            return (StatusCode::FORBIDDEN, "unknown user!").into_response();
        }
        let number = count.fetch_add(1, Ordering::SeqCst);
        format!(r#"{{"accessToken":"t{number}","tokenTtl":{lifetime}}}"#).into_response()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let http_port = listener.local_addr().unwrap().port();
    let app = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (Server { host: "127.0.0.1".into(), http_port, grpc_port: 1 }, logins)
}

fn login(password: &str) -> Login {
    Login::new("gate", Some(&Secret::new(password)))
}

#[tokio::test]
async fn the_old_path_is_tried_when_the_new_one_is_unknown() {
    for path in PATHS {
        let (server, _) = serve(path, 100).await;
        assert_eq!(&*login("p&ss=ü 1").token(&server, None).await.unwrap(), "t0");
    }
}

#[tokio::test]
async fn a_wrong_password_is_refused_and_not_shown() {
    let (server, _) = serve(PATHS[0], 100).await;
    let error = login("hunter2").token(&server, None).await.unwrap_err();
    assert!(matches!(error, RegistryError::Auth(_)), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_token_is_used_until_it_is_refused_or_four_fifths_of_its_life_are_over() {
    let (server, logins) = serve(PATHS[0], 100).await;
    let login = login("p&ss=ü 1");
    assert_eq!(&*login.token(&server, None).await.unwrap(), "t0");
    assert_eq!(&*login.token(&server, None).await.unwrap(), "t0");
    assert_eq!(&*login.token(&server, Some("t0")).await.unwrap(), "t1");
    // Whoever was refused the same token a moment later finds the new one.
    assert_eq!(&*login.token(&server, Some("t0")).await.unwrap(), "t1");
    age(&login, 79).await;
    assert_eq!(&*login.token(&server, None).await.unwrap(), "t1");
    age(&login, 2).await;
    assert_eq!(&*login.token(&server, None).await.unwrap(), "t2");
    assert_eq!(logins.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_token_that_cannot_be_renewed_is_good_until_it_expires() {
    let (server, _) = serve(PATHS[0], 100).await;
    let gone = Server { http_port: 1, ..server.clone() };
    let login = login("p&ss=ü 1");
    login.token(&server, None).await.unwrap();
    age(&login, 90).await;
    assert_eq!(&*login.token(&gone, None).await.unwrap(), "t0");
    let error = login.token(&gone, Some("t0")).await.unwrap_err();
    assert!(matches!(error, RegistryError::Unavailable(_)), "{error}");
    age(&login, 11).await;
    login.token(&gone, None).await.unwrap_err();
}

#[test]
fn a_token_is_read_wherever_it_stands() {
    let token = |json: &str| Token::parse(json.as_bytes(), Instant::now()).map(|token| token.text);
    assert_eq!(token(r#"{"accessToken":"a","tokenTtl":1}"#).as_deref(), Some("a"));
    assert_eq!(token(r#"{"code":0,"data":{"accessToken":"b"}}"#).as_deref(), Some("b"));
    assert_eq!(
        token(r#"{"accessToken":"c","tokenTtl":18446744073709551615}"#).as_deref(),
        Some("c")
    );
    assert_eq!(token(r#"{"accessToken":""}"#), None);
    assert_eq!(token("unknown user!"), None);
}

/// Makes the kept token older.
async fn age(login: &Login, seconds: u64) {
    let mut kept = login.token.lock().await;
    let token = kept.as_mut().unwrap();
    token.refresh -= Duration::from_secs(seconds);
    token.expires -= Duration::from_secs(seconds);
}
