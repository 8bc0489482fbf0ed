//! `tollgate run`: the gateway itself.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;

use super::{CONFIG_ERRORS, config_file, fail, say, show};
use crate::{
    reload::Source,
    server::{self, Server, StartError},
    telemetry::log,
};

#[derive(Args)]
pub(super) struct Run {
    /// The config [default: $TOLLGATE_CONFIG, or routes.toml]
    file: Option<PathBuf>,
    /// Run without a file: forward everything to this address
    #[arg(long, value_name = "ADDRESS", conflicts_with = "file")]
    to: Option<String>,
    /// Where to listen, with --to
    #[arg(long, value_name = "ADDRESS", requires = "to", default_value = "0.0.0.0:8080")]
    listen: String,
    /// Where health, metrics and the status API are, with --to
    #[arg(long, value_name = "ADDRESS", requires = "to", default_value = "127.0.0.1:9180")]
    admin: String,
}

impl Run {
    pub(super) fn run(self) -> ExitCode {
        if let Err(error) = log::init() {
            return fail(error);
        }
        let source = match &self.to {
            Some(to) => {
                let text = config_for(to, &self.listen, &self.admin);
                say(format_args!("# As a file, this is:\n{text}"));
                Source::text("the config of --to", text)
            }
            None => Source::file(config_file(self.file)),
        };
        start(source, announce)
    }
}

/// Runs a gateway to its end, and gives the exit code that tells how it ended.
pub(super) fn start(source: Source, started: impl FnOnce(&Server)) -> ExitCode {
    let loaded = match source.load() {
        Ok(loaded) => loaded,
        Err(problems) => {
            show(&problems);
            return ExitCode::from(CONFIG_ERRORS);
        }
    };
    if !loaded.warnings.is_empty() {
        show(&loaded.warnings);
    }
    match server::run(source, loaded, started) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Refused(problems)) => {
            show(&problems);
            ExitCode::from(CONFIG_ERRORS)
        }
        Err(error) => fail(error),
    }
}

fn announce(server: &Server) {
    let snapshot = server.reloader().snapshots().load();
    for (name, address) in &server.addresses().listeners {
        tracing::info!("Listener {name} on {address}");
    }
    if let Some(admin) = server.addresses().admin {
        tracing::info!("Admin on http://{admin}/: /readyz, /metrics, /api/v1/");
    }
    let (routes, upstreams) = (snapshot.routes().len(), snapshot.upstreams().len());
    tracing::info!("Config {}: {routes} routes, {upstreams} upstreams", snapshot.version());
}

/// The smallest config there is. An address may be written as a URL, as people do.
fn config_for(to: &str, listen: &str, admin: &str) -> String {
    let to = with_host(to.strip_prefix("http://").unwrap_or(to).trim_end_matches('/'), "127.0.0.1");
    let (listen, admin) = (with_host(listen, "0.0.0.0"), with_host(admin, "127.0.0.1"));
    format!(
        "[listener.http]\naddress = {listen:?}\n\n[admin]\naddress = {admin:?}\n\n\
         [upstream.service]\ninstances = [{to:?}]\n\n\
         [[route]]\nname = \"everything\"\npath = \"/**\"\nto = \"service\"\n"
    )
}

/// An address; `:PORT` alone is one too.
fn with_host(address: &str, host: &str) -> String {
    if address.starts_with(':') { format!("{host}{address}") } else { address.to_owned() }
}
