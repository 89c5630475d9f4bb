//! What a task costs, how long its start takes, and what an agent with many of them does at rest.
//!
//! `cargo bench --bench tasks` prints three tables; `-- --tasks 100 --rounds 50` measures less. The machine's load is
//! printed with them. `exec` is measured as root, containers where a Docker daemon answers.
//!
//! Starts are measured with the drivers in this process, which is also the helper that they start. The clock runs from the
//! call of `start` to the time that the task's own first command notes; once in a process as small as it is, and once
//! in one that has touched 1 GiB of memory, as an agent of a large fleet may have.

#[path = "../tests/end_to_end/agent.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod agent;
#[path = "tasks/cost.rs"]
mod cost;
#[path = "deploy/docker.rs"]
mod docker;
#[path = "deploy/jobs.rs"]
#[expect(dead_code, reason = "only the binary's name is used")]
mod jobs;
#[path = "deploy/network.rs"]
mod network;
#[path = "tasks/process.rs"]
mod process;
#[path = "../tests/end_to_end/repository.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod repository;
#[path = "tasks/start.rs"]
mod start;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.nth(1).is_some_and(|first| first == driver::SHIM_ARG) {
        return driver::shim_main(arguments);
    }
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: usize| {
        let place = arguments.iter().position(|argument| argument == name);
        place.and_then(|place| arguments.get(place + 1)?.parse().ok()).unwrap_or(default)
    };
    // What runs in a container.
    if arguments.iter().any(|argument| argument == "--sleep") {
        std::thread::sleep(std::time::Duration::from_secs(100_000));
        return ExitCode::SUCCESS;
    }
    let build = if cfg!(debug_assertions) { "debug, not comparable" } else { "release" };
    println!("build: {build}; load before: {}", load());
    start::measure(number("--rounds", 100));
    cost::measure(number("--tasks", 300), number("--containers", 30));
    println!("load after: {}", load());
    ExitCode::SUCCESS
}

/// The machine's load.
fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}
