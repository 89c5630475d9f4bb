//! How long from a commit to a running process or container, and what an agent costs at rest.
//!
//! `cargo bench --bench deploy` builds the release binary and prints a table; `-- --rounds 200` measures more. A machine
//! that does other work gives other figures: the load is printed with them. Containers are measured where a Docker
//! daemon answers.
//!
//! A round commits a new version of a batch job whose task writes the time of its own first instruction into a file.
//! The clock starts when the ref has moved. The parts come from what the agent itself notes: when the commit was seen,
//! when the allocation was made, when the task was started.

#[path = "../tests/end_to_end/agent.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod agent;
#[path = "deploy/docker.rs"]
mod docker;
#[path = "deploy/jobs.rs"]
mod jobs;
#[path = "deploy/network.rs"]
mod network;
#[path = "../tests/end_to_end/repository.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod repository;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use agent::Agent;
use repository::Repository;

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_nanos()).expect("a clock before 2262")
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    // The task of a round: nothing but the time.
    if let Some(place) = arguments.iter().position(|argument| argument == "--stamp") {
        std::fs::write(&arguments[place + 1], now().to_string()).expect("stamp written");
        return;
    }
    let rounds = arguments
        .iter()
        .position(|argument| argument == "--rounds")
        .and_then(|place| arguments.get(place + 1)?.parse().ok())
        .unwrap_or(50);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load before: {}", load.trim());
    footprint();
    rounds_of("process", rounds, &jobs::process);
    if docker::available() {
        rounds_of("container", rounds, &jobs::container);
    } else {
        println!("no Docker daemon answers: containers are not measured");
    }
}

/// One measured round: nanoseconds since the ref moved.
struct Round {
    seen: i64,
    placed: i64,
    started: i64,
    running: i64,
}

fn rounds_of(what: &str, rounds: usize, job: &dyn Fn(usize) -> String) {
    let repo = Repository::new();
    repo.write("README", "jobs for a measurement");
    repo.commit("nothing yet");
    let mut agent = Agent::start(&repo, &["--log-level=error"]);
    let measured: Vec<Round> =
        (0..rounds + 2).map(|round| measure(&repo, &mut agent, round, job)).collect();
    // The first rounds load what later ones find loaded.
    let measured = &measured[2..];
    println!(
        "\ncommit → {what} running, {} rounds, ms          p50      p99      max",
        measured.len()
    );
    let part = |name: &str, of: &dyn Fn(&Round) -> i64| {
        let mut values: Vec<i64> = measured.iter().map(of).collect();
        values.sort_unstable();
        let at =
            |share: f64| values[((values.len() - 1) as f64 * share).round() as usize] as f64 / 1e6;
        println!("  {name:44} {:8.1} {:8.1} {:8.1}", at(0.5), at(0.99), at(1.0));
    };
    part("ref moved → commit seen", &|round| round.seen);
    part("commit seen → allocation in the log", &|round| round.placed - round.seen);
    part("allocation in the log → task started", &|round| round.started - round.placed);
    part("ref moved → first instruction of the task", &|round| round.running);
}

fn measure(
    repo: &Repository,
    agent: &mut Agent,
    round: usize,
    job: &dyn Fn(usize) -> String,
) -> Round {
    repo.write("stamp.nomad", job(round));
    let commit = repo.commit(&format!("round {round}"));
    let moved = now();
    let alloc = agent.wait_for("the allocation of this round", |agent| {
        let allocs = agent.client().job_allocations("stamp").ok()?.into_value();
        let alloc = allocs.into_iter().find(|alloc| alloc.origin.commit.as_str() == commit)?;
        let ended = alloc
            .task_states
            .values()
            .next()?
            .events
            .iter()
            .any(|event| event.kind == "Terminated");
        ended.then_some(alloc)
    });
    let stamp: PathBuf =
        agent.data_dir().join("alloc").join(alloc.id.to_string()).join("alloc").join("stamp");
    let stamp: i64 =
        std::fs::read_to_string(stamp).expect("a stamp").trim().parse().expect("a time");
    let entry = agent.wait_revision(&commit);
    let started = alloc.task_states.values().next().expect("a task").events.iter();
    let started =
        started.filter(|event| event.kind == "Started").map(|event| event.time.0).next_back();
    Round {
        seen: entry.revision.seen_at.0 - moved,
        placed: alloc.create_time.0 - moved,
        started: started.expect("a start") - moved,
        running: stamp - moved,
    }
}

/// Size of the binary, time to the first answer, and memory at rest.
fn footprint() {
    let size = std::fs::metadata(jobs::HERDER).expect("the binary").len();
    println!("binary: {:.1} MB", size as f64 / 1e6);
    let mut empty = Vec::new();
    let mut again = Vec::new();
    for _ in 0..20 {
        let dir = tempfile::tempdir().expect("a directory");
        empty.push(start_and_stop(dir.path()));
        again.push(start_and_stop(dir.path()));
    }
    for (what, mut times) in [("an empty data directory", empty), ("a used one", again)] {
        times.sort();
        println!(
            "start → API answers, {what}: p50 {:.1} ms, max {:.1} ms",
            times[times.len() / 2].as_secs_f64() * 1e3,
            times[times.len() - 1].as_secs_f64() * 1e3
        );
    }
    let dir = tempfile::tempdir().expect("a directory");
    let (mut child, _) = start(dir.path());
    std::thread::sleep(Duration::from_secs(10));
    let rollup =
        std::fs::read_to_string(format!("/proc/{}/smaps_rollup", child.id())).unwrap_or_default();
    let line = |key: &str| {
        let line = rollup.lines().find(|line| line.starts_with(key)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default()
            / 1024.0
    };
    println!(
        "agent at rest after 10 s: {:.1} MiB resident, {:.1} MiB of it its own",
        line("Rss:"),
        line("Anonymous:")
    );
    let ticks = || {
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        let rest = stat.rsplit(')').next().unwrap_or_default().to_owned();
        let fields: Vec<u64> =
            rest.split_whitespace().skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
        fields.iter().sum::<u64>()
    };
    let before = ticks();
    std::thread::sleep(Duration::from_secs(10));
    println!("agent at rest: {} ms of CPU in 10 s", (ticks() - before) * 10);
    child.kill().expect("killed");
    child.wait().expect("reaped");
}

fn start(dir: &Path) -> (std::process::Child, Duration) {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = probe.local_addr().expect("an address");
    drop(probe);
    let began = Instant::now();
    let child = Command::new(jobs::HERDER)
        .args(["agent", "--dev", "--catalog-port=0", "--dns-port=0", "--log-level=error"])
        .arg(format!("--http-port={}", address.port()))
        .arg("--data-dir")
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the agent starts");
    while !answers(address) {
        std::thread::sleep(Duration::from_micros(200));
    }
    let took = began.elapsed();
    (child, took)
}

fn answers(address: std::net::SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else { return false };
    let mut answer = [0; 12];
    let request = format!("GET /v1/status/leader HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_exact(&mut answer).is_ok()
        && answer.ends_with(b"200")
}

fn start_and_stop(dir: &Path) -> Duration {
    let (mut child, took) = start(dir);
    agent::signal(child.id(), "TERM");
    child.wait().expect("reaped");
    took
}
