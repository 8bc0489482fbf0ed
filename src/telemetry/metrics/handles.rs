//! Handles by name, each alive as long as someone holds it.
//!
//! Called when a snapshot is built and when the page is. Never on the request path, so a lock will do.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

/// Every live handle of one kind.
pub(super) struct Handles<T>(Mutex<Names<T>>);

struct Names<T> {
    by_name: BTreeMap<Arc<str>, Weak<T>>,
    /// Names of handles long gone are swept at this many, so that a name costs no more than its place.
    sweep_at: usize,
}

// === impl Handles ===

impl<T> Handles<T> {
    /// The live handle of this name, or else a new one.
    ///
    /// A handle that goes takes nothing along: the entry is weak, and only a new handle replaces it, under the lock.
    pub(super) fn resolve(&self, name: &str, new: impl FnOnce(Arc<str>) -> T) -> Arc<T> {
        let mut names = self.0.lock();
        if let Some(live) = names.by_name.get(name).and_then(Weak::upgrade) {
            return live;
        }
        names.sweep();
        let name: Arc<str> = name.into();
        let handle = Arc::new(new(name.clone()));
        names.by_name.insert(name, Arc::downgrade(&handle));
        handle
    }

    /// Every live handle, in the order of their names.
    pub(super) fn live(&self) -> Vec<Arc<T>> {
        self.0.lock().by_name.values().filter_map(Weak::upgrade).collect()
    }
}

impl<T> Default for Handles<T> {
    fn default() -> Self {
        Self(Mutex::new(Names { by_name: BTreeMap::new(), sweep_at: 64 }))
    }
}

// === impl Names ===

impl<T> Names<T> {
    fn sweep(&mut self) {
        if self.by_name.len() >= self.sweep_at {
            self.by_name.retain(|_, handle| handle.strong_count() > 0);
            self.sweep_at = 64.max(2 * self.by_name.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_one_handle_while_it_lives() {
        let handles = Handles::default();
        let first = handles.resolve("a", |_| 1);
        assert!(Arc::ptr_eq(&first, &handles.resolve("a", |_| 2)));
        drop(first);
        assert!(handles.live().is_empty());
        assert_eq!(*handles.resolve("a", |_| 3), 3);
    }

    #[test]
    fn names_of_the_dead_do_not_pile_up() {
        let handles = Handles::default();
        let kept = handles.resolve("kept", |_| 0);
        for name in 0..10_000 {
            handles.resolve(&name.to_string(), |_| name);
        }
        assert!(handles.0.lock().by_name.len() <= 65);
        assert!(Arc::ptr_eq(&kept, &handles.resolve("kept", |_| 1)));
    }
}
