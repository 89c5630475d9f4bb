//! A cluster of a test's own: an authority that was just made, members, and servers on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use identity::{
    Authority, ClientTls, Clock, ClusterId, Credentials, DEFAULT_LIFETIME, Grant, JoinToken,
    NodeKey, Peer, Role, ServerTls, Trust,
};
use model::{NodeId, Timestamp, seeded_uuid};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Admit, Client, ClientLimits, Handler, Method, Refused, Server, ServerLimits, Tcp};

/// An authority and the time by which its members judge certificates.
pub struct TestCluster {
    /// Its name.
    pub id: ClusterId,
    /// Who signs.
    pub authority: Authority,
    ahead: Arc<AtomicI64>,
    made: AtomicU64,
}

impl TestCluster {
    /// A new one, unlike all others.
    pub fn new() -> Self {
        let key = NodeKey::generate().expect("the system has randomness");
        let id = ClusterId::new(seeded_uuid(&[key.fingerprint().as_bytes()]));
        let authority = Authority::create(id, Clock::system().now()).expect("a good date");
        Self { id, authority, ahead: Arc::default(), made: AtomicU64::new(0) }
    }

    /// The cluster's time: the system's, and what it was moved on by.
    pub fn clock(&self) -> Clock {
        let (system, ahead) = (Clock::system(), Arc::clone(&self.ahead));
        Clock::new(move || Timestamp(system.now().0.saturating_add(ahead.load(Ordering::SeqCst))))
    }

    /// Moves the cluster's time on.
    pub fn advance(&self, span: Duration) {
        let span = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        self.ahead.fetch_add(span, Ordering::SeqCst);
    }

    /// Whom members believe.
    pub fn trust(&self) -> Trust {
        Trust::cluster(&self.authority.certificate_pem(), self.id).expect("our own authority")
    }

    /// A new member's certificate.
    pub fn member(&self, role: Role) -> Credentials {
        let credentials = Credentials::empty(self.trust());
        let number = self.made.fetch_add(1, Ordering::SeqCst);
        let id = seeded_uuid(&[self.id.uuid().as_bytes(), &number.to_be_bytes()]);
        self.renew(&credentials, NodeId::new(id), role);
        credentials
    }

    /// Gives `credentials` a new certificate and key for this node.
    pub fn renew(&self, credentials: &Credentials, node: NodeId, role: Role) {
        let key = NodeKey::generate().expect("the system has randomness");
        let request = key.request().expect("a request");
        let grant =
            Grant { cluster: self.id, node, role, names: Vec::new(), addresses: Vec::new() };
        let now = self.clock().now();
        let issued = self.authority.issue(&request, &grant, now, DEFAULT_LIFETIME);
        let certificate = issued.expect("a good grant");
        credentials.replace(&certificate, &key, now).expect("our own certificate");
    }

    /// A token that is good for an hour.
    pub fn token(&self) -> JoinToken {
        let expires = self.clock().now() + Duration::from_secs(3600);
        JoinToken::create(self.id, self.authority.fingerprint(), expires).expect("randomness")
    }

    /// A client with these credentials and [patient](patient_client) limits.
    pub fn client(&self, credentials: &Credentials) -> Client {
        Client::with(self.client_tls(credentials), patient_client(), Arc::new(Tcp))
    }

    /// TLS for a client of one's own making.
    pub fn client_tls(&self, credentials: &Credentials) -> ClientTls {
        ClientTls::new(credentials, self.clock()).expect("a configuration")
    }

    /// A server with a certificate of its own.
    pub fn server(&self, handler: impl Handler, admit: Admit, limits: ServerLimits) -> Server {
        let credentials = self.member(Role::Server);
        let tls = ServerTls::new(&credentials, self.clock()).expect("a configuration");
        Server::new(tls, Arc::new(handler), admit, limits)
    }
}

impl Default for TestCluster {
    fn default() -> Self {
        Self::new()
    }
}

/// A machine that is busy with other tests is not dead.
const PATIENCE: Duration = Duration::from_secs(60);

/// The default limits, but for silence and connecting, which may last longer.
pub fn patient_client() -> ClientLimits {
    ClientLimits { connect: PATIENCE, silence: PATIENCE, ..ClientLimits::default() }
}

/// The default limits, but for silence and handshakes, which may last longer.
pub fn patient_server() -> ServerLimits {
    ServerLimits { handshake: PATIENCE, silence: PATIENCE, ..ServerLimits::default() }
}

/// Lets everybody in.
pub fn everybody() -> Admit {
    Arc::new(|_| Ok(()))
}

/// A server that runs; it stops when it is dropped.
pub struct Running {
    /// `127.0.0.1:<port>`
    pub address: String,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    /// On any free port of loopback.
    pub async fn start(server: Server) -> Self {
        Self::start_at(server, "127.0.0.1:0").await
    }

    /// At this address.
    pub async fn start_at(server: Server, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("the address is free");
        let address = listener.local_addr().expect("bound").to_string();
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.run(listener, stop.clone()));
        Self { address, stop, task }
    }

    /// Stops it and waits until it has.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A handler made of a function.
pub struct Answer<F>(pub F);

#[async_trait]
impl<F, R> Handler for Answer<F>
where
    F: Fn(Option<Peer>, Method, Bytes) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Bytes, Refused>> + Send,
{
    async fn handle(
        &self,
        peer: Option<&Peer>,
        method: Method,
        body: Bytes,
    ) -> Result<Bytes, Refused> {
        (self.0)(peer.cloned(), method, body).await
    }
}
