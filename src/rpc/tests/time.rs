//! What takes time, in time of the tests' own: the network is memory, and the clock jumps when all wait.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use identity::{ClientTls, Peer, Role};
use rpc::testing::{Answer, TestCluster, everybody};
use rpc::{
    CallError, Class, Client, ClientLimits, Dial, Method, Refused, Server, ServerLimits, Stream,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

const HANG: Method = Method(2);

async fn answer(_: Option<Peer>, method: Method, body: Bytes) -> Result<Bytes, Refused> {
    if method == HANG {
        std::future::pending::<()>().await;
    }
    Ok(body)
}

/// A network that leads to one server, until it is cut.
struct Memory {
    server: Server,
    /// Between both ends there is somebody who can stop passing things on.
    cut: CancellationToken,
    ends: Mutex<Vec<JoinHandle<io::Result<()>>>>,
}

#[async_trait]
impl Dial for Memory {
    async fn dial(&self, _: &str) -> io::Result<Box<dyn Stream>> {
        let (near, mut relay_near) = duplex(64 * 1024);
        let (mut relay_far, far) = duplex(64 * 1024);
        let cut = self.cut.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = tokio::io::copy_bidirectional(&mut relay_near, &mut relay_far) => {}
                () = cut.cancelled() => {
                    // Nothing arrives any more, and nobody is told.
                    std::future::pending::<()>().await;
                }
            }
        });
        let server = self.server.clone();
        let end =
            tokio::spawn(async move { server.serve_stream(far, &CancellationToken::new()).await });
        self.ends.lock().expect("lock").push(end);
        Ok(Box::new(near))
    }
}

fn network(cluster: &TestCluster, limits: ServerLimits) -> Arc<Memory> {
    let server = cluster.server(Answer(answer), everybody(), limits);
    Arc::new(Memory { server, cut: CancellationToken::new(), ends: Mutex::default() })
}

fn client(cluster: &TestCluster, network: &Arc<Memory>) -> Client {
    let tls = cluster.client_tls(&cluster.member(Role::Worker));
    Client::with(tls, ClientLimits::default(), Arc::clone(network) as Arc<dyn Dial>)
}

async fn call(client: &Client, method: Method, limit: u64) -> Result<Bytes, CallError> {
    let limit = Duration::from_secs(limit);
    client.call("server", Class::Control, method, Bytes::from_static(b"x"), limit).await
}

#[tokio::test(start_paused = true)]
async fn a_dead_peer_is_noticed_by_both_sides_within_seconds() {
    let cluster = TestCluster::new();
    let network = network(&cluster, ServerLimits::default());
    let client = client(&cluster, &network);
    call(&client, Method(1), 1).await.expect("answered");
    let start = Instant::now();
    let (error, ()) = tokio::join!(call(&client, HANG, 100), async { network.cut.cancel() });
    let error = error.expect_err("dead");
    assert!(start.elapsed() <= Duration::from_secs(4), "{:?}", start.elapsed());
    assert!(matches!(error, CallError::Broken { .. }), "{error}");
    assert!(error.to_string().contains("nothing was heard"), "{error}");
    let end = network.ends.lock().expect("lock").remove(0);
    let error = end.await.expect("ran").expect_err("dead");
    assert!(error.to_string().contains("nothing was heard"), "{error}");
    assert!(start.elapsed() <= Duration::from_secs(6), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_connection_lives() {
    let cluster = TestCluster::new();
    let network = network(&cluster, ServerLimits::default());
    let client = client(&cluster, &network);
    // Longer than any silence that is borne, shorter than what counts as idle.
    for _ in 0..3 {
        call(&client, Method(1), 1).await.expect("answered");
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(network.ends.lock().expect("lock").len(), 1, "one connection");
    tokio::time::sleep(Duration::from_secs(300)).await;
    let end = network.ends.lock().expect("lock").remove(0);
    end.await.expect("ran").expect("an idle connection is closed in peace");
    call(&client, Method(1), 1).await.expect("and made again");
}

#[tokio::test(start_paused = true)]
async fn a_call_waits_no_longer_than_its_limit() {
    let cluster = TestCluster::new();
    let network = network(&cluster, ServerLimits::default());
    let client = client(&cluster, &network);
    let start = Instant::now();
    let error = call(&client, HANG, 7).await.expect_err("no answer");
    assert!(error.may_have_been_carried_out(), "{error}");
    assert!(start.elapsed() <= Duration::from_millis(7001), "{:?}", start.elapsed());
    call(&client, Method(1), 1).await.expect("the connection is still good");
    assert_eq!(network.ends.lock().expect("lock").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn callers_do_not_queue_behind_an_address_that_does_not_answer() {
    let cluster = TestCluster::new();
    let network = network(&cluster, ServerLimits::default());
    network.cut.cancel();
    let client = client(&cluster, &network);
    let start = Instant::now();
    let error = call(&client, Method(1), 1).await.expect_err("no answer");
    assert!(matches!(error, CallError::Timeout { sent: false, .. }), "{error}");
    assert_eq!(start.elapsed().as_secs(), 1);
    // The attempt goes on for those who wait longer, and its failure is everybody's.
    let error = call(&client, Method(1), 100).await.expect_err("no answer");
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    assert_eq!(start.elapsed().as_secs(), 3);
    let error = call(&client, Method(1), 100).await.expect_err("no answer");
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    assert_eq!(start.elapsed().as_secs(), 3, "for a moment nobody tries again");
    assert_eq!(network.ends.lock().expect("lock").len(), 1);
}

async fn end_of(far: DuplexStream, server: Server) -> (String, Duration) {
    let start = Instant::now();
    let end = server.serve_stream(far, &CancellationToken::new()).await;
    (end.expect_err("refused").to_string(), start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_handshake_byte_by_byte_is_cut_off() {
    let cluster = TestCluster::new();
    let server = cluster.server(Answer(answer), everybody(), ServerLimits::default());
    let (mut near, far) = duplex(1024);
    let slow = tokio::spawn(async move {
        // The head of a TLS record, and then a byte each second.
        let _ = near.write_all(&[0x16, 3, 1, 2, 0]).await;
        while near.write_all(&[1]).await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let (error, took) = end_of(far, server).await;
    assert!(error.contains("no handshake within 10s"), "{error}");
    assert_eq!(took.as_secs(), 10);
    slow.await.expect("it was cut off");
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_a_certificate_has_a_short_life() {
    let cluster = TestCluster::new();
    let network = network(&cluster, ServerLimits::default());
    let tls = ClientTls::for_joining(&cluster.token(), cluster.clock()).expect("TLS");
    let client = Client::with(tls, ClientLimits::default(), Arc::clone(&network) as Arc<dyn Dial>);
    let start = Instant::now();
    let error = call(&client, HANG, 600).await.expect_err("cut off");
    assert!(matches!(error, CallError::Broken { sent: true, .. }), "{error}");
    assert_eq!(start.elapsed().as_secs(), 30);
}

/// A caller that keeps no rule: a server's connection, greeted, with frames of the test's own making.
async fn rude(
    cluster: &TestCluster,
    limits: ServerLimits,
) -> (TlsStream<DuplexStream>, JoinHandle<(String, Duration)>) {
    let server = cluster.server(Answer(answer), everybody(), limits);
    let (near, far) = duplex(16 * 1024);
    let serving = tokio::spawn(end_of(far, server));
    let tls = cluster.client_tls(&cluster.member(Role::Worker));
    let connector = TlsConnector::from(tls.config());
    let mut stream = connector.connect(ClientTls::server_name(), near).await.expect("handshake");
    let (kind, _) = next_frame(&mut stream).await;
    assert_eq!(kind, 0, "hello");
    (stream, serving)
}

fn request(id: u64, method: Method, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&u32::try_from(15 + body.len()).expect("fits").to_be_bytes());
    bytes.push(1);
    bytes.extend_from_slice(&id.to_be_bytes());
    bytes.extend_from_slice(&method.0.to_be_bytes());
    bytes.extend_from_slice(&60_000_u32.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// Kind and content.
async fn next_frame(stream: &mut TlsStream<DuplexStream>) -> (u8, Vec<u8>) {
    let length = stream.read_u32().await.expect("a frame");
    let kind = stream.read_u8().await.expect("a frame");
    let mut content = vec![0; usize::try_from(length).expect("fits") - 1];
    stream.read_exact(&mut content).await.expect("a whole frame");
    (kind, content)
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_asks_too_much_at_once_is_told() {
    let cluster = TestCluster::new();
    let limits = ServerLimits { in_flight: 1, ..ServerLimits::default() };
    let (mut stream, _serving) = rude(&cluster, limits).await;
    for id in 1..=2 {
        stream.write_all(&request(id, HANG, b"")).await.expect("written");
    }
    stream.flush().await.expect("written");
    let (kind, content) = next_frame(&mut stream).await;
    assert_eq!((kind, &content[..10]), (3, &[0, 0, 0, 0, 0, 0, 0, 2, 0, 2][..]), "busy");
}

#[tokio::test(start_paused = true)]
async fn a_server_answers_what_it_does_not_understand_with_goodbye() {
    let cluster = TestCluster::new();
    // A hello, which only a server says; a request that is too short.
    for wrong in [&[0, 0, 0, 11, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0, 0, 0, 2, 1, 1]] {
        let (mut stream, serving) = rude(&cluster, ServerLimits::default()).await;
        stream.write_all(&request(9, Method(1), b"x")).await.expect("written");
        stream.write_all(wrong).await.expect("written");
        stream.flush().await.expect("written");
        let mut kinds = Vec::new();
        let goodbye = loop {
            let (kind, content) = next_frame(&mut stream).await;
            kinds.push(kind);
            if kind == 5 {
                break content;
            }
        };
        assert_eq!(goodbye[..10], [0, 0, 0, 0, 0, 0, 0, 9, 0, 9], "after the ninth; protocol");
        drop(stream);
        serving.await.expect("ran");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_read_its_answers_is_cut_off() {
    let cluster = TestCluster::new();
    let (mut stream, serving) = rude(&cluster, ServerLimits::default()).await;
    stream.write_all(&request(1, Method(1), &vec![7; 100_000])).await.expect("written");
    stream.flush().await.expect("written");
    // It says that it is alive, and never reads.
    let (_, mut write) = tokio::io::split(stream);
    let alive = tokio::spawn(async move {
        while write.write_all(&[0, 0, 0, 1, 4]).await.is_ok() && write.flush().await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    let (error, took) = serving.await.expect("ran");
    assert!(error.contains("nothing can be sent"), "{error}");
    assert!(took <= Duration::from_secs(5), "{took:?}");
    alive.await.expect("it was cut off");
}
