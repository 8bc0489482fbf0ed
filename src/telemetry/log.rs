//! The log of the process: what `tracing` and `log` say, on standard error.
//!
//! Called once by `cli`, before anything logs. The access log is another thing.

use std::{env, io::IsTerminal};

use tracing_subscriber::{
    EnvFilter,
    filter::ParseError,
    util::{SubscriberInitExt, TryInitError},
};

/// What is logged where `TOLLGATE_LOG` says nothing of it. pingora's news at `info` is for those who work on pingora.
const DEFAULTS: &str = "info,pingora=warn";

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("TOLLGATE_LOG: {0}")]
    Filter(#[from] ParseError),
    #[error("TOLLGATE_LOG_FORMAT: `{0}` is neither `json` nor `text`")]
    Format(String),
    #[error("a log is set up already")]
    Twice(#[from] TryInitError),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Json,
    Text,
}

/// Sends what the process logs to standard error: filtered by `TOLLGATE_LOG`, in the format of `TOLLGATE_LOG_FORMAT`.
///
/// # Errors
/// One of these is not understood, or something else has set up a log before.
pub fn init() -> Result<(), LogError> {
    let filter = filter(env::var("TOLLGATE_LOG").ok().as_deref())?;
    let format = format(env::var("TOLLGATE_LOG_FORMAT").ok().as_deref())?;
    let colors = std::io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(colors)
        .with_writer(std::io::stderr);
    match format {
        Format::Json => builder.json().flatten_event(true).finish().try_init()?,
        Format::Text => builder.finish().try_init()?,
    }
    Ok(())
}

/// What is asked for comes after the defaults, and so before them in rank.
fn filter(asked: Option<&str>) -> Result<EnvFilter, ParseError> {
    match asked {
        None | Some("") => EnvFilter::try_new(DEFAULTS),
        Some(asked) => EnvFilter::try_new(format!("{DEFAULTS},{asked}")),
    }
}

fn format(asked: Option<&str>) -> Result<Format, LogError> {
    match asked {
        None | Some("" | "text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some(other) => Err(LogError::Format(other.into())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::Level;

    use super::*;

    /// Which of these events pass the filter, in order.
    fn passed(asked: Option<&str>) -> Vec<String> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let out = seen.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(filter(asked).unwrap())
            .with_ansi(false)
            .without_time()
            .with_writer(move || Sink(out.clone()))
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            tracing::event!(target: "tollgate::reload", Level::DEBUG, "a");
            tracing::event!(target: "tollgate::reload", Level::INFO, "b");
            tracing::event!(target: "pingora_core::server", Level::INFO, "c");
            tracing::event!(target: "pingora_proxy", Level::WARN, "d");
        });
        let text = String::from_utf8(seen.lock().clone()).unwrap();
        text.lines().filter_map(|line| line.rsplit(' ').next().map(str::to_owned)).collect()
    }

    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_asked_for_wins_and_pingora_stays_quiet_unless_asked() {
        assert_eq!(passed(None), ["b", "d"]);
        assert_eq!(passed(Some("")), ["b", "d"]);
        assert_eq!(passed(Some("debug")), ["a", "b", "d"]);
        assert_eq!(passed(Some("error,pingora=info")), ["c", "d"]);
        assert_eq!(passed(Some("tollgate=debug,pingora=off")), ["a", "b"]);
    }

    #[test]
    fn what_is_not_understood_is_an_error_that_names_its_variable() {
        let error = LogError::from(filter(Some("tollgate=loud")).unwrap_err());
        assert!(error.to_string().starts_with("TOLLGATE_LOG: "), "{error}");
        let error = format(Some("yaml")).unwrap_err();
        assert_eq!(error.to_string(), "TOLLGATE_LOG_FORMAT: `yaml` is neither `json` nor `text`");
        assert_eq!(format(Some("json")).unwrap(), Format::Json);
    }
}
