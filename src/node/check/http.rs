//! One HTTP/1.1 request over a connection of its own: a check must see the port as a new client does.

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use model::CheckStatus;
use tokio::net::TcpStream;

use super::{MAX_OUTPUT, Seen};

pub(super) fn request(
    authority: &str,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: &str,
) -> Result<Request<Full<Bytes>>, String> {
    let mut request = Request::builder().method(method).uri(path);
    let given = |name: &str| headers.iter().any(|(key, _)| key.eq_ignore_ascii_case(name));
    for (name, value) in [("host", authority), ("user-agent", "Herder-Check"), ("accept", "*/*")] {
        if !given(name) {
            request = request.header(name, value);
        }
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request = request.header("connection", "close");
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    request.body(body).map_err(|error| format!("the request cannot be made: {error}"))
}

/// Sends it and reads the first [`MAX_OUTPUT`] bytes of the answer. The caller limits the time.
pub(super) async fn exchange(
    authority: &str,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Vec<u8>), String> {
    let stream = TcpStream::connect(authority).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let answer = async move {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        Ok((response.status(), head_of(response.into_body()).await))
    };
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The peer may close before the answer was read to its end; what has come is still there to read.
        _ = &mut connection => answer.await,
    }
}

async fn head_of(mut body: Incoming) -> Vec<u8> {
    let mut head = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            head.extend_from_slice(data);
        }
        if head.len() >= MAX_OUTPUT {
            head.truncate(MAX_OUTPUT);
            break;
        }
    }
    head
}

/// 2xx passes, 429 warns (busy, but there), anything else is critical. Redirects are not followed.
pub(super) fn judge(method: &str, url: &str, status: StatusCode, body: &[u8]) -> Seen {
    let verdict = match status.as_u16() {
        200..=299 => CheckStatus::Passing,
        429 => CheckStatus::Warning,
        _ => CheckStatus::Critical,
    };
    let body = String::from_utf8_lossy(body);
    let mut output = format!("HTTP {method} {url}: {status}");
    if !body.trim().is_empty() {
        output += " Output: ";
        output += body.trim_end();
    }
    Seen::new(verdict, output)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::check::{Probe, http_or_tcp};

    /// Answers one connection with `answer` and hands back what was asked.
    async fn ask(answer: Vec<u8>) -> (Seen, String, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("an address").to_string();
        let probe = Probe::Http {
            authority: authority.clone(),
            method: "GET".into(),
            path: "/health".into(),
            headers: vec![("Host".into(), "shop".into())],
            body: String::new(),
        };
        let serve = async {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut asked = vec![0; 1024];
            let read = stream.read(&mut asked).await.expect("a request");
            // The client may have gone once it has read enough.
            let _ = stream.write_all(&answer).await;
            let _ = stream.shutdown().await;
            String::from_utf8_lossy(&asked[..read]).into_owned()
        };
        let (seen, asked) = tokio::join!(http_or_tcp(&probe, Duration::from_secs(20)), serve);
        (seen, asked, authority)
    }

    #[tokio::test]
    async fn two_hundred_passes() {
        let (seen, asked, authority) = ask(b"HTTP/1.1 200 OK\r\n\r\nall good\n".to_vec()).await;
        assert_eq!(seen.status, CheckStatus::Passing);
        assert_eq!(
            seen.output,
            format!("HTTP GET http://{authority}/health: 200 OK Output: all good")
        );
        assert!(asked.starts_with("GET /health HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("host: shop\r\n"), "{asked}");
    }

    #[tokio::test]
    async fn other_answers_do_not() {
        let (seen, _, authority) =
            ask(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_vec()).await;
        assert_eq!(seen.status, CheckStatus::Critical);
        assert_eq!(
            seen.output,
            format!("HTTP GET http://{authority}/health: 503 Service Unavailable")
        );
        let (seen, ..) = ask(b"HTTP/1.1 429 Too Many Requests\r\n\r\n".to_vec()).await;
        assert_eq!(seen.status, CheckStatus::Warning);
        let (seen, ..) = ask(b"nonsense\r\n\r\n".to_vec()).await;
        assert_eq!(seen.status, CheckStatus::Critical);
    }

    #[tokio::test]
    async fn a_long_answer_is_cut() {
        let mut answer = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
        answer.resize(200_000, b'x');
        let (seen, ..) = ask(answer).await;
        assert_eq!(seen.status, CheckStatus::Passing);
        assert_eq!(seen.output.len(), MAX_OUTPUT);
    }

    #[tokio::test]
    async fn a_closed_port_is_critical() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("an address").to_string();
        let open = Probe::Tcp { authority };
        let seen = http_or_tcp(&open, Duration::from_secs(20)).await;
        assert_eq!(seen.status, CheckStatus::Passing, "{}", seen.output);
        drop(listener);
        let seen = http_or_tcp(&open, Duration::from_secs(20)).await;
        assert_eq!(seen.status, CheckStatus::Critical, "{}", seen.output);
    }

    #[tokio::test]
    async fn silence_is_critical_at_the_timeout() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let authority = listener.local_addr().expect("an address").to_string();
        let probe = Probe::Http {
            authority,
            method: "GET".into(),
            path: "/".into(),
            headers: Vec::new(),
            body: String::new(),
        };
        let seen = http_or_tcp(&probe, Duration::from_millis(50)).await;
        assert_eq!(seen.status, CheckStatus::Critical);
        assert!(seen.output.ends_with("no answer within 50ms"), "{}", seen.output);
    }
}
