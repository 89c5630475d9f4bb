//! The plain `git://` protocol: no encryption, no login.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};

use super::Session;
use crate::error::FetchError;
use crate::url::Place;

const PORT: u16 = 9418;

pub(super) struct Daemon {
    session: Arc<Session>,
}

impl Daemon {
    pub(super) fn new(session: Arc<Session>) -> Self {
        Self { session }
    }

    fn open(&self) -> io::Result<Connection> {
        let session = &self.session;
        let Place::Git { host, port, path } = &session.config.url.0 else {
            return Err(io::Error::other("not a git:// address"));
        };
        let unreachable = |error: io::Error| {
            let (remote, detail) = (session.remote(), error.to_string());
            session.fail(FetchError::HostUnreachable { remote, detail })
        };
        let addresses = (host.as_str(), port.unwrap_or(PORT)).to_socket_addrs();
        let mut last = io::Error::other("the name has no address");
        for address in addresses.map_err(unreachable)? {
            let wait = session.next_wait("connecting")?;
            match TcpStream::connect_timeout(&address, wait) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    let mut connection = Connection { session: Arc::clone(session), stream };
                    let request = format!("git-upload-pack {path}\0host={host}\0");
                    connection.write_all(format!("{:04x}", request.len() + 4).as_bytes())?;
                    connection.write_all(request.as_bytes())?;
                    return Ok(connection);
                }
                Err(error) => last = error,
            }
        }
        Err(unreachable(last))
    }
}

impl SmartSubtransport for Daemon {
    fn action(
        &self,
        _url: &str,
        service: Service,
    ) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        match service {
            Service::UploadPackLs | Service::UploadPack => match self.open() {
                Ok(connection) => Ok(Box::new(connection)),
                Err(error) => Err(git2::Error::from_str(&error.to_string())),
            },
            Service::ReceivePackLs | Service::ReceivePack => {
                Err(git2::Error::from_str("nothing is ever pushed"))
            }
        }
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

struct Connection {
    session: Arc<Session>,
    stream: TcpStream,
}

impl Connection {
    fn explain(&self, error: io::Error, wait: Duration) -> io::Error {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                self.session.timed_out(wait, "waiting for data")
            }
            _ => error,
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wait = self.session.next_wait("waiting for data")?;
        self.stream.set_read_timeout(Some(wait))?;
        self.stream.read(buffer).map_err(|error| self.explain(error, wait))
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let wait = self.session.next_wait("sending a request")?;
        self.stream.set_write_timeout(Some(wait))?;
        self.stream.write(bytes).map_err(|error| self.explain(error, wait))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
