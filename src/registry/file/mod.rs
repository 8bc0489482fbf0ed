//! Instances in a JSON or TOML file that something else writes.
//!
//! Run by a keeper. What cannot be read or understood is an error and never an empty list.

mod content;
#[cfg(test)]
mod tests;

use std::{
    fs::File as OpenFile,
    io::Read,
    os::unix::fs::MetadataExt,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::{Registry, RegistryError, Session, View};
use crate::config::FileRegistry;
use content::{Content, Format};

/// A larger file is no list of instances.
const MAX_FILE: u64 = 32 << 20;

/// Looks after a change that read the file again whatever its stamp says: a second write within the clock's
/// resolution leaves the stamp as it was.
const DISTRUST: u32 = 2;

/// The `file` kind.
pub(super) struct File {
    path: Arc<Path>,
    poll: Duration,
}

/// What a file's inode says of its content. Follows symbolic links, as a ConfigMap is swapped by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

/// What was read last, and how far its stamp is to be trusted.
struct Seen {
    stamp: Stamp,
    hash: [u8; 32],
    content: Content,
    distrust: u32,
}

// === impl File ===

impl File {
    pub(super) fn new(config: &FileRegistry) -> Self {
        Self { path: config.path.as_path().into(), poll: config.poll.0 }
    }

    /// Reads the file, unless its stamp shows that it is as `seen` was. The flag says whether it is another content.
    async fn look(&self, seen: Option<Seen>) -> Result<(Seen, bool), RegistryError> {
        let path = self.path.clone();
        let look = tokio::task::spawn_blocking(move || look(&path, seen));
        look.await.map_err(|_| RegistryError::Unavailable("the file cannot be read".into()))?
    }
}

#[async_trait]
impl Registry for File {
    async fn session(&self, mut session: Session) -> RegistryError {
        let mut wanted = session.services();
        let mut seen = match self.look(None).await {
            Ok((seen, _)) => seen,
            Err(error) => return error,
        };
        session.live().await;
        seen.content.warn(&self.path);
        publish(&session, &seen.content, wanted.iter()).await;
        loop {
            tokio::select! {
                () = session.services_changed() => {
                    let before = std::mem::replace(&mut wanted, session.services());
                    publish(&session, &seen.content, wanted.difference(&before)).await;
                }
                () = tokio::time::sleep(self.poll) => {
                    let (now, changed) = match self.look(Some(seen)).await {
                        Ok(looked) => looked,
                        Err(error) => return error,
                    };
                    seen = now;
                    if changed {
                        seen.content.warn(&self.path);
                        publish(&session, &seen.content, wanted.iter()).await;
                    }
                }
            }
        }
    }

    async fn list(&self, service: &str) -> Result<View, RegistryError> {
        let (seen, _) = self.look(None).await?;
        seen.content.view(service).ok_or_else(|| malformed(&self.path, service))
    }

    /// Whoever mends the file should not have to wait for us.
    fn longest_wait(&self) -> Option<Duration> {
        Some(self.poll)
    }
}

async fn publish<'a>(
    session: &Session,
    content: &Content,
    services: impl Iterator<Item = &'a Arc<str>>,
) {
    for service in services {
        // A service whose entry is no list stays as it was; a read of it says so.
        if let Some(view) = content.view(service) {
            session.publish(service.clone(), view).await;
        }
    }
}

fn malformed(path: &Path, service: &str) -> RegistryError {
    RegistryError::Protocol(format!("{}: `{service}` is no list of instances", path.display()))
}

fn look(path: &Path, seen: Option<Seen>) -> Result<(Seen, bool), RegistryError> {
    let unreadable = |error| RegistryError::Unavailable(format!("{}: {error}", path.display()));
    let file = OpenFile::open(path).map_err(unreadable)?;
    let stamp = Stamp::of(&file).map_err(unreadable)?;
    let seen = match seen {
        Some(seen) if seen.stamp == stamp && seen.distrust == 0 => return Ok((seen, false)),
        seen => seen,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_FILE {
        let text = format!("{}: larger than {MAX_FILE} bytes", path.display());
        return Err(RegistryError::Protocol(text));
    }
    let hash = Sha256::digest(&bytes).into();
    match seen {
        Some(seen) if seen.hash == hash => {
            let distrust =
                if seen.stamp == stamp { seen.distrust.saturating_sub(1) } else { DISTRUST };
            Ok((Seen { stamp, distrust, ..seen }, false))
        }
        _ => {
            let content = Content::parse(&bytes, Format::of(path))
                .map_err(|error| RegistryError::Protocol(format!("{}: {error}", path.display())))?;
            Ok((Seen { stamp, hash, content, distrust: DISTRUST }, true))
        }
    }
}

// === impl Stamp ===

impl Stamp {
    fn of(file: &OpenFile) -> std::io::Result<Self> {
        let metadata = file.metadata()?;
        let modified = metadata.modified().ok();
        Ok(Self { modified, length: metadata.len(), inode: metadata.ino() })
    }
}
