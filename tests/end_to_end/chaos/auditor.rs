//! Compares the machine with what the agent says, and both with what the newest commit wants.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use client::Listing;
use model::wire::{AllocListStub, TaskStateView};
use model::{AllocId, ClientStatus, DesiredStatus, TaskRunState};

use super::{JobWanted, Kind};
use crate::agent::{Agent, processes_in};
use crate::docker::docker;

/// Events that a task keeps; older ones are dropped.
const MAX_EVENTS: usize = 10;

/// What runs for one allocation.
#[derive(Debug, Default)]
struct Running {
    /// The values of `RELEASE` in each task process.
    releases: Vec<String>,
    shims: usize,
    containers: usize,
}

/// Says the first thing that is not as it should be.
pub(super) fn audit(agent: &Agent, jobs: &BTreeMap<String, JobWanted>) -> Result<(), String> {
    let client = agent.client();
    let all = client.allocations(&Listing::default()).map_err(|error| error.to_string())?;
    let all = all.into_value();
    let mut machine = machine(agent)?;
    for (name, job) in jobs {
        let of_job: Vec<_> = all.iter().filter(|alloc| alloc.job_id.as_str() == name).collect();
        converged(name, job, &of_job)?;
    }
    for alloc in &all {
        let job = jobs.get(alloc.job_id.as_str());
        let running = machine.remove(&alloc.id).unwrap_or_default();
        let about = |problem: String| {
            format!("allocation {} of {}: {problem}\n{alloc:#?}", alloc.id, alloc.job_id.as_str())
        };
        runs_once(alloc, job, &running).map_err(about)?;
        let lines = starts(&agent.data_dir(), alloc.id);
        for task in alloc.task_states.values() {
            story(alloc, task, lines).map_err(about)?;
        }
    }
    if !machine.is_empty() {
        return Err(format!("something runs for allocations that nobody knows: {machine:?}"));
    }
    let known: BTreeSet<String> = all.iter().map(|alloc| alloc.id.to_string()).collect();
    for entry in std::fs::read_dir(agent.data_dir().join("alloc")).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !known.contains(&name) {
            return Err(format!("a directory of an allocation that nobody knows: {name}"));
        }
    }
    Ok(())
}

/// The agent says that the job is as the commit wants it.
fn converged(name: &str, job: &JobWanted, allocs: &[&AllocListStub]) -> Result<(), String> {
    let wanted = |status: ClientStatus| {
        let newest = allocs.iter().map(|alloc| alloc.job_version).max();
        let these = allocs.iter().filter(|alloc| {
            alloc.desired_status == DesiredStatus::Run && alloc.client_status == status
        });
        these.filter(|alloc| Some(alloc.job_version) == newest).count() as u64
    };
    let (status, count) = match job.kind {
        Kind::Service | Kind::Docker => (ClientStatus::Running, job.count),
        Kind::Batch => (ClientStatus::Complete, job.count),
        Kind::Crash => (ClientStatus::Failed, job.count),
    };
    if wanted(status) != count {
        let found: Vec<_> = allocs
            .iter()
            .map(|alloc| {
                let tasks = alloc.task_states.values();
                let failures = tasks.filter(|task| task.failed && job.kind != Kind::Crash);
                let events = failures.flat_map(|task| &task.events);
                let why: Vec<_> = events.map(|event| event.message.as_str()).collect();
                (alloc.job_version, alloc.desired_status, alloc.client_status, why)
            })
            .collect();
        return Err(format!("{name} wants {count} {status:?}: {found:?}"));
    }
    Ok(())
}

fn runs_once(
    alloc: &AllocListStub,
    job: Option<&JobWanted>,
    running: &Running,
) -> Result<(), String> {
    let is_to_run =
        alloc.desired_status == DesiredStatus::Run && alloc.client_status == ClientStatus::Running;
    if !is_to_run {
        return match running {
            Running { releases, shims: 0, containers: 0 } if releases.is_empty() => Ok(()),
            _ => Err(format!("it is over and still has {running:?}")),
        };
    }
    let Some(job) = job else { return Err("its job was removed".to_owned()) };
    match (job.kind, running.shims, running.containers, running.releases.as_slice()) {
        // Its process is in the container and carries the same variables.
        (Kind::Docker, 0, 1, [release]) | (Kind::Service, 1, 0, [release]) => {
            if *release == job.release.to_string() {
                Ok(())
            } else {
                Err(format!("it runs release {release} and not {}", job.release))
            }
        }
        _ => Err(format!("it runs once and not as {running:?}")),
    }
}

/// What is written of a task's life, and what the task itself wrote.
fn story(alloc: &AllocListStub, task: &TaskStateView, lines: usize) -> Result<(), String> {
    let kinds: Vec<&str> = task.events.iter().map(|event| event.kind.as_str()).collect();
    let whole = kinds.len() < MAX_EVENTS;
    if whole && kinds.first() != Some(&"Received") {
        return Err("its story has no beginning".to_owned());
    }
    let started = kinds.iter().filter(|kind| **kind == "Started").count();
    let restarts = usize::try_from(task.restarts).expect("fits");
    if lines > restarts + 1 {
        return Err(format!("it was started {lines} times with {restarts} restarts"));
    }
    if whole && started > restarts + 1 {
        return Err(format!("`Started` {started} times with {restarts} restarts"));
    }
    if lines > 0 && whole && started == 0 {
        return Err("it ran and its story does not say so".to_owned());
    }
    let stopped = alloc.desired_status != DesiredStatus::Run;
    match task.state {
        TaskRunState::Dead => {
            let ends = ["Terminated", "Killed", "Not Restarting", "Driver Failure"];
            if !kinds.iter().any(|kind| ends.contains(kind)) {
                return Err("its story has no end".to_owned());
            }
            if !stopped && lines != restarts + 1 {
                return Err(format!("it ended after {lines} starts and {restarts} restarts"));
            }
        }
        TaskRunState::Running if !stopped => {
            // Nothing but an end of its own restarts a task, and these do not end.
            if restarts != 0 || lines != 1 {
                return Err(format!("it runs after {lines} starts and {restarts} restarts"));
            }
        }
        TaskRunState::Running | TaskRunState::Pending => {
            return Err(format!("it is {:?} in a quiet moment", task.state));
        }
    }
    Ok(())
}

/// How often the task of an allocation ran, by its own count.
fn starts(data_dir: &Path, alloc: AllocId) -> usize {
    let file = data_dir.join("alloc").join(alloc.to_string()).join("alloc/starts");
    std::fs::read_to_string(file).unwrap_or_default().lines().count()
}

/// Everything of this agent that runs, whoever started it and whoever knows it.
fn machine(agent: &Agent) -> Result<BTreeMap<AllocId, Running>, String> {
    let data_dir = agent.data_dir();
    let mut found: BTreeMap<AllocId, Running> = BTreeMap::new();
    let info = std::fs::read(data_dir.join("agent.json")).map_err(|error| error.to_string())?;
    let info: serde_json::Value =
        serde_json::from_slice(&info).map_err(|error| error.to_string())?;
    let label = format!("label=herder.instance={}", info["node_id"].as_str().unwrap_or("none"));
    let format = "{{.ID}} {{.Label \"herder.alloc_id\"}}";
    let listed = docker(&["ps", "-a", "--no-trunc", "--filter", &label, "--format", format]);
    for line in listed.unwrap_or_default().lines() {
        let (id, alloc) = line.split_once(' ').ok_or("a container without an allocation")?;
        let running = found.entry(alloc.parse().map_err(|_| "no allocation")?).or_default();
        running.containers += 1;
        let format = "{{range .Config.Env}}{{println .}}{{end}}";
        let env = docker(&["inspect", "--format", format, id]).unwrap_or_default();
        running.releases.extend(release(env.lines()));
    }
    for pid in processes_in(&data_dir) {
        let read = |name: &str| {
            let bytes = std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (environment, arguments) = (read("environ"), read("cmdline"));
        let mut words = arguments.split('\0');
        if let Some(dir) = words.by_ref().find(|word| *word == "run").and_then(|_| words.next())
            && arguments.contains("__task-shim")
        {
            let alloc = Path::new(dir).strip_prefix(data_dir.join("alloc")).ok();
            let alloc = alloc.and_then(|path| path.iter().next()?.to_str()?.parse().ok());
            found.entry(alloc.ok_or("a shim of no allocation")?).or_default().shims += 1;
            continue;
        }
        let variables = || environment.split('\0');
        let id = variables().find_map(|pair| pair.strip_prefix("NOMAD_ALLOC_ID="));
        if let Some(alloc) = id.and_then(|id| id.parse().ok()) {
            found.entry(alloc).or_default().releases.extend(release(variables()));
        }
    }
    Ok(found)
}

fn release<'a>(mut variables: impl Iterator<Item = &'a str>) -> Option<String> {
    variables.find_map(|pair| Some(pair.strip_prefix("RELEASE=")?.to_owned()))
}
