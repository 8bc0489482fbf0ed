//! `tollgate demo`: the shipped config at work, with instances that register themselves.

mod identity;
mod instances;
mod ports;
mod tour;

use std::{os::unix::fs::DirBuilderExt, path::PathBuf, process::ExitCode, sync::Arc};

use clap::Args;

use super::{DEFAULT_FILE, fail, run, say};
use crate::{reload::Source, telemetry::log};

use identity::Identity;
use ports::Ports;

/// The config that is shipped, for a demo in a folder that has none.
const SHIPPED: &str = include_str!("../../../routes.toml");

#[derive(Args)]
pub(super) struct Demo {
    /// Run this config instead of the shipped one
    file: Option<PathBuf>,
}

impl Demo {
    pub(super) fn run(self) -> ExitCode {
        if let Err(error) = log::init() {
            return fail(error);
        }
        let file = match self.file.map_or_else(shipped_file, Ok) {
            Ok(file) => file,
            Err(error) => return fail(format!("the shipped config cannot be written: {error}")),
        };
        let (identity, ports) = match (Identity::new(), Arc::new(Ports::default())) {
            (Ok(identity), ports) => (Arc::new(identity), ports),
            (Err(error), _) => return fail(error),
        };
        let (issuer, free) = (identity.clone(), ports.clone());
        let source = Source::file(&file).amended(move |config| {
            free.move_to_free_ports(config);
            issuer.become_issuer(config);
        });
        run::start(source, move |server| {
            for moved in ports.moved() {
                say(moved);
            }
            match instances::start(server.addresses()) {
                Ok(()) => {
                    instances::wait(server);
                    tour::print(server, &identity, &file);
                }
                Err(error) => eprintln!("tollgate: the demo's instances cannot start: {error}"),
            }
        })
    }
}

/// routes.toml of this folder, or a copy of the shipped one that may be edited as well.
fn shipped_file() -> std::io::Result<PathBuf> {
    let here = PathBuf::from(DEFAULT_FILE);
    if here.exists() {
        return Ok(here);
    }
    // One that is there already may be another user's, who has put a link in it.
    let copy = std::env::temp_dir().join(format!("tollgate-demo-{:016x}", fastrand::u64(..)));
    std::fs::DirBuilder::new().mode(0o700).create(&copy)?;
    let copy = copy.join(DEFAULT_FILE);
    std::fs::write(&copy, SHIPPED)?;
    Ok(copy)
}
