//! The command line: what each verb prints, and its exit code.

use std::{fs, path::Path};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Backend, Gateway, KeepAlive, Process, client, outcome, run, tollgate};

const GOOD: &str = "[[route]]\nname = \"ok\"\npath = \"/ok\"\nanswer = { body = \"ok\" }\n";

fn folder(config: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("routes.toml"), config).unwrap();
    folder
}

#[test]
fn check_says_that_a_good_config_is_good() {
    let folder = folder(GOOD);
    let (code, out, err) = run(&["check"], folder.path());
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (0, "routes.toml: good: 1 routes, 0 upstreams\n", "")
    );
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(run(&["check", "--deny-warnings"], shipped).0, 0, "the shipped config");
}

#[test]
fn errors_in_the_config_are_3_for_check_and_run_and_explain() {
    let private = include_str!("../data/keys/rsa-2048.pem");
    let garbage = ("key.pem", "garbage");
    let tls = "[listener.http]\naddress = \"127.0.0.1:0\"\ntls = { certificate = \"crt.pem\", key = \"key.pem\" }\n";
    let jwt = "[jwt.idp]\nkeys = { file = \"key.pem\" }\n";
    for (config, files, says) in [
        ("[[route]]\nname = \"a\"\npaht = \"/a\"\n", &[][..], "routes.toml:3:1"),
        ("[[route]\n", &[], "routes.toml:1:"),
        (jwt, &[], "routes.toml:2:17"),
        (jwt, &[garbage], "routes.toml:2:8"),
        (tls, &[garbage, ("crt.pem", "garbage")], "crt.pem"),
        (
            tls,
            &[("key.pem", private), ("crt.pem", include_str!("../data/keys/p256.crt"))],
            "do not belong together",
        ),
    ] {
        let folder = folder(config);
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        for verb in [&["check"][..], &["run"], &["explain", "GET", "http://a/"]] {
            let (code, out, err) = run(verb, folder.path());
            assert_eq!(code, 3, "{verb:?}: {err}");
            assert!(out.is_empty(), "{verb:?}: {out}");
            assert!(err.contains("error[") && err.contains(says), "{verb:?}: {err}");
            assert!(!err.contains("panicked"), "{err}");
        }
    }
    let empty = tempfile::tempdir().unwrap();
    let (code, _, err) = run(&["check"], empty.path());
    assert!(code == 3 && err.contains("cannot read routes.toml"), "{code} {err}");
}

#[test]
fn warnings_are_4_where_they_are_denied() {
    let folder = folder(&format!("[upstream.unused]\ninstances = [\"127.0.0.1:1\"]\n{GOOD}"));
    let (code, out, err) = run(&["check"], folder.path());
    assert!(
        code == 0 && out.contains(": good: ") && err.contains("warning["),
        "{code} {out} {err}"
    );
    let (code, _, err) = run(&["check", "--deny-warnings"], folder.path());
    assert!(code == 4 && err.contains("warning["), "{code} {err}");
}

#[test]
fn a_wrong_command_line_is_2() {
    let folder = folder(GOOD);
    for wrong in [
        &[][..],
        &["fly"],
        &["check", "--deny-waring"],
        &["explain", "GET"],
        &["explain", "G ET", "http://a/"],
        &["explain", "GET", "http://a/", "--client", "nobody"],
        &["run", "routes.toml", "--to", "127.0.0.1:1"],
        &["run", "--listen", "127.0.0.1:1"],
    ] {
        let (code, out, err) = run(wrong, folder.path());
        assert!(
            code == 2 && out.is_empty() && err.contains("--help"),
            "{wrong:?}: {code} {out} {err}"
        );
    }
}

#[test]
fn the_config_may_be_named_in_the_environment() {
    let folder = folder("broken");
    fs::write(folder.path().join("other.toml"), GOOD).unwrap();
    let mut command = tollgate(&["check"], folder.path());
    command.env("TOLLGATE_CONFIG", "other.toml");
    let (code, out, _) = outcome(&command.output().unwrap());
    assert!(code == 0 && out.starts_with("other.toml: good"), "{out}");
    command.arg("routes.toml");
    assert_eq!(outcome(&command.output().unwrap()).0, 3, "an argument wins");
}

#[test]
fn version_is_the_packages() {
    let folder = tempfile::tempdir().unwrap();
    let expected = format!("tollgate {}\n", env!("CARGO_PKG_VERSION"));
    for verb in ["version", "--version"] {
        assert_eq!(run(&[verb], folder.path()), (0, expected.clone(), String::new()));
    }
}

#[test]
fn schema_is_a_json_schema_that_the_shipped_config_meets() {
    let folder = tempfile::tempdir().unwrap();
    let (code, out, _) = run(&["schema"], folder.path());
    assert_eq!(code, 0);
    let schema: Value = serde_json::from_str(&out).unwrap();
    assert!(jsonschema::meta::is_valid(&schema));
    let validator = jsonschema::validator_for(&schema).unwrap();
    let text = include_str!("../../routes.toml");
    let shipped = serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
    let errors: Vec<String> =
        validator.iter_errors(&shipped).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    assert!(!validator.is_valid(&serde_json::json!({ "rout": [] })));
}

#[test]
fn a_reader_that_leaves_early_is_no_panic() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = tollgate(&["schema"], folder.path());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let (code, _, err) = outcome(&command.stdout(writer).output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""));
}

const EXPLAINED: &str = r#"
[jwt.idp]
secret = "${SECRET}"
[upstream.orders]
instances = ["127.0.0.1:1"]
[[route]]
name = "exact"
path = "/orders/42"
methods = "POST"
to = "orders"
[[route]]
name = "canary"
path = "/orders/**"
headers = { x-canary = "1" }
to = "orders"
[[route]]
name = "elsewhere"
host = "other.test"
path = "/orders/**"
to = "orders"
[[route]]
name = "orders"
path = "/orders/**"
to = "orders"
ip_filter = { allow = ["127.0.0.0/8"] }
jwt = "idp"
rate_limit = { rate = "1/h", burst = 1 }
"#;

/// The lines of `explain`, with single spaces.
fn explain(folder: &Path, more: &[&str]) -> Vec<String> {
    let mut args = vec!["explain", "GET", "http://api.test/orders/42"];
    args.extend(more);
    let mut command = tollgate(&args, folder);
    command.env("SECRET", "0123456789abcdef0123456789abcdef");
    let (code, out, err) = outcome(&command.output().unwrap());
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn explain_says_which_route_and_why_not_the_others() {
    let head = "[admin]\naddress = \"127.0.0.1:1\"\n";
    let folder = folder(&format!("{head}{EXPLAINED}"));
    let lines = explain(folder.path(), &[]);
    for line in [
        "request GET api.test/orders/42",
        "not exact: another method",
        "not canary: header x-canary",
        "not elsewhere: another host",
        "ip_filter pass",
        "route orders",
        "upstream orders",
        "instances unknown: nothing answers there (http://127.0.0.1:1)",
    ] {
        assert!(lines.iter().any(|found| found == line), "no {line:?} in {lines:#?}");
    }
    let refused = |lines: &[String], what: &str| lines.iter().any(|line| line.starts_with(what));
    assert!(refused(&lines, "jwt refuse: 401 "), "{lines:#?}");
    assert!(refused(&lines, "decision answer 401 "), "{lines:#?}");
    let lines = explain(folder.path(), &["--client", "192.0.2.1"]);
    assert!(refused(&lines, "ip_filter refuse: 403 "), "{lines:#?}");
    let lines = explain(folder.path(), &["-H", "x-canary: 1"]);
    assert!(lines.contains(&"route canary".to_owned()), "{lines:#?}");
    assert!(
        lines.contains(&"decision forward to an instance of the upstream".to_owned()),
        "{lines:#?}"
    );
    let lines = explain(folder.path(), &["--token", "no.token.atall"]);
    assert!(refused(&lines, "jwt refuse: 401 "), "{lines:#?}");
}

#[tokio::test]
async fn explain_asks_the_running_gateway_and_takes_nothing() {
    let backend = Backend::echo("one").await;
    let config = format!(
        "[upstream.service]\ninstances = [{{ address = \"{}\", weight = 3 }}]\n[[route]]\nname = \"limited\"\npath = \"/orders/**\"\n\
         to = \"service\"\nrate_limit = {{ rate = \"1/h\", burst = 1 }}\n",
        backend.address
    );
    let gateway = Gateway::start(&config).ready().await;
    let admin = gateway.admin("").replace("http://", "");
    let folder = folder(&format!("[admin]\naddress = {admin:?}\n{config}"));
    for _ in 0..3 {
        let path = folder.path().to_owned();
        let lines = tokio::task::spawn_blocking(move || explain(&path, &[])).await.unwrap();
        for line in [
            "route limited".to_owned(),
            "rate_limit pass".to_owned(),
            format!("instance {} weight 3 ready", backend.address),
            format!("decision forward, say to {}", backend.address),
        ] {
            assert!(lines.contains(&line), "no {line:?} in {lines:#?}");
        }
    }
    assert_eq!(backend.served(), 0);
    assert_eq!(gateway.get("/orders/42").await.0, 200, "the one token is still there");
    assert_eq!(gateway.get("/orders/42").await.0, 429);
}

#[tokio::test]
async fn run_to_needs_no_file() {
    let backend = Backend::echo("one").await;
    let folder = tempfile::tempdir().unwrap();
    let to = format!("http://{}/", backend.address);
    let args = ["run", "--to", &to, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];
    let mut gateway = Process::start(tollgate(&args, folder.path()));
    gateway.says("Config ").await;
    // What it prints as a file is one: `check` takes it.
    let printed = gateway.stdout();
    fs::write(folder.path().join("routes.toml"), &printed).unwrap();
    assert_eq!(run(&["check"], folder.path()).0, 0, "{printed}");
    crate::support::eventually("it is ready", async || {
        client().get(gateway.admin("/readyz")).send().await.unwrap().status() == 200
    })
    .await;
    let mut connection = KeepAlive::open(gateway.listener("http")).await.unwrap();
    assert_eq!(connection.get("/any").await.unwrap().status, 200);
    assert_eq!(backend.served(), 1);
    gateway.signal("INT");
    assert_eq!(gateway.exit().await, 0);
}
