//! HTTP with rules: each host is looked up once for each request, its addresses are checked, and the connection goes to
//! one that was checked. Redirects are followed here, one at a time, so that each is looked at in the same way.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::config::Config;
use ureq::http::{Response, Uri};
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body};
use url::Url;

use crate::checksum::{Expected, Sum};
use crate::failure::shown;
use crate::{AddressRules, FetchError};

/// Most redirects in a row.
const MAX_REDIRECTS: usize = 10;
/// Most addresses of a host that are tried.
const MAX_ADDRESSES: usize = 8;
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(30);

/// Finds the addresses of a host.
pub(crate) type Lookup = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// The system's resolver.
pub(crate) fn system_lookup() -> Lookup {
    Arc::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
}

/// Headers to send to the first host.
pub(crate) type Headers = Vec<(String, String)>;

/// Looks up hosts and gives only addresses that may be connected to.
pub(crate) struct Resolve {
    pub(crate) rules: AddressRules,
    pub(crate) lookup: Lookup,
    refusal: Mutex<Option<String>>,
}

impl Resolve {
    pub(crate) fn new(rules: AddressRules, lookup: Lookup) -> Self {
        Self { rules, lookup, refusal: Mutex::default() }
    }

    /// The addresses of a host that may be connected to; an error says why there is none.
    pub(crate) fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, FetchError> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = (self.lookup)(bare, port).map_err(|error| {
            FetchError::failed(format!(
                "the host {} cannot be found: {error}",
                shown(host.as_bytes())
            ))
        })?;
        let mut refusal = None;
        let mut good = Vec::new();
        for address in found {
            match self.rules.refusal(address.ip()) {
                None if good.len() < MAX_ADDRESSES => good.push(address),
                None => {}
                Some(why) => refusal = Some(why),
            }
        }
        match (good.is_empty(), refusal) {
            (false, _) => Ok(good),
            (true, Some(why)) => Err(FetchError::refused(format!(
                "the host {} may not be asked: {why}",
                shown(host.as_bytes())
            ))),
            (true, None) => Err(FetchError::failed(format!(
                "the host {} has no address",
                shown(host.as_bytes())
            ))),
        }
    }
}

impl std::fmt::Debug for Resolve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolve").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Shared(Arc<Resolve>);

impl Resolver for Shared {
    fn resolve(
        &self,
        uri: &Uri,
        _: &Config,
        _: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let default = if uri.scheme_str() == Some("https") { 443 } else { 80 };
        let port = uri.port_u16().unwrap_or(default);
        match self.0.addresses(uri.host().unwrap_or_default(), port) {
            Ok(addresses) => {
                let mut all = self.empty();
                addresses.into_iter().for_each(|address| all.push(address));
                Ok(all)
            }
            Err(error) if error.recoverable => {
                Err(ureq::Error::Io(io::Error::other(error.message)))
            }
            Err(error) => {
                let mut refusal = self.0.refusal.lock().unwrap_or_else(PoisonError::into_inner);
                *refusal = Some(error.message);
                Err(ureq::Error::HostNotFound)
            }
        }
    }
}

/// A client for one download.
pub(crate) struct Web {
    pub(crate) resolve: Arc<Resolve>,
    pub(crate) deadline: Instant,
    /// How long the whole may take, and what the setting is called.
    pub(crate) limit: (Duration, &'static str),
    pub(crate) insecure: bool,
}

/// An answer, and where it came from after redirects.
pub(crate) struct Answer {
    pub(crate) response: Response<Body>,
    pub(crate) url: Url,
    /// What may be sent to that host again.
    pub(crate) headers: Headers,
}

impl Web {
    pub(crate) fn new(
        rules: AddressRules,
        lookup: Lookup,
        limit: (Duration, &'static str),
        insecure: bool,
    ) -> Self {
        let deadline = Instant::now() + limit.0;
        Self { resolve: Arc::new(Resolve::new(rules, lookup)), deadline, limit, insecure }
    }

    /// Asks, and follows redirects when `follow` says so. The answer is a good one.
    pub(crate) fn get(
        &self,
        mut url: Url,
        headers: &Headers,
        follow: bool,
    ) -> Result<Answer, FetchError> {
        let mut headers = headers.clone();
        for _ in 0..=MAX_REDIRECTS {
            take_userinfo(&mut url, &mut headers);
            let response = self.call(&url, &headers, None)?;
            let status = response.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                check_status(&url, &response)?;
                return Ok(Answer { response, url, headers });
            }
            let location = response.headers().get("location").and_then(|value| value.to_str().ok());
            if !follow {
                let to = location.and_then(|to| url.join(to).ok());
                let to = to.map_or_else(|| "nowhere".to_owned(), |to| place(&to));
                return Err(FetchError::refused(format!(
                    "{} answers {status} and sends us to {to}; write that address",
                    place(&url)
                )));
            }
            let next = redirected(&url, location)?;
            if !same_place(&url, &next) {
                headers.clear();
            }
            url = next;
        }
        Err(FetchError::refused(format!(
            "more than {MAX_REDIRECTS} redirects in a row, the last to {}",
            place(&url)
        )))
    }

    /// One request, with no redirects.
    pub(crate) fn call(
        &self,
        url: &Url,
        headers: &Headers,
        body: Option<&[u8]>,
    ) -> Result<Response<Body>, FetchError> {
        let left = self.left()?;
        let tls = TlsConfig::builder().disable_verification(self.insecure).build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .tls_config(tls)
            .max_idle_connections(0)
            .accept_encoding(ureq::config::AutoHeaderValue::None)
            .user_agent(concat!("herder/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT.min(left)))
            .timeout_global(Some(left))
            .build();
        let agent =
            Agent::with_parts(config, DefaultConnector::new(), Shared(Arc::clone(&self.resolve)));
        let answer = match body {
            None => {
                let request =
                    headers.iter().fold(agent.get(url.as_str()), |r, (k, v)| r.header(k, v));
                request.call()
            }
            Some(body) => {
                let request =
                    headers.iter().fold(agent.post(url.as_str()), |r, (k, v)| r.header(k, v));
                request.send(body)
            }
        };
        answer.map_err(|error| self.failed(url, &error))
    }

    /// How long is left.
    pub(crate) fn left(&self) -> Result<Duration, FetchError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.too_long()) } else { Ok(left) }
    }

    fn too_long(&self) -> FetchError {
        let (limit, setting) = self.limit;
        FetchError::failed(format!(
            "the download took longer than {} ({setting})",
            model::format_duration(limit)
        ))
    }

    fn failed(&self, url: &Url, error: &ureq::Error) -> FetchError {
        let refusal = self.resolve.refusal.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(refusal) = refusal {
            return FetchError::refused(refusal);
        }
        if let ureq::Error::Timeout(which) = error
            && !matches!(which, ureq::Timeout::Connect)
        {
            return self.too_long();
        }
        FetchError::failed(format!("{} cannot be had: {error}", place(url)))
    }

    /// What a read that failed means.
    pub(crate) fn read_failed(&self, url: &Url, error: &io::Error) -> FetchError {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>());
        if error.kind() == io::ErrorKind::TimedOut || matches!(inner, Some(ureq::Error::Timeout(_)))
        {
            return self.too_long();
        }
        FetchError::failed(format!("the download from {} broke off: {error}", place(url)))
    }

    /// Writes an answer's body into a file, adding it up.
    pub(crate) fn save(
        &self,
        answer: Answer,
        file: &mut File,
        max_bytes: u64,
        expected: Option<&Expected>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64, FetchError> {
        let Answer { response, url, .. } = answer;
        let header =
            |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let encoded = header("content-encoding").is_some();
        let announced = header("content-length")
            .and_then(|value| value.parse::<u64>().ok())
            .filter(|_| !encoded);
        let too_large = || {
            FetchError::refused(format!(
                "{} is larger than {max_bytes} bytes (http_max_size)",
                place(&url)
            ))
        };
        if announced.is_some_and(|length| length > max_bytes) {
            return Err(too_large());
        }
        let mut reader = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut sum = expected.map(Sum::of);
        let mut buffer = vec![0; 64 << 10];
        let mut total: u64 = 0;
        loop {
            self.left()?;
            let read = reader.read(&mut buffer).map_err(|error| self.read_failed(&url, &error))?;
            if read == 0 {
                break;
            }
            let bytes = buffer.get(..read).unwrap_or_default();
            total += read as u64;
            if total > max_bytes {
                return Err(too_large());
            }
            if let Some(sum) = &mut sum {
                sum.add(bytes);
            }
            file.write_all(bytes)
                .map_err(|error| FetchError::system("writing the download", error))?;
            progress(total);
        }
        if let Some(announced) = announced
            && announced != total
        {
            return Err(FetchError::failed(format!(
                "the download from {} broke off after {total} of {announced} bytes",
                place(&url)
            )));
        }
        if let (Some(sum), Some(expected)) = (sum, expected) {
            sum.check(expected)?;
        }
        Ok(total)
    }
}

fn check_status(url: &Url, response: &Response<Body>) -> Result<(), FetchError> {
    let status = response.status();
    if status.as_u16() == 200 {
        return Ok(());
    }
    let hint = match status.as_u16() {
        401 | 403 => "; it wants credentials, or other ones",
        404 => "; is the address right?",
        _ => "",
    };
    Err(FetchError::failed(format!("{} answers {status}{hint}", place(url))))
}

/// Where a redirect leads.
fn redirected(from: &Url, location: Option<&str>) -> Result<Url, FetchError> {
    let wrong = |words: &str| FetchError::refused(format!("{} redirects {words}", place(from)));
    let to = location.ok_or_else(|| wrong("without saying where"))?;
    let to = from.join(to).map_err(|_| wrong("to something that is no address"))?;
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => Ok(to),
        ("https", "http") => Err(wrong(&format!("from https to http, to {}", place(&to)))),
        _ => Err(wrong("to an address that is neither http nor https")),
    }
}

/// Whether what was meant for one address may go to the other.
fn same_place(from: &Url, to: &Url) -> bool {
    let same_host = from.host_str() == to.host_str();
    let same_port =
        from.scheme() == to.scheme() && from.port_or_known_default() == to.port_or_known_default();
    let upgraded = from.scheme() == "http"
        && to.scheme() == "https"
        && from.port().is_none()
        && to.port().is_none();
    same_host && (same_port || upgraded)
}

/// User and password become a header, like any other that is for this host alone.
fn take_userinfo(url: &mut Url, headers: &mut Headers) {
    if url.username().is_empty() && url.password().is_none() {
        return;
    }
    let decode = crate::source::decode;
    let user = decode(url.username());
    let password = decode(url.password().unwrap_or_default());
    // Fails for addresses without a host, and these have none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization")) {
        let value = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        headers.push(("authorization".to_owned(), value));
    }
}

/// An address as it may be shown.
pub(crate) fn place(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let query = if url.query().is_some() { "?…" } else { "" };
    let host = url.host_str().unwrap_or_default();
    shown(format!("{}://{host}{port}{}{query}", url.scheme(), url.path()).as_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("an address")
    }

    #[test]
    fn headers_stay_with_their_host() {
        for (from, to, same) in [
            ("https://a/x", "https://a/y", true),
            ("http://a/x", "https://a/y", true),
            ("https://a/x", "https://b/x", false),
            ("https://a/x", "https://a:444/x", false),
            ("http://a:80/x", "http://a/x", true),
            ("http://a:81/x", "https://a/x", false),
        ] {
            assert_eq!(same_place(&url(from), &url(to)), same, "{from} {to}");
        }
    }

    #[test]
    fn redirects_never_get_weaker() {
        let from = url("https://a/b/c?secret=1");
        assert_eq!(redirected(&from, Some("/d")).expect("fine").as_str(), "https://a/d");
        assert_eq!(redirected(&from, Some("//e/f")).expect("fine").as_str(), "https://e/f");
        for to in [Some("http://a/d"), Some("file:///etc/passwd"), Some("https://"), None] {
            let error = redirected(&from, to).expect_err("refused");
            assert!(!error.recoverable && !error.message.contains("secret=1"), "{error}");
        }
    }

    #[test]
    fn a_host_is_looked_up_once_and_what_was_checked_is_connected_to() {
        use std::net::TcpListener;
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = listener.local_addr().expect("an address");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        });
        // The first answer is allowed; a second look would say something else, as a rebinding name server does.
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&looks);
        let lookup: Lookup = Arc::new(move |_, _| {
            let look = counted.fetch_add(1, Ordering::SeqCst);
            Ok(vec![if look == 0 { address } else { SocketAddr::from(([169, 254, 169, 254], 80)) }])
        });
        let rules = AddressRules::new(&["127.0.0.1".into()], &[]).expect("rules");
        let web = Web::new(rules, lookup, (Duration::from_secs(20), "x"), false);
        let answer =
            web.get(url("http://rebinding.example/"), &Vec::new(), true).expect("an answer");
        assert_eq!(answer.response.into_body().read_to_string().expect("a body"), "ok");
        assert_eq!(looks.load(Ordering::SeqCst), 1);
        server.join().expect("served");
        // The next request looks again, and is refused.
        let error =
            web.get(url("http://rebinding.example/"), &Vec::new(), true).err().expect("refused");
        assert!(error.message.contains("169.254.169.254") && !error.recoverable, "{error}");
    }

    #[test]
    fn a_host_with_one_good_address_is_reached_there_alone() {
        let lookup: Lookup = Arc::new(|_, port| {
            Ok(vec![
                SocketAddr::from(([127, 0, 0, 1], port)),
                SocketAddr::from(([192, 0, 2, 1], port)),
            ])
        });
        let resolve = Resolve::new(AddressRules::default(), lookup);
        let good = resolve.addresses("both.example", 80).expect("one");
        assert_eq!(good, [SocketAddr::from(([192, 0, 2, 1], 80))]);
    }
}
