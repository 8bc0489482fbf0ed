//! An open-loop load generator: requests leave at times drawn beforehand, whatever the answers do.
//!
//! Latency is counted from the time at which a request was due and not from when it was sent, so a server that
//! stalls pays for every request that fell into the stall (no coordinated omission). Each connection has a thread and
//! a Poisson schedule of its own, the same in every run. HTTP/1.1 with keep-alive; only `std`, so that
//! `rustc -O pace.rs` builds it anywhere.
//!
//! `pace ADDRESS RATE SECONDS WARM_SECONDS CONNECTIONS REQUESTS_FILE`: the file holds whole request heads one after
//! the other, without bodies; they are sent in turn. Prints one line of JSON; latencies are microseconds.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// An answer that takes longer counts as failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// What to send, how fast, and where.
struct Plan {
    address: SocketAddr,
    /// Requests a second of one connection.
    rate: f64,
    start: Instant,
    warm: Duration,
    end: Duration,
    connections: usize,
    requests: Vec<Vec<u8>>,
}

/// What one connection saw after its warm-up.
#[derive(Default)]
struct Seen {
    micros: Vec<u32>,
    /// No answer, or one that is not 200, after a second attempt where the first met a connection just closed.
    failed: u64,
    /// Sent again because a kept connection turned out to be closed.
    resent: u64,
}

fn main() -> ExitCode {
    match run(&env::args().skip(1).collect::<Vec<_>>()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("pace: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<String, Box<dyn std::error::Error>> {
    let [address, rate, seconds, warm, connections, file] = arguments else {
        return Err(
            "usage: pace ADDRESS RATE SECONDS WARM_SECONDS CONNECTIONS REQUESTS_FILE".into()
        );
    };
    let connections: usize = connections.parse()?;
    let warm = Duration::from_secs_f64(warm.parse()?);
    let plan = Arc::new(Plan {
        address: address.parse()?,
        rate: rate.parse::<f64>()? / connections as f64,
        start: Instant::now() + Duration::from_millis(50),
        warm,
        end: warm + Duration::from_secs_f64(seconds.parse()?),
        connections,
        requests: split(&fs::read(file)?)?,
    });
    let threads: Vec<_> = (0..connections)
        .map(|number| {
            let plan = Arc::clone(&plan);
            thread::spawn(move || drive(&plan, number))
        })
        .collect();
    let mut all = Seen::default();
    for thread in threads {
        let seen = thread.join().map_err(|_| "a connection's thread panicked")?;
        all.micros.extend(seen.micros);
        all.failed += seen.failed;
        all.resent += seen.resent;
    }
    Ok(summary(all))
}

/// The heads of a file, each with the empty line that ends it.
fn split(text: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let heads: Vec<Vec<u8>> = String::from_utf8_lossy(text)
        .split_inclusive("\r\n\r\n")
        .map(|head| head.as_bytes().to_vec())
        .filter(|head| head.ends_with(b"\r\n\r\n"))
        .collect();
    if heads.is_empty() { Err("no request in the file".into()) } else { Ok(heads) }
}

/// One connection from beginning to end.
fn drive(plan: &Plan, number: usize) -> Seen {
    let mut seen = Seen::default();
    let mut connection = None;
    let mut chance = 0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(number as u64 + 1);
    let mut due = Duration::ZERO;
    for turn in 0.. {
        due += Duration::from_secs_f64(gap(&mut chance) / plan.rate);
        if due >= plan.end {
            break;
        }
        if let Some(wait) = (plan.start + due).checked_duration_since(Instant::now()) {
            thread::sleep(wait);
        }
        let request = &plan.requests[(turn * plan.connections + number) % plan.requests.len()];
        let (answered, resent) = call(plan, &mut connection, request);
        if due >= plan.warm {
            seen.resent += u64::from(resent);
            if answered {
                let micros = (plan.start + due).elapsed().as_micros();
                seen.micros.push(u32::try_from(micros).unwrap_or(u32::MAX));
            } else {
                seen.failed += 1;
            }
        }
    }
    seen
}

/// The next gap of a Poisson process of rate one (xorshift, then the inverse of the exponential distribution).
fn gap(chance: &mut u64) -> f64 {
    *chance ^= *chance << 13;
    *chance ^= *chance >> 7;
    *chance ^= *chance << 17;
    let uniform = ((*chance >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
    -uniform.ln()
}

/// One request: whether 200 came back, and whether it took a second attempt. A server may close a kept connection at
/// any time, so a request that got not one byte back on such a connection is sent once more, as browsers do.
fn call(
    plan: &Plan,
    connection: &mut Option<BufReader<TcpStream>>,
    request: &[u8],
) -> (bool, bool) {
    let kept = connection.is_some();
    match exchange(plan, connection, request) {
        Ok(status) => (status == 200, false),
        Err(error) => {
            *connection = None;
            if !(kept && closed(&error)) {
                return (false, false);
            }
            let second = exchange(plan, connection, request);
            if second.is_err() {
                *connection = None;
            }
            (second.is_ok_and(|status| status == 200), true)
        }
    }
}

fn closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected)
}

/// Sends a request and reads all of its answer; the connection is made or dropped as needed.
fn exchange(
    plan: &Plan,
    connection: &mut Option<BufReader<TcpStream>>,
    request: &[u8],
) -> io::Result<u16> {
    if connection.is_none() {
        let stream = TcpStream::connect_timeout(&plan.address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        *connection = Some(BufReader::with_capacity(16 * 1024, stream));
    }
    let Some(reader) = connection.as_mut() else {
        return Err(io::ErrorKind::NotConnected.into());
    };
    reader.get_mut().write_all(request)?;
    let (status, keep) = answer(reader)?;
    if !keep {
        *connection = None;
    }
    Ok(status)
}

/// Reads one answer, head and body: its status, and whether the connection may be used again. An end before the
/// first byte is `NotConnected`; one in the middle is `UnexpectedEof`.
fn answer(reader: &mut BufReader<TcpStream>) -> io::Result<(u16, bool)> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::NotConnected.into());
    }
    let status = line
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .ok_or(io::ErrorKind::InvalidData)?;
    let (mut length, mut chunked, mut keep) = (0, false, true);
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let header = line.trim_end().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        match header.split_once(':').map(|(name, value)| (name, value.trim())) {
            Some(("content-length", value)) => {
                length = value.parse().map_err(|_| io::ErrorKind::InvalidData)?
            }
            Some(("transfer-encoding", value)) => chunked = value.contains("chunked"),
            Some(("connection", value)) => keep = !value.contains("close"),
            _ => {}
        }
    }
    if chunked {
        while skip_chunk(reader, &mut line)? {}
    } else {
        skip(reader, length)?;
    }
    Ok((status, keep))
}

/// Reads one chunk; false after the last one. Trailers are not expected.
fn skip_chunk(reader: &mut BufReader<TcpStream>, line: &mut String) -> io::Result<bool> {
    line.clear();
    reader.read_line(line)?;
    let size = u64::from_str_radix(line.trim_end(), 16).map_err(|_| io::ErrorKind::InvalidData)?;
    skip(reader, size + 2)?;
    Ok(size > 0)
}

fn skip(reader: &mut BufReader<TcpStream>, length: u64) -> io::Result<()> {
    let copied = io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
    if copied < length { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
}

fn summary(mut all: Seen) -> String {
    all.micros.sort_unstable();
    let quantile = |share: f64| {
        let place = (all.micros.len() as f64 * share).ceil() as usize;
        all.micros.get(place.saturating_sub(1)).copied().unwrap_or(0)
    };
    format!(
        "{{\"answered\": {}, \"failed\": {}, \"resent\": {}, \"p50\": {}, \"p99\": {}, \"p99.9\": {}, \"max\": {}}}",
        all.micros.len(),
        all.failed,
        all.resent,
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        quantile(1.0)
    )
}
