//! A gateway of one test: its own config file, ports and threads.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tollgate::{reload::Source, server::Server};

/// Prepended to every test's config: ports of the system's choice, no access log, nothing to wait for at the end.
pub(crate) const HEAD: &str = r#"
[server]
drain_delay = "0"
threads = 2
[listener.http]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[access_log]
output = "off"
"#;

/// A running gateway; dropping it stops it.
pub(crate) struct Gateway {
    pub(crate) server: Option<Server>,
    folder: TempDir,
    head: String,
}

impl Gateway {
    /// Starts on routes, upstreams and so on; the listeners are given.
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(HEAD, config)
    }

    /// Starts on a head of the test's own as well.
    pub(crate) fn start_with(head: &str, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let gateway = Self { server: None, folder, head: head.to_owned() };
        gateway.write(config);
        gateway.run()
    }

    /// Starts with other files beside the config, such as keys.
    pub(crate) fn start_with_files(files: &[(&str, &str)], config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let gateway = Self { server: None, folder, head: HEAD.to_owned() };
        gateway.write(config);
        gateway.run()
    }

    fn run(mut self) -> Self {
        let source = Source::file(self.file());
        let loaded = source.load().unwrap_or_else(|problems| panic!("{}", problems.render(false)));
        self.server =
            Some(Server::start(source, &loaded).unwrap_or_else(|error| panic!("{error}")));
        self.wait_for_first_views();
        self
    }

    /// Listeners accept before instances are known. A registry that a test leaves dead is not waited for long.
    fn wait_for_first_views(&self) {
        let admin = self.server().addresses().admin.unwrap();
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            let mut stream = TcpStream::connect(admin).unwrap();
            write!(stream, "GET /readyz HTTP/1.1\r\nhost: {admin}\r\nconnection: close\r\n\r\n")
                .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            if answer.starts_with("HTTP/1.1 200") {
                return;
            }
            sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join("routes.toml")
    }

    /// Puts another config in the file, by rename as editors do. The head stays.
    pub(crate) fn write(&self, config: &str) {
        self.write_whole(&format!("{}\n{config}", self.head));
    }

    /// Puts another config in the file, head and all.
    pub(crate) fn write_whole(&self, text: &str) {
        let fresh = self.folder.path().join("routes.toml.new");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.file()).unwrap();
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        *self.server().addresses().listeners.values().next().unwrap()
    }

    pub(crate) fn listener(&self, name: &str) -> SocketAddr {
        self.server().addresses().listeners[name]
    }

    /// Where the embedded registry of this name listens.
    pub(crate) fn embedded(&self, name: &str) -> SocketAddr {
        self.server().addresses().embedded[name]
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    pub(crate) fn admin(&self, path: &str) -> String {
        format!("http://{}{path}", self.server().addresses().admin.unwrap())
    }

    /// Reloads by the admin API, and gives the answer's status and body.
    pub(crate) async fn reload(&self) -> (u16, serde_json::Value) {
        let answer = super::client().post(self.admin("/api/v1/reload")).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// Waits until it has heard of its services.
    pub(crate) async fn ready(self) -> Self {
        super::eventually("it is ready", async || {
            let answer = super::client().get(self.admin("/readyz")).send().await.unwrap();
            answer.status() == 200
        })
        .await;
        self
    }

    /// The status and the body of a page, as text.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let answer = super::client().get(self.url(path)).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// A page of the status API.
    pub(crate) async fn status(&self, page: &str) -> serde_json::Value {
        let page = self.admin(&format!("/api/v1/{page}"));
        super::client().get(page).send().await.unwrap().json().await.unwrap()
    }

    /// The value of a series on the metrics page, labels as they stand there.
    pub(crate) async fn metric(&self, series: &str) -> Option<f64> {
        let page =
            super::client().get(self.admin("/metrics")).send().await.unwrap().text().await.unwrap();
        page.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }
}
