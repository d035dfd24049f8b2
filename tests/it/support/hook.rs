//! A small HTTP server that keeps what it is sent and answers as a test wants: slowly, wrongly, not at all.
//!
//! Invariant: a request is kept before it is answered, whatever the answer is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::wait;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Method and path.
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// Whether it was answered with success.
    pub(crate) taken: bool,
}

impl Request {
    /// A header's value; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(own, _)| own == name);
        found.map_or("", |(_, value)| value.as_str())
    }
}

/// How a request is answered.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reply {
    /// With a status, further headers (each line with its end) and a text.
    With(u16, &'static str, &'static str),
    /// The connection is closed without a word.
    Close,
    /// Success, with a length that the text does not have.
    Lie,
    /// After so long, with success: nobody waits for it.
    Late(Duration),
}

impl Reply {
    /// Success.
    pub(crate) const OK: Self = Self::With(200, "", "taken");

    fn is_success(self) -> bool {
        matches!(self, Self::With(200..=299, _, _) | Self::Lie)
    }
}

/// What decides on an answer: the request's number, from 0 on, and the request.
type Decide = dyn Fn(usize, &Request) -> Reply + Send + Sync;

/// A running server.
pub(crate) struct Hook {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Hook {
    /// Starts one on a free port.
    pub(crate) fn start(decide: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), decide)
    }

    /// Starts one at an address.
    pub(crate) fn start_at(
        address: SocketAddr,
        decide: impl Fn(usize, &Request) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let address = listener.local_addr().expect("it has an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (kept, decide) = (Arc::clone(&requests), Arc::new(decide) as Arc<Decide>);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, decide) = (Arc::clone(&kept), Arc::clone(&decide));
                std::thread::spawn(move || serve(&stream, &kept, &*decide));
            }
        });
        Self { address, requests }
    }

    /// An address where nobody listens, for one that starts later.
    pub(crate) fn nowhere() -> SocketAddr {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.local_addr().expect("it has an address")
    }

    /// Its URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("nobody panics with it").clone()
    }

    /// The requests that were answered with success, once there are so many.
    pub(crate) fn taken(&self, count: usize) -> Vec<Request> {
        wait::until(&format!("{count} requests that were taken"), || {
            let mut all = self.requests();
            all.retain(|request| request.taken);
            (all.len() >= count).then_some(all)
        })
    }
}

/// The requests of one connection.
fn serve(stream: &TcpStream, kept: &Mutex<Vec<Request>>, decide: &Decide) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut request = read(&mut reader)?;
        let reply = {
            let mut kept = kept.lock().expect("nobody panics with it");
            let reply = decide(kept.len(), &request);
            request.taken = reply.is_success();
            kept.push(request);
            reply
        };
        let mut stream = stream;
        match reply {
            Reply::With(status, headers, text) => {
                let length = text.len();
                write!(
                    stream,
                    "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n{headers}\r\n{text}"
                )
                .ok()?;
            }
            Reply::Lie => {
                let _ = stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 9999\r\n\r\nshort");
                return None;
            }
            Reply::Late(time) => {
                wait::pause(time);
                let _ = stream.write_all(b"HTTP/1.1 200 X\r\nContent-Length: 0\r\n\r\n");
                return None;
            }
            Reply::Close => return None,
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Request> {
    let line = |reader: &mut BufReader<&TcpStream>| {
        let mut line = String::new();
        let length = reader.read_line(&mut line).ok()?;
        (length > 0).then(|| line.trim_end().to_owned())
    };
    let first = line(reader)?;
    let mut headers = Vec::new();
    loop {
        let header = line(reader)?;
        let Some((name, value)) = header.split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut request = Request {
        line: first.trim_end_matches(" HTTP/1.1").to_owned(),
        headers,
        body: String::new(),
        taken: false,
    };
    let length: usize = request.header("content-length").parse().unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8_lossy(&body).into_owned();
    Some(request)
}
