//! A real registry server: started by its script in this folder, ready when it is handed over, gone when it is dropped.
//!
//! Anything that Nacos' protocol is spoken to can be a [`Server`]; tests at any level may drive one. Servers come from
//! `tests/servers/fetch.sh`, and each start says in the test's output what runs.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::api::Api;

/// How often a server is started that does not come up.
const TRIES: u32 = 3;

/// What can be run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    RNacos,
    Nacos2,
    Nacos3,
}

/// A running server, with a data folder of its own.
pub(crate) struct Server {
    /// Its open API. What is changed there is changed by somebody else than the one who watches.
    pub(crate) api: Api,
    /// Lines of `KEY=VALUE` that the next start gives to the server, besides those of its script.
    pub(crate) settings: Vec<String>,
    data: TempDir,
    child: Child,
}

// === impl Kind ===

impl Kind {
    /// The user that servers with login know.
    pub(crate) const USER: &'static str = "nacos";

    pub(crate) fn password(self) -> &'static str {
        match self {
            // Its data comes with this one.
            Self::Nacos2 => "nacos",
            Self::Nacos3 | Self::RNacos => "tests-only-1",
        }
    }

    fn script(self, verb: &str) -> Command {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers");
        let (script, kind) = match self {
            Self::RNacos => ("rnacos.sh", None),
            Self::Nacos2 => ("nacos.sh", Some("2")),
            Self::Nacos3 => ("nacos.sh", Some("3")),
        };
        let mut command = Command::new(folder.join(script));
        command.arg(verb).args(kind);
        command
    }

    pub(crate) fn version(self) -> String {
        let output = self.script("version").output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// How long it may take to start on a machine that is busy with other things.
    fn patience(self) -> Duration {
        match self {
            Self::Nacos2 | Self::Nacos3 => Duration::from_secs(120),
            // Up in a tenth of a second, or, once in many starts, hung by a race of its own.
            Self::RNacos => Duration::from_secs(15),
        }
    }

    /// What every start of it needs.
    fn settings(self) -> Vec<String> {
        let lines: &[String] = match self {
            Self::Nacos2 | Self::Nacos3 => &[],
            Self::RNacos => &[
                format!("RNACOS_INIT_ADMIN_USERNAME={}", Self::USER),
                format!("RNACOS_INIT_ADMIN_PASSWORD={}", self.password()),
                "RNACOS_NAMING_HEALTH_TIMEOUT_SECOND=600".into(),
                "RNACOS_NAMING_INSTANCE_TIMEOUT_SECOND=1200".into(),
                "RNACOS_API_LOGIN_ONE_MINUTE_LIMIT=1000".into(),
            ],
        };
        lines.to_vec()
    }

    /// What makes it ask its clients for a token.
    pub(crate) fn login(self) -> String {
        match self {
            Self::Nacos2 | Self::Nacos3 => "nacos.core.auth.enabled=true".into(),
            Self::RNacos => "RNACOS_ENABLE_OPEN_API_AUTH=true".into(),
        }
    }

    /// Gives its tokens so many seconds.
    pub(crate) fn token_lifetime(self, seconds: u32) -> String {
        match self {
            Self::Nacos2 | Self::Nacos3 => {
                format!("nacos.core.auth.plugin.nacos.token.expire.seconds={seconds}")
            }
            Self::RNacos => format!("RNACOS_API_LOGIN_TIMEOUT={seconds}"),
        }
    }
}

// === impl Server ===

impl Server {
    /// Starts one without login, on free ports and with nothing in it.
    pub(crate) async fn start(kind: Kind) -> Self {
        Self::start_with(kind, Vec::new()).await
    }

    pub(crate) async fn start_with(kind: Kind, settings: Vec<String>) -> Self {
        // reqwest asks for the process's TLS provider, though nothing here speaks TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let data = TempDir::new().unwrap();
        let port = free_port();
        let child = spawn(kind, port, &settings, data.path());
        let mut server = Self { api: Api::new(kind, port), settings, data, child };
        server.ready().await;
        server
    }

    /// Ends it without a chance to say goodbye.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Makes it fall silent with all its connections open, as a machine does that is gone.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    /// Starts it again, after [`Self::kill`], with what it had stored.
    pub(crate) async fn start_again(&mut self) {
        self.child = spawn(self.api.kind, self.api.port, &self.settings, self.data.path());
        self.ready().await;
    }

    /// Starts it again, after [`Self::kill`], as a new server at the old address.
    pub(crate) async fn start_empty(&mut self) {
        self.data = TempDir::new().unwrap();
        self.start_again().await;
    }

    /// The `address` of a registry in the config.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.api.port)
    }

    /// Waits until it answers, and takes a token for the changes that tests make.
    async fn ready(&mut self) {
        let version = self.api.kind.version();
        for _ in 0..TRIES {
            let since = Instant::now();
            if self.answers().await {
                let (port, seconds) = (self.api.port, since.elapsed().as_secs_f32());
                println!("{version} runs on port {port}, ready after {seconds:.1} s");
                return;
            }
            println!("{version} does not come up, and is started again:\n{}", self.log());
            self.kill();
            self.child = spawn(self.api.kind, self.api.port, &self.settings, self.data.path());
        }
        panic!("{version} does not start:\n{}", self.log());
    }

    async fn answers(&mut self) -> bool {
        let deadline = Instant::now() + self.api.kind.patience();
        let asks_for_login = self.settings.contains(&self.api.kind.login());
        while !self.api.log_in(asks_for_login).await {
            if Instant::now() > deadline || self.child.try_wait().unwrap().is_some() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        true
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// The end of what it printed.
    fn log(&self) -> String {
        let log = fs::read_to_string(self.data.path().join("log")).unwrap_or_default();
        log.lines()
            .rev()
            .take(40)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .collect::<Vec<_>>()
            .join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(kind: Kind, port: u16, settings: &[String], data: &Path) -> Child {
    let log = File::options().create(true).append(true).open(data.join("log")).unwrap();
    let mut command = kind.script("start");
    command.arg(port.to_string()).arg(data.join("server")).args(kind.settings()).args(settings);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let home = std::env::var_os("TOLLGATE_CACHE").is_some() || std::env::var_os("HOME").is_some();
    assert!(home, "HOME or TOLLGATE_CACHE says where tests/servers/fetch.sh has put the servers");
    command.spawn().unwrap()
}

/// A port that is free together with all that a Nacos takes beside it, outside the range that the kernel hands out.
fn free_port() -> u16 {
    let free = |port: u16| TcpListener::bind(("0.0.0.0", port)).is_ok();
    let around = |port: &u16| [*port, port + 1000, port + 1001, port - 1000].into_iter().all(free);
    std::iter::repeat_with(|| fastrand::u16(12_000..30_000)).take(1000).find(around).unwrap()
}
