//! A Kafka broker for a test: the embedded one in its own process, or a real Apache Kafka from `tests/kafka`.
//!
//! Invariant: a broker that is started again has the address and the data that it had.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

use super::process::Process;

/// The embedded broker, `headwater broker`, in a process and a folder of its own.
pub(crate) struct Broker {
    folder: TempDir,
    address: SocketAddr,
    process: Process,
}

impl Broker {
    /// Starts one on a free port.
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let mut process = launch(folder.path(), "127.0.0.1:0");
        let address = process.announced("kafka");
        Self {
            folder,
            address,
            process,
        }
    }

    /// `host:port`, what clients call `bootstrap.servers`.
    pub(crate) fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again after [`Broker::kill`].
    pub(crate) fn start_again(&mut self) {
        self.process = launch(self.folder.path(), &self.bootstrap());
        assert_eq!(
            self.process.announced("kafka"),
            self.address,
            "the address stays"
        );
    }
}

fn launch(folder: &Path, listen: &str) -> Process {
    let mut command = Process::headwater();
    command
        .args(["broker", "--listen", listen, "--data-dir"])
        .arg(folder.join("data"));
    Process::start(&mut command, &folder.join("broker.log"))
}

/// The bootstrap servers of a real Apache Kafka, if there is one: `KAFKA_BOOTSTRAP`. In CI there must be.
pub(crate) fn real_kafka() -> Option<String> {
    let bootstrap = std::env::var("KAFKA_BOOTSTRAP").ok();
    if bootstrap.is_none() {
        not_here("KAFKA_BOOTSTRAP is not set; tests/kafka/kafka starts a real Kafka");
    }
    bootstrap
}

/// Says that a test is left out because something is missing. In CI that is a failure.
pub(crate) fn not_here(what: &str) {
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "{what}; with CI=true nothing is left out");
    eprintln!("left out: {what}");
}

/// A real Apache Kafka of the test's own, which it may kill.
pub(crate) struct RealKafka {
    folder: TempDir,
    bootstrap: String,
}

impl RealKafka {
    /// Starts one on a free port; takes some seconds.
    pub(crate) fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let port = free_ports().to_string();
        let bootstrap = script(&["start", &path_text(folder.path()), &port]);
        Self { folder, bootstrap }
    }

    /// The same with three brokers, each of which has a copy of every partition.
    pub(crate) fn start_three() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let port = loop {
            let ports = [free_ports(), free_ports(), free_ports()];
            if ports[1] == ports[0] + 10 && ports[2] == ports[0] + 20 {
                break ports[0].to_string();
            }
        };
        let bootstrap = script(&["start", &path_text(folder.path()), &port, "3"]);
        Self { folder, bootstrap }
    }

    /// SIGKILL for one of three.
    pub(crate) fn kill_one(&self, node: u32) {
        script(&["kill", &path_text(self.folder.path()), &node.to_string()]);
    }

    /// `host:port`.
    pub(crate) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Where its certificate and logs are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        script(&["kill", &path_text(self.folder.path())]);
    }

    /// Starts it again after [`RealKafka::kill`], with the data it had.
    pub(crate) fn start_again(&self) {
        script(&["again", &path_text(self.folder.path()), "1"]);
    }
}

impl Drop for RealKafka {
    fn drop(&mut self) {
        self.kill();
    }
}

fn script(arguments: &[&str]) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/kafka");
    let output = Command::new(&path).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{} {arguments:?}: {errors}",
        path.display()
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn path_text(path: &Path) -> String {
    path.to_str()
        .expect("a temporary folder's name is UTF-8")
        .to_owned()
}

/// The first of four ports in a row that nothing listens on now. No two calls give the same.
pub(crate) fn free_ports() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let start = 20_000 + std::process::id() % 10_000;
    loop {
        let port = start + 10 * GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(port).expect("four free ports in a row");
        if (port..port + 4).all(free) {
            return port;
        }
    }
}
