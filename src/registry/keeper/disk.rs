//! The disk copy: what a registry last said of each service, for a start while it is down.
//!
//! Called by the keeper's task on blocking threads. A file that is not exactly what was written is never used.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::registry::Instance;

/// The first word of a file, and the version of what follows.
const SCHEMA: &str = "tollgate-view-1";

const MAX_FILE: u64 = 64 << 20;

/// Where the copies of one registry lie. Files are readable by their owner alone.
#[derive(Clone, Debug)]
pub struct DiskCopy {
    directory: PathBuf,
    registry: Arc<str>,
    fingerprint: Arc<str>,
}

/// A service as an earlier run left it.
#[derive(Debug, PartialEq)]
pub(super) struct Saved {
    pub(super) instances: Vec<Instance>,
    /// How long ago it was written, by the wall clock; zero where that has gone back.
    pub(super) age: Duration,
}

/// Why there is no copy to be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum DiskError {
    #[error("no copy yet")]
    Absent,
    #[error("corrupt: {0}")]
    Corrupt(&'static str),
    /// Of another registry, or of this one under another address.
    #[error("written for another registry or service")]
    Foreign,
    #[error("cut short or altered: its checksum is wrong")]
    HalfWritten,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("written by another version: {0}")]
    Schema(String),
}

/// The body of a file; its first line is the schema and the body's SHA-256.
#[derive(Serialize, Deserialize)]
struct Body {
    registry: String,
    fingerprint: String,
    service: String,
    /// Seconds since 1970.
    written: u64,
    instances: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    address: SocketAddr,
    /// As text: JSON has no NaN, and what a registry says is kept as it came.
    weight: String,
    healthy: bool,
    enabled: bool,
    metadata: BTreeMap<String, String>,
}

// === impl DiskCopy ===

impl DiskCopy {
    /// Copies of the registry `name` in `directory`. `fingerprint` says which registry that name stands for: a copy
    /// with another one is not used.
    pub fn new(directory: impl Into<PathBuf>, name: &str, fingerprint: &str) -> Self {
        Self { directory: directory.into(), registry: name.into(), fingerprint: fingerprint.into() }
    }

    pub(super) fn load(&self, service: &str) -> Result<Saved, DiskError> {
        let body = self.read(&self.path(service))?;
        let foreign = body.registry != *self.registry
            || body.fingerprint != *self.fingerprint
            || body.service != service;
        if foreign {
            return Err(DiskError::Foreign);
        }
        let instances = body.instances.into_iter().map(Entry::into_instance).collect::<Option<_>>();
        let age = wall_seconds().saturating_sub(body.written);
        Ok(Saved {
            instances: instances.ok_or(DiskError::Corrupt("a weight is no number"))?,
            age: Duration::from_secs(age),
        })
    }

    /// Writes a copy beside the old one and then puts it in its place, so that there is one whole file at any moment.
    pub(super) fn save(&self, service: &str, instances: &[Instance]) -> io::Result<()> {
        let body = serde_json::to_vec(&Body {
            registry: self.registry.as_ref().into(),
            fingerprint: self.fingerprint.as_ref().into(),
            service: service.into(),
            written: wall_seconds(),
            instances: instances.iter().map(Entry::new).collect(),
        })?;
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let path = self.path(service);
        // Two processes share the directory while one takes over from the other.
        let beside = path.with_extension(format!("{}.tmp", std::process::id()));
        let written = write_whole(&beside, &body).and_then(|()| fs::rename(&beside, &path));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written?;
        File::open(&self.directory)?.sync_all()
    }

    fn read(&self, path: &Path) -> Result<Body, DiskError> {
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => DiskError::Absent,
            _ => DiskError::Io(error),
        })?;
        let mut bytes = Vec::new();
        file.take(MAX_FILE).read_to_end(&mut bytes)?;
        let end = bytes.iter().position(|b| *b == b'\n').ok_or(DiskError::Corrupt("no header"))?;
        let (header, body) = bytes.split_at(end);
        let body = body.get(1..).unwrap_or_default();
        let header = std::str::from_utf8(header).map_err(|_| DiskError::Corrupt("no header"))?;
        let (schema, checksum) = header.split_once(' ').ok_or(DiskError::Corrupt("no header"))?;
        if schema != SCHEMA {
            return Err(match schema.strip_prefix("tollgate-view-") {
                Some(version) => DiskError::Schema(version.chars().take(16).collect()),
                None => DiskError::Corrupt("no file of ours"),
            });
        }
        if checksum != hex(&Sha256::digest(body)) {
            return Err(DiskError::HalfWritten);
        }
        serde_json::from_slice(body).map_err(|_| DiskError::Corrupt("its body is not a view"))
    }

    /// Names are the registry's to choose, so the file is called by their hash, after what is harmless of them.
    pub(super) fn path(&self, service: &str) -> PathBuf {
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        let readable: String = service.chars().filter(plain).take(60).collect();
        let mut hash = Sha256::new();
        hash.update(self.registry.as_bytes());
        hash.update([0]);
        hash.update(service.as_bytes());
        let hash: String = hex(&hash.finalize()).chars().take(32).collect();
        self.directory.join(format!("{readable}-{hash}.view"))
    }
}

// === impl Entry ===

impl Entry {
    fn new(instance: &Instance) -> Self {
        Self {
            address: instance.address,
            weight: instance.weight.to_string(),
            healthy: instance.healthy,
            enabled: instance.enabled,
            metadata: instance.metadata.clone(),
        }
    }

    fn into_instance(self) -> Option<Instance> {
        Some(Instance {
            address: self.address,
            weight: self.weight.parse().ok()?,
            healthy: self.healthy,
            enabled: self.enabled,
            metadata: self.metadata,
        })
    }
}

/// The SHA-256 of a text in hexadecimal, as a registry's fingerprint.
pub(in crate::registry) fn fingerprint(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn write_whole(path: &Path, body: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    writeln!(file, "{SCHEMA} {}", hex(&Sha256::digest(body)))?;
    file.write_all(body)?;
    file.sync_all()
}

fn wall_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
