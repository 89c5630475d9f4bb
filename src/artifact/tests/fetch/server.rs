//! A server over plain sockets that answers as it is told and remembers what it was asked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) target: String,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) struct Answer {
    bytes: Vec<u8>,
    hangs: bool,
}

impl Answer {
    pub(crate) fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), hangs: false }
    }

    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self::with("200 OK", "", body)
    }

    pub(crate) fn with(status: &str, headers: &str, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let mut bytes =
            format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n", body.len())
                .into_bytes();
        bytes.extend(body);
        Self::raw(bytes)
    }

    pub(crate) fn status(status: &str) -> Self {
        Self::with(status, "", "")
    }

    pub(crate) fn redirect(to: &str) -> Self {
        Self::with("302 Found", &format!("location: {to}\r\n"), "")
    }

    /// Writes this, and then nothing for as long as the client stays.
    pub(crate) fn hangs(bytes: &str) -> Self {
        Self { bytes: bytes.into(), hangs: true }
    }
}

pub(crate) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<Mutex<bool>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = listener.local_addr().expect("an address");
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(false)));
        let (all, ended) = (Arc::clone(&asked), Arc::clone(&stop));
        let answer = Arc::new(answer);
        let thread = thread::spawn(move || {
            for stream in listener.incoming() {
                if *ended.lock().expect("a flag") {
                    return;
                }
                let (all, answer) = (Arc::clone(&all), Arc::clone(&answer));
                let Ok(stream) = stream else { continue };
                thread::spawn(move || serve(stream, &all, &*answer));
            }
        });
        Self { address, asked, stop, thread: Some(thread) }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("a list").clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        *self.stop.lock().expect("a flag") = true;
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    mut stream: TcpStream,
    all: &Mutex<Vec<Asked>>,
    answer: &(dyn Fn(&Asked) -> Answer + Send + Sync),
) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.to_lowercase(), value.trim().to_owned()));
        }
    }
    let mut asked = Asked { method, target, headers, body: Vec::new() };
    let length = asked.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    asked.body = vec![0; length];
    if reader.read_exact(&mut asked.body).is_err() {
        return;
    }
    all.lock().expect("a list").push(asked.clone());
    let answer = answer(&asked);
    let _ = stream.write_all(&answer.bytes);
    if answer.hangs {
        let _ = reader.read(&mut [0]);
    }
}

/// Computes the signature of a request anew, by another program's means.
pub(crate) fn verify_signature(asked: &Asked, secret: &str) {
    const PROGRAM: &str = r#"
import hashlib, hmac, sys
target, secret, authorization = sys.argv[1:4]
headers = dict(line.split("\t", 1) for line in sys.argv[4:])
fields = dict(part.strip().split("=", 1) for part in authorization.split(" ", 1)[1].split(","))
names = fields["SignedHeaders"].split(";")
path, _, query = target.partition("?")
empty = hashlib.sha256(b"").hexdigest()
canonical = "\n".join(["GET", path, query, "".join(f"{n}:{headers[n]}\n" for n in names), ";".join(names), empty])
_, day, region, service, end = fields["Credential"].split("/")
text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], "/".join([day, region, service, end]), hashlib.sha256(canonical.encode()).hexdigest()])
key = ("AWS4" + secret).encode()
for part in (day, region, service, end):
    key = hmac.new(key, part.encode(), hashlib.sha256).digest()
assert hmac.new(key, text.encode(), hashlib.sha256).hexdigest() == fields["Signature"], canonical
"#;
    let headers = asked.headers.iter().map(|(name, value)| format!("{name}\t{value}"));
    let output = Command::new("python3")
        .args([
            "-c",
            PROGRAM,
            &asked.target,
            secret,
            asked.header("authorization").expect("signed"),
        ])
        .args(headers)
        .output();
    match output {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr))
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "python3 is needed: {error}");
            eprintln!("skipped: there is no python3 to compute the signature with");
        }
    }
}

/// A server over TLS with a certificate of its own making.
pub(crate) struct Tls {
    child: std::process::Child,
    pub(crate) address: String,
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves the files of a folder, where there is an `openssl` to do it.
pub(crate) fn over_tls(folder: &std::path::Path) -> Option<Tls> {
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args(["-keyout", "key", "-out", "cert", "-subj", "/CN=localhost", "-days", "2"])
        .current_dir(folder)
        .output();
    if !made.as_ref().is_ok_and(|made| made.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "openssl is needed: {made:?}");
        eprintln!("skipped: there is no openssl to serve over TLS");
        return None;
    }
    let mut child = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "cert", "-key", "key", "-WWW"])
        .current_dir(folder)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("openssl runs");
    let output = BufReader::new(child.stdout.take().expect("output"));
    let mut lines = output.lines().map_while(Result::ok);
    let address = lines.find_map(|line| line.strip_prefix("ACCEPT ").map(str::to_owned));
    // What it says later is of no interest, and must not make it wait.
    thread::spawn(move || lines.for_each(drop));
    Some(Tls { child, address: address.expect("an address") })
}
