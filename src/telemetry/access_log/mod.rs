//! The access log: one JSON line for each request, written by a thread of its own.
//!
//! Called by `gateway` when a request has ended. It never waits: a line that finds the queue full is dropped and
//! counted, and in the steady state no line allocates.

mod record;
mod timestamp;
mod writer;

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use crossbeam_queue::ArrayQueue;
use parking_lot::{Condvar, Mutex};

use super::metrics::{Page, names};
pub use record::Record;
use writer::Writer;

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Appended to; made with mode 0640 where it is missing.
    File(PathBuf),
    Stdout,
}

/// An access log that is being written.
pub struct AccessLog {
    queue: Arc<Queue>,
    writer: Thread,
}

/// Lines that were lost so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Because the output is slower than the requests.
    pub queue_full: u64,
    pub write_failed: u64,
}

/// What requests and the writer share.
struct Queue {
    lines: ArrayQueue<Vec<u8>>,
    /// Buffers of lines that were written.
    spare: ArrayQueue<Vec<u8>>,
    overflowed: AtomicU64,
    write_failed: AtomicU64,
    closing: AtomicBool,
    ended: Mutex<bool>,
    end: Condvar,
}

/// How many lines may wait for the writer: more than 80,000 a second fit between two of its looks.
const CAPACITY: usize = 4096;

/// A buffer that one long line has made larger than this is not kept.
const KEPT_BUFFER: usize = 4096;

/// How long a log that is dropped without having been closed waits for its writer.
const DROP_WAIT: Duration = Duration::from_millis(500);

// === impl AccessLog ===

impl AccessLog {
    /// Opens the output and starts the writer.
    ///
    /// # Errors
    /// The file cannot be opened, or the thread cannot be started.
    pub fn start(output: &Output) -> io::Result<Self> {
        match output {
            Output::File(path) => {
                let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
                Self::start_with(file.map_err(|error| {
                    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
                })?)
            }
            // A duplicate, since the standard library's own handle buffers by line under a lock.
            Output::Stdout => {
                Self::start_with(File::from(io::stdout().as_fd().try_clone_to_owned()?))
            }
        }
    }

    /// Logs a request. Never waits.
    pub fn write(&self, record: &Record<'_>) {
        // Looked at first, so that an output that is stuck costs nothing more.
        if self.queue.lines.is_full() || self.queue.is_closing() {
            self.queue.overflowed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut line = self.queue.spare.pop().unwrap_or_default();
        record.write(&mut line);
        if let Err(line) = self.queue.lines.push(line) {
            self.queue.overflowed.fetch_add(1, Ordering::Relaxed);
            self.queue.give_back(line);
        }
        // The writer looks by itself in time, but for a burst.
        if self.queue.lines.len() > CAPACITY / 2 {
            self.writer.unpark();
        }
    }

    /// Lines that were lost so far.
    pub fn dropped(&self) -> Dropped {
        self.queue.dropped()
    }

    /// Puts the lines that were lost on a page of metrics.
    pub fn collect(&self, page: &mut Page) {
        let Dropped { queue_full, write_failed } = self.dropped();
        page.counter(&names::ACCESS_LOG_DROPPED)
            .sample(&[("reason", "queue_full")], queue_full)
            .sample(&[("reason", "write_failed")], write_failed);
    }

    /// Stops taking lines, and waits until those that are queued are written, but no longer than `within`.
    ///
    /// False if lines are left: the output is stuck.
    pub fn close(&self, within: Duration) -> bool {
        self.queue.closing.store(true, Ordering::Release);
        self.writer.unpark();
        let mut ended = self.queue.ended.lock();
        self.queue.end.wait_while_for(&mut ended, |ended| !*ended, within);
        *ended
    }

    fn start_with(out: impl Write + Send + 'static) -> io::Result<Self> {
        let queue = Arc::new(Queue {
            lines: ArrayQueue::new(CAPACITY),
            spare: ArrayQueue::new(CAPACITY),
            overflowed: AtomicU64::new(0),
            write_failed: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            ended: Mutex::new(false),
            end: Condvar::new(),
        });
        let shared = queue.clone();
        let writer = thread::Builder::new().name("access-log".into()).spawn(move || {
            Writer::new(shared.clone(), out).run();
            *shared.ended.lock() = true;
            shared.end.notify_all();
        })?;
        Ok(Self { queue, writer: writer.thread().clone() })
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.close(DROP_WAIT);
    }
}

// === impl Queue ===

impl Queue {
    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn dropped(&self) -> Dropped {
        Dropped {
            queue_full: self.overflowed.load(Ordering::Relaxed),
            write_failed: self.write_failed.load(Ordering::Relaxed),
        }
    }

    fn give_back(&self, mut line: Vec<u8>) {
        if line.capacity() <= KEPT_BUFFER {
            line.clear();
            let _ = self.spare.push(line);
        }
    }
}

#[cfg(test)]
mod tests;
