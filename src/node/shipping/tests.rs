//! Real receivers, and senders that are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use driver::{LogStream, LogWriter};
use model::{AllocId, LogConfig, Timestamp};

use super::worker::Worker;
use super::*;

pub(super) fn source(task: &str, dir: &Path) -> LogSource {
    LogSource {
        alloc: AllocId::new(model::seeded_uuid(&[task.as_bytes()])),
        job: "shop".to_owned(),
        group: "app".to_owned(),
        task: task.to_owned(),
        commit: "c0ffee".to_owned(),
        dir: dir.to_owned(),
        over: false,
    }
}

/// Two tasks that write, and the state of a sender.
struct Stage {
    dir: tempfile::TempDir,
    over: Arc<Mutex<bool>>,
    /// The sender's time, which tests make pass.
    now: Instant,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::create_dir(dir.path().join("logs")).expect("makes");
        Self { dir, over: Arc::default(), now: Instant::now() }
    }

    fn logs(&self) -> PathBuf {
        self.dir.path().join("logs")
    }

    fn writer(&self, task: &str, stream: LogStream, config: &LogConfig) -> LogWriter {
        LogWriter::new(&self.logs(), task, stream, config).expect("opens")
    }

    fn write(&self, task: &str, stream: LogStream, bytes: &[u8]) {
        self.writer(task, stream, &LogConfig::default()).write(bytes);
    }

    fn worker(&self, receiver: LogReceiver) -> Worker {
        let (logs, over) = (self.logs(), Arc::clone(&self.over));
        let sources: LogSources = Arc::new(move || {
            let over = *over.lock().expect("unbroken");
            ["web", "db"].map(|task| LogSource { over, ..source(task, &logs) }).into()
        });
        Worker::new(receiver, &self.dir.path().join("positions"), "n1", sources).expect("opens")
    }

    /// Takes steps in the sender's own time.
    fn steps(&mut self, worker: &mut Worker, count: usize) {
        for _ in 0..count {
            let wait = worker.step(self.now, Timestamp(1_795_204_801_000_000_000));
            self.now += wait;
        }
    }
}

fn syslog(address: &str) -> LogReceiver {
    LogReceiver::Syslog(SyslogOptions {
        address: address.parse().expect("an address"),
        facility: "local0".parse().expect("a facility"),
    })
}

/// What follows the structured data.
fn body(message: &str) -> &str {
    message.split_once("\"] ").expect("an element").1
}

#[test]
fn datagrams_carry_each_line_once_over_a_kill() {
    let mut stage = Stage::new();
    let udp = UdpSocket::bind("127.0.0.1:0").expect("binds");
    let path = stage.dir.path().join("log.sock");
    let local = UnixDatagram::bind(&path).expect("binds");
    udp.set_read_timeout(Some(Duration::from_millis(200))).expect("sets");
    local.set_read_timeout(Some(Duration::from_millis(200))).expect("sets");
    let addresses = [
        format!("udp://{}", udp.local_addr().expect("an address")),
        format!("unix://{}", path.display()),
    ];
    for (address, which) in addresses.iter().zip(0..) {
        let _ = fs::remove_dir_all(stage.dir.path().join("positions"));
        let _ = fs::remove_dir_all(stage.logs());
        fs::create_dir(stage.logs()).expect("makes");
        let mut got = BTreeMap::new();
        for round in 0..3 {
            stage.write("web", LogStream::Stdout, format!("web {round}\nhalf").as_bytes());
            stage.write("db", LogStream::Stderr, format!("{{\"db\": {round}}}\n").as_bytes());
            // Each round has a sender of its own: the one before was killed.
            let mut worker = stage.worker(syslog(address));
            stage.steps(&mut worker, 8);
            let mut buffer = [0; 9000];
            loop {
                let read = if which == 0 { udp.recv(&mut buffer) } else { local.recv(&mut buffer) };
                let Ok(count) = read else { break };
                let message = String::from_utf8(buffer[..count].to_vec()).expect("text");
                *got.entry(body(&message).to_owned()).or_insert(0) += 1;
            }
        }
        let expected =
            ["web 0", "halfweb 1", "halfweb 2", "{\"db\": 0}", "{\"db\": 1}", "{\"db\": 2}"];
        assert_eq!(got, expected.map(|line| (line.to_owned(), 1)).into(), "{address}");
    }
}

/// Takes messages off a stream until it ends.
fn octet_counted(mut stream: impl Read) -> Vec<String> {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let mut messages = Vec::new();
    let mut rest = &bytes[..];
    while let Some(space) = rest.iter().position(|byte| *byte == b' ') {
        let count: usize = std::str::from_utf8(&rest[..space]).expect("digits").parse().expect("n");
        let Some(message) = rest.get(space + 1..space + 1 + count) else { break };
        messages.push(String::from_utf8(message.to_vec()).expect("text"));
        rest = &rest[space + 1 + count..];
    }
    messages
}

#[test]
fn a_stream_that_breaks_loses_nothing() {
    let mut stage = Stage::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = format!("tcp://{}", listener.local_addr().expect("an address"));
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().flatten().enumerate() {
            // The first ones read a little and hang up with the rest unread, which resets the connection.
            let messages =
                if number < 2 { octet_counted(stream.take(3000)) } else { octet_counted(stream) };
            if tell.send(messages).is_err() {
                break;
            }
        }
    });
    let lines: Vec<String> = (0..2000).map(|line| format!("line {line}")).collect();
    for half in lines.chunks(1000) {
        stage.write("web", LogStream::Stdout, (half.join("\n") + "\n").as_bytes());
        let mut worker = stage.worker(syslog(&address));
        for _ in 0..12 {
            stage.steps(&mut worker, 1);
            // The receiver hangs up in its own time.
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let mut got = BTreeSet::new();
    let mut connections = 0;
    while let Ok(messages) = told.recv_timeout(Duration::from_millis(500)) {
        connections += 1;
        got.extend(messages.iter().map(|message| body(message).to_owned()));
    }
    assert!(connections >= 3, "{connections}");
    assert_eq!(got, lines.into_iter().collect(), "each line came at least once");
}

/// An HTTP server that answers with these statuses in turn, and hands on what it took with status 200.
fn collector(answers: Vec<&'static str>) -> (String, Receiver<(String, serde_json::Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut answers = answers.into_iter();
        for mut stream in listener.incoming().flatten() {
            let mut bytes = Vec::new();
            let mut buffer = [0; 65536];
            let (head, body) = loop {
                let count = stream.read(&mut buffer).unwrap_or(0);
                if count == 0 {
                    break (String::new(), Vec::new());
                }
                bytes.extend_from_slice(&buffer[..count]);
                let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                    continue;
                };
                let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
                let lower = head.to_lowercase();
                let length = lower.split("content-length: ").nth(1).expect("a length");
                let length: usize =
                    length.lines().next().expect("a line").trim().parse().expect("a number");
                if bytes.len() >= end + 4 + length {
                    break (head, bytes[end + 4..].to_vec());
                }
            };
            let status = answers.next().unwrap_or("200 OK");
            let answer =
                format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
            if status.starts_with("200") {
                let value = serde_json::from_slice(&body).expect("JSON");
                if tell.send((head, value)).is_err() {
                    break;
                }
            }
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, told)
}

fn bodies(request: &serde_json::Value) -> Vec<String> {
    let groups = request["resourceLogs"].as_array().expect("groups").iter();
    groups
        .flat_map(|group| group["scopeLogs"][0]["logRecords"].as_array().expect("records"))
        .map(|record| record["body"]["stringValue"].as_str().expect("text").to_owned())
        .collect()
}

fn otlp(endpoint: String, headers_file: Option<PathBuf>) -> LogReceiver {
    LogReceiver::Otlp(OtlpOptions { endpoint, headers_file })
}

#[test]
fn a_receiver_that_fails_is_tried_again() {
    let mut stage = Stage::new();
    let answers = vec!["503 Busy\r\nRetry-After: 7", "429 Slow", "500 Broken", "401 Who"];
    let (endpoint, told) = collector(answers);
    let headers = stage.dir.path().join("headers");
    fs::write(&headers, "X-Token: s3cret\n").expect("writes");
    stage.write("web", LogStream::Stdout, b"one\ntwo\n");
    let mut worker = stage.worker(otlp(endpoint.clone(), Some(headers.clone())));
    let began = stage.now;
    let wait = worker.step(stage.now, Timestamp(1));
    assert_eq!(wait, Duration::from_secs(7), "the receiver said when");
    stage.now += wait;
    stage.steps(&mut worker, 6);
    drop(worker);
    assert!(stage.now - began >= Duration::from_secs(12), "pauses grow");
    let (head, request) = told.recv_timeout(Duration::from_secs(5)).expect("arrives");
    assert_eq!(bodies(&request), ["one", "two"]);
    assert!(head.contains("s3cret"), "with the headers");
    // A new agent begins after it, and takes what a task that is over did not finish.
    stage.write("web", LogStream::Stdout, b"three\nfour");
    *stage.over.lock().expect("unbroken") = true;
    let mut worker = stage.worker(otlp(endpoint, Some(headers)));
    stage.steps(&mut worker, 6);
    let (_, request) = told.recv_timeout(Duration::from_secs(5)).expect("arrives");
    assert_eq!(bodies(&request), ["three", "four"]);
    assert!(told.recv_timeout(Duration::from_millis(100)).is_err(), "nothing comes twice");
}

#[test]
fn a_line_that_is_refused_holds_up_nobody() {
    let mut stage = Stage::new();
    // Four lines, two, one: that one is left out.
    let (endpoint, told) = collector(vec!["400 Bad", "400 Bad", "400 Bad"]);
    stage.write("web", LogStream::Stdout, b"bad\none\ntwo\nthree\n");
    let mut worker = stage.worker(otlp(endpoint, None));
    stage.steps(&mut worker, 8);
    drop(worker);
    let got: Vec<String> = told.try_iter().flat_map(|(_, request)| bodies(&request)).collect();
    assert_eq!(got, ["one", "two", "three"]);
}

#[test]
fn a_dead_receiver_costs_lag_and_what_is_lost_is_told() {
    let mut stage = Stage::new();
    let closed = TcpListener::bind("127.0.0.1:0").expect("binds");
    let nobody = format!("http://{}", closed.local_addr().expect("an address"));
    drop(closed);
    let small = LogConfig { max_files: 2, max_file_size_mb: 1, ..LogConfig::default() };
    let mut log = stage.writer("web", LogStream::Stdout, &small);
    log.write(b"first\n");
    let (endpoint, told) = collector(Vec::new());
    let mut worker = stage.worker(otlp(endpoint.clone(), None));
    stage.steps(&mut worker, 3);
    drop(worker);
    assert_eq!(bodies(&told.recv_timeout(Duration::from_secs(5)).expect("arrives").1), ["first"]);
    // Four megabytes go by while nobody is there.
    let line = [vec![b'x'; 1023], vec![b'\n']].concat();
    for _ in 0..4096 {
        log.write(&line);
    }
    let mut worker = stage.worker(otlp(nobody, None));
    stage.steps(&mut worker, 4);
    drop(worker);
    let mut worker = stage.worker(otlp(endpoint, None));
    stage.steps(&mut worker, 20);
    drop(worker);
    let got: Vec<String> = told.try_iter().flat_map(|(_, request)| bodies(&request)).collect();
    let words = got.first().expect("something").clone();
    let lost: usize = words
        .strip_prefix("[herder: ")
        .and_then(|rest| rest.strip_suffix(" bytes were rotated away before they were read]"))
        .and_then(|count| count.parse().ok())
        .expect(&words);
    assert_eq!(lost + (got.len() - 1) * 1024, 4096 * 1024, "each byte came or is counted");
}

#[test]
fn threads_start_and_stop() {
    let stage = Stage::new();
    let (endpoint, told) = collector(Vec::new());
    stage.write("web", LogStream::Stdout, b"one\n");
    let logs = stage.logs();
    let sources: LogSources = Arc::new(move || vec![source("web", &logs)]);
    let receivers = [otlp(endpoint, None)];
    let shipping = Shipping::start(&receivers, stage.dir.path(), "n1", &sources).expect("starts");
    let (_, request) = told.recv_timeout(Duration::from_secs(20)).expect("arrives");
    assert_eq!(bodies(&request), ["one"]);
    shipping.stop();
    assert!(stage.dir.path().join("client/shipping/otlp").is_dir());
}
