//! The decisions, as a function: what the log knows of the repository, what was read of the new head, what to do.

mod order;
mod remove;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitrepo::CommitInfo;
use model::{BlobId, Diagnostic, Job, JobId, Timestamp};
use state::{FileOutcome, FileReading, FileRecord, JobSubmission, RepoRecord, State, TakeRevision};

/// How many jobs one commit may stop by removing their files. More are held until somebody approves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// At most this share of the repository's jobs in percent, but always one.
    Percent(u8),
    /// At most this many.
    Jobs(usize),
}

impl Default for Budget {
    fn default() -> Self {
        Self::Percent(50)
    }
}

impl Budget {
    pub(super) fn allows(self, removals: usize, total: usize) -> bool {
        match self {
            Self::Percent(percent) => removals <= (total * usize::from(percent) / 100).max(1),
            Self::Jobs(jobs) => removals <= jobs,
        }
    }
}

/// How the new head stands to the one that is desired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ancestry {
    /// Nothing was desired before.
    First,
    /// The old head is an ancestor: history was only added to.
    Descendant,
    /// It is not, or nobody can say: history was rewritten.
    Rewritten,
}

/// A new head.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) repo: String,
    pub(crate) branch: String,
    pub(crate) commit: CommitInfo,
    pub(crate) seen_at: Timestamp,
    pub(crate) ancestry: Ancestry,
    /// See [`state::TakeRevision::inputs`].
    pub(crate) inputs: String,
}

/// What one file holds.
#[derive(Clone, Debug)]
pub(crate) enum ReadFile {
    /// Read now.
    Parsed { blob: BlobId, jobs: Vec<Job>, problems: Vec<Diagnostic>, reading: FileReading },
    /// As the log knows it.
    Same,
    /// Not looked at, because the repository's paths do not select it any more. It may well be there.
    Outside,
}

/// All job files at the new head, by path. Complete: a path that is not here is no job file there.
pub(crate) type Reading = BTreeMap<String, ReadFile>;

/// The other repositories: a job belongs to one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Others {
    /// Where jobs are declared that are not this repository's to change.
    declared: BTreeMap<JobId, String>,
    /// Repositories that are followed no more.
    abandoned: BTreeSet<String>,
}

impl Others {
    /// What the log knows of all repositories but `repo`, of which `followed` are followed.
    pub(crate) fn of(state: &State, repo: &str, followed: &BTreeSet<String>) -> Self {
        let mut others = Self::default();
        for record in state.repos().filter(|record| record.name != repo) {
            if !followed.contains(&record.name) {
                others.abandoned.insert(record.name.clone());
                continue;
            }
            for (path, file) in record.files.iter().filter(|(_, file)| !file.removal_held) {
                for job in &file.jobs {
                    let place = format!("{path} of repository `{}`", record.name);
                    others.declared.insert(job.clone(), place);
                }
            }
        }
        others
    }
}

/// The code of a finding that another repository can mend.
pub(crate) const DECLARED_ELSEWHERE: &str = "declared-elsewhere";

/// What taking in the new head means.
pub(crate) fn plan_revision(
    record: Option<&RepoRecord>,
    others: &Others,
    head: &Head,
    reading: &Reading,
    budget: Budget,
    at: Timestamp,
) -> TakeRevision {
    let unknown = BTreeMap::new();
    let known = record.map_or(&unknown, |record| &record.files);
    let mut taken = TakeRevision {
        repo: head.repo.clone(),
        branch: head.branch.clone(),
        expected_head: record.and_then(|record| record.head.clone()),
        commit: head.commit.id.clone(),
        author: head.commit.author.clone(),
        subject: head.commit.subject.clone(),
        committed_at: head.commit.committed_at,
        seen_at: head.seen_at,
        inputs: head.inputs.clone(),
        readings: BTreeMap::new(),
        files: BTreeMap::new(),
        notes: Vec::new(),
        partial: false,
        abandoned: others.abandoned.clone(),
        at,
    };
    let owners = owners(known, reading);
    let mut outcomes: BTreeMap<&str, FileOutcome> = BTreeMap::new();
    for (path, file) in reading {
        if let ReadFile::Parsed { blob, jobs, problems, .. } = file {
            outcomes.insert(path, read_outcome(path, blob, jobs, problems, &owners, others));
        }
    }
    order::refuse(known, reading, &owners, &mut outcomes);
    for (path, outcome) in outcomes {
        let before = known.get(path);
        let reading = match reading.get(path) {
            Some(ReadFile::Parsed { reading, .. }) => reading.clone(),
            _ => before.map(as_read).unwrap_or_default(),
        };
        let same =
            before.filter(|known| known.inputs == reading.inputs && known.reads == reading.reads);
        if same_as_known(same, &outcome) {
            continue;
        }
        taken.files.insert(path.to_owned(), outcome);
        if (&reading.inputs, &reading.reads, &reading.dependencies)
            != (&head.inputs, &BTreeSet::new(), &Vec::new())
        {
            taken.readings.insert(path.to_owned(), reading);
        }
    }
    remove::missing(known, head, reading, &owners, budget, &mut taken);
    taken
}

/// What a file was read with, as the log knows it.
fn as_read(known: &FileRecord) -> FileReading {
    FileReading {
        inputs: known.inputs.clone(),
        reads: known.reads.clone(),
        dependencies: known.dependencies.clone(),
    }
}

/// Which file each job belongs to at the new head. A file that had the job keeps it; among new ones the first path wins.
fn owners(known: &BTreeMap<String, FileRecord>, reading: &Reading) -> BTreeMap<JobId, String> {
    let mut owners: BTreeMap<JobId, String> = BTreeMap::new();
    let mut claims: Vec<(bool, &str, &JobId)> = Vec::new();
    for (path, file) in reading {
        let before = known.get(path).map(|file| &file.jobs);
        let kept = || before.into_iter().flatten().map(|job| (false, path.as_str(), job));
        match file {
            ReadFile::Parsed { jobs, problems, .. } => {
                if problems.iter().any(Diagnostic::is_error) {
                    // A broken file keeps the jobs it had, so that no other file takes one over by accident.
                    claims.extend(kept());
                }
                claims.extend(jobs.iter().map(|job| {
                    let had = before.is_some_and(|before| before.contains(&job.id));
                    (!had, path.as_str(), &job.id)
                }));
            }
            ReadFile::Same => claims.extend(kept()),
            ReadFile::Outside => {}
        }
    }
    claims.sort();
    for (_, path, job) in claims {
        owners.entry(job.clone()).or_insert_with(|| path.to_owned());
    }
    owners
}

fn read_outcome(
    path: &str,
    blob: &BlobId,
    jobs: &[Job],
    problems: &[Diagnostic],
    owners: &BTreeMap<JobId, String>,
    others: &Others,
) -> FileOutcome {
    let mut problems = problems.to_vec();
    let broken = |problems| FileOutcome::Broken { blob: blob.clone(), problems };
    if problems.iter().any(Diagnostic::is_error) {
        return broken(problems);
    }
    if jobs.is_empty() {
        problems.push(Diagnostic::file_error(
            "no-job",
            path,
            "the file declares no job any more",
            "delete the file to stop its job, or put the job back; until then the job keeps running",
        ));
        return broken(problems);
    }
    let mut within = BTreeSet::new();
    for job in jobs {
        if !within.insert(&job.id) {
            problems.push(Diagnostic::file_error(
                "duplicate-job",
                path,
                format!("job `{}` is declared twice in this file", job.id),
                "give one of them another name; until then this file is not used",
            ));
        } else if let Some(owner) = owners.get(&job.id).filter(|owner| *owner != path) {
            problems.push(Diagnostic::file_error(
                "duplicate-job",
                path,
                format!("job `{}` is already declared by {owner}", job.id),
                "give one of them another name, or remove one of the files; until then this file is not used",
            ));
        } else if let Some(place) = others.declared.get(&job.id) {
            problems.push(Diagnostic::file_error(
                DECLARED_ELSEWHERE,
                path,
                format!("job `{}` is already declared by {place}", job.id),
                "give one of them another name, or remove it there; until then this file is not used",
            ));
        }
    }
    if problems.iter().any(Diagnostic::is_error) {
        return broken(problems);
    }
    let submission = |job: &Job| JobSubmission { job: Arc::new(job.clone()) };
    FileOutcome::declaring(blob.clone(), jobs.iter().map(submission).collect(), problems)
}

/// A broken file is read again with each revision, because what is wrong may lie in another file.
fn same_as_known(known: Option<&FileRecord>, outcome: &FileOutcome) -> bool {
    let Some(known) = known.filter(|known| !known.removal_held) else {
        return false;
    };
    match outcome {
        FileOutcome::Broken { blob, problems } => {
            known.broken && known.blob == *blob && known.problems == *problems
        }
        FileOutcome::Job { blob, .. } | FileOutcome::Jobs { blob, .. } => {
            !known.broken && known.blob == *blob
        }
        FileOutcome::Removed | FileOutcome::RemovalHeld | FileOutcome::Forgotten => false,
    }
}

#[cfg(test)]
mod tests;
