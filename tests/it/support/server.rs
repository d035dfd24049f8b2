//! A `headwater serve` process with a data folder of its own.
//!
//! Invariant: a server that is started again has the address and the data folder that it had.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::client::Client;
use super::process::Process;

/// A running server.
pub(crate) struct Server {
    folder: TempDir,
    /// Further arguments of its command line.
    arguments: Vec<String>,
    address: SocketAddr,
    http: SocketAddr,
    process: Process,
}

/// What a server is to do at a place of its code (`src/crash_point.rs`).
#[derive(Clone, Copy)]
enum Fault {
    CrashAt(usize),
    WaitAt(&'static str),
}

impl Server {
    /// Starts one on free ports whose tables are on that Kafka cluster if they do not say another.
    pub(crate) fn start(bootstrap: &str) -> Self {
        Self::start_with(&["--kafka", bootstrap])
    }

    /// Starts one on free ports with further arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        Self::launched(arguments, None)
    }

    /// Starts one whose sinks may send to this machine; its file lies in the folder.
    pub(crate) fn start_with_local_sinks(bootstrap: &str) -> (Self, TempDir) {
        let folder = TempDir::new().expect("a temporary folder");
        let file = folder.path().join("headwater.toml");
        let text = "[sinks]\nallow_private_addresses = true\n";
        std::fs::write(&file, text).expect("it can be written");
        let file = file.display().to_string();
        let server = Self::start_with(&["--kafka", bootstrap, "--config", &file]);
        (server, folder)
    }

    /// Starts one that dies at the n-th crash point that it reaches. Started again it does not.
    pub(crate) fn start_to_crash(arguments: &[&str], nth: usize) -> Self {
        Self::launched(arguments, Some(Fault::CrashAt(nth)))
    }

    /// Starts one that waits a second at each place of that name. Started again it does not.
    pub(crate) fn start_to_wait(bootstrap: &str, place: &'static str) -> Self {
        Self::launched(&["--kafka", bootstrap], Some(Fault::WaitAt(place)))
    }

    /// Starts one on a copy of what another one keeps, which must not run.
    pub(crate) fn start_on_copy(other: &Self) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        copy_folder(&other.data(), &folder.path().join("data"));
        let arguments: Vec<&str> = other.arguments.iter().map(String::as_str).collect();
        Self::launched_in(folder, &arguments, None)
    }

    fn launched(arguments: &[&str], fault: Option<Fault>) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        Self::launched_in(folder, arguments, fault)
    }

    fn launched_in(folder: TempDir, arguments: &[&str], fault: Option<Fault>) -> Self {
        let arguments: Vec<String> = arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = launch(folder.path(), [any, any], &arguments, fault);
        let (address, http) = (process.announced("postgresql"), process.announced("http"));
        Self {
            folder,
            arguments,
            address,
            http,
            process,
        }
    }

    /// Where it speaks PostgreSQL's protocol.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it speaks HTTP.
    pub(crate) fn http(&self) -> SocketAddr {
        self.http
    }

    /// What it keeps.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Its process, for signals and output.
    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// SIGKILL, then a new process with the same data and ports.
    pub(crate) fn crash_and_start_again(&mut self) {
        self.process.kill();
        self.start_again();
    }

    /// Starts it again after its process has ended.
    pub(crate) fn start_again(&mut self) {
        self.relaunch(None);
    }

    /// SIGKILL, then a new process that dies at the n-th crash point that it reaches, perhaps before it
    /// serves: false.
    pub(crate) fn start_again_to_crash(&mut self, nth: usize) -> bool {
        self.process.kill();
        self.process = self.launch_again(Some(Fault::CrashAt(nth)));
        self.process.announces("postgresql")
    }

    fn launch_again(&self, fault: Option<Fault>) -> Process {
        let addresses = [self.address, self.http];
        launch(self.folder.path(), addresses, &self.arguments, fault)
    }

    fn relaunch(&mut self, fault: Option<Fault>) {
        self.process = self.launch_again(fault);
        assert_eq!(
            self.process.announced("postgresql"),
            self.address,
            "the address stays"
        );
    }

    /// A client of it.
    pub(crate) async fn connect(&mut self) -> Client {
        match Client::connect(self.address).await {
            Ok(client) => client,
            Err(error) => panic!("{error}; the server:\n{}", self.process.last_lines()),
        }
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match from.is_dir() {
            true => copy_folder(&from, &to),
            false => drop(std::fs::copy(&from, &to).expect("a copy")),
        }
    }
}

fn launch(
    folder: &Path,
    [listen, http]: [SocketAddr; 2],
    arguments: &[String],
    fault: Option<Fault>,
) -> Process {
    let mut command = Process::headwater();
    match fault {
        Some(Fault::CrashAt(nth)) => command.env("HEADWATER_CRASH_AT", nth.to_string()),
        Some(Fault::WaitAt(place)) => command.env("HEADWATER_WAIT_AT", place),
        None => &mut command,
    };
    command
        .args([
            "serve",
            "--listen",
            &listen.to_string(),
            "--http-listen",
            &http.to_string(),
        ])
        .arg("--data-dir")
        .arg(folder.join("data"))
        .args(arguments);
    Process::start(&mut command, &folder.join("server.log"))
}
