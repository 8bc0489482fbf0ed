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
    pub(crate) kind: Kind,
    /// HTTP; gRPC is this plus 1000.
    pub(crate) port: u16,
    /// Lines of `KEY=VALUE` that the next start gives to the server, besides those of its script.
    pub(crate) settings: Vec<String>,
    data: TempDir,
    child: Child,
    http: reqwest::Client,
    token: String,
}

/// An instance as it is registered over HTTP, like a service in another language would. It needs no heart beats while
/// a test runs.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) service: String,
    pub(crate) group: String,
    pub(crate) cluster: String,
    pub(crate) port: u16,
    pub(crate) weight: f64,
    pub(crate) enabled: bool,
    /// Gone with the server's memory; else kept in its data, and probed by TCP.
    pub(crate) ephemeral: bool,
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

    fn version(self) -> String {
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
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
        let mut server = Self { kind, port, settings, data, child, http, token: String::new() };
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
        self.child = spawn(self.kind, self.port, &self.settings, self.data.path());
        self.ready().await;
    }

    /// Starts it again, after [`Self::kill`], as a new server at the old address.
    pub(crate) async fn start_empty(&mut self) {
        self.data = TempDir::new().unwrap();
        self.start_again().await;
    }

    /// The `address` of a registry in the config.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) async fn register(&self, record: &Record) {
        let path = match self.kind {
            Kind::RNacos | Kind::Nacos2 => "v1/ns/instance",
            Kind::Nacos3 => "v3/client/ns/instance",
        };
        self.send(self.http.post(self.url(path, &record.parameters()))).await;
    }

    pub(crate) async fn deregister(&self, record: &Record) {
        let path = match self.kind {
            Kind::RNacos | Kind::Nacos2 => "v1/ns/instance",
            Kind::Nacos3 => "v3/client/ns/instance",
        };
        self.send(self.http.delete(self.url(path, &record.parameters()))).await;
    }

    /// Changes weight, metadata or whether it is enabled, as the console does.
    pub(crate) async fn change(&self, record: &Record) {
        let path = match self.kind {
            Kind::RNacos | Kind::Nacos2 => "v1/ns/instance",
            Kind::Nacos3 => "v3/admin/ns/instance",
        };
        self.send(self.http.put(self.url(path, &record.parameters()))).await;
    }

    async fn send(&self, request: reqwest::RequestBuilder) {
        let answer = request.send().await.unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success() && !body.contains("\"code\":5"), "{status} {body}");
    }

    /// Waits until it answers, and takes a token for the changes that tests make.
    async fn ready(&mut self) {
        let version = self.kind.version();
        for _ in 0..TRIES {
            let since = Instant::now();
            if self.answers().await {
                let seconds = since.elapsed().as_secs_f32();
                println!("{version} runs on port {}, ready after {seconds:.1} s", self.port);
                return;
            }
            println!("{version} does not come up, and is started again:\n{}", self.log());
            self.kill();
            self.child = spawn(self.kind, self.port, &self.settings, self.data.path());
        }
        panic!("{version} does not start:\n{}", self.log());
    }

    async fn answers(&mut self) -> bool {
        let deadline = Instant::now() + self.kind.patience();
        while !self.log_in().await {
            if Instant::now() > deadline || self.child.try_wait().unwrap().is_some() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        true
    }

    async fn log_in(&mut self) -> bool {
        // A new server refuses whoever comes with the last one's token, even to log in.
        self.token.clear();
        let password = ("password", self.kind.password().to_owned());
        if self.kind == Kind::Nacos3 {
            // The first password of a new server; one that has it refuses another.
            let url = self.url("v3/auth/user/admin", std::slice::from_ref(&password));
            let _ = self.http.post(url).send().await;
        }
        let user = ("username", Kind::USER.into());
        let url = self.url("v1/auth/login", &[user, password]);
        let Ok(answer) = self.http.post(url).send().await else { return false };
        if !answer.status().is_success() {
            // Nacos 2 refuses every login while it asks for none.
            return !self.settings.contains(&self.kind.login());
        }
        let answer: serde_json::Value = answer.json().await.unwrap();
        self.token = answer["accessToken"].as_str().unwrap_or_default().to_owned();
        true
    }

    /// All parameters stand in the query, which every version reads.
    fn url(&self, path: &str, parameters: &[(&str, String)]) -> reqwest::Url {
        let url = format!("http://127.0.0.1:{}/nacos/{path}", self.port);
        let token = ("accessToken", self.token.clone());
        reqwest::Url::parse_with_params(&url, parameters.iter().chain([&token])).unwrap()
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

// === impl Record ===

impl Record {
    /// An ephemeral instance on loopback of weight 1, in the default group and cluster.
    pub(crate) fn new(service: &str, port: u16) -> Self {
        Self {
            service: service.into(),
            group: "DEFAULT_GROUP".into(),
            cluster: "DEFAULT".into(),
            port,
            weight: 1.0,
            enabled: true,
            ephemeral: true,
        }
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let metadata = r#"{"version":"v1","preserved.heart.beat.timeout":"600000","preserved.ip.delete.timeout":"1200000"}"#;
        vec![
            ("serviceName", self.service.clone()),
            ("groupName", self.group.clone()),
            ("namespaceId", "public".into()),
            ("clusterName", self.cluster.clone()),
            ("ip", "127.0.0.1".into()),
            ("port", self.port.to_string()),
            ("weight", self.weight.to_string()),
            ("enabled", self.enabled.to_string()),
            ("healthy", "true".into()),
            ("ephemeral", self.ephemeral.to_string()),
            ("metadata", metadata.into()),
        ]
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
