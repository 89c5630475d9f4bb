//! A repository's new head.

use std::sync::Arc;

use model::{FileChange, FileChangeKind, Origin, Revision};

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
        let mut revision = Revision {
            repo: taken.repo.clone(),
            branch: taken.branch.clone(),
            commit: taken.commit.clone(),
            parent: repo.head.clone(),
            author: taken.author.clone(),
            subject: taken.subject.clone(),
            committed_at: taken.committed_at,
            seen_at: taken.seen_at,
            files: Vec::new(),
            notes: taken.notes.clone(),
            index: self.index,
        };
        for (path, outcome) in &taken.files {
            let change = self.take_file(&mut repo, taken, path, outcome, events);
            revision.files.extend(change);
        }
        repo.branch.clone_from(&taken.branch);
        repo.head = Some(taken.commit.clone());
        repo.modify_index = self.index;
        events.push(Event::Revision { repo: taken.repo.clone(), commit: taken.commit.clone() });
        self.repos.insert(repo.name.clone(), Arc::new(repo));
        self.revisions.insert(self.index, Arc::new(revision));
        while self.revisions.len() > TRACKED_REVISIONS {
            let Some(oldest) = self.revisions.get_min().map(|(index, _)| *index) else { break };
            self.revisions.remove(&oldest);
        }
        self.indexes.revisions = self.index;
        Ok(())
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
                self.stop_job(&job, reason, at, events);
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
                let (version, changed) = self.submit_job(job, origin, None, taken.at, events);
                repo.files.insert(
                    path.to_owned(),
                    FileRecord {
                        blob: blob.clone(),
                        job: Some(job.id.clone()),
                        problems: problems.clone(),
                        ..FileRecord::default()
                    },
                );
                // A file that now declares another job no longer declares the one it had.
                if let Some(previous) =
                    before.and_then(|file| file.job).filter(|previous| *previous != job.id)
                    && !repo.files.values().any(|file| file.job.as_ref() == Some(&previous))
                    && !declared_by(taken, &previous)
                {
                    let reason = format!(
                        "{path} declares `{}` instead since {}",
                        job.id,
                        taken.commit.short()
                    );
                    self.stop_job(&previous, reason, taken.at, events);
                }
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
                self.stop_job(&job, reason, taken.at, events);
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

fn declared_by(taken: &TakeRevision, id: &model::JobId) -> bool {
    taken.files.values().any(
        |outcome| matches!(outcome, FileOutcome::Job { submission, .. } if submission.job.id == *id),
    )
}
