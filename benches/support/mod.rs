//! What the benchmark programs share: processes of the program that is measured.
//!
//! Beside this: `fill.rs`, `topic.rs`, `live.rs`, `client.rs`; a program names those that it uses.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

/// More than any topic here holds.
const RETENTION_BYTES: &str = "1000000000000";

/// A process of `headwater`; killed when it is dropped.
pub(crate) struct Headwater {
    pub(crate) process: Child,
    /// Where it listens, as it announced.
    pub(crate) address: String,
    /// Kept open: the program ends when it cannot write there.
    _output: Lines<BufReader<ChildStdout>>,
    /// Its data folder, if that is to go with it.
    data: Option<tempfile::TempDir>,
}

impl Headwater {
    /// Starts a command, with a data folder of its own, and waits for the line
    /// `listening on ADDRESS (PROTOCOL)`.
    pub(crate) fn start(arguments: &[&str], protocol: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut started = Self::start_in(data.path(), arguments, protocol);
        started.data = Some(data);
        started
    }

    /// The same in a data folder that stays.
    pub(crate) fn start_in(data: &Path, arguments: &[&str], protocol: &str) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_headwater"))
            .args(arguments)
            .arg("--data-dir")
            .arg(data.join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                let announced = line.strip_prefix("listening on ")?;
                let (address, of) = announced.split_once(' ')?;
                (of == format!("({protocol})")).then(|| address.to_owned())
            })
            .unwrap();
        Self {
            process,
            address,
            _output: lines,
            data: None,
        }
    }

    /// The embedded broker on a free port.
    pub(crate) fn broker() -> Self {
        let listen = ["broker", "--listen", "127.0.0.1:0"];
        let keep = ["--retention-bytes-max", RETENTION_BYTES];
        Self::start(&[&listen[..], &keep].concat(), "kafka")
    }
}

impl Drop for Headwater {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
