//! What the benchmark programs share: processes of the program that is measured.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A process of `headwater` with a data folder of its own; killed when it is dropped.
pub(crate) struct Headwater {
    process: Child,
    /// Where it listens, as it announced.
    pub(crate) address: String,
    _data: tempfile::TempDir,
}

impl Headwater {
    /// Starts a command and waits for the line `listening on ADDRESS (PROTOCOL)`.
    pub(crate) fn start(arguments: &[&str], protocol: &str) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_headwater"))
            .args(arguments)
            .arg("--data-dir")
            .arg(data.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines
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
            _data: data,
        }
    }

    /// The embedded broker on a free port.
    pub(crate) fn broker() -> Self {
        Self::start(&["broker", "--listen", "127.0.0.1:0"], "kafka")
    }
}

impl Drop for Headwater {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
