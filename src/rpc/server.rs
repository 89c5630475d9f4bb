//! The side that is called.

mod connection;
mod door;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use identity::{ALPN, Peer, ServerTls};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dial::Stream;
use crate::{Handler, ServerLimits};
use connection::Caller;
use door::Door;

/// Says whether a peer is (still) let in, and if not, why. It is asked when a connection is made and before each of its
/// requests, so it must be quick.
pub type Admit = Arc<dyn Fn(&Peer) -> Result<(), String> + Send + Sync>;

/// When no connection can be accepted (no file descriptor is left), it is tried again after this time.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Takes connections and answers requests. Clones are one server.
#[derive(Clone)]
pub struct Server(Arc<Shared>);

struct Shared {
    tls: ServerTls,
    acceptor: TlsAcceptor,
    handler: Arc<dyn Handler>,
    admit: Admit,
    limits: ServerLimits,
    connections: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
    door: Door,
}

impl Server {
    /// With these certificates, this handler, and this rule of who is let in.
    pub fn new(
        tls: ServerTls,
        handler: Arc<dyn Handler>,
        admit: Admit,
        limits: ServerLimits,
    ) -> Self {
        Self(Arc::new(Shared {
            acceptor: TlsAcceptor::from(tls.config()),
            connections: Arc::new(Semaphore::new(limits.connections)),
            strangers: Arc::new(Semaphore::new(limits.strangers)),
            door: Door::new(limits.handshakes, limits.handshakes_of_one),
            tls,
            handler,
            admit,
            limits,
        }))
    }

    /// Takes connections until `stop`; then tells those that are open, lets what is being worked on finish (within
    /// [`ServerLimits::linger`]), and returns. The listener is closed at once.
    pub async fn run(self, listener: TcpListener, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, from)) => {
                    self.take(stream, from, &tasks, &stop);
                }
                Err(error) => {
                    self.0.door.log(format_args!("cannot accept a connection: {error}"));
                    sleep(ACCEPT_AGAIN).await;
                }
            }
        }
        drop(listener);
        tasks.close();
        tasks.wait().await;
    }

    fn take(
        &self,
        stream: TcpStream,
        from: SocketAddr,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let full = || {
            let words = "too many connections or handshakes";
            self.0.door.log(format_args!("refused a connection from {from}: {words}"));
        };
        let Ok(place) = Arc::clone(&self.0.connections).try_acquire_owned() else { return full() };
        let Some(handshake) = self.0.door.enter(from.ip()) else { return full() };
        // A small answer must not wait for a larger packet.
        if stream.set_nodelay(true).is_err() {
            return;
        }
        let (server, stop) = (self.clone(), stop.clone());
        tasks.spawn(async move {
            let accepted = tokio::select! {
                () = stop.cancelled() => return,
                accepted = server.handshake(stream) => accepted,
            };
            drop(handshake);
            match accepted {
                Ok(Accepted { stream, caller }) => {
                    let name = format!("{from} ({})", caller.name());
                    if let Err(why) = server.converse(stream, caller, &stop).await {
                        server.0.door.log(format_args!("closed the connection of {name}: {why}"));
                    }
                }
                // Between being made a server and having a server's certificate, which is renewed at once, every newcomer
                // is refused by the servers that call it.
                Err(NoHandshake::OfUs(why)) if server.0.tls.shows_worker() => {
                    tracing::debug!("no connection from {from} yet: {why}");
                }
                Err(why) => {
                    server.0.door.log(format_args!("refused a connection from {from}: {why}"));
                }
            }
            drop(place);
        });
    }

    /// The handshake, within its time.
    async fn handshake<S: Stream>(&self, stream: S) -> Result<Accepted<S>, NoHandshake> {
        let limit = self.0.limits.handshake;
        let stream = timeout(limit, self.0.acceptor.accept(stream))
            .await
            .map_err(|_| format!("no handshake within {limit:?}"))?
            .map_err(|error| NoHandshake::of(&error))?;
        let (_, tls) = stream.get_ref();
        if tls.alpn_protocol() != Some(ALPN) {
            return Err("it does not ask for `herder/1`".to_owned().into());
        }
        let peer = self.0.tls.peer(tls.peer_certificates()).map_err(|error| error.to_string())?;
        let caller = match peer {
            Some(peer) => Caller::Peer(peer),
            None => Caller::Stranger(self.stranger()?),
        };
        Ok(Accepted { stream, caller })
    }

    fn stranger(&self) -> Result<OwnedSemaphorePermit, String> {
        Arc::clone(&self.0.strangers)
            .try_acquire_owned()
            .map_err(|_| "too many connections without a certificate".to_owned())
    }

    async fn converse<S: Stream>(
        &self,
        stream: TlsStream<S>,
        caller: Caller,
        stop: &CancellationToken,
    ) -> Result<(), String> {
        connection::converse(&self.0, stream, caller, stop).await
    }

    /// One connection that was made elsewhere, for networks of a test's own.
    ///
    /// # Errors
    /// Why it ended, unless the caller closed it or the server stops.
    pub async fn serve_stream<S: Stream>(
        &self,
        stream: S,
        stop: &CancellationToken,
    ) -> Result<(), io::Error> {
        let Accepted { stream, caller } = self.handshake(stream).await.map_err(io::Error::other)?;
        self.converse(stream, caller, stop).await.map_err(io::Error::other)
    }
}

/// Why there was no handshake, in words.
#[derive(Debug, thiserror::Error)]
enum NoHandshake {
    /// The other side does not accept our certificate.
    #[error("{0}")]
    OfUs(String),
    /// All else.
    #[error("{0}")]
    OfThem(String),
}

impl From<String> for NoHandshake {
    fn from(words: String) -> Self {
        Self::OfThem(words)
    }
}

impl NoHandshake {
    fn of(error: &io::Error) -> Self {
        let words = crate::error::io_words(error);
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref());
        match tls.is_some_and(identity::is_our_certificate_refused) {
            true => Self::OfUs(words),
            false => Self::OfThem(words),
        }
    }
}

struct Accepted<S> {
    stream: TlsStream<S>,
    caller: Caller,
}
