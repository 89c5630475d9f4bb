//! The smart HTTP protocol over ureq and rustls.

use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use git2::transport::{Service, SmartSubtransport, SmartSubtransportStream};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Body, BodyReader};

use super::Session;
use super::classify::{Answer, from_http};
use crate::config::RepoConfig;
use crate::error::FetchError;
use crate::secret::SecretSource;
use crate::url::Place;

/// Most bytes of a list of references.
const MAX_ADVERTISEMENT: u64 = 64 << 20;
/// Most bytes that we send: what we have and want.
const MAX_REQUEST: usize = 16 << 20;
/// Most redirects in a row.
const MAX_REDIRECTS: usize = 5;
/// Longest file of certificates.
const MAX_CERTIFICATES: u64 = 4 << 20;
const USER: &str = "x-access-token";
const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";
const RESULT: &str = "application/x-git-upload-pack-result";
const REQUEST: &str = "application/x-git-upload-pack-request";

/// A client for one repository, which keeps its connections between polls.
///
/// # Errors
/// When the file of certificates cannot be read.
pub(crate) fn agent(config: &RepoConfig) -> Result<Option<ureq::Agent>, FetchError> {
    let Place::Http { authority, .. } = &config.url.0 else { return Ok(None) };
    let limits = &config.limits;
    let mut tls = TlsConfig::builder();
    if let Some(path) = &config.credentials.ca_file {
        let fail = |detail: String| FetchError::Other {
            remote: config.url.redacted(),
            detail: format!("cannot read certificates from {}: {detail}", path.display()),
        };
        let file = std::fs::File::open(path).map_err(|error| fail(error.to_string()))?;
        let mut pem = Vec::new();
        file.take(MAX_CERTIFICATES)
            .read_to_end(&mut pem)
            .map_err(|error| fail(error.to_string()))?;
        let certificates: Vec<_> = parse_pem(&pem)
            .filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            })
            .collect();
        if certificates.is_empty() {
            return Err(fail("there is none in it".into()));
        }
        tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
    }
    let mut builder = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .tls_config(tls.build())
        // Hosts tell Git from browsers by this.
        .user_agent(concat!("git/2 (herder/", env!("CARGO_PKG_VERSION"), ")"))
        .timeout_resolve(Some(limits.timeout))
        .timeout_connect(Some(limits.timeout))
        .timeout_recv_response(Some(limits.timeout))
        .timeout_per_read(Some(limits.timeout))
        .timeout_per_write(Some(limits.timeout))
        .timeout_global(Some(limits.fetch_timeout));
    if is_loopback(authority) {
        builder = builder.proxy(None);
    }
    Ok(Some(builder.build().new_agent()))
}

/// One connection in libgit2's sense.
pub(super) struct Http {
    session: Arc<Session>,
    /// Where the repository turned out to be, after redirects.
    base: Mutex<Option<Base>>,
}

#[derive(Clone)]
struct Base {
    url: String,
    authorization: Option<String>,
}

impl Http {
    pub(super) fn new(session: Arc<Session>) -> Self {
        Self { session, base: Mutex::new(None) }
    }

    fn advertisement(&self) -> io::Result<BodyReader<'static>> {
        let session = &self.session;
        let agent = client(session)?;
        let mut base = configured(session)?;
        for _ in 0..=MAX_REDIRECTS {
            session.next_wait("asking for references")?;
            let url = format!("{}/info/refs?service=git-upload-pack", base.url);
            let mut request = agent.get(&url).header("accept", "*/*");
            if let Some(value) = &base.authorization {
                request = request.header("authorization", value);
            }
            let response = request.call().map_err(|error| failed(session, error))?;
            let status = response.status().as_u16();
            if matches!(status, 301 | 302 | 303 | 307 | 308) {
                let location = response.headers().get("location").and_then(|v| v.to_str().ok());
                base.url = redirected(&base.url, location.unwrap_or_default())
                    .map_err(|reason| session.other(format!("it redirects {reason}")))?;
                continue;
            }
            let body = checked(session, response, ADVERTISEMENT, base.authorization.is_some())?;
            *self.base.lock().unwrap_or_else(PoisonError::into_inner) = Some(base);
            return Ok(body.into_with_config().limit(MAX_ADVERTISEMENT).reader());
        }
        Err(session.other("it redirects in circles"))
    }
}

impl SmartSubtransport for Http {
    fn action(
        &self,
        _url: &str,
        service: Service,
    ) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        match service {
            Service::UploadPackLs => {
                let body =
                    self.advertisement().map_err(|e| git2::Error::from_str(&e.to_string()))?;
                Ok(Box::new(Advertisement { session: Arc::clone(&self.session), body }))
            }
            Service::UploadPack => {
                let base = self.base.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let base = base.ok_or_else(|| git2::Error::from_str("references come first"))?;
                let session = Arc::clone(&self.session);
                Ok(Box::new(Exchange { session, base, request: Vec::new(), response: None }))
            }
            Service::ReceivePackLs | Service::ReceivePack => {
                Err(git2::Error::from_str("nothing is ever pushed"))
            }
        }
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

/// The list of references.
struct Advertisement {
    session: Arc<Session>,
    body: BodyReader<'static>,
}

impl Read for Advertisement {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.session.next_wait("reading references")?;
        self.body.read(buffer).map_err(|error| read_failed(&self.session, error))
    }
}

impl Write for Advertisement {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("this stream is only read"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One request and its answer; the request is sent when the answer is first asked for.
struct Exchange {
    session: Arc<Session>,
    base: Base,
    request: Vec<u8>,
    response: Option<BodyReader<'static>>,
}

impl Exchange {
    fn send(&mut self) -> io::Result<BodyReader<'static>> {
        let session = &self.session;
        session.next_wait("asking for objects")?;
        let mut request = client(session)?
            .post(format!("{}/git-upload-pack", self.base.url))
            .header("accept", RESULT)
            .header("content-type", REQUEST);
        if let Some(value) = &self.base.authorization {
            request = request.header("authorization", value);
        }
        let response = request.send(&self.request[..]).map_err(|error| failed(session, error))?;
        let body = checked(session, response, RESULT, self.base.authorization.is_some())?;
        Ok(body.into_with_config().limit(session.limits().max_fetch_bytes).reader())
    }
}

impl Read for Exchange {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.response.is_none() {
            self.response = Some(self.send()?);
        }
        self.session.next_wait("receiving objects")?;
        match &mut self.response {
            Some(body) => body.read(buffer).map_err(|error| read_failed(&self.session, error)),
            None => Ok(0),
        }
    }
}

impl Write for Exchange {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.response.is_some() || self.request.len() + bytes.len() > MAX_REQUEST {
            return Err(self.session.other("the request for objects is too long"));
        }
        self.request.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn client(session: &Session) -> io::Result<&ureq::Agent> {
    session.agent.as_ref().ok_or_else(|| io::Error::other("there is no HTTP client"))
}

/// The configured address and what to show there.
fn configured(session: &Session) -> io::Result<Base> {
    let Place::Http { tls, authority, path, user, password } = &session.config.url.0 else {
        return Err(io::Error::other("not an HTTP address"));
    };
    let url = format!("{}://{authority}{path}", if *tls { "https" } else { "http" });
    let credentials = &session.config.credentials;
    let source = credentials.token.clone().or_else(|| password.clone().map(SecretSource::Given));
    let secret = match source {
        Some(source) => Some(source.read().map_err(|error| {
            let detail = error.to_string();
            session.fail(FetchError::Authentication { remote: session.remote(), detail })
        })?),
        None => None,
    };
    let user = credentials.username.as_ref().or(user.as_ref());
    // `https://token@host/` is a habit: with nothing else, the user is the token.
    let (user, secret) = match (user, &secret) {
        (Some(user), Some(secret)) => (user.as_str(), secret.reveal()),
        (None, Some(secret)) => (USER, secret.reveal()),
        (Some(user), None) => (user.as_str(), ""),
        (None, None) => return Ok(Base { url, authorization: None }),
    };
    if !tls && !is_loopback(authority) {
        let detail = "credentials are not sent over plain http; use https".to_owned();
        return Err(session.fail(FetchError::Authentication { remote: session.remote(), detail }));
    }
    session.note_secret(secret);
    if secret.is_empty() {
        session.note_secret(user);
    }
    let encoded = STANDARD.encode(format!("{user}:{secret}"));
    session.note_secret(&encoded);
    Ok(Base { url, authorization: Some(format!("Basic {encoded}")) })
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(inner) => inner.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost"
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The repository's new address, if a redirect may be followed: the same host, and never from https to http.
fn redirected(base: &str, location: &str) -> Result<String, String> {
    const SUFFIX: &str = "/info/refs?service=git-upload-pack";
    let (scheme, rest) = base.split_once("://").ok_or("from nowhere")?;
    let (authority, _) = rest.split_once('/').unwrap_or((rest, ""));
    let target = if location.starts_with('/') && !location.starts_with("//") {
        format!("{scheme}://{authority}{location}")
    } else {
        location.to_owned()
    };
    let (new_scheme, new_rest) = target.split_once("://").ok_or("to no address")?;
    let (new_authority, _) = new_rest.split_once('/').unwrap_or((new_rest, ""));
    let host = |authority: &str| match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            host.to_ascii_lowercase()
        }
        _ => authority.to_ascii_lowercase(),
    };
    let upgrade = scheme == "http" && new_scheme == "https";
    let same = scheme == new_scheme && authority.eq_ignore_ascii_case(new_authority);
    if new_authority.contains('@') || !(same || upgrade && host(authority) == host(new_authority)) {
        let place: String = host(new_authority.rsplit('@').next().unwrap_or_default())
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || ".-[]:".contains(*c))
            .take(255)
            .collect();
        return Err(format!(
            "to another place, {new_scheme}://{place}; set `url` to it if it is right"
        ));
    }
    match target.strip_suffix(SUFFIX) {
        Some(new_base) => Ok(new_base.to_owned()),
        None => Err("to something that is not a repository; check the address".to_owned()),
    }
}

fn checked(
    session: &Session,
    response: ureq::http::Response<Body>,
    expected: &str,
    token_sent: bool,
) -> io::Result<Body> {
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok());
    let status = response.status().as_u16();
    if status != 200 {
        let (retry_after, remaining) = (header("retry-after"), header("x-ratelimit-remaining"));
        let answer = Answer { status, retry_after, remaining, token_sent };
        return Err(session.fail(from_http(answer, session.remote())));
    }
    if header("content-type").is_none_or(|kind| !kind.starts_with(expected)) {
        let detail = "the host answers with something else, such as a web page; check the address";
        let error =
            FetchError::RepositoryNotFound { remote: session.remote(), detail: detail.to_owned() };
        return Err(session.fail(error));
    }
    Ok(response.into_body())
}

fn failed(session: &Session, error: ureq::Error) -> io::Error {
    match error {
        ureq::Error::Timeout(what) => {
            session.timed_out(session.limits().timeout, &what.to_string())
        }
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => {
            session.timed_out(session.limits().timeout, "connecting")
        }
        ureq::Error::BodyExceedsLimit(limit) => {
            session.other(format!("its answer is larger than {limit} bytes"))
        }
        other => {
            let (remote, detail) = (session.remote(), other.to_string());
            session.fail(FetchError::HostUnreachable { remote, detail })
        }
    }
}

/// A body's reader hides ureq's error in an [`io::Error`].
fn read_failed(session: &Session, error: io::Error) -> io::Error {
    match error.downcast::<ureq::Error>() {
        Ok(inner) => failed(session, inner),
        Err(error) => failed(session, ureq::Error::Io(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_with_the_host() {
        let tail = "/info/refs?service=git-upload-pack";
        let to = |base: &str, location: &str| redirected(base, &format!("{location}{tail}"));
        assert_eq!(to("https://h/a", "/b").as_deref(), Ok("https://h/b"));
        assert_eq!(to("http://h/a", "https://h/a").as_deref(), Ok("https://h/a"));
        assert_eq!(to("http://h:80/a", "https://h:443/a").as_deref(), Ok("https://h:443/a"));
        assert!(to("https://h/a", "http://h/a").is_err());
        assert!(to("https://h/a", "https://h:444/a").is_err());
        assert!(to("https://h/a", "https://evil/a").is_err());
        assert!(to("https://h/a", "//evil/a").is_err());
        assert!(to("https://h/a", "https://h@evil/a").is_err());
        assert!(redirected("https://h/a", "https://h/login").is_err());
        let error = to("https://h/a", "https://u:pw@evil/a").expect_err("refused");
        assert!(error.contains("evil") && !error.contains("pw"), "{error}");
    }

    #[test]
    fn loopback_is_known() {
        for authority in ["127.0.0.1:80", "[::1]:80", "localhost", "127.9.9.9"] {
            assert!(is_loopback(authority), "{authority}");
        }
        for authority in ["10.0.0.1", "localhost.example", "git.example:443"] {
            assert!(!is_loopback(authority), "{authority}");
        }
    }
}
