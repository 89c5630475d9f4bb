//! TLS in front of a face, with a word for those who speak plain HTTP to it.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use model::Node;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The attribute of a node whose HTTP API speaks TLS; `true` then.
pub const HTTPS: &str = "herder.https";
/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long is waited, after a last word, for the other side to read it.
const LINGER: Duration = Duration::from_secs(1);
/// How much is read meanwhile and thrown away.
const LEFT: usize = 64 * 1024;
/// The first byte of every TLS connection.
const TLS_BEGINS: u8 = 0x16;
/// For those who speak plain HTTP.
const WORDS: &str =
    "Client sent an HTTP request to an HTTPS server: begin the address with https://\n";

/// Whether a node's HTTP API speaks TLS, as the node says of itself.
pub(crate) fn speaks_tls(node: &Node) -> bool {
    node.attributes.get(HTTPS).is_some_and(|said| said == "true")
}

/// The conversation inside a connection, or nothing where there is none.
pub(crate) async fn accept(
    mut stream: TcpStream,
    config: &Arc<ServerConfig>,
) -> Option<TlsStream<TcpStream>> {
    let shaken = async {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(0) | Err(_) => return None,
            Ok(_) if first[0] != TLS_BEGINS => {
                part(&mut stream, answer().as_bytes()).await;
                return None;
            }
            Ok(_) => {}
        }
        match TlsAcceptor::from(Arc::clone(config)).accept(stream).into_fallible().await {
            Ok(stream) => Some(stream),
            Err((error, mut stream)) => {
                tracing::debug!(%error, "a TLS handshake did not work out");
                // Why is told already; it must not be lost because of bytes that nobody reads.
                part(&mut stream, b"").await;
                None
            }
        }
    };
    timeout(HANDSHAKE, shaken).await.ok().flatten()
}

fn answer() -> String {
    format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{WORDS}",
        WORDS.len()
    )
}

/// Says a last word so that it arrives.
async fn part(stream: &mut TcpStream, words: &[u8]) {
    let all = async {
        stream.write_all(words).await?;
        stream.shutdown().await?;
        let mut left = [0; 4096];
        let mut read = 0;
        while read < LEFT {
            match stream.read(&mut left).await? {
                0 => break,
                more => read += more,
            }
        }
        io::Result::Ok(())
    };
    let _ = timeout(LINGER, all).await;
}

#[cfg(test)]
mod tests {
    use rustls::server::ResolvesServerCertUsingSni;
    use tokio::net::TcpListener;

    use super::*;

    /// What somebody hears who says this to a server without certificates.
    async fn said(words: &[u8]) -> Vec<u8> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("a version")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(ResolvesServerCertUsingSni::new()));
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            accept(stream, &Arc::new(config)).await.is_none()
        });
        let mut client = TcpStream::connect(address).await.expect("a connection");
        client.write_all(words).await.expect("sent");
        client.shutdown().await.expect("sent");
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.expect("the end, and no reset");
        assert!(server.await.expect("no panic"), "there is no conversation");
        heard
    }

    #[tokio::test]
    async fn who_speaks_plainly_is_told_so() {
        // More than is read at once, so that what is left over would reset the connection.
        let long = format!("POST /v1/jobs HTTP/1.1\r\nHost: x\r\n\r\n{}", "x".repeat(20_000));
        let heard = String::from_utf8(said(long.as_bytes()).await).expect("text");
        assert!(heard.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{heard}");
        assert!(heard.ends_with(WORDS), "{heard}");
    }

    #[tokio::test]
    async fn who_speaks_nonsense_or_says_nothing_is_parted_with() {
        for words in [&[TLS_BEGINS, 3, 1, 0, 5, 1, 2, 3, 4, 5][..], &[TLS_BEGINS], b""] {
            let heard = said(words).await;
            assert!(!heard.starts_with(b"HTTP"), "{heard:?}");
        }
    }
}
