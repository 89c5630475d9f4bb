//! Requests and answers, with a limit on everything.

use std::net::IpAddr;
use std::ops::Deref;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::{Response, Uri};
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Body};

use crate::error::ClientError;
use crate::tls::{Named, Tls};

/// The address of an agent that nobody configured.
const DEFAULT_ADDRESS: &str = "http://127.0.0.1:4646";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(60);
/// What an answer may take beyond the wait that was asked for.
const WAIT_MARGIN: Duration = Duration::from_secs(15);
/// The largest answer that is read, in bytes.
const MAX_ANSWER: u64 = 512 * 1024 * 1024;
/// The largest error text that is read, in bytes.
const MAX_ERROR: u64 = 16 * 1024;

/// A connection to an agent's orchestration API. Cloning it shares the connections.
#[derive(Clone)]
pub struct Client {
    agent: Agent,
    base: String,
    /// What requests are sent to: the base, or the name that the agent's certificate must be for.
    target: String,
    /// The agent's address, where the target is not it.
    host: Option<String>,
    token: Option<String>,
    timeout: Duration,
    wait: Option<(u64, Duration)>,
}

/// An answer and the state index that it shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<T> {
    /// What was asked for.
    pub value: T,
    /// The index to hand to [`Client::wait`] for what comes after; 0 where there is none.
    pub index: u64,
}

/// What narrows a list down.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Beginning of the ID.
    pub prefix: String,
    /// Whether rows say what they hold or can give.
    pub resources: bool,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("address", &self.base).finish_non_exhaustive()
    }
}

impl<T> Deref for Answer<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Answer<T> {
    /// What was asked for, without the index.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl Client {
    /// A client of the agent at `address`: `http://host:port`, `host:port`, or empty for the agent on this machine.
    ///
    /// # Errors
    /// When the address makes no sense. Nothing is sent yet.
    pub fn new(address: &str, token: Option<String>) -> Result<Self, ClientError> {
        Self::with_tls(address, token, &Tls::default())
    }

    /// The same, with a word on how to speak TLS where the address begins with `https://`.
    ///
    /// # Errors
    /// When the address, or a certificate, makes no sense. Nothing is sent yet.
    pub fn with_tls(address: &str, token: Option<String>, tls: &Tls) -> Result<Self, ClientError> {
        let base = base(address)?;
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .tls_config(tls.config()?)
            .user_agent("herder");
        // A proxy cannot reach this machine's own agent.
        let config = if is_local(&base) { config.proxy(None) } else { config };
        let token = token.filter(|token| !token.is_empty());
        let named = tls.server_name.as_deref().filter(|_| base.starts_with("https://"));
        let (agent, target, host) = match named {
            None => (config.build().new_agent(), base.clone(), None),
            Some(name) => {
                let real: Uri = base.parse().map_err(|_| wrong(address))?;
                let target = format!("https://{name}:{}", real.port_u16().unwrap_or(443));
                let is_name = target.parse::<Uri>().is_ok_and(|uri| uri.host() == Some(name));
                let authority = real.authority().map(|authority| authority.as_str().to_owned());
                if !is_name {
                    return Err(wrong(name));
                }
                // A proxy would look for the name.
                let config = config.proxy(None).build();
                let resolver = Named { real };
                let agent = Agent::with_parts(config, DefaultConnector::default(), resolver);
                (agent, target, authority)
            }
        };
        Ok(Self { agent, base, target, host, token, timeout: TOTAL_TIMEOUT, wait: None })
    }

    /// Where the agent is.
    pub fn address(&self) -> &str {
        &self.base
    }

    /// The same client with another limit for a whole request; 60 s by default.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// A client whose reads wait until there is something newer than `index`, at most for `timeout`; then they answer
    /// with what there is. An index that is lower than the one handed in means that the agent started anew: begin
    /// again with 0.
    #[must_use]
    pub fn wait(&self, index: u64, timeout: Duration) -> Self {
        Self { wait: Some((index, timeout)), ..self.clone() }
    }

    /// Reads `path`, a path below `/v1` with its parts escaped by [`escape`].
    pub(crate) fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Answer<T>, ClientError> {
        let mut limit = self.timeout;
        let mut request = self.agent.get(self.url(path));
        for (key, value) in query {
            request = request.query(key, value);
        }
        if let Some((index, wait)) = self.wait {
            limit = wait + wait / 16 + WAIT_MARGIN;
            request = request
                .query("index", index.to_string())
                .query("wait", format!("{}ms", wait.as_millis()));
        }
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        let answered = request.config().timeout_global(Some(limit)).build().call();
        self.read(path, self.checked(answered)?)
    }

    /// Sends `body` to `path`.
    pub(crate) fn post<B: Serialize, T: DeserializeOwned>(
        &self,
        path: &str,
        body: &B,
    ) -> Result<Answer<T>, ClientError> {
        let bytes = serde_json::to_vec(body).map_err(|error| self.malformed(path, &error))?;
        let mut request =
            self.agent.post(self.url(path)).header("content-type", "application/json");
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        let answered = request.config().timeout_global(Some(self.timeout)).build().send(&bytes[..]);
        self.read(path, self.checked(answered)?)
    }

    /// Deletes what is at `path`.
    pub(crate) fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, ClientError> {
        let mut request = self.agent.delete(self.url(path));
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        let answered = request.config().timeout_global(Some(self.timeout)).build().call();
        self.read(path, self.checked(answered)?)
    }

    /// Opens a stream that may go on for ever once it has begun.
    pub(crate) fn open(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Response<Body>, ClientError> {
        self.open_with(path, query, None)
    }

    /// The same, with a header.
    pub(crate) fn open_with(
        &self,
        path: &str,
        query: &[(&str, String)],
        header: Option<(&str, &str)>,
    ) -> Result<Response<Body>, ClientError> {
        let mut request = self.agent.get(self.url(path));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        for (key, value) in query {
            request = request.query(key, value);
        }
        for (name, value) in self.headers() {
            request = request.header(name, value);
        }
        let answered = request
            .config()
            .timeout_global(None)
            .timeout_recv_response(Some(self.timeout))
            .build()
            .call();
        self.checked(answered)
    }

    /// A text answer, such as metrics.
    pub(crate) fn text(&self, path: &str, query: &[(&str, &str)]) -> Result<String, ClientError> {
        let query: Vec<_> = query.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
        let mut response = self.open(path, &query)?;
        response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_to_string()
            .map_err(|error| self.malformed(path, &error))
    }

    fn url(&self, path: &str) -> String {
        format!("{}/v1{path}", self.target)
    }

    /// What every request says.
    fn headers(&self) -> impl Iterator<Item = (&'static str, String)> {
        let token = self.token.as_ref().map(|token| ("authorization", format!("Bearer {token}")));
        let host = self.host.as_ref().map(|host| ("host", host.clone()));
        token.into_iter().chain(host)
    }

    fn checked(
        &self,
        answered: Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, ClientError> {
        let mut response =
            answered.map_err(|error| ClientError::of_transport(&self.base, error))?;
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(response);
        }
        let text = response.body_mut().with_config().limit(MAX_ERROR).lossy_utf8(true);
        let text = text.read_to_string().unwrap_or_default();
        Err(ClientError::of_status(&self.base, status, &text))
    }

    fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        mut response: Response<Body>,
    ) -> Result<Answer<T>, ClientError> {
        let index = response.headers().get("x-nomad-index");
        let index = index.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or_default();
        let bytes =
            response.body_mut().with_config().limit(MAX_ANSWER).read_to_vec().map_err(|error| {
                match error {
                    ureq::Error::Timeout(_) => ClientError::of_transport(&self.base, error),
                    error => self.malformed(path, &error),
                }
            })?;
        // In two steps, so that what reads each of the many answers is compiled once, for trees alone.
        let value = serde_json::from_slice::<serde_json::Value>(&bytes)
            .and_then(serde_json::from_value)
            .map_err(|error| self.malformed(path, &error))?;
        Ok(Answer { value, index })
    }

    fn malformed(&self, path: &str, cause: &dyn std::fmt::Display) -> ClientError {
        ClientError::Malformed {
            address: self.base.clone(),
            path: format!("/v1{path}"),
            cause: cause.to_string(),
        }
    }
}

/// One part of a path, with everything escaped that could end it.
pub(crate) fn escape(part: &str) -> String {
    const HEX: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut escaped = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                escaped.push('%');
                escaped.extend(digits);
            }
        }
    }
    escaped
}

fn wrong(address: &str) -> ClientError {
    ClientError::Address { address: address.to_owned() }
}

fn base(address: &str) -> Result<String, ClientError> {
    let wrong = || wrong(address);
    let full = match address.trim() {
        "" => DEFAULT_ADDRESS.to_owned(),
        text if text.contains("://") => text.to_owned(),
        text => format!("http://{text}"),
    };
    let uri: Uri = full.parse().map_err(|_| wrong())?;
    let known = matches!(uri.scheme_str(), Some("http" | "https"));
    let plain = uri.path().len() <= 1 && uri.query().is_none();
    match uri.host() {
        Some(host) if known && plain && !host.is_empty() => {
            Ok(full.trim_end_matches('/').to_owned())
        }
        _ => Err(wrong()),
    }
}

fn is_local(base: &str) -> bool {
    let uri: Option<Uri> = base.parse().ok();
    uri.as_ref().and_then(|uri| uri.host()).is_some_and(|host| {
        let host = host.trim_matches(['[', ']']);
        host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_completed_or_refused() {
        assert_eq!(base("").as_deref(), Ok("http://127.0.0.1:4646"));
        assert_eq!(base("10.0.0.1:4646").as_deref(), Ok("http://10.0.0.1:4646"));
        assert_eq!(base("https://herder.example/").as_deref(), Ok("https://herder.example"));
        for wrong in ["ftp://x", "http://", "http://x/ui", "a b"] {
            assert!(base(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn loopback_is_local() {
        assert!(is_local("http://127.0.0.1:4646") && is_local("http://[::1]:4646"));
        assert!(is_local("http://localhost:4646") && !is_local("http://10.0.0.1:4646"));
    }

    #[test]
    fn parts_cannot_leave_their_place() {
        assert_eq!(escape("team/web?x#é"), "team%2Fweb%3Fx%23%C3%A9");
        assert_eq!(escape("plain-1.0_~"), "plain-1.0_~");
    }
}
