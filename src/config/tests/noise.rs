//! Whatever stands in the file, it is answered and never panics, and no secret comes out.

use proptest::prelude::*;

use super::*;

/// Parses, and shows what comes of it in every way there is.
fn survive(text: &str) {
    let all = match parse_text(text) {
        Ok(checked) => checked.warnings,
        Err(all) => all,
    };
    let shown = [all.render(false), all.render(true), all.to_string()];
    assert!(shown.iter().all(|shown| !shown.contains("from-the-environment")), "{shown:?}");
    assert!(shown.iter().all(|shown| !shown.contains("hidden-value")), "{shown:?}");
}

/// A good text with some bytes replaced by something else that may stand in such a file.
fn mutated() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "\"",
        "'",
        "\"\"\"",
        "[",
        "]",
        "[[",
        "{",
        "}",
        "=",
        "\n",
        "#",
        ",",
        ".",
        "${HIDDEN}",
        "${SECRET}",
        "${",
        "0",
        "-1",
        "nan",
        "true",
        "\u{1f600}",
        "\u{0}",
        "\r",
        "route",
        "\\u0000",
        "1e999",
        "\"\"",
        "[]",
        "{}",
    ]);
    let edits = prop::collection::vec((any::<prop::sample::Index>(), 0..12usize, pieces), 1..6);
    (prop::sample::select(good::SAMPLES.to_vec()), edits).prop_map(|(text, edits)| {
        let mut text: Vec<char> = text.chars().collect();
        for (at, length, piece) in edits {
            let start = at.index(text.len() + 1);
            let end = (start + length).min(text.len());
            text.splice(start..end, piece.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        survive(&text);
    }

    #[test]
    fn a_mutated_config_is_answered(text in mutated()) {
        survive(&text);
    }
}

#[test]
fn nesting_does_not_overflow_the_stack() {
    let key = ["a"; 78].join(".");
    let deep = format!("x = {}1{}\n", format!("{{ {key} = ").repeat(78), " }".repeat(78));
    survive(&deep);
    survive(&format!("x = {}", "[".repeat(1_000_000)));
    survive(&format!("{} = 1", "a.".repeat(1_000_000)));
}

#[test]
fn findings_are_bounded() {
    let text = "[[route]]\nnam = \"x\"\n".repeat(3000);
    let Err(all) = parse_text(&text) else { panic!("accepted") };
    assert_eq!(all.len(), 1000);
    assert!(all.to_string().ends_with("more"));
    let shown = all.render(false);
    assert_eq!(shown.matches("--> ").count(), 50);
}

#[test]
fn a_list_of_a_hundred_thousand_wrong_values_is_answered_soon() {
    let text = format!(
        "[[route]]\nname = \"x\"\nanswer = {{}}\nip_filter.allow = [{}]\n",
        "\"x\", ".repeat(100_000)
    );
    let Err(all) = parse_text(&text) else { panic!("accepted") };
    assert_eq!(all.len(), 50);
}

#[test]
fn a_mark_at_the_start_and_carriage_returns_move_no_place() {
    let text = "\u{feff}[admin]\r\nadress = \"127.0.0.1:9180\"\r\n";
    let Err(all) = parse_text(text) else { panic!("accepted") };
    assert_eq!(all.iter().next().and_then(|item| all.position(item)), Some((2, 1)));
    assert!(all.render(false).contains("2 | adress = \"127.0.0.1:9180\"\n"));
}

#[test]
fn what_is_long_is_cut() {
    let long = "x".repeat(3_000_000);
    for text in [format!("{long} = 1"), format!("[[route]]\nname = \"{long}\"\nto = \"{long}\"")] {
        let Err(all) = parse_text(&text) else { panic!("accepted") };
        assert!(all.to_string().len() < 5000);
        assert!(all.render(false).len() < 20_000);
    }
}

#[test]
fn thousands_of_wrong_references_are_answered_soon() {
    let upstreams: String = (0..3_000)
        .map(|n| format!("[upstream.service-{n}]\ninstances = [\"127.0.0.1:1\"]\n"))
        .collect();
    let routes: String =
        (0..3_000).map(|n| format!("[[route]]\nname = \"r{n}\"\nto = \"sevrice-{n}\"\n")).collect();
    let start = std::time::Instant::now();
    let Err(all) = parse_text(&format!("{upstreams}{routes}")) else { panic!("accepted") };
    assert_eq!(all.len(), 1000);
    assert!(start.elapsed() < std::time::Duration::from_secs(30), "{:?}", start.elapsed());
}

#[test]
fn what_the_environment_brings_is_not_quoted() {
    for text in [
        "[[route]]\nname = \"${HIDDEN} x\"\nanswer = {}",
        "[[route]]\nname = \"a\"\nto = \"${HIDDEN}\"",
        "[[route]]\nname = \"a\"\nanswer = {}\njwt = \"${HIDDEN}\"",
        "[[route]]\nname = \"a\"\nanswer = {}\npath = \"${HIDDEN}\"",
        "[[route]]\nname = \"a\"\nanswer = {}\npath = { regex = \"(${HIDDEN}\" }",
        "[[route]]\nname = \"a\"\nanswer = {}\nhost = [\"a\", \"${HIDDEN}:\"]",
        "[[route]]\nname = \"a\"\nanswer = {}\ncors = { origins = \"${HIDDEN}\" }",
        "[[route]]\nname = \"a\"\nanswer = {}\nrate_limit = { rate = \"${HIDDEN}\", mode = \"${HIDDEN}\" }",
        "[[route]]\nname = \"a\"\nanswer = {}\nrate_limit = { rate = \"1/s\", per = \"jwt.${HIDDEN}\" }",
        "[[route]]\nname = \"a\"\nto = \"b\"\nrewrite = { path = \"/{${HIDDEN}}\" }",
        "[upstream.a]\ninstances = [{ address = \"${HIDDEN}\" }]\nservice = \"${HIDDEN}\"",
        "[upstream.a]\nregistry = \"${HIDDEN}\"",
        "[registry.a]\nkind = \"${HIDDEN}\"",
        "[registry.a]\nkind = \"nacos\"\naddress = \"${HIDDEN}\"\npassword = \"${SECRET}\"",
        "[jwt.a]\nkeys = { file = \"${HIDDEN}\" }",
        "[admin]\naddress = \"${HIDDEN}\"\ntoken = { file = \"${HIDDEN}\" }",
    ] {
        let Err(all) = parse_text(text) else { panic!("accepted: {text}") };
        assert!(!all.is_empty());
        survive(text);
    }
}

#[test]
fn a_secret_that_was_written_down_is_not_shown() {
    for text in [
        "[jwt.a]\nsecret = \"hunter2\"",
        "[jwt.a]\nsercet = \"hunter2\"",
        "[admin]\ntoken = { value = \"hunter2\" }",
        "[admin]\ntoken = '''\nhunter2'''",
        "[admin]\npassword = \"hunter2\" trailing",
        "[admin]\ntoken = \"hunter2",
        "[admin]\ntoken = hunter2",
        "[registry.a]\nkind = \"nacos\"\naddress = \"127.0.0.1:1\"\nusername = \"a\"\npassword = \"${PW:-hunter2}\"",
        "[jwt.a]\nkeys = [{ kty = \"OKP\", d = \"hunter2\" }]",
        "[jwt.a]\nkeys = [{ kty = \"oct\", k = \"hunter2\" }]",
        "[jwt.a]\nsecret = [\"hunter2\"]",
    ] {
        let Err(all) = parse_text(text) else { panic!("accepted: {text}") };
        let shown = format!("{}{}{all:?}", all.render(false), all);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let missing = load(&root().join("nowhere.toml")).unwrap_err();
    assert!(missing.to_string().contains("cannot read"), "{missing}");
    assert!(missing.render(false).contains("error[unreadable-file]"));
    let folder = load(root()).unwrap_err();
    assert!(folder.to_string().contains("folder"), "{folder}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("routes.toml");
    std::fs::write(&path, b"a = \"\xff\"").unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("UTF-8"));
    std::fs::File::create(&path).unwrap().set_len(LARGEST_FILE + 1).unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("16 MiB"));
}

#[test]
fn a_finding_is_shown_as_the_compiler_shows_its_own() {
    let text = "[[route]]\nname = \"orders\"\nanswer = {}\nrate_limits = { rate = \"5/s\" }\n";
    let Err(all) = parse_text(text) else { panic!("accepted") };
    let expected = "\
error[unknown-key]: unknown key `rate_limits` in route `orders`
 --> routes.toml:4:1
  |
4 | rate_limits = { rate = \"5/s\" }
  | ^^^^^^^^^^^ no such key
  |
help: did you mean `rate_limit`?
  |
4 - rate_limits = { rate = \"5/s\" }
4 + rate_limit = { rate = \"5/s\" }
  |

routes.toml: 1 error
";
    assert_eq!(all.render(false), expected);
    assert_eq!(
        all.to_string(),
        "routes.toml:4:1: unknown key `rate_limits` in route `orders`; did you mean `rate_limit`?"
    );
}
