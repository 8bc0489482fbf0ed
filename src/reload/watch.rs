//! Notices that the config file has other content.
//!
//! Its folder is watched, since editors, renames and Kubernetes' ConfigMap symlinks all put a new file in the old one's
//! place; and it is looked at every two seconds whatever the watch said, since mounts exist that tell nothing.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use tokio::{sync::mpsc, time::timeout};

const POLL: Duration = Duration::from_secs(2);
/// A file that is written in place is half there for a moment: its content counts once it has stood this long.
const SETTLE: Duration = Duration::from_millis(100);

/// What a file contains, told apart by its hash.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).into())
    }

    /// The first digits, enough to tell versions apart in a log.
    pub fn short(&self) -> String {
        self.0.iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Waits for changes of one file.
pub struct Watch {
    path: PathBuf,
    seen: Option<ContentHash>,
    events: mpsc::Receiver<()>,
    // Watches for as long as it lives. None where the system offers no watch: the poll is enough then.
    _watcher: Option<RecommendedWatcher>,
}

impl Watch {
    /// Begins to watch; `seen` is the content that is known already.
    pub fn start(path: &Path, seen: ContentHash) -> Self {
        let (sender, events) = mpsc::channel(1);
        let watcher = watch_folder(path, sender);
        if let Err(error) = &watcher {
            tracing::info!(%error, "The config file's folder cannot be watched; it is polled instead");
        }
        Self { path: path.into(), seen: Some(seen), events, _watcher: watcher.ok() }
    }

    /// Returns when the file has content that was not seen before and that has settled.
    pub async fn changed(&mut self) {
        loop {
            // A closed channel must not turn the wait into a busy loop.
            if let Ok(None) = timeout(POLL, self.events.recv()).await {
                tokio::time::sleep(POLL).await;
            }
            if let Some(now) = self.settled().await
                && self.seen.replace(now) != Some(now)
            {
                return;
            }
        }
    }

    /// The content's hash, when two looks in a row agree. A file that is not there for a moment is no change.
    async fn settled(&self) -> Option<ContentHash> {
        let first = self.look().await?;
        if self.seen == Some(first) {
            return Some(first);
        }
        tokio::time::sleep(SETTLE).await;
        self.look().await.filter(|second| *second == first)
    }

    async fn look(&self) -> Option<ContentHash> {
        tokio::fs::read(&self.path).await.ok().map(|content| ContentHash::of(&content))
    }
}

fn watch_folder(path: &Path, sender: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Our own reading is an event too, and must not wake us to read again.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            // A full channel already says that something happened.
            let _ = sender.try_send(());
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    async fn notices(change: impl FnOnce(&Path)) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes.toml");
        fs::write(&path, "old").unwrap();
        let mut watch = Watch::start(&path, ContentHash::of(b"old"));
        change(&path);
        timeout(Duration::from_secs(5), watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn every_way_of_writing_a_file_is_noticed() {
        assert!(notices(|path| fs::write(path, "new").unwrap()).await, "written in place");
        let renamed = |path: &Path| {
            fs::write(path.with_extension("tmp"), "new").unwrap();
            fs::rename(path.with_extension("tmp"), path).unwrap();
        };
        assert!(notices(renamed).await, "renamed into place");
        let replaced = |path: &Path| {
            fs::remove_file(path).unwrap();
            fs::write(path, "new").unwrap();
        };
        assert!(notices(replaced).await, "removed and written anew");
    }

    #[tokio::test]
    async fn a_swapped_symlink_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        for version in ["one", "two"] {
            fs::create_dir(folder.path().join(version)).unwrap();
            fs::write(folder.path().join(version).join("routes.toml"), version).unwrap();
        }
        let data = folder.path().join("..data");
        symlink("one", &data).unwrap();
        let path = folder.path().join("routes.toml");
        symlink("..data/routes.toml", &path).unwrap();
        let mut watch = Watch::start(&path, ContentHash::of(b"one"));
        symlink("two", folder.path().join("..data_tmp")).unwrap();
        fs::rename(folder.path().join("..data_tmp"), &data).unwrap();
        assert!(timeout(Duration::from_secs(5), watch.changed()).await.is_ok());
    }

    #[tokio::test]
    async fn the_same_content_again_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes.toml");
        fs::write(&path, "old").unwrap();
        let mut watch = Watch::start(&path, ContentHash::of(b"old"));
        fs::write(&path, "old").unwrap();
        assert!(timeout(Duration::from_millis(500), watch.changed()).await.is_err());
    }
}
