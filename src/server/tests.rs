//! The wire from outside: a server in this process, tokio-postgres and bare sockets as clients.

#![expect(
    clippy::disallowed_methods,
    reason = "tests stand outside of the product's doors"
)]

mod extended;
mod interrupts;
mod psql;
mod simple;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::Server;
use crate::config::Config;
use crate::session::Services;
use crate::task::{self, Scoped, Stop};

/// A server in this process.
struct Running {
    address: SocketAddr,
    services: Arc<Services>,
    stop: Stop,
    server: Scoped<()>,
}

async fn start_with(change: impl FnOnce(&mut Config)) -> Running {
    let mut config = Config::default();
    change(&mut config);
    let services = Services::in_memory(Arc::new(config)).unwrap();
    let server = Server::bind(([127, 0, 0, 1], 0).into(), Arc::clone(&services))
        .await
        .unwrap();
    let address = server.local_addr();
    let (stop, shutdown) = task::shutdown();
    Running {
        address,
        services,
        stop,
        server: task::spawn_scoped("server", server.run(shutdown)),
    }
}

async fn start() -> Running {
    start_with(|_| {}).await
}

impl Running {
    async fn try_connect(&self) -> Result<Client, tokio_postgres::Error> {
        let config = format!(
            "host=127.0.0.1 port={} user=ann dbname=headwater",
            self.address.port()
        );
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await?;
        task::spawn("client", connection);
        Ok(client)
    }

    async fn connect(&self) -> Client {
        self.try_connect().await.unwrap()
    }

    async fn socket(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

/// The rows of a simple query, values joined by `|`, and the tags, in order.
async fn lines(client: &Client, text: &str) -> Vec<String> {
    let messages = client.simple_query(text).await.unwrap();
    messages.iter().filter_map(line).collect()
}

fn line(message: &SimpleQueryMessage) -> Option<String> {
    match message {
        SimpleQueryMessage::Row(row) => {
            let values = (0..row.len()).map(|column| row.get(column).unwrap_or("NULL"));
            Some(values.collect::<Vec<_>>().join("|"))
        }
        SimpleQueryMessage::CommandComplete(rows) => Some(format!("-- {rows}")),
        _ => None,
    }
}

/// SQLSTATE, message, and `@` the place of an error.
fn told(error: &tokio_postgres::Error) -> String {
    let Some(error) = error.as_db_error() else {
        return format!("no answer: {error}");
    };
    let place = match error.position() {
        Some(tokio_postgres::error::ErrorPosition::Original(at)) => format!(" @{at}"),
        _ => String::new(),
    };
    format!("{} {}{place}", error.code().code(), error.message())
}

async fn refused(client: &Client, text: &str) -> String {
    told(&client.simple_query(text).await.unwrap_err())
}

/// Opens a bare connection and reads up to its first ReadyForQuery.
async fn introduced(server: &Running) -> TcpStream {
    let mut socket = server.socket().await;
    let body = b"\0\x03\0\0user\0ann\0\0";
    socket
        .write_u32(u32::try_from(body.len() + 4).unwrap())
        .await
        .unwrap();
    socket.write_all(body).await.unwrap();
    until_ready(&mut socket).await;
    socket
}

/// A message as a client sends it.
fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&[kind], &length[..], body].concat()
}

/// Reads messages up to a ReadyForQuery; returns their types.
async fn until_ready(socket: &mut TcpStream) -> String {
    let mut kinds = String::new();
    loop {
        let (kind, _) = message(socket).await.expect("a message");
        kinds.push(kind);
        if kind == 'Z' {
            return kinds;
        }
    }
}

/// The next message; `None` at the end of the stream.
async fn message(socket: &mut TcpStream) -> Option<(char, String)> {
    let read = tokio::time::timeout(std::time::Duration::from_secs(10), read_message(socket));
    read.await.expect("an answer within 10 s")
}

async fn read_message(socket: &mut TcpStream) -> Option<(char, String)> {
    let kind = socket.read_u8().await.ok()?;
    let length = socket.read_u32().await.ok()?;
    let mut body = vec![0; length as usize - 4];
    socket.read_exact(&mut body).await.ok()?;
    Some((
        char::from(kind),
        String::from_utf8_lossy(&body).replace('\0', " "),
    ))
}
