//! Repositories and revisions.

use std::collections::BTreeMap;

use model::wire::{BrokenFile, GitopsStatus, HeldRemoval, JobOutcome, RepoView, RevisionEntry};
use model::{JobId, Revision};
use state::{RepoRecord, State};

use crate::control::RepoPoll;

/// Every repository that is followed here or that the log knows, by name.
pub(crate) fn gitops_status(state: &State, polls: &[RepoPoll]) -> GitopsStatus {
    let mut repos: BTreeMap<&str, RepoView> = polls
        .iter()
        .map(|poll| {
            let view = RepoView {
                name: poll.name.clone(),
                url: poll.url.clone(),
                branch: poll.branch.clone(),
                seen: poll.seen.clone(),
                last_poll: poll.last_poll,
                last_success: poll.last_success,
                next_poll: poll.next_poll,
                error: poll.error.clone(),
                ..RepoView::default()
            };
            (poll.name.as_str(), view)
        })
        .collect();
    for record in state.repos() {
        let view = repos.entry(record.name.as_str()).or_default();
        view.name.clone_from(&record.name);
        if view.branch.is_empty() {
            view.branch.clone_from(&record.branch);
        }
        add_record(view, state, record);
    }
    GitopsStatus { repos: repos.into_values().collect() }
}

fn add_record(view: &mut RepoView, state: &State, record: &RepoRecord) {
    view.head.clone_from(&record.head);
    let of_head = |revision: &&std::sync::Arc<Revision>| {
        revision.repo == record.name && Some(&revision.commit) == record.head.as_ref()
    };
    if let Some(revision) = state.revisions().find(of_head) {
        view.subject.clone_from(&revision.subject);
        view.author.clone_from(&revision.author);
        view.committed_at = revision.committed_at;
    }
    let present = record.files.values().filter(|file| !file.removal_held).count();
    view.files = u32::try_from(present).unwrap_or(u32::MAX);
    for (path, file) in &record.files {
        if file.removal_held {
            let held = |job: &JobId| HeldRemoval { path: path.clone(), job: Some(job.clone()) };
            view.held.extend(file.jobs.iter().map(held));
        } else if file.broken {
            view.broken.push(BrokenFile {
                path: path.clone(),
                job: file.jobs.first().cloned(),
                jobs: file.jobs.iter().cloned().collect(),
                problems: file.problems.clone(),
            });
        }
    }
}

pub(crate) fn revision(state: &State, revision: &Revision) -> RevisionEntry {
    let report = state.revision_report(revision);
    let took = report.finished_at.map(|end| end.since(revision.seen_at).as_millis());
    RevisionEntry {
        revision: revision.clone(),
        outcome: report.outcome,
        finished_at: report.finished_at,
        duration_ms: took.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX)),
        jobs: report
            .jobs
            .into_iter()
            .map(|(job_id, outcome, description)| JobOutcome { job_id, outcome, description })
            .collect(),
    }
}
