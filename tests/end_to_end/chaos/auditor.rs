//! Compares the machine with what the agent says, and both with what the newest commit wants.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use client::Listing;
use model::wire::AllocListStub;
use model::{AllocId, ClientStatus, DesiredStatus, TaskRunState};

use super::machine::{Machine, Network, Traces};
use super::story;
use super::work::{JobWanted, Kind};
use crate::agent::Agent;

/// Descriptors that the agent may have open without any task, and for each.
const DESCRIPTORS: (usize, usize) = (80, 6);

/// Looks at quiet moments, and remembers what jobs that are gone by now did.
#[derive(Default)]
pub(super) struct Auditor {
    kinds: BTreeMap<String, Kind>,
    allocs: usize,
    starts: BTreeMap<AllocId, usize>,
}

/// What was looked at.
impl fmt::Display for Auditor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let starts: usize = self.starts.values().sum();
        write!(f, "{} jobs, {} allocations, {starts} starts", self.kinds.len(), self.allocs)
    }
}

/// Says what must never be so, whatever is going on.
pub(super) fn at_any_moment(agent: &Agent) -> Result<(), String> {
    // The machine first: whatever is on it was decided before.
    let machine = Machine::look(agent)?;
    let known = allocations(agent)?;
    let kind_of = |alloc: &AllocId| known.iter().find(|one| one.id == *alloc);
    let theirs = machine.tasks.keys().map(|(alloc, _)| alloc);
    let all = theirs.chain(&machine.dirs).chain(&machine.records).chain(machine.networks.keys());
    if let Some(stranger) = all.into_iter().find(|alloc| kind_of(alloc).is_none()) {
        return Err(format!("there is something of {stranger}, of which nobody knows"));
    }
    for ((alloc, task), traces) in &machine.tasks {
        let job = kind_of(alloc).map(|alloc| alloc.job_id.as_str()).unwrap_or_default();
        // A shell that ends has a child; the others become what they start.
        let ends = ["batch", "execbatch", "dockerbatch", "crash"];
        let one = !ends.contains(&job.split('-').next().unwrap_or_default());
        let running = traces.containers.iter().filter(|state| *state == "running").count();
        let twice = one && (traces.releases.len() > 1 || running > 1);
        // Several may be there while an earlier one is being ended.
        if twice || traces.mounts.len() > 2 {
            return Err(format!("task {task} of {alloc} ({job}) twice: {traces:?}"));
        }
    }
    Ok(())
}

fn allocations(agent: &Agent) -> Result<Vec<AllocListStub>, String> {
    let all = agent.client().allocations(&Listing::default()).map_err(|error| error.to_string())?;
    Ok(all.into_value())
}

impl Auditor {
    /// Says the first thing that is not as it should be.
    pub(super) fn audit(
        &mut self,
        agent: &Agent,
        jobs: &BTreeMap<String, JobWanted>,
    ) -> Result<(), String> {
        self.kinds.extend(jobs.iter().map(|(name, job)| (name.clone(), job.kind)));
        let all = allocations(agent)?;
        let mut machine = Machine::look(agent)?;
        for (name, job) in jobs {
            let of_job: Vec<_> = all.iter().filter(|alloc| alloc.job_id.as_str() == name).collect();
            converged(name, job, &of_job)?;
        }
        self.allocs = self.allocs.max(all.len());
        let mut running = 0;
        for alloc in &all {
            let job = jobs.get(alloc.job_id.as_str());
            let kind = self.kinds.get(alloc.job_id.as_str()).copied();
            for (name, task) in &alloc.task_states {
                let about = |problem: String| {
                    let job = alloc.job_id.as_str();
                    format!("task {name} of {} of {job}: {problem}\n{alloc:#?}", alloc.id)
                };
                let traces = machine.tasks.remove(&(alloc.id, name.clone())).unwrap_or_default();
                running += usize::from(task.state == TaskRunState::Running);
                let has_dir = machine.dirs.contains(&alloc.id);
                let starts = has_dir.then(|| starts(&agent.data_dir(), alloc.id, name));
                story::check(alloc, task, kind, starts).map_err(about)?;
                let is = task.state == TaskRunState::Running;
                remains(&traces, is, has_dir).map_err(about)?;
                runs_once(alloc, job, name, &traces, machine.trees).map_err(about)?;
                let count = self.starts.entry(alloc.id).or_default();
                *count = (*count).max(starts.unwrap_or_default());
            }
        }
        nobodys(&machine, &all)?;
        if machine.zombies > 0 {
            return Err(format!("{} children of the agent were not collected", machine.zombies));
        }
        let most = DESCRIPTORS.0 + DESCRIPTORS.1 * running;
        if machine.descriptors > most {
            let open = machine.descriptors;
            return Err(format!("the agent has {open} descriptors open for {running} tasks"));
        }
        Ok(())
    }
}

/// What is left when all that belongs to a known task is taken away.
fn nobodys(machine: &Machine, all: &[AllocListStub]) -> Result<(), String> {
    if !machine.tasks.is_empty() {
        return Err(format!("there is something of tasks that nobody knows: {:?}", machine.tasks));
    }
    let known = |alloc: &AllocId| all.iter().any(|one| one.id == *alloc);
    for (what, of) in [("directory", &machine.dirs), ("record", &machine.records)] {
        if let Some(stranger) = of.iter().find(|alloc| !known(alloc)) {
            return Err(format!("a {what} of an allocation that nobody knows: {stranger}"));
        }
    }
    networks(machine, all)
}

/// Groups that have one have a whole network, and nobody else has anything of one.
fn networks(machine: &Machine, all: &[AllocListStub]) -> Result<(), String> {
    let has_one = |alloc: &&AllocListStub| {
        alloc.job_id.as_str().starts_with("bridge-") && alloc.client_status == ClientStatus::Running
    };
    let whole = Network { namespaces: 1, records: 1, leases: 1, containers: 1 };
    let mut found = machine.networks.clone();
    for alloc in all.iter().filter(has_one) {
        let network = found.remove(&alloc.id).unwrap_or_default();
        if network != whole {
            return Err(format!("allocation {} runs with {network:?}", alloc.id));
        }
    }
    if !found.is_empty() {
        return Err(format!("networks of what does not run: {found:?}"));
    }
    if !machine.rules.is_empty() {
        return Err(format!("the firewall has rules that nobody needs: {:?}", machine.rules));
    }
    let groups = all.iter().filter(has_one).count();
    if machine.links == groups {
        return Ok(());
    }
    Err(format!("the bridge has {} ports for {groups} groups", machine.links))
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
    let status = match job.kind {
        Kind::Crash => ClientStatus::Failed,
        kind if kind.ends() => ClientStatus::Complete,
        _ => ClientStatus::Running,
    };
    let count = job.count;
    if wanted(status) == count {
        return Ok(());
    }
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
    Err(format!("{name} wants {count} {status:?}: {found:?}"))
}

/// Files and mounts of a task are there as long as its allocation's directory, its helper's as long as it runs.
fn remains(traces: &Traces, is_running: bool, has_dir: bool) -> Result<(), String> {
    if traces.state_dir && !is_running {
        return Err("it is over and its helper's files are left".to_owned());
    }
    let mut mounts = traces.mounts.clone();
    mounts.sort();
    mounts.dedup();
    if mounts.len() != traces.mounts.len() {
        return Err(format!("something is mounted twice: {:?}", traces.mounts));
    }
    let ours = |name: &String| ["private", "secrets"].contains(&name.as_str());
    if !mounts.iter().all(ours) || (!has_dir && !mounts.is_empty()) {
        return Err(format!("mounts that should not be: {mounts:?}"));
    }
    Ok(())
}

fn runs_once(
    alloc: &AllocListStub,
    job: Option<&JobWanted>,
    task: &str,
    traces: &Traces,
    trees: usize,
) -> Result<(), String> {
    let is_to_run =
        alloc.desired_status == DesiredStatus::Run && alloc.client_status == ClientStatus::Running;
    if !is_to_run {
        let still = traces.is_still();
        return if still { Ok(()) } else { Err(format!("it is over and still has {traces:?}")) };
    }
    let Some(job) = job else { return Err("its job was removed".to_owned()) };
    let driver = job.kind.drivers().iter().find(|(name, _)| *name == task).map(|pair| pair.1);
    let (shims, holders, containers, groups) = match driver {
        Some("exec") => (1, 1, &[][..], trees),
        // Its process is in the container, and its helper is Docker's.
        Some("docker") => (0, 0, &["running"][..], 0),
        _ => (1, 0, &[][..], 0),
    };
    let Traces { releases, .. } = traces;
    let as_it_should = traces.shims == shims
        && traces.holders == holders
        && traces.containers == containers
        && traces.groups == groups;
    match releases.as_slice() {
        [release] if as_it_should && *release == job.release.to_string() => Ok(()),
        [release] if as_it_should => Err(format!("it runs release {release}, not {}", job.release)),
        _ => Err(format!("it runs once and not as {traces:?}")),
    }
}

/// How often a task ran, by its own count.
fn starts(data_dir: &Path, alloc: AllocId, task: &str) -> usize {
    let file = data_dir.join("alloc").join(alloc.to_string()).join("alloc/data");
    let text = std::fs::read_to_string(file.join(format!("starts.{task}"))).unwrap_or_default();
    text.lines().count()
}
