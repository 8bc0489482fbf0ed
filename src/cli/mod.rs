//! The command line: one file for each verb.
#![allow(clippy::print_stderr, reason = "what a command prints is what it is for")]

mod check;
mod demo;
mod explain;
mod live;
mod run;

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::config::Diagnostics;

/// A start or a check that found errors in the config. Systemd should not restart on it.
const CONFIG_ERRORS: u8 = 3;
/// A check that found warnings, and was told to mind them.
const CONFIG_WARNINGS: u8 = 4;
const DEFAULT_FILE: &str = "routes.toml";

/// An API gateway for microservice teams.
#[derive(Parser)]
#[command(name = "tollgate", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the gateway
    Run(run::Run),
    /// Say what is wrong with a config, and what to write instead
    Check(check::Check),
    /// Say what the gateway would do with a request, and why
    Explain(explain::Explain),
    /// Print the JSON Schema of the config
    Schema,
    /// Run the gateway on the shipped config, with three instances that register themselves
    Demo(demo::Demo),
    /// Print the version
    Version,
}

/// Runs the verb on the command line.
pub fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run(run) => run.run(),
        Verb::Check(check) => check.run(),
        Verb::Explain(explain) => explain.run(),
        Verb::Schema => schema(),
        Verb::Demo(demo) => demo.run(),
        Verb::Version => {
            say(format_args!("tollgate {}", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
    }
}

fn schema() -> ExitCode {
    say(format_args!("{:#}", crate::config::schema()));
    ExitCode::SUCCESS
}

/// The file that was named, in the arguments or in `TOLLGATE_CONFIG`, or the one in this folder.
fn config_file(named: Option<PathBuf>) -> PathBuf {
    named
        .or_else(|| std::env::var_os("TOLLGATE_CONFIG").map(PathBuf::from))
        .unwrap_or_else(|| DEFAULT_FILE.into())
}

/// Shows findings on standard error, in colour where somebody looks at it.
fn show(findings: &Diagnostics) {
    let color = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    eprintln!("{}", findings.render(color));
}

/// Prints a line. A reader that is gone, as `head` is after its ten lines, is no reason to panic as `println!` does.
fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Says what went wrong on standard error.
fn fail(error: impl std::fmt::Display) -> ExitCode {
    eprintln!("tollgate: {error}");
    ExitCode::FAILURE
}
