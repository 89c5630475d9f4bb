//! What became of a revision. Derived, never stored: it follows from the deployments of the versions that it brought.

use model::{
    ClientStatus, DeploymentStatus, FileChange, FileChangeKind, JobId, Revision, RevisionOutcome,
    Timestamp,
};

use crate::table::State;

/// What became of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionReport {
    /// Taken over all its jobs: the worst.
    pub outcome: RevisionOutcome,
    /// When the last of its jobs was done; `None` while one is not.
    pub finished_at: Option<Timestamp>,
    /// Each job that it changed, with its own outcome and what to say about it.
    pub jobs: Vec<(JobId, RevisionOutcome, String)>,
}

impl State {
    /// What became of a revision.
    pub fn revision_report(&self, revision: &Revision) -> RevisionReport {
        let mut jobs = Vec::new();
        let mut finished = Some(revision.seen_at);
        for file in &revision.files {
            let Some(job) = &file.job else { continue };
            let Some((outcome, at, words)) = self.file_outcome(job, file) else { continue };
            finished = match (finished, at) {
                (Some(finished), Some(at)) => Some(finished.max(at)),
                _ => None,
            };
            jobs.push((job.clone(), outcome, words));
        }
        let outcome = jobs.iter().map(|(_, outcome, _)| *outcome).max_by_key(severity);
        RevisionReport {
            outcome: outcome.unwrap_or(RevisionOutcome::Unchanged),
            finished_at: finished,
            jobs,
        }
    }

    fn file_outcome(
        &self,
        job: &JobId,
        file: &FileChange,
    ) -> Option<(RevisionOutcome, Option<Timestamp>, String)> {
        match file.change {
            FileChangeKind::Removed => {
                let newest_end = self.allocs_of_job(job).map(|alloc| alloc.modified_at).max();
                let running = self.allocs_of_job(job).any(|alloc| !alloc.client.is_terminal());
                Some(if running && self.job(job).is_some_and(|record| record.stopped) {
                    (RevisionOutcome::Deploying, None, "stopping".to_owned())
                } else {
                    (
                        RevisionOutcome::Deployed,
                        Some(newest_end.unwrap_or_default()),
                        "stopped".to_owned(),
                    )
                })
            }
            FileChangeKind::Added | FileChangeKind::Changed => {
                file.version.map(|version| self.version_outcome(job, version))
            }
            FileChangeKind::Unchanged | FileChangeKind::Held | FileChangeKind::Broken => None,
        }
    }

    fn version_outcome(
        &self,
        job: &JobId,
        version: u64,
    ) -> (RevisionOutcome, Option<Timestamp>, String) {
        let record = self.job(job);
        let successor =
            record.and_then(|record| record.versions.iter().find(|next| next.version > version));
        let deployment =
            self.deployments_of_job(job).find(|deployment| deployment.job_version == version);
        if let Some(deployment) = deployment {
            let words = deployment.description.clone();
            let at = (!deployment.finished_at.is_zero()).then_some(deployment.finished_at);
            return match deployment.status {
                DeploymentStatus::Running | DeploymentStatus::Paused => {
                    (RevisionOutcome::Deploying, None, words)
                }
                DeploymentStatus::Successful => (RevisionOutcome::Deployed, at, words),
                DeploymentStatus::Cancelled => (RevisionOutcome::Superseded, at, words),
                DeploymentStatus::Failed
                    if successor.is_some_and(|next| next.reverts_to.is_some()) =>
                {
                    (RevisionOutcome::Reverted, at, words)
                }
                DeploymentStatus::Failed => (RevisionOutcome::Failed, at, words),
            };
        }
        if let Some(next) = successor {
            let at = Some(next.submitted_at);
            return (
                RevisionOutcome::Superseded,
                at,
                format!("superseded by version {}", next.version),
            );
        }
        if record.is_none_or(|record| record.stopped) {
            let at = record.map_or(Timestamp::ZERO, |record| record.submitted_at);
            return (RevisionOutcome::Superseded, Some(at), "removed since".to_owned());
        }
        let current = record.and_then(|record| record.current());
        if current.is_some_and(|current| !current.has_started()) {
            let newest = self.evaluations_of_job(job).next();
            let words = newest.map(|evaluation| evaluation.description.clone());
            let words = words.filter(|words| !words.is_empty());
            let words = words.unwrap_or_else(|| "waiting for the jobs that it is after".to_owned());
            return (RevisionOutcome::Deploying, None, words);
        }
        // No deployment: a job of a type without rolling updates, or one whose change was in place.
        let mut newest = Timestamp::ZERO;
        let mut any = false;
        let mut waiting = false;
        for alloc in self
            .allocs_of_job(job)
            .filter(|alloc| alloc.job_version == version && !alloc.server_terminal())
        {
            any = true;
            newest = newest.max(alloc.modified_at);
            waiting |= alloc.client == ClientStatus::Pending;
        }
        let evaluated = self
            .evaluations_of_job(job)
            .any(|evaluation| evaluation.job_version == version && evaluation.failures.is_empty());
        if waiting || !(any || evaluated) {
            (RevisionOutcome::Deploying, None, "waiting for its allocations".to_owned())
        } else {
            (RevisionOutcome::Deployed, Some(newest), "running".to_owned())
        }
    }
}

fn severity(outcome: &RevisionOutcome) -> u8 {
    match outcome {
        RevisionOutcome::Unchanged => 0,
        RevisionOutcome::Superseded => 1,
        RevisionOutcome::Deployed => 2,
        RevisionOutcome::Deploying => 3,
        RevisionOutcome::Reverted => 4,
        RevisionOutcome::Failed => 5,
    }
}
