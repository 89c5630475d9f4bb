//! Those who are not, or not yet, of the cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use identity::{ClientTls, Peer, Role, ServerTls};
use rpc::testing::{Answer, Running, TestCluster, everybody, patient_client, patient_server};
use rpc::{CallError, Class, Client, Code, Method, Refused, Server, ServerLimits, Tcp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const LONG: Duration = Duration::from_secs(60);

async fn who(peer: Option<Peer>, _: Method, body: Bytes) -> Result<Bytes, Refused> {
    Ok(if peer.is_some() { Bytes::from_static(b"member") } else { body })
}

async fn start(cluster: &TestCluster) -> Running {
    Running::start(cluster.server(Answer(who), everybody(), patient_server())).await
}

async fn call(client: &Client, to: &Running, body: Bytes) -> Result<Bytes, CallError> {
    client.call(&to.address, Class::Control, Method(1), body, LONG).await
}

fn unreachable(error: &CallError) -> &str {
    match error {
        CallError::Unreachable { detail, .. } => detail,
        other => panic!("{other}"),
    }
}

fn joiner(cluster: &TestCluster) -> Client {
    let tls = ClientTls::for_joining(&cluster.token(), cluster.clock()).expect("TLS");
    Client::with(tls, patient_client(), Arc::new(Tcp))
}

#[tokio::test]
async fn a_joiner_is_heard_and_known_as_nobody() {
    let cluster = TestCluster::new();
    let running = start(&cluster).await;
    let body = Bytes::from_static(b"let me in");
    assert_eq!(call(&joiner(&cluster), &running, body.clone()).await, Ok(body));
}

#[tokio::test]
async fn a_joiner_asks_nobody_but_its_cluster() {
    let (ours, theirs) = (TestCluster::new(), TestCluster::new());
    let running = start(&theirs).await;
    let error = call(&joiner(&ours), &running, Bytes::new()).await.expect_err("refused");
    assert!(unreachable(&error).contains("join token does not name"), "{error}");
    assert!(!error.may_have_been_carried_out());
}

#[tokio::test]
async fn a_joiner_may_say_little() {
    let cluster = TestCluster::new();
    let running = start(&cluster).await;
    let client = joiner(&cluster);
    let error = call(&client, &running, Bytes::from(vec![0; 64 * 1024])).await;
    assert!(matches!(error, Err(CallError::TooLarge { limit, .. }) if limit < 64 * 1024));
    assert!(call(&client, &running, Bytes::from(vec![0; 60 * 1024])).await.is_ok());
}

#[tokio::test]
async fn a_member_of_another_cluster_is_refused_by_both_sides() {
    let (ours, theirs) = (TestCluster::new(), TestCluster::new());
    let running = start(&ours).await;
    let client = theirs.client(&theirs.member(Role::Server));
    let error = call(&client, &running, Bytes::new()).await.expect_err("refused");
    assert!(unreachable(&error).contains("another authority"), "{error}");
}

#[tokio::test]
async fn a_member_that_is_not_admitted_is_told_why() {
    let cluster = TestCluster::new();
    let handled = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&handled);
    let handler = Answer(move |_, _, body| {
        count.fetch_add(1, Ordering::SeqCst);
        async { Ok(body) }
    });
    let admit: rpc::Admit = Arc::new(|peer| Err(format!("{} was removed", peer.role)));
    let running = Running::start(cluster.server(handler, admit, patient_server())).await;
    let client = cluster.client(&cluster.member(Role::Worker));
    let error = call(&client, &running, Bytes::new()).await.expect_err("refused");
    let CallError::Refused { refused, .. } = &error else { panic!("{error}") };
    assert_eq!(*refused, Refused::new(Code::NOT_ADMITTED, "worker was removed"));
    assert!(!error.may_have_been_carried_out());
    assert_eq!(handled.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn an_expired_certificate_is_refused_in_words() {
    let cluster = TestCluster::new();
    let server = cluster.member(Role::Server);
    let tls = ServerTls::new(&server, cluster.clock()).expect("TLS");
    let running =
        Running::start(Server::new(tls, Arc::new(Answer(who)), everybody(), patient_server()))
            .await;
    let late = cluster.client(&cluster.member(Role::Worker));
    cluster.advance(identity::DEFAULT_LIFETIME + Duration::from_secs(60));
    let node = server.peer().and_then(|peer| peer.node).expect("a node");
    cluster.renew(&server, node, Role::Server);
    let error = call(&late, &running, Bytes::new()).await.expect_err("refused");
    assert!(unreachable(&error).contains("our certificate has expired"), "{error}");
    let punctual = cluster.client(&cluster.member(Role::Worker));
    call(&punctual, &running, Bytes::new()).await.expect("let in");
}

#[tokio::test]
async fn a_worker_cannot_pose_as_a_server() {
    let cluster = TestCluster::new();
    let tls = ServerTls::new(&cluster.member(Role::Worker), cluster.clock()).expect("TLS");
    let server = Server::new(tls, Arc::new(Answer(who)), everybody(), patient_server());
    let running = Running::start(server).await;
    let client = cluster.client(&cluster.member(Role::Server));
    let error = call(&client, &running, Bytes::new()).await.expect_err("refused");
    assert!(unreachable(&error).contains("a server is wanted"), "{error}");
}

#[tokio::test]
async fn garbage_is_answered_with_nothing_but_the_end() {
    let cluster = TestCluster::new();
    let running = start(&cluster).await;
    let client = cluster.client(&cluster.member(Role::Worker));
    for garbage in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0; 4096], &[0xff; 70_000]] {
        let mut stream = TcpStream::connect(&running.address).await.expect("connected");
        // The server may have closed it before all was written.
        let _ = stream.write_all(garbage).await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.len() < 100, "an alert at most");
        let answer = call(&client, &running, Bytes::new()).await;
        assert_eq!(answer, Ok(Bytes::from_static(b"member")), "others go on");
    }
}

#[tokio::test]
async fn few_strangers_at_once() {
    let cluster = TestCluster::new();
    let limits = ServerLimits { strangers: 1, ..patient_server() };
    let running = Running::start(cluster.server(Answer(who), everybody(), limits)).await;
    let first = joiner(&cluster);
    call(&first, &running, Bytes::new()).await.expect("heard");
    let error = call(&joiner(&cluster), &running, Bytes::new()).await.expect_err("refused");
    assert!(matches!(error, CallError::Unreachable { .. }), "{error}");
    let member = cluster.client(&cluster.member(Role::Worker));
    call(&member, &running, Bytes::new()).await.expect("members have places of their own");
}

#[tokio::test]
async fn frames_that_are_too_large_end_the_connection_before_they_are_read() {
    let cluster = TestCluster::new();
    let running = start(&cluster).await;
    let connector = tokio_rustls::TlsConnector::from(
        cluster.client_tls(&cluster.member(Role::Worker)).config(),
    );
    for length in [25 * 1024 * 1024_u32, u32::MAX, 0] {
        let stream = TcpStream::connect(&running.address).await.expect("connected");
        let mut stream =
            connector.connect(ClientTls::server_name(), stream).await.expect("handshake");
        stream.write_all(&length.to_be_bytes()).await.expect("written");
        stream.flush().await.expect("written");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        // Hello, then goodbye with the reason.
        let words = String::from_utf8_lossy(&rest);
        let expected = if length == 0 { "a frame is empty" } else { "is larger than" };
        assert!(words.contains(expected), "{words:?}");
    }
}
