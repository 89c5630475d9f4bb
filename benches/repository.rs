//! What a whole repository of job files costs an agent: taken in cold, and with one file changed.
//!
//! `cargo bench --bench repository` builds the release binary, makes repositories of 1,000 and of 10,000 files of the
//! size that strangers' files have in the median, and prints what each revision cost in wall time and in the agent's CPU.
//! The jobs ask for no allocation, so that reading, comparing and writing the log is all there is to do. `-- --files N`
//! measures one size.

#[path = "../tests/end_to_end/agent.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod agent;
#[path = "deploy/docker.rs"]
#[expect(dead_code, reason = "the other bench uses more of it")]
mod docker;
#[path = "deploy/jobs.rs"]
#[expect(dead_code, reason = "the other bench uses more of it")]
mod jobs;
#[path = "deploy/network.rs"]
mod network;
#[path = "../tests/end_to_end/repository.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod repository;

use std::time::{Duration, Instant};

use agent::Agent;
use repository::Repository;

const ROUNDS: u32 = 20;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let files = arguments
        .iter()
        .position(|argument| argument == "--files")
        .and_then(|place| arguments.get(place + 1)?.parse().ok());
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load before: {}", load.trim());
    match files {
        Some(files) => measure(files),
        None => [1_000, 10_000].into_iter().for_each(measure),
    }
}

fn file(n: usize, version: u32) -> String {
    include_str!("../src/jobfile/benches/median.nomad.hcl")
        .replace("NAME", &format!("web-{n}"))
        .replace("count = 3", "count = 0")
        .replace(":1.4.2", &format!(":1.4.{version}"))
}

fn measure(files: usize) {
    let repo = Repository::new();
    for n in 0..files {
        repo.write(&format!("team-{}/web-{n}.nomad.hcl", n % 50), file(n, 0));
    }
    let commit = repo.commit("all of them");
    let began = Instant::now();
    let mut agent = Agent::start(&repo, &["--log-level=error"]);
    taken(&mut agent, &commit);
    let cold = (began.elapsed(), cpu_time(&agent));
    println!("\n{files} files                           wall ms   CPU ms   CPU µs a file");
    row("cold, with the agent's start", cold, files);

    let mut wall = Duration::ZERO;
    // The wait's own requests cost something too.
    let before = cpu_time(&agent);
    for round in 1..=ROUNDS {
        repo.write("team-7/web-7.nomad.hcl", file(7, round));
        let commit = repo.commit("one of them");
        let moved = Instant::now();
        taken(&mut agent, &commit);
        wall += moved.elapsed();
    }
    let cpu = cpu_time(&agent).saturating_sub(before);
    row("one file changed, in the mean", (wall / ROUNDS, cpu / ROUNDS), files);
}

fn taken(agent: &mut Agent, commit: &str) {
    agent.wait_for("the revision", |agent| agent.revision(commit));
}

fn row(what: &str, (wall, cpu): (Duration, Duration), files: usize) {
    println!(
        "  {what:34} {:8.1} {:8.1} {:8.1}",
        wall.as_secs_f64() * 1e3,
        cpu.as_secs_f64() * 1e3,
        cpu.as_secs_f64() * 1e6 / files as f64
    );
}

/// The agent's CPU time, in the kernel's ticks of 10 ms.
fn cpu_time(agent: &Agent) -> Duration {
    let told = std::fs::read(agent.data_dir().join("agent.json")).unwrap_or_default();
    let told: serde_json::Value = serde_json::from_slice(&told).unwrap_or_default();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", told["pid"])).unwrap_or_default();
    let after = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}
