//! A broker that does what a test says, on a free port of this machine.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::source::direct::testing;
use crate::source::direct::wire::Get;
use crate::task;

/// What a broker does with a request.
pub(super) enum Reply {
    /// Answers it.
    Body(Vec<u8>),
    /// Sends these bytes as they are.
    Raw(Vec<u8>),
    /// Sends these bytes and closes the connection.
    Last(Vec<u8>),
    /// Says nothing, for ever.
    Silence,
}

/// A request, as far as it matters here.
#[derive(Debug, Clone)]
pub(super) enum Asked {
    Versions(i16),
    Leaders,
    /// Partition, offset and bytes of each part.
    Fetch(Vec<(i32, i64, i32)>),
    Mechanism,
    Authenticate,
    Other,
}

type Handle = Box<dyn FnMut(&Asked, u16) -> Reply + Send>;

/// Ends when it is dropped.
pub(super) struct FakeBroker {
    pub(super) port: u16,
    stops: Arc<AtomicBool>,
}

impl FakeBroker {
    /// One that does with each request what `handle` says; that is told its port, too.
    pub(super) fn start(handle: impl FnMut(&Asked, u16) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stops = Arc::new(AtomicBool::new(false));
        let stopping = Arc::clone(&stops);
        let handle: Arc<Mutex<Handle>> = Arc::new(Mutex::new(Box::new(handle)));
        task::spawn_thread("fake-broker", move || {
            for socket in listener.incoming() {
                if stopping.load(Ordering::Acquire) {
                    return;
                }
                let handle = Arc::clone(&handle);
                let socket = socket.unwrap();
                task::spawn_thread("fake-broker", move || serve(socket, &handle, port)).unwrap();
            }
        })
        .unwrap();
        Self { port, stops }
    }

    /// One that leads all of a topic's partitions and answers fetches as `fetch` says, which is
    /// given partition, offset and bytes of each part.
    pub(super) fn leading(
        topic: &'static str,
        partitions: i32,
        mut fetch: impl FnMut(&[(i32, i64, i32)]) -> Reply + Send + 'static,
    ) -> Self {
        Self::start(move |asked, port| match asked {
            Asked::Versions(version) => Reply::Body(testing::versions(*version)),
            Asked::Leaders => Reply::Body(testing::metadata(topic, 0, port, partitions)),
            Asked::Fetch(parts) => fetch(parts),
            Asked::Mechanism | Asked::Authenticate | Asked::Other => Reply::Silence,
        })
    }

    pub(super) fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}

impl Drop for FakeBroker {
    fn drop(&mut self) {
        self.stops.store(true, Ordering::Release);
        // So that it looks.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

fn serve(mut socket: TcpStream, handle: &Mutex<Handle>, port: u16) {
    while let Some((number, asked)) = next(&mut socket) {
        let reply = handle.lock().unwrap()(&asked, port);
        let (bytes, goes_on) = match reply {
            Reply::Body(body) => (framed(number, &body), true),
            Reply::Raw(bytes) => (bytes, true),
            Reply::Last(bytes) => (bytes, false),
            Reply::Silence => (Vec::new(), true),
        };
        if socket.write_all(&bytes).is_err() || !goes_on {
            return;
        }
    }
}

/// An answer behind its length and the number of its question.
pub(super) fn framed(number: i32, body: &[u8]) -> Vec<u8> {
    let len = i32::try_from(body.len() + 4).unwrap();
    [&len.to_be_bytes(), &number.to_be_bytes(), body].concat()
}

fn next(socket: &mut TcpStream) -> Option<(i32, Asked)> {
    let mut len = [0; 4];
    socket.read_exact(&mut len).ok()?;
    let mut bytes = vec![0; usize::try_from(i32::from_be_bytes(len)).unwrap()];
    socket.read_exact(&mut bytes).ok()?;
    let mut get = Get::new(&bytes);
    let (api, version, number) = (get.i16().unwrap(), get.i16().unwrap(), get.i32().unwrap());
    get.string().unwrap();
    let asked = match api {
        18 => Asked::Versions(version),
        3 => Asked::Leaders,
        17 => Asked::Mechanism,
        36 => Asked::Authenticate,
        1 => {
            get.take(4 * 4 + 1 + 8 + 4).unwrap();
            get.string().unwrap();
            let parts = (0..get.count(28).unwrap()).map(|_| {
                let partition = get.i32().unwrap();
                get.i32().unwrap();
                let offset = get.i64().unwrap();
                get.i64().unwrap();
                (partition, offset, get.i32().unwrap())
            });
            Asked::Fetch(parts.collect())
        }
        _ => Asked::Other,
    };
    Some((number, asked))
}
