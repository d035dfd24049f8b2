//! What to type next, word for word.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::queries::{QUERIES, live_look};
use crate::config::Config;
use crate::error::Result;

/// Prints the guide.
///
/// # Errors
/// When standard output cannot be written.
pub(super) fn print(address: SocketAddr, bootstrap_servers: &str) -> Result<()> {
    let program = std::env::args().next();
    let program = program.as_deref().unwrap_or("headwater");
    crate::cli::output::text(&text(program, address, bootstrap_servers))
}

fn text(program: &str, address: SocketAddr, bootstrap_servers: &str) -> String {
    let listen = if address == Config::default().listen {
        String::new()
    } else {
        format!(" --listen {address}")
    };
    let (host, port) = (address.ip(), address.port());
    let mut out = format!(
        "
Trades of five exchanges come in now. In a second terminal, start psql:

  {program} psql{listen}

or, the same by hand:

  psql -h {host} -p {port} -U headwater -d headwater -v FETCH_COUNT=1 -P pager=off

and type, for example (Ctrl-C ends a live query):

  SHOW TABLES;
  SELECT * FROM trades ORDER BY \"timestamp\" DESC LIMIT 5;
"
    );
    for (_, text) in QUERIES {
        let title = text.lines().next().unwrap_or_default();
        let _ = write!(out, "\n  {title}\n  {}\n", live_look(text));
    }
    let _ = write!(
        out,
        "
Kafka clients find the topics at {bootstrap_servers}. Ctrl-C here stops everything.
"
    );
    out
}

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn the_guide_names_another_port_only_where_there_is_one() {
        let usual = text("hw", ([127, 0, 0, 1], 5433).into(), "k:1");
        assert!(usual.contains("\n  hw psql\n"), "{usual}");
        assert!(usual.contains("psql -h 127.0.0.1 -p 5433 "), "{usual}");
        assert!(
            usual.contains("\n  SELECT * FROM candles EMIT FINAL;\n"),
            "{usual}"
        );
        let other = text("hw", ([127, 0, 0, 1], 6000).into(), "k:1");
        assert!(
            other.contains("\n  hw psql --listen 127.0.0.1:6000\n"),
            "{other}"
        );
    }
}
