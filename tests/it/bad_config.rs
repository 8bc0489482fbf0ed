//! Every file of `tests/bad-configs`, thrown at one running gateway.

use std::{fs, path::Path};

use serde_json::Value;

use crate::support::{KeepAlive, Process, client};

const HEAD: &str = r#"
[server]
threads = 2
[listener.http]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[access_log]
output = "off"
"#;
const ROUTE: &str =
    "[[route]]\nname = \"stays\"\npath = \"/stays\"\nanswer = { body = \"here\" }\n";
/// What the corpus expects in the environment.
const SECRET: &str = "a-secret-from-the-environment-0123456789";
const ENVIRONMENT: [(&str, &str); 3] =
    [("SECRET", SECRET), ("HIDDEN", "hidden-value"), ("EMPTY", "")];

/// The places that `# expect: CODE LINE:COLUMN` lines name.
fn expected(text: &str) -> Vec<String> {
    let lines = text.lines().map_while(|line| line.strip_prefix("# expect: "));
    lines.map(|line| format!("routes.toml:{}: ", line.split(' ').nth(1).unwrap())).collect()
}

fn corpus() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad-configs");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    files
}

fn put(folder: &Path, text: &str) {
    fs::write(folder.join("fresh"), text).unwrap();
    fs::rename(folder.join("fresh"), folder.join("routes.toml")).unwrap();
}

#[tokio::test]
async fn every_bad_config_leaves_the_old_one_running_and_says_where_it_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), &format!("{HEAD}{ROUTE}"));
    let mut gateway = Process::serving_with(folder.path(), &ENVIRONMENT).await;
    let client = client();
    let page = async |path: &str| {
        client.get(gateway.admin(path)).send().await.unwrap().text().await.unwrap()
    };
    let reload = async || {
        let answer = client.post(gateway.admin("/api/v1/reload")).send().await.unwrap();
        (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
    };
    let successful = async || {
        let page = page("/metrics").await;
        let value = |line: &str| {
            Some(line.strip_prefix("tollgate_config_last_reload_successful ")?.to_owned())
        };
        page.lines().find_map(value).expect("the gauge is there")
    };
    let config = async || serde_json::from_str::<Value>(&page("/api/v1/config").await).unwrap();
    let version = config().await["version"].clone();
    let mut connection = KeepAlive::open(gateway.listener("http")).await.unwrap();

    let files = corpus();
    assert!(files.len() >= 100, "only {} files", files.len());
    for (name, text) in files {
        put(folder.path(), &text);
        let (status, answer) = reload().await;
        assert_eq!(status, 422, "{name}: {answer}");
        let problems: Vec<&str> = answer["problems"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap())
            .collect();
        let expected = expected(&text);
        assert_eq!(problems.len(), expected.len(), "{name}: {problems:#?}");
        for (problem, place) in problems.iter().zip(&expected) {
            assert!(problem.starts_with(place), "{name}: {problem} is not at {place}");
        }
        let shown = config().await;
        assert_eq!(shown["problems"], answer["problems"], "{name}");
        assert_eq!(shown["last_reload_successful"], false, "{name}");
        assert_eq!(shown["version"], version, "{name}");
        assert_eq!(successful().await, "0", "{name}");
        let reply = connection.get("/stays").await.expect("the connection stays");
        assert_eq!((reply.status, reply.body.as_str()), (200, "here"), "{name}");
    }

    let more = ROUTE.replace("stays", "more");
    put(folder.path(), &format!("{HEAD}{ROUTE}{more}"));
    assert_eq!(reload().await.0, 200);
    assert_eq!(successful().await, "1");
    assert_eq!(config().await["problems"], serde_json::json!([]));
    assert_eq!(connection.get("/more").await.unwrap().status, 200);
    assert!(!gateway.stderr().contains(SECRET) && !gateway.stderr().contains("hidden-value"));
    assert!(!gateway.stderr().contains("panicked"));
    gateway.signal("INT");
    assert_eq!(gateway.exit().await, 0);
}
