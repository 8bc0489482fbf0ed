//! Every file of `tests/bad-configs` is refused for the reasons that its first lines name.

use super::*;

/// `# expect: CODE LINE:COLUMN` at the top of a file, one for each finding.
fn expected(text: &str) -> Vec<(String, usize, usize)> {
    let lines = text.lines().map_while(|line| line.strip_prefix("# expect: "));
    let one = |line: &str| {
        let (code, place) = line.split_once(' ').unwrap();
        let (line, column) = place.split_once(':').unwrap();
        (code.to_owned(), line.parse().unwrap(), column.parse().unwrap())
    };
    lines.map(one).collect()
}

fn files() -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(root().join("tests/bad-configs")).unwrap();
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn every_bad_config_is_refused_where_and_why_it_says() {
    let files = files();
    assert!(files.len() >= 60, "only {} files", files.len());
    let mut wrong = Vec::new();
    for (path, text) in files {
        let found: Vec<_> = match parse_text(&text) {
            Ok(_) => vec![("accepted".to_owned(), 0, 0)],
            Err(all) => all
                .iter()
                .map(|item| (item.code.to_owned(), all.position(item).unwrap()))
                .map(|(code, (line, column))| (code, line, column))
                .collect(),
        };
        if found != expected(&text) {
            let name = path.file_name().unwrap().to_owned();
            wrong.push(format!("{name:?}\n  expected {:?}\n  found    {found:?}", expected(&text)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn rendering_shows_the_same_places() {
    for (path, text) in files() {
        let Err(all) = parse_text(&text) else { panic!("{} is accepted", path.display()) };
        let shown = all.render(false);
        for (item, line) in all.iter().zip(all.lines()) {
            let (row, column) = all.position(item).unwrap();
            assert!(line.starts_with(&format!("routes.toml:{row}:{column}: ")), "{line}");
            assert!(shown.contains(&format!("error[{}]: ", item.code)), "{shown}");
            let place = format!("--> routes.toml:{row}:{column}");
            assert!(shown.contains(&place), "{}: no {place} in\n{shown}", path.display());
        }
        assert!(all.render(true).contains('\u{1b}'));
    }
}
