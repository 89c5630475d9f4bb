//! The way out: datagrams, streams, HTTP. Everything here blocks, and nothing for long.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use super::batch::{Limits, Record};
use super::retry::Outcome;
use super::syslog::{framed, message};
use super::{LogReceiver, OtlpOptions, SyslogAddress, SyslogOptions, otlp};

/// How long a receiver may take for a connection, and for a batch.
const CONNECT: Duration = Duration::from_secs(5);
const SEND: Duration = Duration::from_secs(10);

/// The largest file of headers and the most that is read of an answer, in bytes.
const HEADERS: u64 = 64 * 1024;
const ANSWER: u64 = 64 * 1024;

/// How much of a batch was taken, from its beginning, and what of the rest.
#[derive(Debug)]
pub(super) struct Sent {
    pub(super) taken: usize,
    pub(super) outcome: Outcome,
    /// What went wrong, for a person. Never a header's value.
    pub(super) problem: String,
}

impl Sent {
    fn all(records: &[Record]) -> Self {
        Self { taken: records.len(), outcome: Outcome::Taken, problem: String::new() }
    }

    fn not(taken: usize, outcome: Outcome, problem: impl ToString) -> Self {
        Self { taken, outcome, problem: problem.to_string() }
    }
}

/// An open way to a syslog daemon.
pub(super) enum Socket {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Datagrams(UnixDatagram),
    Stream(UnixStream),
}

/// A receiver and the connection to it.
pub(super) enum Sink {
    Syslog { options: SyslogOptions, socket: Option<Socket> },
    Otlp { options: OtlpOptions, agent: ureq::Agent },
}

impl Sink {
    pub(super) fn new(receiver: LogReceiver) -> Self {
        match receiver {
            LogReceiver::Syslog(options) => Self::Syslog { options, socket: None },
            LogReceiver::Otlp(options) => {
                let config = ureq::Agent::config_builder()
                    .http_status_as_error(false)
                    .timeout_connect(Some(CONNECT))
                    .timeout_resolve(Some(CONNECT))
                    .timeout_global(Some(SEND))
                    // The headers are for this address alone.
                    .max_redirects(0)
                    .user_agent("herder");
                let local = ["//127.", "//localhost", "//[::1]"];
                let is_local = local.iter().any(|host| options.endpoint.contains(host));
                let config = if is_local { config.proxy(None) } else { config };
                Self::Otlp { options, agent: config.build().new_agent() }
            }
        }
    }

    pub(super) fn limits(&self) -> Limits {
        match self {
            // A datagram that has to be cut up on its way is easily lost.
            Self::Syslog { options, .. } if !matches!(options.address, SyslogAddress::Tcp(_)) => {
                Limits { records: 256, bytes: 256 * 1024, line: 8 * 1024 }
            }
            _ => Limits { records: 1000, bytes: 512 * 1024, line: 64 * 1024 },
        }
    }

    /// Where it sends, for a person.
    pub(super) fn target(&self) -> String {
        match self {
            Self::Syslog { options, .. } => format!("{:?}", options.address),
            Self::Otlp { options, .. } => options.endpoint.clone(),
        }
    }

    pub(super) fn send(&mut self, node: &str, records: &[Record]) -> Sent {
        match self {
            Self::Syslog { options, socket } => {
                let sent = to_syslog(options, socket, node, records);
                if sent.outcome != Outcome::Taken {
                    *socket = None;
                }
                sent
            }
            Self::Otlp { options, agent } => to_otlp(options, agent, node, records),
        }
    }
}

fn to_syslog(
    options: &SyslogOptions,
    socket: &mut Option<Socket>,
    node: &str,
    records: &[Record],
) -> Sent {
    if socket.as_ref().is_some_and(Socket::is_closed) {
        *socket = None;
    }
    if socket.is_none() {
        match connect(&options.address) {
            Ok(connected) => *socket = Some(connected),
            Err(error) => return Sent::not(0, Outcome::Later(None), error),
        }
    }
    let messages = records.iter().map(|record| message(options.facility, node, record));
    let done = match socket {
        Some(Socket::Tcp(stream)) => stream_all(stream, messages).and_then(|()| arrived(stream)),
        Some(Socket::Stream(stream)) => stream_all(stream, messages),
        Some(datagrams) => {
            for (taken, message) in messages.enumerate() {
                match datagrams.send(&message) {
                    Ok(()) => {}
                    Err(error) if error.raw_os_error() == Some(nix::libc::EMSGSIZE) => {
                        return Sent::not(taken, Outcome::Refused, error);
                    }
                    Err(error) => return Sent::not(taken, Outcome::Later(None), error),
                }
            }
            Ok(())
        }
        None => Err(io::ErrorKind::NotConnected.into()),
    };
    match done {
        Ok(()) => Sent::all(records),
        Err(error) => Sent::not(0, Outcome::Later(None), error),
    }
}

fn connect(address: &SyslogAddress) -> io::Result<Socket> {
    match address {
        SyslogAddress::Udp(target) => {
            let target = resolve(target)?;
            let any = if target.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(any)?;
            socket.connect(target)?;
            socket.set_write_timeout(Some(SEND))?;
            Ok(Socket::Udp(socket))
        }
        SyslogAddress::Tcp(target) => {
            let stream = TcpStream::connect_timeout(&resolve(target)?, CONNECT)?;
            stream.set_write_timeout(Some(SEND))?;
            Ok(Socket::Tcp(stream))
        }
        SyslogAddress::Unix(path) => local(path),
    }
}

fn resolve(target: &str) -> io::Result<std::net::SocketAddr> {
    target.to_socket_addrs()?.next().ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn local(path: &Path) -> io::Result<Socket> {
    let socket = UnixDatagram::unbound()?;
    match socket.connect(path) {
        Ok(()) => {
            socket.set_write_timeout(Some(SEND))?;
            Ok(Socket::Datagrams(socket))
        }
        Err(error) if error.raw_os_error() == Some(nix::libc::EPROTOTYPE) => {
            let stream = UnixStream::connect(path)?;
            stream.set_write_timeout(Some(SEND))?;
            Ok(Socket::Stream(stream))
        }
        Err(error) => Err(error),
    }
}

impl Socket {
    fn send(&self, message: &[u8]) -> io::Result<()> {
        match self {
            Self::Udp(socket) => socket.send(message).map(|_| ()),
            Self::Datagrams(socket) => socket.send(message).map(|_| ()),
            Self::Tcp(_) | Self::Stream(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether the other side has gone. It has nothing to say, so what can be read is its end.
    fn is_closed(&self) -> bool {
        match self {
            Self::Tcp(stream) => has_ended(stream).unwrap_or(true),
            Self::Udp(_) | Self::Datagrams(_) | Self::Stream(_) => false,
        }
    }
}

fn has_ended(mut stream: &TcpStream) -> io::Result<bool> {
    stream.set_nonblocking(true)?;
    let read = stream.read(&mut [0; 256]);
    stream.set_nonblocking(false)?;
    match read {
        Ok(0) => Ok(true),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Ok(false),
    }
}

fn stream_all(stream: &mut impl Write, messages: impl Iterator<Item = Vec<u8>>) -> io::Result<()> {
    let mut bytes = Vec::new();
    for message in messages {
        framed(&mut bytes, &message);
    }
    stream.write_all(&bytes)
}

/// Waits until the other machine has all of it. What a connection that breaks had not delivered would be lost else:
/// syslog has no receipts.
fn arrived(stream: &TcpStream) -> io::Result<()> {
    let until = Instant::now() + SEND;
    let mut pause = Duration::from_micros(200);
    while unacknowledged(stream)? > 0 {
        if Instant::now() >= until {
            return Err(io::ErrorKind::TimedOut.into());
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
    if has_ended(stream)? { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) }
}

#[expect(unsafe_code, reason = "neither std nor nix asks for the send queue")]
fn unacknowledged(stream: &TcpStream) -> io::Result<i32> {
    let mut bytes: nix::libc::c_int = 0;
    // SAFETY: the descriptor is open as long as `stream` is borrowed, and TIOCOUTQ writes one c_int.
    let done = unsafe { nix::libc::ioctl(stream.as_raw_fd(), nix::libc::TIOCOUTQ, &raw mut bytes) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(bytes) }
}

fn to_otlp(options: &OtlpOptions, agent: &ureq::Agent, node: &str, records: &[Record]) -> Sent {
    let later = |problem: String| Sent::not(0, Outcome::Later(None), problem);
    let headers = match options.headers_file.as_deref().map(headers).transpose() {
        Ok(headers) => headers.unwrap_or_default(),
        Err(problem) => return later(problem),
    };
    let url = format!("{}/v1/logs", options.endpoint.trim_end_matches('/'));
    let mut request = agent.post(&url).header("Content-Type", "application/json");
    for (name, value) in &headers {
        request = request.header(name, value);
    }
    let body = otlp::request(node, records);
    let mut response = match request.send(&body[..]) {
        Ok(response) => response,
        Err(error) => return later(error.to_string()),
    };
    let status = response.status().as_u16();
    let asked = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
    let asked = asked.and_then(|value| value.trim().parse().ok()).map(Duration::from_secs);
    let answer = response.body_mut().with_config().limit(ANSWER).read_to_string();
    let problem = format!("it answered with status {status}");
    match status {
        200..=299 => {
            let rejected = answer.ok().map_or(0, |answer| rejected(&answer));
            if rejected > 0 {
                tracing::warn!(to = options.endpoint, rejected, "log lines were rejected");
            }
            Sent::all(records)
        }
        // What is wrong with the data stays wrong.
        400 | 413 | 422 => Sent::not(0, Outcome::Refused, problem),
        _ => Sent::not(0, Outcome::Later(asked), problem),
    }
}

/// How many records a receiver says it did not take, in an answer that is else a success.
fn rejected(answer: &str) -> u64 {
    let answer: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    match &answer["partialSuccess"]["rejectedLogRecords"] {
        serde_json::Value::String(text) => text.parse().unwrap_or(0),
        other => other.as_u64().unwrap_or(0),
    }
}

/// Reads the headers. What is in the file is secret: an error names the line by its number only.
fn headers(path: &Path) -> Result<Vec<(String, String)>, String> {
    let failed = |error: io::Error| format!("reading {}: {error}", path.display());
    let mut text = String::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(HEADERS).read_to_string(&mut text))
        .map_err(failed)?;
    let lines = text.lines().map(str::trim).enumerate();
    lines
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .map(|(number, line)| {
            let pair = line.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
            let token = |name: &str| {
                !name.is_empty()
                    && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
            };
            match pair.filter(|(name, value)| token(name) && !value.chars().any(char::is_control)) {
                Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
                None => {
                    Err(format!("line {} of {} is not `Name: value`", number + 1, path.display()))
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_and_never_shown() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("headers");
        std::fs::write(&path, "# for the receiver\nAuthorization: Bearer s3cret:x\n\n")
            .expect("writes");
        let read = headers(&path).expect("headers");
        assert_eq!(read, [("Authorization".to_owned(), "Bearer s3cret:x".to_owned())]);
        std::fs::write(&path, "Good: 1\ns3cret without a name\n").expect("writes");
        let problem = headers(&path).expect_err("no header");
        assert!(problem.starts_with("line 2 of ") && !problem.contains("s3cret"), "{problem}");
    }

    #[test]
    fn partial_successes_are_counted() {
        assert_eq!(rejected("{\"partialSuccess\": {\"rejectedLogRecords\": \"3\"}}"), 3);
        assert_eq!(rejected("{\"partialSuccess\": {\"rejectedLogRecords\": 2}}"), 2);
        assert_eq!((rejected("{}"), rejected("")), (0, 0));
    }
}
