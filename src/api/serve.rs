//! Carries a router over connections, with limits on everything that a client decides.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::rt::{Read, Write};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::params::Stopping;

/// Connections at a time. Many of them are watchers, which cost little.
const MAX_CONNECTIONS: usize = 16 * 1024;
/// How long a request's head may take, and how long a connection may stay idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// The largest request head, in bytes.
const MAX_HEAD: usize = 64 * 1024;
/// How many headers a request may have.
const MAX_HEADERS: usize = 100;
/// How long requests may take to end when the agent stops.
const GRACE: Duration = Duration::from_secs(5);
/// The wait after the system refused a connection, for example because it has no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` until `stop`, over TLS where there is a configuration for it. Then it accepts no more, ends the waits of blocking queries, and gives other requests
/// five seconds to end.
///
/// # Errors
/// Never at present: a refused connection is logged and tried again.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Arc<ServerConfig>>,
    stop: CancellationToken,
) -> io::Result<()> {
    let router = router.layer(Extension(Stopping(stop.clone())));
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let slot = tokio::select! {
            () = stop.cancelled() => break,
            slot = Arc::clone(&slots).acquire_owned() => slot.map_err(io::Error::other)?,
        };
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, stop, tls) = (router.clone(), stop.clone(), tls.clone());
                connections.spawn(async move {
                    connection(stream, router, tls, stop).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    let all = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

async fn connection(
    stream: TcpStream,
    router: Router,
    tls: Option<Arc<ServerConfig>>,
    stop: CancellationToken,
) {
    // Small answers must not wait for the acknowledgement of the one before.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let Some(tls) = tls else { return converse(TokioIo::new(stream), router, stop).await };
    let shaken = tokio::select! {
        () = stop.cancelled() => return,
        shaken = crate::tls::accept(stream, &tls) => shaken,
    };
    if let Some(stream) = shaken {
        converse(TokioIo::new(stream), router, stop).await;
    }
}

async fn converse(
    io: impl Read + Write + Unpin + 'static,
    router: Router,
    stop: CancellationToken,
) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(io, TowerToHyperService::new(router));
    tokio::pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::params::Ask;

    #[tokio::test]
    async fn a_stop_ends_waits_and_then_the_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let stop = CancellationToken::new();
        let (entered, entering) = tokio::sync::oneshot::channel::<()>();
        let entered = Arc::new(std::sync::Mutex::new(Some(entered)));
        let wait = move |ask: Ask| {
            let sender = entered.lock().expect("no panic holds it").take();
            async move {
                sender.map(|sender| sender.send(()));
                ask.stopping.0.cancelled().await;
                "stopped"
            }
        };
        let router = Router::new().route("/wait", get(wait));
        let server = tokio::spawn(serve(listener, router, None, stop.clone()));
        let mut client = TcpStream::connect(address).await.expect("a connection");
        client.write_all(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
        entering.await.expect("the handler runs");
        stop.cancel();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("an answer and the end");
        assert!(answer.ends_with("stopped"), "{answer}");
        server.await.expect("no panic").expect("ended well");
    }
}
