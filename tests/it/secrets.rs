//! Secrets are asked for and never shown.

use std::{fs, path::Path};

use crate::support::{Process, client, eventually, outcome, tollgate};

const ADMIN_TOKEN: &str = "canary-admin-7f3a9c51";
const JWT_SECRET: &str = "canary-jwt-0a1b2c3d4e5f60718293a4b5c6d7e8f9";
const NACOS_PASSWORD: &str = "canary-nacos-44d1e0aa";
const PLAIN_VARIABLE: &str = "canary-variable-9e8d7c";
const BEARER: &str = "canary-bearer-5566.e30.e30";
const CANARY: &str = "canary-";

const ENVIRONMENT: [(&str, &str); 4] = [
    ("ADMIN_TOKEN", ADMIN_TOKEN),
    ("JWT_SECRET", JWT_SECRET),
    ("NACOS_PASSWORD", NACOS_PASSWORD),
    ("PLAIN_VARIABLE", PLAIN_VARIABLE),
];

fn config(admin: &str) -> String {
    format!(
        r#"[server]
threads = 2
boot_timeout = "200ms"
[listener.http]
address = "127.0.0.1:0"
[admin]
address = "{admin}"
token = "${{ADMIN_TOKEN}}"
[jwt.idp]
secret = "${{JWT_SECRET}}"
[registry.main]
kind = "nacos"
address = "127.0.0.1:1"
username = "gateway"
password = "${{NACOS_PASSWORD}}"
[[route]]
name = "closed"
path = "/closed/**"
to = "orders"
jwt = "idp"
request_headers = {{ set = {{ x-key = "${{PLAIN_VARIABLE}}" }} }}
"#
    )
}

fn put(folder: &Path, text: &str) {
    fs::write(folder.join("fresh"), text).unwrap();
    fs::rename(folder.join("fresh"), folder.join("routes.toml")).unwrap();
}

/// Everything under the admin listener.
const PAGES: [&str; 6] = [
    "/",
    "/metrics",
    "/api/v1/routes",
    "/api/v1/upstreams",
    "/api/v1/registries",
    "/api/v1/config",
];

#[tokio::test]
async fn no_secret_is_in_any_output() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &config("127.0.0.1:0"));
    let mut command = tollgate(&["run"], folder.path());
    command.envs(ENVIRONMENT).env("TOLLGATE_LOG", "debug,pingora=debug");
    let mut gateway = Process::start(command);
    gateway.says("Config ").await;
    let address = gateway.listener("http");
    let ask = client().get(format!("http://{address}/closed/1")).bearer_auth(BEARER);
    assert_eq!(ask.send().await.unwrap().status(), 401);

    let mut shown = String::new();
    let show_pages = async |shown: &mut String| {
        for page in PAGES {
            let answer = client().get(gateway.admin(page)).bearer_auth(ADMIN_TOKEN);
            let answer = answer.send().await.unwrap();
            assert_eq!(answer.status(), 200, "{page}");
            shown.push_str(&answer.text().await.unwrap());
        }
    };
    show_pages(&mut shown).await;
    // Errors beside secrets: what is quoted of the file and of what variables brought in.
    let good = config("127.0.0.1:0");
    let broken = [
        good.replace("secret = ", "secert = "),
        good.replace("[jwt.idp]\n", "[jwt.idp]\nalgorithm = \"none\"\n"),
        good.replace("path = \"/closed/**\"", "path = \"${PLAIN_VARIABLE}\""),
        good.replace("kind = \"nacos\"", "kind = \"${ADMIN_TOKEN}\""),
        good.replace("password = \"${NACOS_PASSWORD}\"", "password = \"x${NACOS_PASSWORD}\""),
        good.replace("token = \"${ADMIN_TOKEN}\"", "token = \"canary-literal-in-the-file\""),
        good.replace("threads = 2", "threads = 3"),
    ];
    for text in broken {
        put(folder.path(), &text);
        let reload = client().post(gateway.admin("/api/v1/reload")).bearer_auth(ADMIN_TOKEN);
        let answer = reload.send().await.unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert_eq!(status, 422, "{body}");
        shown.push_str(&body);
        show_pages(&mut shown).await;
        for verb in [&["check"][..], &["explain", "GET", "http://a/closed/1"]] {
            let mut command = tollgate(verb, folder.path());
            let (_, out, err) = outcome(&command.envs(ENVIRONMENT).output().unwrap());
            shown.push_str(&out);
            shown.push_str(&err);
        }
    }
    let admin = gateway.admin("");
    put(folder.path(), &config(admin.strip_prefix("http://").unwrap()));
    let explain = ["explain", "GET", "http://a/closed/1", "--token", BEARER];
    let mut command = tollgate(&explain, folder.path());
    let (code, out, err) = outcome(&command.envs(ENVIRONMENT).output().unwrap());
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("  instances     none"), "it has asked with the token: {out}");
    shown.push_str(&out);
    shown.push_str(&err);

    gateway.signal("INT");
    assert_eq!(gateway.exit().await, 0);
    eventually("the access log is there", async || gateway.stdout().contains("/closed/1")).await;
    shown.push_str(&gateway.stdout());
    shown.push_str(&gateway.stderr());
    let leaks: Vec<&str> = shown.lines().filter(|line| line.contains(CANARY)).collect();
    assert!(leaks.is_empty(), "{leaks:#?}");
}

#[tokio::test]
async fn the_admin_token_is_asked_for_on_everything_but_health() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &config("127.0.0.1:0"));
    let gateway = Process::serving_with(folder.path(), &ENVIRONMENT).await;
    let wrong = [None, Some(""), Some("canary-admin-7f3a9c5"), Some("canary-admin-7f3a9c511")];
    for page in PAGES {
        for token in wrong {
            let request = client().get(gateway.admin(page));
            let request =
                token.into_iter().fold(request, |request, token| request.bearer_auth(token));
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), 401, "{page} {token:?}");
            assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"tollgate admin\"");
            assert_eq!(answer.text().await.unwrap(), "the admin token is needed\n");
        }
        let answer =
            client().get(gateway.admin(page)).bearer_auth(ADMIN_TOKEN).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{page}");
    }
    let version = async || {
        let config = client().get(gateway.admin("/api/v1/config")).bearer_auth(ADMIN_TOKEN);
        let config: serde_json::Value = config.send().await.unwrap().json().await.unwrap();
        config["version"].clone()
    };
    let before = version().await;
    let reload = async |token: Option<&str>| {
        let request = client().post(gateway.admin("/api/v1/reload"));
        let request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!([reload(None).await, reload(Some("wrong")).await], [401, 401]);
    assert_eq!(version().await, before);
    assert_eq!(reload(Some(ADMIN_TOKEN)).await, 200);
    assert_eq!(client().get(gateway.admin("/livez")).send().await.unwrap().status(), 200);
    eventually("readiness needs no token", async || {
        client().get(gateway.admin("/readyz")).send().await.unwrap().status() == 200
    })
    .await;
}
