//! Order between jobs: `gitops { after = ["db"] }` (see docs/job-files.md).
//!
//! A version of a job that is after others *waits* until it *starts*, and it starts in the first pass in which each of
//! them is *settled*. From then on it is held up no more, whatever becomes of them: [`state::Plan::started`] notes it. A
//! version that goes back to an earlier one never waits.
//!
//! Another job is settled when
//!
//! - it is known, and not stopped;
//! - its desired version has started itself;
//! - it is periodic or parameterized: such a job only waits to be started; or
//! - it runs to completion and is complete in its desired version; or
//! - its rollout is over, and as many of its instances run as it wants, none of them judged unhealthy. Where what its file
//!   says came in the same revision as the version that waits, or in a later one, that rollout must have succeeded, and
//!   the job must not have gone back. Where it is older, the version that waits was written with it in sight: a rollout
//!   that failed then holds nothing up, as long as what runs is well.
//!
//! So what waits for a rollout that fails is held until a newer revision brings a version that succeeds, or until the
//! job that waits is changed. Nothing flips back and forth: a version waits once and starts once.
//!
//! While a version waits, the job is looked at as if it were not there: the newest version that has started goes on, and
//! where that one was not proven, nothing new of it starts either. What is lost or fails is replaced by its own version.

use std::collections::BTreeSet;

use model::{
    Allocation, ClientStatus, Deployment, DeploymentStatus, Group, JobId, JobVersion, NodeStatus,
};
use state::{JobRecord, State};

/// A job that is waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub on: JobId,
    /// What is not settled about it, in words.
    pub why: String,
}

impl std::fmt::Display for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "waits for {}: {}", self.on, self.why)
    }
}

/// Whether the desired version of a job has not started because others must be settled before, as far as the job itself
/// says.
pub fn may_wait(record: &JobRecord) -> bool {
    !record.stopped
        && record.current().is_some_and(|version| !version.has_started())
        && record.job().is_some_and(|job| job.starts_by_itself())
}

/// What the desired version of a job waits for; nothing once it has started.
pub fn waits(state: &State, record: &JobRecord) -> Vec<Waiting> {
    let Some(version) = record.current().filter(|_| may_wait(record)) else { return Vec::new() };
    let names: BTreeSet<&JobId> = version.job.gitops.after.iter().collect();
    let unsettled = names.into_iter().filter_map(|on| {
        let why = unsettled(state, version, on)?;
        Some(Waiting { on: on.clone(), why })
    });
    unsettled.collect()
}

/// What is waited for, in one line.
pub(crate) fn in_words(waits: &[Waiting]) -> String {
    let words: Vec<String> = waits.iter().map(ToString::to_string).collect();
    words.join("; ")
}

/// The job without the version that waits. Where nothing has started before, it is as if it were stopped.
pub(crate) fn without_what_waits(record: &JobRecord) -> JobRecord {
    let mut before = record.clone();
    loop {
        match before.versions.pop() {
            // Nothing of what was before it goes on.
            Some(version) if version.fresh => before.versions.clear(),
            Some(_) => {}
            None => break,
        }
        if before.current().is_some_and(|version| version.has_started()) {
            return before;
        }
    }
    JobRecord { stopped: true, stop_reason: "it starts anew later".to_owned(), ..record.clone() }
}

/// What keeps a job from being settled for a version that waits for it.
fn unsettled(state: &State, waiting: &JobVersion, on: &JobId) -> Option<String> {
    let Some(record) = state.job(on) else { return Some("there is no such job".to_owned()) };
    let Some(current) = record.current() else { return Some("there is no such job".to_owned()) };
    if record.stopped {
        return Some("it is stopped".to_owned());
    }
    if !current.job.starts_by_itself() {
        return None;
    }
    if !current.has_started() {
        let names: Vec<&str> = current.job.gitops.after.iter().map(JobId::as_str).collect();
        return Some(format!("it has not started, and is after {} itself", names.join(", ")));
    }
    if current.job.kind.runs_to_completion() {
        return (!is_complete(state, current, on)).then(|| "it is not complete".to_owned());
    }
    let said = record.versions.iter().rev().find(|version| version.reverts_to.is_none());
    let together = said.is_some_and(|said| {
        said.create_index >= waiting.create_index || said.origin.commit == waiting.origin.commit
    });
    if let Some(to) = current.reverts_to.filter(|to| together && !is_confirmed(record, *to)) {
        return Some(format!("its deployment failed, and it went back to version {to}"));
    }
    let deployment = state.deployments_of_job(on).find(|deployment| {
        deployment.job_version == current.version && deployment.create_index >= current.create_index
    });
    match deployment.map(|deployment| deployment.status) {
        Some(status) if status.is_active() => deployment.map(|deployment| unfinished(deployment)),
        Some(DeploymentStatus::Failed) if together => Some("its deployment failed".to_owned()),
        Some(DeploymentStatus::Cancelled) if together => {
            Some("its deployment was cancelled".to_owned())
        }
        None if !current.stable && !is_looked_at(state, current, on) => {
            Some("its rollout has not begun".to_owned())
        }
        _ => (!runs(state, current, on)).then(|| "not all of it runs".to_owned()),
    }
}

fn unfinished(deployment: &Deployment) -> String {
    match deployment.status {
        DeploymentStatus::Paused => "its deployment is paused",
        _ if deployment.needs_promotion() => "its canaries are not promoted",
        _ => "its deployment is running",
    }
    .to_owned()
}

/// Whether a file says what the job went back to, so that it is what is desired.
fn is_confirmed(record: &JobRecord, to: u64) -> bool {
    let target = record.version(to);
    record.current().zip(target).is_some_and(|(current, target)| current.origin != target.origin)
}

/// Whether the evaluator knows the version.
fn is_looked_at(state: &State, version: &JobVersion, job: &JobId) -> bool {
    state.evaluations_of_job(job).any(|evaluation| {
        evaluation.job_version == version.version && evaluation.create_index >= version.create_index
    })
}

/// The allocations of a job that count: not replaced, not told to stop.
fn allocs<'a>(state: &'a State, job: &'a JobId) -> impl Iterator<Item = &'a Allocation> {
    state
        .allocs_of_job(job)
        .map(AsRef::as_ref)
        .filter(|alloc: &&Allocation| !alloc.server_terminal() && alloc.next.is_none())
}

fn is_complete(state: &State, version: &JobVersion, job: &JobId) -> bool {
    let done = |alloc: &&Allocation| {
        alloc.client == ClientStatus::Complete && alloc.job_version == version.version
    };
    if version.job.kind.per_node() {
        // Those that were done for an older version stay where they are.
        let counts = |alloc: &&Allocation| {
            alloc.job_version == version.version || !alloc.client.is_terminal()
        };
        return is_looked_at(state, version, job)
            && allocs(state, job).filter(counts).all(|alloc| done(&alloc));
    }
    version.job.task_groups.iter().all(|group| {
        let complete =
            allocs(state, job).filter(done).filter(|alloc| *alloc.group == *group.name).count();
        complete >= group.count as usize
    })
}

/// Whether all that is wanted runs and is not known to be unwell.
fn runs(state: &State, version: &JobVersion, job: &JobId) -> bool {
    let well = |alloc: &Allocation, group: &Group| {
        alloc.client == ClientStatus::Running
            && !alloc.is_unhealthy()
            && !alloc.canary
            // Without a rollout only the version says what it is.
            && (group.rollout().is_some() || alloc.job_version == version.version)
    };
    version.job.task_groups.iter().all(|group| {
        let mut of_group = allocs(state, job).filter(|alloc| *alloc.group == *group.name);
        if version.job.kind.per_node() {
            // A node that does not answer holds nobody up.
            return of_group.all(|alloc| {
                let node = state.node(alloc.node);
                well(alloc, group) || node.is_none_or(|node| node.status != NodeStatus::Ready)
            });
        }
        of_group.filter(|alloc| well(alloc, group)).count() >= group.count as usize
    })
}

#[cfg(test)]
mod tests;
