//! The end of a run: faults stop, people mend what is theirs to mend, and the cluster must become what its branch says
//! (L1, L3), and stay so.

use std::collections::BTreeSet;

use evaluator::evaluate;
use model::{AllocId, ClientStatus, DeploymentStatus, Eligibility, EvalStatus, JobId, JobType};
use state::Command;

use super::jobs::{JOBS, Silent, Spec, name};
use super::leader::everything;
use super::world::{Check, Event, World};

/// How often it is looked whether all is well.
const LOOK: u64 = 5_000;
/// How long nothing may change once it is.
const QUIET: u64 = 45_000;
/// Virtual time within which all must be well. The longest honest waits: a stand-in's 60 s, a drain's and a kill's
/// timeout, a progress deadline of 200 s, and the waits of a failed one (30, 60, 120 s).
const BOUND: u64 = 420_000;
/// How long a cluster that nobody mends may take to say why something is missing.
const EXPLAINED: u64 = 150_000;

/// How far the end has come.
#[derive(Debug, Default)]
pub(super) struct Calm {
    began: Option<u64>,
    pushed: Option<u64>,
    /// Since when all is well, and how much was placed and stopped until then.
    well: Option<(u64, u64)>,
}

impl World<'_> {
    /// Moves the end on. `true` when it is over.
    pub(super) fn calm(&mut self) -> Check<bool> {
        let Some(began) = self.calm.began else {
            self.calm.began = Some(self.now);
            self.mend_all()?;
            self.after(LOOK, Event::Calm);
            return Ok(false);
        };
        let Some(pushed) = self.calm.pushed else {
            self.settle_people();
            // Some runs are left alone for a while, to see whether what they have is held or explained.
            let patience = if self.schedule.seed.is_multiple_of(3) { EXPLAINED } else { LOOK };
            if self.now >= began + patience && self.reachable_leader().is_some() {
                if patience == EXPLAINED {
                    self.explained()?;
                }
                self.push_good();
                self.calm.pushed = Some(self.now);
            }
            self.after(LOOK, Event::Calm);
            return Ok(false);
        };
        self.settle_people();
        match (self.unwell(), self.calm.well) {
            (Err(why), _) if self.now > pushed + BOUND => return Err(format!("L1: {why}")),
            (Err(why), Some((since, _))) => {
                return Err(format!("L1 stays: all was well at {since} ms, and then: {why}"));
            }
            (Err(_), None) => {}
            (Ok(()), None) => {
                self.calm.well = Some((self.now, self.watch.changes()));
            }
            (Ok(()), Some((since, changes))) => {
                if self.watch.changes() != changes {
                    return Err(
                        "L1 stays: all was well, and something was placed or stopped".to_owned()
                    );
                }
                if self.now >= since + QUIET {
                    return Ok(true);
                }
            }
        }
        self.after(LOOK, Event::Calm);
        Ok(false)
    }

    fn mend_all(&mut self) -> Check {
        self.is_calm = true;
        for server in 0..self.servers.len() {
            self.up(server)?;
            self.heal(server)?;
        }
        // Where every machine is gone, somebody brings a new one.
        if self.machines.iter().all(|machine| machine.dead) {
            self.join(0);
        }
        for machine in 0..self.machines.len() {
            self.mend(machine)?;
            self.boot(machine)?;
        }
        self.after(600, Event::Elect);
        Ok(())
    }

    /// What people have to say before a cluster can do what its branch says; again and again, as requests may get lost.
    fn settle_people(&mut self) {
        let at = self.clock();
        let state = self.log.state.clone();
        let dead: BTreeSet<_> =
            self.machines.iter().filter(|machine| machine.dead).map(|machine| machine.id).collect();
        for node in state.nodes() {
            if dead.contains(&node.id) {
                self.ask(Command::RemoveNode { node: node.id, until: at, at });
            } else if node.draining || node.eligibility != Eligibility::Eligible {
                self.ask(Command::SetDrain { node: node.id, drain: None, mark_eligible: true, at });
            }
        }
        if state.repos().any(|repo| repo.files.values().any(|file| file.removal_held)) {
            self.approve();
        }
    }

    /// A version of each job that fits anywhere and comes up.
    fn push_good(&mut self) {
        let declared = self.branch.jobs();
        for job in (0..JOBS).filter(|job| declared.contains(&name(*job))) {
            let mut spec = Spec::good(1_000);
            if job.is_multiple_of(2) {
                (spec.auto_revert, spec.parallel) = (true, 2);
            }
            if self.schedule.is_alone(job) {
                (spec.count, spec.silent) = (1, Silent::Alone);
            }
            self.push(job, &spec);
        }
    }

    /// Whether every job runs as desired, and nothing else does.
    fn unwell(&self) -> Check {
        let state = &self.log.state;
        let Some(leader) = self.reachable_leader() else { return Err("nobody leads".to_owned()) };
        let declared = self.branch.jobs();
        for record in state.jobs() {
            let live: Vec<_> = state
                .allocs_of_job(&record.id)
                .filter(|alloc| !alloc.client.is_terminal())
                .collect();
            if !declared.contains(&record.id) {
                if !record.stopped {
                    return Err(format!("{} is declared no more and not stopped", record.id));
                }
                if let Some(alloc) = live.first() {
                    return Err(format!("S5: {} is stopped and {} goes on", record.id, alloc.id));
                }
                continue;
            }
            let Some(job) = record.job() else { continue };
            let is_last =
                job.task_groups[0].tasks[0].env.get("CONTENT").is_some_and(|c| c == "1000");
            if !is_last {
                return Err(format!(
                    "{} is not at its last version: {:?}",
                    record.id,
                    state.repos().next().map(|repo| &repo.head)
                ));
            }
            let nodes = state.nodes().filter(|node| node.is_ready()).count();
            let wanted = match job.kind {
                JobType::Service => job.task_groups[0].count as usize,
                JobType::System => nodes,
                // What runs to its end is done.
                JobType::Batch | JobType::Sysbatch => 0,
            };
            let running = live
                .iter()
                .filter(|alloc| {
                    alloc.client == ClientStatus::Running
                        && !alloc.server_terminal()
                        && alloc.disconnected_at.is_none()
                        && record
                            .current()
                            .is_some_and(|current| current.version == alloc.job_version)
                })
                .count();
            if running != wanted || live.len() != wanted {
                let shown: Vec<String> =
                    live.iter().map(|alloc| super::watch::shown(alloc)).collect();
                let words = state
                    .evaluations_of_job(&record.id)
                    .next()
                    .map(|evaluation| evaluation.description.clone());
                return Err(format!(
                    "{}: {running} of {wanted} run, of {shown:#?}: {words:?}",
                    record.id
                ));
            }
            if let Some(deployment) = state.latest_deployment(&record.id)
                && !job.kind.runs_to_completion()
                && deployment.status != DeploymentStatus::Successful
            {
                return Err(format!(
                    "{}: its deployment is {:?}: {}",
                    record.id, deployment.status, deployment.description
                ));
            }
        }
        if declared.len() != state.jobs().filter(|record| !record.stopped).count() {
            return Err("a declared job is not there".to_owned());
        }
        self.truth()?;
        let server = &self.servers[leader].state;
        let plan = evaluate(server, &everything(server), self.clock());
        if plan.is_empty() { Ok(()) } else { Err(format!("something is left to do: {plan:#?}")) }
    }

    /// What runs in truth is what the servers think.
    fn truth(&self) -> Check {
        let state = &self.log.state;
        let thought: BTreeSet<AllocId> = state
            .allocs()
            .filter(|alloc| alloc.client == ClientStatus::Running)
            .map(|alloc| alloc.id)
            .collect();
        let tasks = self.machines.iter().flat_map(|machine| machine.tasks.values());
        let runs: BTreeSet<AllocId> =
            tasks.filter(|task| task.runs()).map(|task| task.alloc).collect();
        if runs == thought {
            return Ok(());
        }
        let more: Vec<_> = runs.difference(&thought).collect();
        let less: Vec<_> = thought.difference(&runs).collect();
        Err(format!("S4: {more:?} run and nobody knows, {less:?} do not"))
    }

    /// L3: of a cluster in which nothing happens any more, whatever is missing is held for a reason that is recorded.
    fn explained(&self) -> Check {
        let state = &self.log.state;
        for record in state.jobs() {
            if record.stopped {
                let goes_on = |alloc: &&std::sync::Arc<model::Allocation>| !alloc.terminal();
                if let Some(alloc) = state.allocs_of_job(&record.id).find(goes_on) {
                    return Err(format!("S5: {} is stopped and {} goes on", record.id, alloc.id));
                }
                continue;
            }
            let Some(job) = record.job().filter(|job| job.kind == JobType::Service) else {
                continue;
            };
            let deployment = state.latest_deployment(&record.id);
            // A rollout that waits for people, or for what does not come up, is its own explanation.
            let is_held = deployment
                .is_some_and(|deployment| deployment.status != DeploymentStatus::Successful);
            let newest = state.evaluations_of_job(&record.id).next();
            let is_blocked =
                newest.is_some_and(|evaluation| evaluation.status == EvalStatus::Blocked);
            if is_held || is_blocked || is_troubled(state, &record.id) {
                continue;
            }
            for group in &job.task_groups {
                let live: Vec<String> = state
                    .allocs_of_job(&record.id)
                    .filter(|alloc| {
                        *alloc.group == *group.name && !alloc.terminal() && !alloc.canary
                    })
                    .map(|alloc| super::watch::shown(alloc))
                    .collect();
                if live.len() != group.count as usize {
                    return Err(format!(
                        "L3: {} {}: {} are wanted, and nothing says why there are {live:#?}: {newest:?}",
                        record.id, group.name, group.count
                    ));
                }
            }
        }
        Ok(())
    }

    /// The very end: all servers hold the same.
    pub(super) fn end(&mut self) -> Check {
        for server in 0..self.servers.len() {
            self.catch_up(server)?;
            if self.servers[server].state.index() != self.log.state.index() {
                return Err(format!("L1: server {server} did not catch up"));
            }
        }
        self.compare()
    }
}

/// Whether one of its allocations failed and waits to be replaced, or for ever if it is not to be.
fn is_troubled(state: &state::State, job: &JobId) -> bool {
    state.allocs_of_job(job).any(|alloc| {
        !alloc.server_terminal()
            && alloc.next.is_none()
            && matches!(alloc.client, ClientStatus::Failed | ClientStatus::Complete)
    })
}
