//! A repository's new head.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{BlobId, Diagnostic, FileChange, FileChangeKind, JobId, Origin, Revision};

use crate::TRACKED_REVISIONS;
use crate::command::{FileOutcome, JobSubmission, TakeRevision};
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
            let changes = self.take_file(&mut repo, taken, path, outcome, events);
            revision.files.extend(changes);
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
        let mut given: Vec<(String, String, JobId)> = Vec::new();
        for other in self.repos.values().filter(|other| other.name != taken.repo) {
            for (path, file) in &other.files {
                for job in file.jobs.iter().filter(|job| declared.contains(job)) {
                    if !file.removal_held && !taken.abandoned.contains(&other.name) {
                        return Err(Rejection::Conflict(format!(
                            "job `{job}` is declared by {path} of repository `{}`",
                            other.name
                        )));
                    }
                    given.push((other.name.clone(), path.clone(), job.clone()));
                }
            }
        }
        for (name, path, job) in given {
            if let Some(other) = self.repos.get_mut(&name) {
                let other = Arc::make_mut(other);
                give_up(other, &path, &job);
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
                && other.files.values().any(|file| file.jobs.contains(job) && !file.removal_held)
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
        let approved = |job: &JobId| jobs.is_empty() || jobs.contains(job);
        let held: Vec<(String, JobId)> = record
            .files
            .iter()
            .filter(|(_, file)| file.removal_held)
            .flat_map(|(path, file)| file.jobs.iter().map(move |job| (path.clone(), job.clone())))
            .filter(|(_, job)| approved(job))
            .collect();
        if held.is_empty() {
            return Err(Rejection::Conflict("no removal is held for these jobs".to_owned()));
        }
        for (path, job) in held {
            give_up(&mut record, &path, &job);
            let reason = format!("{path} was removed, and the removal was approved");
            self.let_go(repo, &job, reason, at, events);
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
    ) -> Vec<FileChange> {
        let change = |job, change| FileChange {
            path: path.to_owned(),
            job,
            change,
            version: None,
            problems: Vec::new(),
        };
        match outcome {
            FileOutcome::Job { blob, submission, problems } => {
                let jobs = std::slice::from_ref(submission);
                self.take_jobs(repo, taken, (path, blob), jobs, problems, events)
            }
            FileOutcome::Jobs { blob, submissions, problems } => {
                self.take_jobs(repo, taken, (path, blob), submissions, problems, events)
            }
            FileOutcome::Broken { blob, problems } => {
                let before = repo.files.get(path);
                let jobs = before.map(|file| file.jobs.clone()).unwrap_or_default();
                let record = FileRecord {
                    jobs: jobs.clone(),
                    dependencies: before.map(|file| file.dependencies.clone()).unwrap_or_default(),
                    broken: true,
                    ..read(taken, path, blob, problems)
                };
                repo.files.insert(path.to_owned(), record);
                let mut changes: Vec<FileChange> =
                    jobs.into_iter().map(|job| change(Some(job), FileChangeKind::Broken)).collect();
                if changes.is_empty() {
                    changes.push(change(None, FileChangeKind::Broken));
                }
                if let Some(first) = changes.first_mut() {
                    first.problems.clone_from(problems);
                }
                changes
            }
            FileOutcome::Removed => {
                let Some(file) = repo.files.remove(path) else { return Vec::new() };
                let reason = format!("{path} was removed in {}", taken.commit.short());
                let moved = |job: &JobId| {
                    repo.files.values().any(|file| file.jobs.contains(job))
                        || declared(taken).any(|declared| declared == job)
                };
                let gone: Vec<JobId> = file.jobs.into_iter().filter(|job| !moved(job)).collect();
                for job in &gone {
                    self.let_go(&taken.repo, job, reason.clone(), taken.at, events);
                }
                gone.into_iter().map(|job| change(Some(job), FileChangeKind::Removed)).collect()
            }
            FileOutcome::RemovalHeld => {
                let Some(file) = repo.files.remove(path) else { return Vec::new() };
                for job in &file.jobs {
                    // One by one, so that they can be approved so.
                    let name = match file.jobs.len() {
                        1 => path.to_owned(),
                        _ => renamed_path(path, job),
                    };
                    let jobs = BTreeSet::from([job.clone()]);
                    let record = FileRecord { jobs, removal_held: true, ..file.clone() };
                    repo.files.insert(name, record);
                }
                file.jobs.into_iter().map(|job| change(Some(job), FileChangeKind::Held)).collect()
            }
            FileOutcome::Forgotten => {
                let before = repo.files.remove(path);
                hold_undeclared(repo, taken, path, before, &[]);
                Vec::new()
            }
        }
    }

    fn take_jobs(
        &mut self,
        repo: &mut RepoRecord,
        taken: &TakeRevision,
        (path, blob): (&str, &BlobId),
        submissions: &[JobSubmission],
        problems: &[Diagnostic],
        events: &mut Vec<Event>,
    ) -> Vec<FileChange> {
        let origin = Arc::new(Origin {
            repo: taken.repo.clone(),
            commit: taken.commit.clone(),
            path: path.to_owned(),
            blob: blob.clone(),
        });
        let jobs = submissions.iter().map(|submission| submission.job.id.clone()).collect();
        let record = FileRecord { jobs, ..read(taken, path, blob, problems) };
        let mut changes: Vec<FileChange> = Vec::new();
        for submission in submissions {
            let job = &submission.job;
            let known = self.jobs.get(&job.id).is_some_and(|record| !record.stopped);
            // A file that comes back as it was says nothing new: what its job went back to meanwhile stays.
            let renamed = renamed_path(path, &job.id);
            let same = [path, renamed.as_str()].iter().any(|name| {
                repo.files.get(*name).is_some_and(|file| {
                    file.removal_held
                        && (&file.blob, &file.inputs) == (&record.blob, &record.inputs)
                        && file.jobs.contains(&job.id)
                })
            });
            let current = self.jobs.get(&job.id).filter(|record| same && !record.stopped);
            let current = current.and_then(|record| Some(record.current()?.version));
            let (version, mut changed) = match current {
                Some(version) => (version, false),
                None => self.submit_job(job, Arc::clone(&origin), None, taken.at, events),
            };
            changed |= !same && self.confirm_rollback(&job.id, &origin, events);
            let kind = match (known, changed) {
                (false, _) => FileChangeKind::Added,
                (true, true) => FileChangeKind::Changed,
                (true, false) => FileChangeKind::Unchanged,
            };
            changes.push(FileChange {
                path: path.to_owned(),
                job: Some(job.id.clone()),
                change: kind,
                version: Some(version),
                // What is said of a file is said once.
                problems: if changes.is_empty() { problems.to_vec() } else { Vec::new() },
            });
        }
        let before = repo.files.insert(path.to_owned(), record);
        hold_undeclared(repo, taken, path, before, submissions);
        changes
    }
}

/// What is known of a file that was read.
fn read(taken: &TakeRevision, path: &str, blob: &BlobId, problems: &[Diagnostic]) -> FileRecord {
    let reading = taken.readings.get(path);
    FileRecord {
        blob: blob.clone(),
        inputs: reading.map_or(&taken.inputs, |reading| &reading.inputs).clone(),
        reads: reading.map(|reading| reading.reads.clone()).unwrap_or_default(),
        dependencies: reading.map(|reading| reading.dependencies.clone()).unwrap_or_default(),
        problems: problems.to_vec(),
        ..FileRecord::default()
    }
}

/// Takes a job out of a file's record, and the record away with its last job.
fn give_up(repo: &mut RepoRecord, path: &str, job: &JobId) {
    if let Some(file) = repo.files.get_mut(path) {
        file.jobs.remove(job);
        if file.jobs.is_empty() {
            repo.files.remove(path);
        }
    }
}

/// Under which name a repository's record keeps a job that a file declared and declares no more. No job file can have
/// such a name.
pub fn renamed_path(path: &str, job: &JobId) -> String {
    format!("{path}#{job}")
}

/// Keeps the jobs that `path` no longer declares, and nothing else does, as removals that are held. Whether they may
/// stop is for the revision to say, under the same rules as for a file that is gone.
fn hold_undeclared(
    repo: &mut RepoRecord,
    taken: &TakeRevision,
    path: &str,
    before: Option<FileRecord>,
    now: &[JobSubmission],
) {
    let Some(before) = before else { return };
    for job in &before.jobs {
        let declared = now.iter().any(|submission| submission.job.id == *job)
            || repo.files.values().any(|file| file.jobs.contains(job))
            || declared(taken).any(|declared| declared == job);
        if !declared {
            let held = FileRecord {
                jobs: BTreeSet::from([job.clone()]),
                removal_held: true,
                broken: false,
                problems: Vec::new(),
                ..before.clone()
            };
            repo.files.insert(renamed_path(path, job), held);
        }
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
        .flat_map(|file| file.jobs.iter().cloned())
        .collect();
    for file in repo.files.values_mut().filter(|file| file.removal_held) {
        file.jobs.retain(|job| !declared.contains(job));
    }
    repo.files.retain(|_, file| !file.removal_held || !file.jobs.is_empty());
}

/// The jobs that a revision declares.
fn declared(taken: &TakeRevision) -> impl Iterator<Item = &JobId> {
    taken.files.values().flat_map(FileOutcome::submissions).map(|submission| &submission.job.id)
}
