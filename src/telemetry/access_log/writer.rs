//! The thread that writes access-log lines.
//!
//! Started by the access log, and ended by it. It alone waits for the output; it gathers what came in meanwhile and
//! writes it at once.

use std::{
    io::{self, Write},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use super::{Queue, timestamp};
use crate::telemetry::json::{self, Object};

/// How long a line may wait for others to be written with it.
const GATHER: Duration = Duration::from_millis(50);

/// How long the thread rests when a non-blocking output takes no more.
const REST: Duration = Duration::from_millis(10);

/// About how many bytes are written at once.
const BATCH: usize = 64 * 1024;

/// A failing output is complained about this often.
const COMPLAINT: Duration = Duration::from_secs(60);

/// What the thread works with.
pub(super) struct Writer<W> {
    queue: Arc<Queue>,
    out: W,
    batch: Vec<u8>,
    /// The last write failed in the middle of a line.
    torn: bool,
    reported_drops: u64,
    complained: Option<Instant>,
}

// === impl Writer ===

impl<W: Write> Writer<W> {
    pub(super) fn new(queue: Arc<Queue>, out: W) -> Self {
        let batch = Vec::with_capacity(BATCH);
        Self { queue, out, batch, torn: false, reported_drops: 0, complained: None }
    }

    /// Writes lines until the log is closed and none is left.
    pub(super) fn run(mut self) {
        loop {
            // Read before the queue is emptied: what was pushed before the close is then found below.
            let closing = self.queue.is_closing();
            self.write_all_queued();
            if closing {
                return;
            }
            thread::park_timeout(GATHER);
        }
    }

    fn write_all_queued(&mut self) {
        loop {
            self.gather();
            if self.batch.is_empty() {
                return;
            }
            if let Err((lost, error)) = self.write_batch() {
                self.queue.write_failed.fetch_add(lost, Relaxed);
                self.complain(&error, Instant::now());
            }
            self.batch.clear();
        }
    }

    /// Moves queued lines into the batch, and their buffers back to where the next lines are written.
    fn gather(&mut self) {
        let drops = self.queue.overflowed.load(Relaxed);
        if drops > self.reported_drops {
            let lost = drops - self.reported_drops;
            self.reported_drops = drops;
            report_drops(&mut self.batch, lost);
        }
        while self.batch.len() < BATCH
            && let Some(line) = self.queue.lines.pop()
        {
            self.batch.extend_from_slice(&line);
            self.queue.give_back(line);
        }
    }

    /// Writes the batch. An error comes with the number of lines that were lost.
    fn write_batch(&mut self) -> Result<(), (u64, io::Error)> {
        if self.torn {
            self.batch.insert(0, b'\n');
        }
        let mut rest = &self.batch[..];
        let result = loop {
            if rest.is_empty() {
                break Ok(());
            }
            match self.out.write(rest) {
                Ok(0) => break Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    thread::park_timeout(REST)
                }
                Err(error) => break Err(error),
            }
        };
        let written = self.batch.len() - rest.len();
        if let Some(last) = written.checked_sub(1) {
            self.torn = self.batch.get(last) != Some(&b'\n');
        }
        let lost = rest.iter().filter(|byte| **byte == b'\n').count();
        result.map_err(|error| (lost as u64, error))
    }

    fn complain(&mut self, error: &io::Error, now: Instant) {
        if self.complained.is_none_or(|last| now - last >= COMPLAINT) {
            self.complained = Some(now);
            tracing::error!(%error, "Access-log lines are lost");
        }
    }
}

/// A line that says in the log itself how many are missing here.
fn report_drops(batch: &mut Vec<u8>, lost: u64) {
    let mut object = Object::open(batch);
    object.raw("timestamp", |out| {
        json::quoted(out, |out| timestamp::write(out, std::time::SystemTime::now()));
    });
    object.number("tollgate.dropped", lost);
    object.close();
    batch.push(b'\n');
}
