//! A steady load that looks an instance up for each request, and an eye on how many instances pass.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// What came of the load.
pub(crate) struct Result {
    pub(crate) requests: u64,
    pub(crate) failures: Vec<String>,
    pub(crate) fewest_passing: usize,
}

/// A load that runs until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    requests: Arc<AtomicU64>,
    fewest: Arc<AtomicUsize>,
    workers: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Starts with `workers` threads that ask as fast as they get answers, with a breath between.
    pub(crate) fn start(catalog: SocketAddr, service: &'static str, workers: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let requests = Arc::new(AtomicU64::new(0));
        let fewest = Arc::new(AtomicUsize::new(usize::MAX));
        let threads = (0..workers)
            .map(|worker| {
                let (stop, requests, fewest) =
                    (Arc::clone(&stop), Arc::clone(&requests), Arc::clone(&fewest));
                std::thread::spawn(move || {
                    let mut failures = Vec::new();
                    let mut turn = worker;
                    while !stop.load(Ordering::Relaxed) {
                        match passing(catalog, service) {
                            Ok(instances) => {
                                fewest.fetch_min(instances.len(), Ordering::Relaxed);
                                turn = turn.wrapping_add(1);
                                match instances.get(turn % instances.len().max(1)) {
                                    None => failures.push("nobody passes".to_owned()),
                                    Some(instance) => {
                                        if let Err(error) = get(*instance, "/version") {
                                            failures.push(format!("{instance}: {error}"));
                                        }
                                    }
                                }
                            }
                            Err(error) => failures.push(format!("catalog: {error}")),
                        }
                        requests.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    failures
                })
            })
            .collect();
        Self { stop, requests, fewest, workers: threads }
    }

    pub(crate) fn stop(self) -> Result {
        self.stop.store(true, Ordering::Relaxed);
        let failures =
            self.workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect();
        Result {
            requests: self.requests.load(Ordering::Relaxed),
            failures,
            fewest_passing: self.fewest.load(Ordering::Relaxed),
        }
    }
}

/// The passing instances, as the catalog's HTTP API names them.
pub(crate) fn passing(
    catalog: SocketAddr,
    service: &str,
) -> std::result::Result<Vec<SocketAddr>, Box<dyn std::error::Error>> {
    let body = get(catalog, &format!("/v1/health/service/{service}?passing"))?;
    let entries: serde_json::Value = serde_json::from_str(&body)?;
    let entries = entries.as_array().ok_or("not a list")?;
    entries
        .iter()
        .map(|entry| {
            let own = entry["Service"]["Address"].as_str().unwrap_or_default();
            let address = if own.is_empty() {
                entry["Node"]["Address"].as_str().unwrap_or_default()
            } else {
                own
            };
            Ok(format!("{address}:{}", entry["Service"]["Port"]).parse()?)
        })
        .collect()
}

/// A request on a connection of its own; anything but 200 is an error.
pub(crate) fn get(
    address: SocketAddr,
    path: &str,
) -> std::result::Result<String, Box<dyn std::error::Error>> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let (head, body) =
        reply.split_once("\r\n\r\n").ok_or_else(|| format!("no answer: {reply:?}"))?;
    if !head.lines().next().unwrap_or_default().contains(" 200") {
        return Err(format!("{}: {body}", head.lines().next().unwrap_or_default()).into());
    }
    Ok(body.to_owned())
}
