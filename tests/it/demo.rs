//! `tollgate demo`, and with it what `make run` shows: the real binary in an empty folder, with nothing set.

use std::{collections::BTreeMap, fs, net::TcpListener, path::PathBuf, process::Command};

use serde_json::Value;

use crate::support::{Process, client, eventually, tollgate};

/// The ports that the shipped config asks for. Held here, or by something else that runs on this machine.
const ASKED_FOR: [&str; 3] = ["0.0.0.0:8080", "127.0.0.1:9180", "127.0.0.1:8848"];

/// What the demo has printed for its reader.
struct Tour {
    text: String,
}

impl Tour {
    /// The lines below a comment, as one would copy them.
    fn below(&self, comment: &str) -> String {
        let (_, rest) = self.text.split_once(&format!("# {comment}")).expect("the stop is there");
        let lines = rest.lines().skip(1).take_while(|line| !line.trim().is_empty());
        lines.map(str::trim).collect::<Vec<_>>().join("\n")
    }

    /// Runs these lines with sh, and gives what they print.
    fn run(&self, comment: &str) -> String {
        let lines = self.below(comment);
        let output = Command::new("sh").args(["-c", &lines]).output().unwrap();
        assert!(output.status.success(), "{lines}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn after(&self, text: &str) -> String {
        let rest = self.text.split(text).nth(1).unwrap_or_else(|| panic!("no {text:?}"));
        rest.split([' ', ',']).next().unwrap().to_owned()
    }
}

#[tokio::test]
async fn the_demo_runs_anywhere_and_what_it_prints_works() {
    let held = ASKED_FOR.map(|address| (address, TcpListener::bind(address)));
    let folder = tempfile::tempdir().unwrap();
    let mut command = tollgate(&["demo"], folder.path());
    command.env("TMPDIR", folder.path());
    let mut demo = Process::start(command);
    eventually("the tour is printed", async || {
        assert!(!demo.stderr().contains("panicked"), "{}", demo.stderr());
        demo.stdout().contains("Ctrl-C ends the demo.")
    })
    .await;
    let tour = Tour { text: demo.stdout() };
    for (address, _) in held.iter().filter(|(_, held)| held.is_ok()) {
        let moved = format!("{address} is taken; the demo uses ");
        assert!(tour.text.contains(&moved), "{}", tour.text);
    }

    let mut met = BTreeMap::<String, u32>::new();
    for _ in 0..30 {
        for line in tour.run("Weighted random").lines().filter(|line| !line.is_empty()) {
            let answer: Value = serde_json::from_str(line).unwrap();
            *met.entry(answer["instance"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    // 300 requests, weights 5, 3, 2; the bounds are more than five deviations away.
    assert_eq!(met.values().sum::<u32>(), 300, "{met:?}");
    for (instance, expected) in [("a", 150), ("b", 90), ("c", 60)] {
        let count = met.get(instance).copied().unwrap_or_default();
        assert!(count.abs_diff(expected) < 45, "{met:?}");
    }

    let jwt = tour.run("JWT");
    assert!(jwt.starts_with("HTTP/1.1 401 ") && jwt.contains("HTTP/1.1 200 "), "{jwt}");
    assert!(jwt.contains("\"x-user-id\":\"alice\""), "{jwt}");
    let limited = tour.run("Rate limit");
    assert!(limited.starts_with("200\n200\n200\n"), "{limited}");
    // On a machine so busy that five calls take a second, the bucket is full again: then once more.
    eventually("the limit says no", async || tour.run("Rate limit").contains("429\n")).await;
    let flaky = tour.run("Circuit breaker");
    let flaky: Vec<&str> = flaky.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(flaky, ["500", "500", "500", "500", "500", "503", "503", "503"]);
    let seen = tour.run("What runs");
    assert!(seen.contains("\"weight\":5.0") && seen.contains("tollgate_build_info"), "{seen}");

    let base = tour.after("tollgate is listening on ");
    let file = PathBuf::from(tour.after("Edit "));
    assert!(file.starts_with(folder.path()), "it writes nowhere else: {}", file.display());
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("pong\\n", "edited\\n")).unwrap();
    eventually("the edit is there", async || {
        let answer = client().get(format!("{base}/ping")).send().await.unwrap();
        answer.text().await.unwrap() == "edited\n"
    })
    .await;

    demo.signal("INT");
    assert_eq!(demo.exit().await, 0);
    assert!(
        !demo.stderr().contains("ERROR") && !demo.stderr().contains("panicked"),
        "{}",
        demo.stderr()
    );
}
