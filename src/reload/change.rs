//! What is different between two configs, for the log line of a reload.

use std::{collections::BTreeMap, fmt};

use crate::config::{Config, Route};

/// The names that came, went and were edited, by table.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    pub added: Vec<String>,
    pub changed: Vec<String>,
    pub removed: Vec<String>,
}

impl Change {
    /// Compares what runs with what is to run.
    pub fn between<'c>(before: &'c Config, after: &'c Config) -> Self {
        let mut change = Self::default();
        change.table("route", &routes(before), &routes(after));
        change.table("upstream", &named(&before.upstream), &named(&after.upstream));
        change.table("registry", &named(&before.registry), &named(&after.registry));
        change.table("jwt", &named(&before.jwt), &named(&after.jwt));
        let order = |config: &'c Config| config.route.iter().map(|route| route.name.as_str());
        if change.is_empty() && !order(before).eq(order(after)) {
            change.changed.push("order of routes".into());
        }
        if before.server != after.server || before.admin != after.admin {
            change.changed.push("server".into());
        }
        change
    }

    fn table<T: PartialEq>(
        &mut self,
        what: &str,
        before: &BTreeMap<&str, &T>,
        after: &BTreeMap<&str, &T>,
    ) {
        for (name, value) in after {
            match before.get(name) {
                None => self.added.push(format!("{what} {name}")),
                Some(was) if was != value => self.changed.push(format!("{what} {name}")),
                Some(_) => {}
            }
        }
        let gone = before.keys().filter(|name| !after.contains_key(**name));
        self.removed.extend(gone.map(|name| format!("{what} {name}")));
    }

    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

fn routes(config: &Config) -> BTreeMap<&str, &Route> {
    config.route.iter().map(|route| (route.name.as_str(), route)).collect()
}

fn named<T>(table: &BTreeMap<String, T>) -> BTreeMap<&str, &T> {
    table.iter().map(|(name, value)| (name.as_str(), value)).collect()
}

impl fmt::Display for Change {
    /// `+ added, ~ changed, - removed`, at most a handful of each: a log line is no listing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        if self.is_empty() {
            return f.write_str("nothing but its text");
        }
        let mut separator = "";
        for (sign, names) in [("+", &self.added), ("~", &self.changed), ("-", &self.removed)] {
            for name in names.iter().take(SHOWN) {
                write!(f, "{separator}{sign} {name}")?;
                separator = ", ";
            }
            if let Some(more) = names.len().checked_sub(SHOWN).filter(|more| *more > 0) {
                write!(f, " and {more} more")?;
            }
        }
        Ok(())
    }
}
