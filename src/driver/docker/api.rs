//! Talking to the daemon.
//!
//! What changes something, and what streams, goes through bollard. What is only read goes through [`Api::get`] and is
//! taken apart field by field: bollard refuses a whole answer for one word it does not know, and a container must not
//! be lost because a newer daemon, or Podman, has a new name for its state.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use bollard::{API_DEFAULT_VERSION, Docker};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::Engine;
use crate::DriverError;

/// The most that one answer may hold, in bytes.
const MAX_ANSWER: usize = 16 * 1024 * 1024;

/// How long one answer may take.
const GET_LIMIT: Duration = Duration::from_secs(20);

/// What bollard is told instead of "no limit": some answers begin when a container ends. Limits are set by the callers.
const NO_LIMIT: u64 = 10 * 365 * 24 * 3600;

/// Where the daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Unix(PathBuf),
    Tcp(String),
}

impl Endpoint {
    /// Reads a `DOCKER_HOST`, or a plain path.
    pub(super) fn parse(text: &str) -> Self {
        match text.strip_prefix("tcp://").or_else(|| text.strip_prefix("http://")) {
            Some(address) => Self::Tcp(address.trim_end_matches('/').to_owned()),
            None => Self::Unix(PathBuf::from(text.strip_prefix("unix://").unwrap_or(text))),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(address) => f.write_str(address),
        }
    }
}

/// The daemon.
#[derive(Clone, Debug)]
pub(super) struct Api {
    pub(super) engine: Engine,
    pub(super) endpoint: Endpoint,
}

impl Api {
    /// A client for what changes or streams. Each request opens a connection of its own.
    pub(super) fn client(&self) -> Result<Docker, DriverError> {
        let client = match &self.endpoint {
            Endpoint::Unix(path) => {
                Docker::connect_with_unix(&path.to_string_lossy(), NO_LIMIT, API_DEFAULT_VERSION)
            }
            Endpoint::Tcp(address) => Docker::connect_with_http(
                &format!("tcp://{address}"),
                NO_LIMIT,
                API_DEFAULT_VERSION,
            ),
        };
        client.map_err(|error| self.unavailable(error))
    }

    pub(super) fn unavailable(&self, problem: impl std::fmt::Display) -> DriverError {
        let problem = format!("the daemon at {} does not answer: {problem}", self.endpoint);
        DriverError::Unavailable { driver: self.engine.name(), problem }
    }

    /// Reads an answer; `None` for what is not there.
    pub(super) async fn get(&self, path: &str) -> Result<Option<Value>, DriverError> {
        let answer = async {
            match &self.endpoint {
                Endpoint::Unix(socket) => {
                    let stream = UnixStream::connect(socket).await;
                    fetch(stream.map_err(|error| error.to_string())?, path).await
                }
                Endpoint::Tcp(address) => {
                    let stream = TcpStream::connect(address).await;
                    fetch(stream.map_err(|error| error.to_string())?, path).await
                }
            }
        };
        let answer = tokio::time::timeout(GET_LIMIT, answer).await;
        let (status, body) = answer
            .unwrap_or_else(|_| Err(format!("no answer within {} s", GET_LIMIT.as_secs())))
            .map_err(|problem| self.unavailable(problem))?;
        let value = serde_json::from_slice::<Value>(&body);
        match (status, value) {
            (404, _) => Ok(None),
            (200..=299, Ok(value)) => Ok(Some(value)),
            (_, value) => {
                let problem = value.ok().and_then(|v| Some(v.get("message")?.as_str()?.to_owned()));
                let problem = problem.unwrap_or_else(|| format!("it answered {status}"));
                Err(DriverError::failed(format!("ask {} for {path}", self.engine.name()), problem))
            }
        }
    }
}

async fn fetch<S>(stream: S, path: &str) -> Result<(u16, Bytes), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let words = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
    let request = hyper::Request::get(path)
        .header(hyper::header::HOST, "docker")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(words)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        // The connection may end with the answer still to be taken apart.
        _ = &mut connection => exchange.await,
    }
}

/// A text for a query.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The status in an error of the daemon, and what it said.
pub(super) fn refusal(error: &bollard::errors::Error) -> (u16, String) {
    match error {
        bollard::errors::Error::DockerResponseServerError { status_code, message } => {
            (*status_code, message.clone())
        }
        bollard::errors::Error::DockerStreamError { error } => (500, error.clone()),
        other => (0, other.to_string()),
    }
}
