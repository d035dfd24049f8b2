//! `headwater serve` in a process of its own, as a client of the PostgreSQL protocol sees it.

use tokio_postgres::{Client, NoTls};

/// The arguments of a server of this cluster, on free ports.
pub(crate) fn serve(servers: &str) -> [&str; 7] {
    let free = "127.0.0.1:0";
    [
        "serve",
        "--listen",
        free,
        "--http-listen",
        free,
        "--kafka",
        servers,
    ]
}

/// Connects to where the server said that it listens.
pub(crate) async fn connect(address: &str) -> Client {
    let (host, port) = address.rsplit_once(':').unwrap();
    let mut config = tokio_postgres::Config::new();
    config.host(host).port(port.parse().unwrap());
    config.user("bench").dbname("headwater");
    let (client, connection) = config.connect(NoTls).await.unwrap();
    #[expect(clippy::disallowed_methods, reason = "it ends with the process")]
    tokio::task::spawn(connection);
    client
}
