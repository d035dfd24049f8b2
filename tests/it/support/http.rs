//! A request to the server's HTTP side.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::wait;

/// The whole answer to a GET.
pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(wait::PATIENCE))
        .expect("a time-out can be set");
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: tests\r\nConnection: close\r\n\r\n"
    )
    .expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}
