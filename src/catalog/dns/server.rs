//! The listener: one address, UDP and TCP on the same port.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{Config, respond};
use crate::view::CatalogHandle;

/// Ports that are tried when any will do, until one is free for both protocols.
const PORT_TRIES: usize = 32;
/// The largest query over UDP; more would be cut off and then fail to parse.
const LARGEST_QUERY: usize = 4096;
/// Wait after an error that is likely to come again at once, such as too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// Why there is no DNS server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("DNS cannot listen on {address}; free the port or set another one in ports.dns")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A DNS server that is bound and does not answer yet.
pub struct Server {
    udp: UdpSocket,
    tcp: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on `address`, UDP and TCP on the same port; port 0 takes any that is free for both.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServeError> {
        let mut tries = if address.port() == 0 { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            match Self::try_bind(address).await {
                Ok(server) => return Ok(server),
                Err(_) if tries > 0 => {}
                Err(source) => return Err(ServeError::Bind { address, source }),
            }
        }
    }

    async fn try_bind(wanted: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::bind(wanted).await?;
        let address = tcp.local_addr()?;
        let udp = UdpSocket::bind(address).await?;
        Ok(Self { udp, tcp, address })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop` is cancelled; connections are closed then.
    pub async fn run(self, catalog: CatalogHandle, config: Config, stop: CancellationToken) {
        let config = Arc::new(config);
        let mut loops = JoinSet::new();
        loops.spawn(answer_udp(self.udp, catalog.clone(), Arc::clone(&config)));
        loops.spawn(accept_tcp(self.tcp, catalog, config));
        tokio::select! {
            () = stop.cancelled() => {}
            ended = loops.join_next() => {
                tracing::error!(?ended, "DNS stopped answering");
            }
        }
        loops.shutdown().await;
    }
}

async fn answer_udp(socket: UdpSocket, catalog: CatalogHandle, config: Arc<Config>) {
    let mut query = vec![0; LARGEST_QUERY];
    let mut reply = Vec::with_capacity(LARGEST_QUERY);
    let mut seed = fresh_seed();
    loop {
        let (len, peer) = match socket.recv_from(&mut query).await {
            Ok(received) => received,
            // Answers that could not be delivered come back as errors of the socket; they concern nobody here.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => {
                tracing::warn!(%error, "a DNS query could not be received");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        seed = seed.wrapping_add(1);
        let bytes = query.get(..len).unwrap_or_default();
        if respond(&catalog.peek(), &config, bytes, true, seed, &mut reply) {
            // What cannot be sent is lost, as UDP allows; the client asks again.
            if let Err(error) = socket.send_to(&reply, peer).await {
                tracing::debug!(%error, %peer, "a DNS answer could not be sent");
            }
        }
    }
}

async fn accept_tcp(listener: TcpListener, catalog: CatalogHandle, config: Arc<Config>) {
    let free = Arc::new(Semaphore::new(config.tcp_connections.max(1)));
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&free).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "a DNS connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (catalog, config) = (catalog.clone(), Arc::clone(&config));
        connections.spawn(async move {
            // A client that goes away in the middle is no news.
            if let Err(error) = answer_tcp(stream, &catalog, &config).await {
                tracing::debug!(%error, "a DNS connection ended early");
            }
            drop(place);
        });
    }
}

async fn answer_tcp(
    mut stream: TcpStream,
    catalog: &CatalogHandle,
    config: &Config,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut seed = fresh_seed();
    let mut query = Vec::new();
    let mut reply = Vec::new();
    let mut framed = Vec::new();
    loop {
        let read = async {
            let len = stream.read_u16().await?;
            query.resize(usize::from(len), 0);
            stream.read_exact(&mut query).await
        };
        match timeout(config.tcp_idle, read).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Ok(()),
        }
        seed = seed.wrapping_add(1);
        if !respond(&catalog.peek(), config, &query, false, seed, &mut reply) {
            return Ok(());
        }
        let len = u16::try_from(reply.len()).map_err(io::Error::other)?;
        framed.clear();
        framed.extend_from_slice(&len.to_be_bytes());
        framed.extend_from_slice(&reply);
        timeout(config.tcp_idle, stream.write_all(&framed)).await??;
    }
}

fn fresh_seed() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::{Name, RecordType};

    use super::*;
    use crate::sample::World;
    use crate::view::Catalog;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    async fn bound() -> Server {
        Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("a free port")
    }

    fn framed(kind: RecordType) -> Vec<u8> {
        let mut message = Message::new(1, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(
            Name::from_ascii("web.service.consul.").expect("a name"),
            kind,
        ));
        let bytes = message.to_vec().expect("encodes");
        let len = u16::try_from(bytes.len()).expect("short");
        [&len.to_be_bytes()[..], &bytes].concat()
    }

    async fn reply(stream: &mut TcpStream) -> Message {
        let len = stream.read_u16().await.expect("a length");
        let mut bytes = vec![0; len.into()];
        stream.read_exact(&mut bytes).await.expect("a reply");
        Message::from_vec(&bytes).expect("a message")
    }

    fn small() -> CatalogHandle {
        CatalogHandle::new(Catalog::rebuild(&World::small().state))
    }

    #[test]
    fn both_protocols_share_a_port_and_a_taken_one_is_named() {
        runtime().block_on(async {
            let first = bound().await;
            assert_eq!(first.udp.local_addr().expect("bound"), first.address());
            assert_eq!(first.tcp.local_addr().expect("bound"), first.address());
            let Err(error) = Server::bind(first.address()).await else {
                panic!("bound twice");
            };
            assert!(error.to_string().contains(&first.address().to_string()), "{error}");
        });
    }

    #[test]
    fn queries_may_come_together_and_in_pieces() {
        runtime().block_on(async {
            let server = bound().await;
            let address = server.address();
            let stop = CancellationToken::new();
            let client = async {
                let mut stream = TcpStream::connect(address).await.expect("connects");
                let both = [framed(RecordType::A), framed(RecordType::SRV)].concat();
                let (head, tail) = both.split_at(both.len() - 5);
                stream.write_all(head).await.expect("writes");
                assert_eq!(reply(&mut stream).await.queries[0].query_type(), RecordType::A);
                stream.write_all(tail).await.expect("writes");
                assert_eq!(reply(&mut stream).await.queries[0].query_type(), RecordType::SRV);
                stop.cancel();
            };
            tokio::join!(server.run(small(), Config::default(), stop.clone()), client);
        });
    }

    #[test]
    fn an_idle_connection_makes_way_for_one_that_waits() {
        runtime().block_on(async {
            let server = bound().await;
            let address = server.address();
            let stop = CancellationToken::new();
            let config = Config {
                tcp_connections: 1,
                tcp_idle: Duration::from_millis(200),
                ..Config::default()
            };
            let client = async {
                let mut idle = TcpStream::connect(address).await.expect("connects");
                idle.write_all(&framed(RecordType::A)).await.expect("writes");
                reply(&mut idle).await;
                let mut waiting = TcpStream::connect(address).await.expect("connects");
                waiting.write_all(&framed(RecordType::A)).await.expect("writes");
                assert_eq!(reply(&mut waiting).await.answers.len(), 2);
                assert_eq!(idle.read(&mut [0]).await.expect("an end"), 0, "it was closed");
                stop.cancel();
            };
            tokio::join!(server.run(small(), config, stop.clone()), client);
        });
    }
}
