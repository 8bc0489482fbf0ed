//! Reads a `routes.toml` and says all that is wrong with it at once.
//!
//! Called at start, on every reload and by `check` and `explain`. Never changes anything: a config that comes out has
//! been checked, and one that is wrong comes out as its diagnostics.

use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    Config, Diagnostics, Jwt, KeySource, Listener, LogOutput, Registry, RegistryKind, Route,
    Upstream,
    blank::blank,
    check,
    conform::{Conform, Within},
    diagnostics::Findings,
    registry::WrittenGraces,
    schema::Shapes,
    syntax,
    typed::Typed,
};

/// The largest file that is read, in bytes.
pub const LARGEST_FILE: u64 = 16 * 1024 * 1024;

/// A config that may be run, and what is doubtful about it.
#[derive(Clone, Debug)]
pub struct Checked {
    pub config: Config,
    pub warnings: Diagnostics,
}

/// A file that was read and found good.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    pub warnings: Diagnostics,
    /// The file's content. Secrets stand elsewhere.
    pub text: String,
}

/// What could be read of a file, sound or not: each table by itself.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) config: Config,
    /// Each `[[route]]` of the file; none where it could not be read.
    pub(super) routes: Vec<Option<Route>>,
}

/// Reads and checks a file; variables come from the process's environment, and relative paths start at its folder.
pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
    let name = path.display().to_string();
    let text = read(path)
        .map_err(|why| Diagnostics::unreadable(&name, format!("cannot read {name}: {why}")))?;
    let base = path.parent().unwrap_or(Path::new(""));
    let Checked { config, warnings } =
        parse(&name, &text, base, &|variable| std::env::var(variable).ok())?;
    Ok(Loaded { config, warnings, text })
}

fn read(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| error.kind().to_string())?;
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err("it is a folder".into());
    }
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.kind().to_string())?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err("it is larger than 16 MiB".into());
    }
    String::from_utf8(bytes).map_err(|error| {
        format!("it is not UTF-8 from byte {} on", error.utf8_error().valid_up_to())
    })
}

/// Checks a text. Of the world it sees what `env` says, and the files that the text names, relative to `base`.
pub fn parse(
    source_name: &str,
    text: &str,
    base: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Checked, Diagnostics> {
    let shapes = Shapes::new();
    let mut pass = Conform {
        shapes: &shapes,
        text,
        base,
        env,
        findings: Findings::default(),
        expanded: Vec::new(),
        secrets: Vec::new(),
    };
    let mut config = Config::default();
    if let Some(tree) = syntax::tree(text, &mut pass.findings) {
        let written = tree.get_ref().clone();
        let mut draft = pass.sections(tree);
        anchor(&mut draft, base);
        check::check(&draft, &written, &mut pass);
        config = draft.config;
        config.route = draft.routes.into_iter().flatten().collect();
    }
    let failed = pass.findings.errors() > 0;
    let findings = if failed { pass.findings.errors_only() } else { pass.findings };
    let quoted = if findings.is_empty() { String::new() } else { blank(text, &pass.secrets) };
    let diagnostics = Diagnostics::new(source_name, quoted, findings);
    if failed {
        return Err(diagnostics);
    }
    if config.listener.is_empty() {
        config.listener.insert("http".into(), Listener::default());
    }
    Ok(Checked { config, warnings: diagnostics })
}

impl Conform<'_> {
    /// Every table by itself, so that every one reports.
    fn sections(&mut self, tree: Spanned<DeTable<'_>>) -> Draft {
        let mut root = tree.into_inner();
        self.top_level(&mut root);
        let mut draft = Draft::default();
        let config = &mut draft.config;
        config.server = self.single(&mut root, "server").unwrap_or_default();
        config.admin = self.single(&mut root, "admin").unwrap_or_default();
        config.access_log = self.single(&mut root, "access_log").unwrap_or_default();
        config.listener = self.named(&mut root, "listener", Self::plain::<Listener>);
        config.registry = self.named(&mut root, "registry", Self::registry_table);
        config.jwt = self.named(&mut root, "jwt", Self::plain::<Jwt>);
        config.upstream = self.named(&mut root, "upstream", Self::plain::<Upstream>);
        draft.routes = self.routes(&mut root);
        draft
    }

    /// Looks at the names of the tables alone; what is in them has its own turn.
    fn top_level(&mut self, root: &mut DeTable<'_>) {
        let known = self.shapes.root().get("properties");
        let keys: Vec<_> =
            root.keys().map(|key| (key.get_ref().clone().into_owned(), key.span())).collect();
        for (key, span) in keys {
            let Some(value) = root.get(key.as_str()) else { continue };
            let stays = match known.and_then(|known| known.get(&key)) {
                Some(shape) if self.fits(value.get_ref(), shape) => true,
                Some(shape) => {
                    let name = format!("`{key}`");
                    self.wrong_type(value, shape, &Within::table(&key, &name))
                }
                None => {
                    let top = Within::table("", "the file");
                    self.unknown_key(&Spanned::new(span, key.as_str()), value.span(), known, &top)
                }
            };
            if !stays {
                root.remove(key.as_str());
            }
        }
    }

    fn single<T: serde::de::DeserializeOwned>(
        &mut self,
        root: &mut DeTable<'_>,
        name: &str,
    ) -> Option<T> {
        let table = root.remove(name)?;
        self.plain(table, &Within::table(name, &format!("[{name}]")))
    }

    fn named<T>(
        &mut self,
        root: &mut DeTable<'_>,
        section: &str,
        read: impl Fn(&mut Self, Spanned<DeValue<'_>>, &Within<'_>) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let Some(DeValue::Table(tables)) = root.remove(section).map(Spanned::into_inner) else {
            return BTreeMap::new();
        };
        let read = |(name, table): (Spanned<std::borrow::Cow<'_, str>>, _)| {
            let header = format!("[{section}.{}]", name.get_ref());
            let value = read(self, table, &Within::table(section, &header))?;
            Some((name.into_inner().into_owned(), value))
        };
        tables.into_iter().filter_map(read).collect()
    }

    fn routes(&mut self, root: &mut DeTable<'_>) -> Vec<Option<Route>> {
        let Some(DeValue::Array(routes)) = root.remove("route").map(Spanned::into_inner) else {
            return Vec::new();
        };
        let read = |(at, route): (usize, Spanned<DeValue<'_>>)| {
            let name = route.get_ref().get("name").and_then(|name| name.get_ref().as_str());
            let table = match name {
                Some(name) => format!("route `{name}`"),
                None => format!("route number {}", at + 1),
            };
            self.plain(route, &Within::table("route", &table))
        };
        routes.into_iter().enumerate().map(read).collect()
    }

    /// A table that is read into its type as a whole.
    fn plain<T: serde::de::DeserializeOwned>(
        &mut self,
        mut table: Spanned<DeValue<'_>>,
        within: &Within<'_>,
    ) -> Option<T> {
        let before = self.findings.errors();
        let shape = self.shapes.section(within.section);
        if !self.value(&mut table, shape, within) {
            return None;
        }
        let damaged = self.findings.errors() > before;
        Typed { findings: &mut self.findings, expanded: &self.expanded }.read(table, damaged)
    }

    /// A registry: graces apart, the rest into the type of its kind.
    fn registry_table(
        &mut self,
        mut table: Spanned<DeValue<'_>>,
        within: &Within<'_>,
    ) -> Option<Registry> {
        let before = self.findings.errors();
        let shape = self.shapes.section(within.section);
        if !self.value(&mut table, shape, within) {
            return None;
        }
        let damaged = self.findings.errors() > before;
        let span = table.span();
        let DeValue::Table(keys) = table.get_mut() else { return None };
        let kind = keys.remove("kind")?;
        let graces: DeTable<'_> =
            WrittenGraces::KEYS.iter().filter_map(|key| keys.remove_entry(*key)).collect();
        let graces = Spanned::new(span, DeValue::Table(graces));
        let mut typed = Typed { findings: &mut self.findings, expanded: &self.expanded };
        let graces = typed.read::<WrittenGraces>(graces, damaged);
        let kind = match kind.get_ref().as_str()? {
            "embedded" => RegistryKind::Embedded(typed.read(table, damaged)?),
            "file" => RegistryKind::File(typed.read(table, damaged)?),
            "nacos" => RegistryKind::Nacos(typed.read(table, damaged)?),
            _ => return None,
        };
        let graces = graces?.over(kind.default_graces());
        Some(Registry { kind, graces })
    }
}

/// Makes relative paths start at the folder of the file, whatever the process's own folder is.
fn anchor(draft: &mut Draft, base: &Path) {
    let config = &mut draft.config;
    let at = |path: &mut PathBuf| *path = base.join(&*path);
    config.server.state_dir.iter_mut().for_each(at);
    if let LogOutput::File(path) = &mut config.access_log.output {
        at(path);
    }
    for tls in config.listener.values_mut().filter_map(|listener| listener.tls.as_mut()) {
        at(tls.certificate.value_mut());
        at(tls.key.value_mut());
    }
    for registry in config.registry.values_mut() {
        if let RegistryKind::File(file) = &mut registry.kind {
            at(file.path.value_mut());
        }
    }
    for keys in config.jwt.values_mut().filter_map(|jwt| jwt.keys.as_mut()) {
        if let KeySource::File(path) = keys.value_mut() {
            at(path);
        }
    }
    for tls in config.upstream.values_mut().filter_map(|upstream| upstream.tls.as_mut()) {
        tls.ca.iter_mut().for_each(at);
    }
}
