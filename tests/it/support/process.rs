//! The real binary, as operators run it.

use std::{
    io::Read,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
};

use super::eventually;

/// A running `tollgate`; dropping it kills it.
pub(crate) struct Process {
    child: Child,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

/// `tollgate` with these arguments, in a folder, and with no settings of the caller's own.
pub(crate) fn tollgate(args: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(args).current_dir(folder).env_clear().stdin(Stdio::null());
    command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command
}

/// Runs to the end, and gives the exit code with what was printed.
pub(crate) fn run(args: &[&str], folder: &Path) -> (i32, String, String) {
    outcome(&tollgate(args, folder).output().unwrap())
}

pub(crate) fn outcome(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

// === impl Process ===

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Self { child, stdout, stderr }
    }

    /// Runs `tollgate run routes.toml` in a folder, until it listens.
    pub(crate) async fn serving(folder: &Path) -> Self {
        Self::serving_with(folder, &[]).await
    }

    pub(crate) async fn serving_with(folder: &Path, env: &[(&str, &str)]) -> Self {
        let mut command = tollgate(&["run", "routes.toml"], folder);
        command.envs(env.iter().copied());
        let process = Self::start(command);
        process.says("Config ").await;
        process
    }

    /// Waits until standard error has this text.
    pub(crate) async fn says(&self, text: &str) {
        eventually(&format!("it says {text:?}"), async || {
            let said = self.stderr();
            assert!(!said.contains("panicked"), "{said}");
            said.contains(text)
        })
        .await;
    }

    pub(crate) fn stdout(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Where a listener listens, as the log says.
    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        self.after(&format!("Listener {name} on ")).parse().unwrap()
    }

    pub(crate) fn admin(&self, path: &str) -> String {
        let base = self.after("Admin on http://");
        format!("http://{}{path}", base.split('/').next().unwrap())
    }

    /// The word after a text on standard error.
    fn after(&self, text: &str) -> String {
        let said = self.stderr();
        let rest = said.split(text).nth(1).unwrap_or_else(|| panic!("no {text:?} in {said}"));
        rest.split_whitespace().next().unwrap().to_owned()
    }

    /// Sends a signal: `HUP`, `INT`, `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the end, and gives the exit code.
    pub(crate) async fn exit(&mut self) -> i32 {
        let child = Mutex::new(&mut self.child);
        eventually("the process ends", async || {
            child.lock().unwrap().try_wait().unwrap().is_some()
        })
        .await;
        let status = self.child.wait().unwrap();
        status.code().expect("it ends by itself and not by a signal")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> Arc<Mutex<String>> {
    let text = Arc::new(Mutex::new(String::new()));
    let into = text.clone();
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(read @ 1..) = pipe.read(&mut chunk) {
            into.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
    });
    text
}
