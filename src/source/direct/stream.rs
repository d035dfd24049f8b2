//! Bytes to and from a broker, plain or through TLS. Nothing here blocks.
//!
//! Invariant: what was read stays in the caller's buffer when there is no more for now.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// A connected socket.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

#[derive(Debug)]
pub(super) struct Tls {
    socket: TcpStream,
    session: ClientConnection,
}

impl Stream {
    pub(super) fn new(
        socket: TcpStream,
        tls: Option<&Arc<ClientConfig>>,
        host: &str,
    ) -> io::Result<Self> {
        let Some(config) = tls else {
            return Ok(Self::Plain(socket));
        };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut session =
            ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
        session.set_buffer_limit(None);
        Ok(Self::Tls(Box::new(Tls { socket, session })))
    }

    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => &tls.socket,
        }
    }

    /// Goes on until both sides trust each other; `WouldBlock` when the broker has to say more.
    pub(super) fn handshake(&mut self) -> io::Result<()> {
        let Self::Tls(tls) = self else {
            return Ok(());
        };
        while tls.session.is_handshaking() {
            tls.flush()?;
            if tls.session.is_handshaking() {
                tls.receive()?;
            }
        }
        tls.flush()
    }

    /// Sends from the front of `out`; `WouldBlock` when the system takes no more for now.
    pub(super) fn send(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Plain(socket) => {
                while !out.is_empty() {
                    let sent = retried(|| socket.write(out))?;
                    out.drain(..sent);
                }
                Ok(())
            }
            Self::Tls(tls) => {
                tls.session.writer().write_all(out)?;
                out.clear();
                tls.flush()
            }
        }
    }

    /// Reads until `into` holds `len` bytes; `WouldBlock` when there are no more for now. Room for
    /// them is there already, so nothing is cleared before it is written.
    pub(super) fn receive(&mut self, into: &mut Vec<u8>, len: usize) -> io::Result<()> {
        match self {
            Self::Plain(socket) => {
                let missing = len - into.len();
                (&*socket).take(missing as u64).read_to_end(into)?;
                complete(into, len)
            }
            Self::Tls(tls) => loop {
                let missing = len - into.len();
                match tls.session.reader().take(missing as u64).read_to_end(into) {
                    Ok(_) => return complete(into, len),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => tls.receive()?,
                    Err(error) => return Err(error),
                }
            },
        }
    }
}

impl Tls {
    fn receive(&mut self) -> io::Result<()> {
        let Self { socket, session } = self;
        if retried(|| session.read_tls(&mut &*socket))? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let processed = session.process_new_packets();
        if let Err(error) = processed {
            // Tells the broker what is wrong, if it still listens.
            let _ = self.flush();
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        match self.flush() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Self { socket, session } = self;
        while session.wants_write() {
            retried(|| session.write_tls(&mut &*socket))?;
        }
        Ok(())
    }
}

fn complete(into: &[u8], len: usize) -> io::Result<()> {
    if into.len() == len {
        Ok(())
    } else {
        Err(ErrorKind::UnexpectedEof.into())
    }
}

/// Once more when a signal came in between.
fn retried(mut act: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match act() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
