use std::{
    os::unix::fs::PermissionsExt,
    sync::{Barrier, mpsc},
    time::Instant,
};

use super::{record::tests::refused, *};

const LONG: Duration = Duration::from_secs(10);

/// Takes what is written, a chunk at a time, as a scripted output.
struct Script<F>(F);

impl<F: FnMut(&[u8]) -> io::Result<usize>> Write for Script<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (self.0)(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log_to(
    mut write: impl FnMut(&[u8]) -> io::Result<usize> + Send + 'static,
) -> (AccessLog, Arc<Mutex<Vec<u8>>>) {
    let written = Arc::new(Mutex::new(Vec::new()));
    let copy = written.clone();
    let log = AccessLog::start_with(Script(move |bytes: &[u8]| {
        let count = write(bytes)?;
        copy.lock().extend_from_slice(&bytes[..count]);
        Ok(count)
    }));
    (log.unwrap(), written)
}

fn numbered(number: u32) -> Record<'static> {
    Record { attempts: number, ..refused() }
}

/// The numbers of the lines, all of which must be whole.
fn numbers(written: &Mutex<Vec<u8>>) -> Vec<u64> {
    let written = String::from_utf8(written.lock().clone()).unwrap();
    let lines =
        written.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter_map(|line| line["tollgate.attempts"].as_u64()).collect()
}

#[test]
fn every_line_is_written_in_order_before_close_returns() {
    let (log, written) = log_to(|bytes| Ok(bytes.len().min(1000)));
    (0..2000).for_each(|number| log.write(&numbered(number)));
    assert!(log.close(LONG));
    assert_eq!(numbers(&written), (0..2000).collect::<Vec<_>>());
    assert_eq!(log.dropped(), Dropped { queue_full: 0, write_failed: 0 });
}

#[test]
fn a_line_is_written_soon_without_a_close() {
    let (sender, receiver) = mpsc::channel();
    let (log, _) = log_to(move |bytes| {
        sender.send(Instant::now()).unwrap();
        Ok(bytes.len())
    });
    let begun = Instant::now();
    log.write(&refused());
    let written = receiver.recv_timeout(LONG).unwrap();
    // The bound is 50 ms; the rest is for a machine that is busy with other tests.
    assert!(written - begun < Duration::from_secs(2), "{:?}", written - begun);
}

#[test]
fn a_stuck_output_drops_and_counts_and_never_waits() {
    let (stuck, free) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (at_stuck, at_free) = (stuck.clone(), free.clone());
    let mut first = true;
    let (log, written) = log_to(move |bytes| {
        if std::mem::take(&mut first) {
            at_stuck.wait();
            at_free.wait();
        }
        Ok(bytes.len())
    });
    log.write(&numbered(0));
    stuck.wait();
    (1..=5000).for_each(|number| log.write(&numbered(number)));
    let lost = 5000 - CAPACITY as u64;
    assert_eq!(log.dropped(), Dropped { queue_full: lost, write_failed: 0 });
    assert!(!log.close(Duration::from_millis(1)), "the output is stuck");
    free.wait();
    assert!(log.close(LONG));
    assert_eq!(numbers(&written), (0..=CAPACITY as u64).collect::<Vec<_>>());
    let text = String::from_utf8(written.lock().clone()).unwrap();
    assert!(text.contains(&format!("\"tollgate.dropped\":{lost}}}")), "the log says so itself");
}

#[test]
fn a_failed_write_is_counted_and_tears_no_later_line() {
    let mut calls = 0;
    let (sender, receiver) = mpsc::channel();
    let (log, written) = log_to(move |bytes| {
        calls += 1;
        sender.send(calls).unwrap();
        match calls {
            1 => Ok(7),
            2 => Err(io::ErrorKind::StorageFull.into()),
            3 => Err(io::ErrorKind::WouldBlock.into()),
            4 => Err(io::ErrorKind::Interrupted.into()),
            _ => Ok(bytes.len()),
        }
    });
    log.write(&numbered(1));
    while receiver.recv_timeout(LONG).unwrap() < 2 {}
    log.write(&numbered(2));
    assert!(log.close(LONG));
    let mut page = Page::default();
    log.collect(&mut page);
    let page = page.render().unwrap();
    assert!(page.contains("{reason=\"write_failed\"} 1\n"), "{page}");
    assert!(page.contains("{reason=\"queue_full\"} 0\n"), "{page}");
    let text = String::from_utf8(written.lock().clone()).unwrap();
    let (torn, whole) = text.split_once('\n').unwrap();
    assert_eq!(torn, r#"{"times"#);
    assert!(whole.starts_with(r#"{"timestamp""#) && whole.ends_with("}\n"), "{whole}");
}

#[test]
fn buffers_come_back_and_large_ones_do_not() {
    let (log, _) = log_to(|bytes| Ok(bytes.len()));
    log.write(&refused());
    let long = [b'"'; 4000];
    log.write(&Record { path: &long, user_agent: Some(&long), ..refused() });
    let queue = log.queue.clone();
    assert!(log.close(LONG));
    assert_eq!(queue.spare.len(), 1);
    assert!(queue.spare.pop().unwrap().is_empty());
}

#[test]
fn a_closed_log_drops_what_comes_late() {
    let (log, written) = log_to(|bytes| Ok(bytes.len()));
    assert!(log.close(LONG));
    log.write(&refused());
    assert_eq!(log.dropped().queue_full, 1);
    assert!(written.lock().is_empty());
}

#[test]
fn a_file_is_appended_to_and_not_open_to_others() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("access.log");
    for _ in 0..2 {
        let log = AccessLog::start(&Output::File(path.clone())).unwrap();
        log.write(&refused());
        assert!(log.close(LONG));
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0);
}

#[test]
fn a_file_that_cannot_be_opened_is_named_in_the_error() {
    let error = AccessLog::start(&Output::File("/nowhere/access.log".into())).err().unwrap();
    assert!(error.to_string().starts_with("/nowhere/access.log: "), "{error}");
}
