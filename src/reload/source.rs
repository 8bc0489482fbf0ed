//! Where configs come from: a file that is watched, or a text that was made.

use std::{
    ops::Range,
    panic::resume_unwind,
    path::{Path, PathBuf},
    thread,
};

use super::{AsideError, ContentHash};
use crate::config::{self, Config, Diagnostics};

/// Gives the same config again until its file changes.
pub struct Source {
    origin: Origin,
    amend: Option<Box<Amend>>,
}

enum Origin {
    File(PathBuf),
    Text { name: String, text: String },
}

type Amend = dyn Fn(&mut Config) + Send + Sync;

/// A config that was read and checked.
pub struct Loaded {
    pub config: Config,
    pub warnings: Diagnostics,
    pub hash: ContentHash,
    name: String,
    text: String,
}

// === impl Source ===

impl Source {
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { origin: Origin::File(path.into()), amend: None }
    }

    /// A config that stands in no file; `name` is what diagnostics call it.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { origin: Origin::Text { name: name.into(), text: text.into() }, amend: None }
    }

    /// Changes every config that is read, after it was checked: `demo` puts its ports and its key in so.
    #[must_use]
    pub fn amended(self, amend: impl Fn(&mut Config) + Send + Sync + 'static) -> Self {
        Self { amend: Some(Box::new(amend)), ..self }
    }

    /// The file to watch, where there is one.
    pub fn path(&self) -> Option<&Path> {
        match &self.origin {
            Origin::File(path) => Some(path),
            Origin::Text { .. } => None,
        }
    }

    /// The refusal of a config that could not even be looked at.
    pub(super) fn refuse(&self, error: &AsideError) -> Diagnostics {
        let name = match &self.origin {
            Origin::File(path) => &path.display().to_string(),
            Origin::Text { name, .. } => name,
        };
        Diagnostics::refusal(name, "", "internal", error.to_string(), None)
    }

    /// Reads and checks; all that is wrong is said at once.
    ///
    /// On a thread that ends with it: reading leaves many times the file's size behind, and goes with its thread.
    pub fn load(&self) -> Result<Loaded, Diagnostics> {
        thread::scope(|scope| match scope.spawn(|| self.read()).join() {
            Ok(read) => read,
            Err(panic) => resume_unwind(panic),
        })
    }

    fn read(&self) -> Result<Loaded, Diagnostics> {
        let (name, text, checked) = match &self.origin {
            Origin::File(path) => {
                let loaded = config::load(path)?;
                (
                    path.display().to_string(),
                    loaded.text,
                    config::Checked { config: loaded.config, warnings: loaded.warnings },
                )
            }
            Origin::Text { name, text } => {
                let env = |variable: &str| std::env::var(variable).ok();
                (name.clone(), text.clone(), config::parse(name, text, Path::new(""), &env)?)
            }
        };
        let mut config = checked.config;
        if let Some(amend) = &self.amend {
            amend(&mut config);
        }
        Ok(Loaded {
            config,
            warnings: checked.warnings,
            hash: ContentHash::of(text.as_bytes()),
            name,
            text,
        })
    }
}

// === impl Loaded ===

impl Loaded {
    /// Nothing is written in it. A start may do without routes; a running gateway does not give them up for that.
    pub(super) fn is_empty(&self) -> bool {
        self.text.trim().is_empty()
    }

    /// What is wrong with a config that reads well and still cannot run.
    pub fn refuse(
        &self,
        code: &'static str,
        message: String,
        span: Option<Range<usize>>,
    ) -> Diagnostics {
        Diagnostics::refusal(&self.name, &self.text, code, message, span)
    }
}
