//! `git http-backend` behind a few lines of HTTP on an address of this machine.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// What the server does with requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Serves everybody.
    Open,
    /// Serves only who sends this `Authorization`.
    Guarded(String),
    /// Takes requests and never answers.
    Hang,
    /// Answers this, byte for byte.
    Says(String),
}

/// The server. Its threads end with the test's process.
pub(crate) struct Server {
    pub(crate) port: u16,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves the repositories beneath a folder, to this machine alone.
    pub(crate) fn start(root: &Path, mood: Mood) -> Self {
        Self::start_on(Ipv4Addr::LOCALHOST.into(), root, mood)
    }

    /// The same on another of this machine's addresses.
    pub(crate) fn start_on(address: IpAddr, root: &Path, mood: Mood) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = Self { port, mood: Arc::new(Mutex::new(mood)), asked: Arc::default() };
        let (mood, asked) = (Arc::clone(&server.mood), Arc::clone(&server.asked));
        let root = root.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mood, asked, root) = (Arc::clone(&mood), Arc::clone(&asked), root.clone());
                std::thread::spawn(move || {
                    // The client may hang up at any time, which is its business.
                    drop(serve(&stream.expect("a connection"), &mood, &asked, &root));
                });
            }
        });
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/repo/.git", self.port)
    }

    pub(crate) fn set(&self, mood: Mood) {
        *self.mood.lock().expect("no panic") = mood;
    }

    /// The request lines so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn serve(
    mut stream: &TcpStream,
    mood: &Mutex<Mood>,
    asked: &Mutex<Vec<String>>,
    root: &PathBuf,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut headers = Vec::new();
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        let length = header("content-length").map_or(0, |v| v.parse().expect("a number"));
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        asked.lock().expect("no panic").push(line.trim_end().to_owned());
        let now = mood.lock().expect("no panic").clone();
        match now {
            Mood::Hang => {
                // Until the client gives up.
                return reader.read(&mut [0; 1]).map(drop);
            }
            Mood::Says(text) => stream.write_all(text.as_bytes())?,
            Mood::Guarded(wanted) if header("authorization").as_deref() != Some(&wanted) => {
                stream.write_all(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n")?;
            }
            Mood::Open | Mood::Guarded(_) => {
                let content_type = header("content-type").unwrap_or_default();
                stream.write_all(&backend(&line, &content_type, &body, root)?)?;
            }
        }
    }
}

/// One request through the CGI program.
fn backend(
    line: &str,
    content_type: &str,
    body: &[u8],
    root: &PathBuf,
) -> std::io::Result<Vec<u8>> {
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut child = Command::new("git")
        .arg("http-backend")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_PROJECT_ROOT", root)
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query)
        .env("CONTENT_TYPE", content_type)
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    child.stdin.take().expect("piped").write_all(body)?;
    let answer = child.wait_with_output()?.stdout;
    let split = answer.windows(4).position(|w| w == b"\r\n\r\n").expect("a CGI header");
    let (head, body) = answer.split_at(split);
    let head = String::from_utf8_lossy(head).into_owned();
    let (mut status, mut rest) = ("200 OK".to_owned(), String::new());
    for header in head.lines() {
        match header.strip_prefix("Status: ") {
            Some(text) => status = text.to_owned(),
            None => rest = format!("{rest}{header}\r\n"),
        }
    }
    let body = &body[4..];
    let mut out =
        format!("HTTP/1.1 {status}\r\n{rest}content-length: {}\r\n\r\n", body.len()).into_bytes();
    out.extend_from_slice(body);
    Ok(out)
}
