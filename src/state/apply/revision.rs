//! A repository's new head.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{FileChange, FileChangeKind, JobId, Origin, Revision};

use crate::TRACKED_REVISIONS;
use crate::command::{FileOutcome, TakeRevision};
use crate::event::{Event, Rejection};
use crate::record::{FileRecord, RepoRecord};
use crate::table::State;

impl State {
    pub(super) fn take_revision(
        &mut self,
        taken: &TakeRevision,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        let mut repo = self.repos.get(&taken.repo).map_or_else(
            || RepoRecord { name: taken.repo.clone(), ..RepoRecord::default() },
            |repo| RepoRecord::clone(repo),
        );
        if repo.head != taken.expected_head {
            let name = |head: &Option<model::CommitId>| {
                head.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string)
            };
            return Err(Rejection::StaleRevision {
                expected: name(&taken.expected_head),
                found: name(&repo.head),
            });
        }
        self.take_over(taken)?;
        let mut revision = self.begun(&repo, taken).unwrap_or_else(|| Revision {
            repo: taken.repo.clone(),
            branch: taken.branch.clone(),
            commit: taken.commit.clone(),
            parent: repo.head.clone(),
            author: taken.author.clone(),
            subject: taken.subject.clone(),
            committed_at: taken.committed_at,
            seen_at: taken.seen_at,
            files: Vec::new(),
            notes: Vec::new(),
            index: self.index,
        });
        revision.notes.extend(taken.notes.iter().cloned());
        for (path, outcome) in &taken.files {
            let change = self.take_file(&mut repo, taken, path, outcome, events);
            revision.files.extend(change);
        }
        repo.branch.clone_from(&taken.branch);
        if taken.partial {
            repo.partial = Some(taken.commit.clone());
        } else {
            repo.partial = None;
            repo.head = Some(taken.commit.clone());
            settle_holds(&mut repo);
        }
        repo.modify_index = self.index;
        events.push(Event::Revision { repo: taken.repo.clone(), commit: taken.commit.clone() });
        self.repos.insert(repo.name.clone(), Arc::new(repo));
        self.revisions.insert(revision.index, Arc::new(revision));
        while self.revisions.len() > TRACKED_REVISIONS {
            let Some(oldest) = self.revisions.get_min().map(|(index, _)| *index) else { break };
            self.revisions.remove(&oldest);
        }
        self.indexes.revisions = self.index;
        Ok(())
    }

    /// The revision that this command goes on with: a commit too large for one command comes in several.
    fn begun(&self, repo: &RepoRecord, taken: &TakeRevision) -> Option<Revision> {
        if repo.partial.as_ref() != Some(&taken.commit) {
            return None;
        }
        let newest = self.revisions().find(|revision| revision.repo == taken.repo)?;
        (newest.commit == taken.commit).then(|| Revision::clone(newest))
    }

    /// A job belongs to one repository. Another that declares it too must not fight over it; it gets it once the first
    /// one holds only its removal, or is followed no more.
    fn take_over(&mut self, taken: &TakeRevision) -> Result<(), Rejection> {
        let declared: BTreeSet<&JobId> = declared(taken).collect();
        if declared.is_empty() {
            return Ok(());
        }
        let mut given: Vec<(String, String)> = Vec::new();
        for other in self.repos.values().filter(|other| other.name != taken.repo) {
            for (path, file) in &other.files {
                let Some(job) = file.job.as_ref().filter(|job| declared.contains(job)) else {
                    continue;
                };
                if !file.removal_held && !taken.abandoned.contains(&other.name) {
                    return Err(Rejection::Conflict(format!(
                        "job `{job}` is declared by {path} of repository `{}`",
                        other.name
                    )));
                }
                given.push((other.name.clone(), path.clone()));
            }
        }
        for (name, path) in given {
            if let Some(other) = self.repos.get_mut(&name) {
                let other = Arc::make_mut(other);
                other.files.remove(&path);
                other.modify_index = self.index;
            }
        }
        Ok(())
    }

    /// Stops a job that `repo` declares no more, unless another repository does.
    fn let_go(
        &mut self,
        repo: &str,
        job: &JobId,
        reason: String,
        at: model::Timestamp,
        events: &mut Vec<Event>,
    ) {
        let elsewhere = self.repos.values().any(|other| {
            other.name != repo
                && other
                    .files
                    .values()
                    .any(|file| file.job.as_ref() == Some(job) && !file.removal_held)
        });
        if !elsewhere {
            self.stop_job(job, reason, at, events);
        }
    }

    /// Stops the jobs whose removal was held, now that somebody said that it was meant.
    pub(super) fn approve_removals(
        &mut self,
        repo: &str,
        jobs: &[model::JobId],
        at: model::Timestamp,
        events: &mut Vec<Event>,
    ) -> Result<(), Rejection> {
        let Some(record) = self.repos.get(repo) else {
            return Err(Rejection::NotFound { what: "repository", id: repo.to_owned() });
        };
        let mut record = RepoRecord::clone(record);
        let approved = |file: &FileRecord| {
            file.removal_held
                && file.job.as_ref().is_some_and(|job| jobs.is_empty() || jobs.contains(job))
        };
        let held: Vec<(String, Option<model::JobId>)> = record
            .files
            .iter()
            .filter(|(_, file)| approved(file))
            .map(|(path, file)| (path.clone(), file.job.clone()))
            .collect();
        if held.is_empty() {
            return Err(Rejection::Conflict("no removal is held for these jobs".to_owned()));
        }
        for (path, job) in held {
            record.files.remove(&path);
            if let Some(job) = job {
                let reason = format!("{path} was removed, and the removal was approved");
                self.let_go(repo, &job, reason, at, events);
            }
        }
        record.modify_index = self.index;
        self.indexes.revisions = self.index;
        self.repos.insert(record.name.clone(), Arc::new(record));
        Ok(())
    }

    fn take_file(
        &mut self,
        repo: &mut RepoRecord,
        taken: &TakeRevision,
        path: &str,
        outcome: &FileOutcome,
        events: &mut Vec<Event>,
    ) -> Option<FileChange> {
        let before = repo.files.get(path).cloned();
        let change = |job, change, version, problems| {
            Some(FileChange { path: path.to_owned(), job, change, version, problems })
        };
        match outcome {
            FileOutcome::Job { blob, submission, problems } => {
                let job = &submission.job;
                let origin = Arc::new(Origin {
                    repo: taken.repo.clone(),
                    commit: taken.commit.clone(),
                    path: path.to_owned(),
                    blob: blob.clone(),
                });
                let known = self.jobs.get(&job.id).is_some_and(|record| !record.stopped);
                // A file that comes back as it was says nothing new: what its job went back to meanwhile stays.
                let same = before.as_ref().is_some_and(|file| {
                    file.removal_held && file.blob == *blob && file.job.as_ref() == Some(&job.id)
                });
                let current = self.jobs.get(&job.id).filter(|record| same && !record.stopped);
                let current = current.and_then(|record| Some(record.current()?.version));
                let (version, mut changed) = match current {
                    Some(version) => (version, false),
                    None => self.submit_job(job, Arc::clone(&origin), None, taken.at, events),
                };
                changed |= !same && self.confirm_rollback(&job.id, &origin, events);
                repo.files.insert(
                    path.to_owned(),
                    FileRecord {
                        blob: blob.clone(),
                        inputs: taken.inputs.clone(),
                        job: Some(job.id.clone()),
                        problems: problems.clone(),
                        ..FileRecord::default()
                    },
                );
                hold_renamed(repo, taken, path, before, &job.id);
                let kind = match (known, changed) {
                    (false, _) => FileChangeKind::Added,
                    (true, true) => FileChangeKind::Changed,
                    (true, false) => FileChangeKind::Unchanged,
                };
                change(Some(job.id.clone()), kind, Some(version), problems.clone())
            }
            FileOutcome::Broken { blob, problems } => {
                let job = before.and_then(|file| file.job);
                repo.files.insert(
                    path.to_owned(),
                    FileRecord {
                        blob: blob.clone(),
                        inputs: taken.inputs.clone(),
                        job: job.clone(),
                        problems: problems.clone(),
                        broken: true,
                        removal_held: false,
                    },
                );
                change(job, FileChangeKind::Broken, None, problems.clone())
            }
            FileOutcome::Removed => {
                let file = repo.files.remove(path)?;
                let job = file.job?;
                let reason = format!("{path} was removed in {}", taken.commit.short());
                self.let_go(&taken.repo, &job, reason, taken.at, events);
                change(Some(job), FileChangeKind::Removed, None, Vec::new())
            }
            FileOutcome::RemovalHeld => {
                let file = repo.files.get_mut(path)?;
                file.removal_held = true;
                change(file.job.clone(), FileChangeKind::Held, None, Vec::new())
            }
            FileOutcome::Forgotten => {
                repo.files.remove(path);
                None
            }
        }
    }
}

/// Under which name a repository's record keeps a job that a file declared before it declared another. No job file can
/// have such a name.
pub fn renamed_path(path: &str, job: &JobId) -> String {
    format!("{path}#{job}")
}

/// Keeps a job that `path` no longer declares, because it now declares `new`, as a removal that is held. Whether it
/// may stop is for the revision to say, under the same rules as for a file that is gone.
fn hold_renamed(
    repo: &mut RepoRecord,
    taken: &TakeRevision,
    path: &str,
    before: Option<FileRecord>,
    new: &JobId,
) {
    let Some(before) = before else { return };
    let Some(job) = before.job.as_ref().filter(|job| *job != new) else { return };
    let declared = repo.files.values().any(|file| file.job.as_ref() == Some(job))
        || declared(taken).any(|declared| declared == job);
    if !declared {
        let held = FileRecord {
            removal_held: true,
            broken: false,
            problems: Vec::new(),
            ..before.clone()
        };
        repo.files.insert(renamed_path(path, job), held);
    }
}

/// A removal that is held is settled once another file declares the job.
fn settle_holds(repo: &mut RepoRecord) {
    if !repo.files.values().any(|file| file.removal_held) {
        return;
    }
    let declared: BTreeSet<JobId> = repo
        .files
        .values()
        .filter(|file| !file.removal_held)
        .filter_map(|file| file.job.clone())
        .collect();
    repo.files.retain(|_, file| {
        !file.removal_held || !file.job.as_ref().is_some_and(|job| declared.contains(job))
    });
}

/// The jobs that a revision declares.
fn declared(taken: &TakeRevision) -> impl Iterator<Item = &JobId> {
    taken.files.values().filter_map(|outcome| match outcome {
        FileOutcome::Job { submission, .. } => Some(&submission.job.id),
        _ => None,
    })
}
