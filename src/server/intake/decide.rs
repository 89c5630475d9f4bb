//! The decisions, as a function: what the log knows of the repository, what was read of the new head, what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gitrepo::CommitInfo;
use model::{BlobId, Diagnostic, Job, JobId, Timestamp};
use state::{FileOutcome, FileRecord, JobSubmission, RepoRecord, TakeRevision};

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
    fn allows(self, removals: usize, total: usize) -> bool {
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
}

/// What one file holds.
#[derive(Clone, Debug)]
pub(crate) enum ReadFile {
    /// Read now.
    Parsed { blob: BlobId, jobs: Vec<Job>, problems: Vec<Diagnostic> },
    /// As the log knows it.
    Same,
}

/// All job files at the new head, by path. Complete: a path that is not here does not exist there.
pub(crate) type Reading = BTreeMap<String, ReadFile>;

/// Git's name of the tree that holds nothing.
const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

/// What taking in the new head means.
pub(crate) fn plan_revision(
    record: Option<&RepoRecord>,
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
        files: BTreeMap::new(),
        notes: Vec::new(),
        at,
    };
    let owners = owners(known, reading);
    for (path, file) in reading {
        if let ReadFile::Parsed { blob, jobs, problems } = file {
            let outcome = read_outcome(path, blob, jobs, problems, &owners);
            if !same_as_known(known.get(path), &outcome) {
                taken.files.insert(path.clone(), outcome);
            }
        }
    }
    remove_missing(known, head, reading, &owners, budget, &mut taken);
    taken
}

/// Which file each job belongs to at the new head. A file that had the job keeps it; among new ones the first path wins.
fn owners(known: &BTreeMap<String, FileRecord>, reading: &Reading) -> BTreeMap<JobId, String> {
    let mut owners: BTreeMap<JobId, String> = BTreeMap::new();
    let mut claims: Vec<(bool, &str, &JobId)> = Vec::new();
    for (path, file) in reading {
        let before = known.get(path).and_then(|file| file.job.as_ref());
        match file {
            ReadFile::Parsed { jobs, problems, .. } => {
                if problems.iter().any(Diagnostic::is_error) {
                    // A broken file keeps the job it had, so that no other file takes it over by accident.
                    claims.extend(before.map(|job| (false, path.as_str(), job)));
                }
                claims.extend(
                    jobs.iter().map(|job| (before != Some(&job.id), path.as_str(), &job.id)),
                );
            }
            ReadFile::Same => claims.extend(before.map(|job| (false, path.as_str(), job))),
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
) -> FileOutcome {
    let mut problems = problems.to_vec();
    if problems.iter().any(Diagnostic::is_error) {
        return FileOutcome::Broken { blob: blob.clone(), problems };
    }
    let Some(job) = jobs.first() else {
        problems.push(Diagnostic::file_error(
            "no-job",
            path,
            "the file declares no job any more",
            "delete the file to stop its job, or put the job back; until then the job keeps running",
        ));
        return FileOutcome::Broken { blob: blob.clone(), problems };
    };
    if let Some(owner) = owners.get(&job.id).filter(|owner| *owner != path) {
        problems.push(Diagnostic::file_error(
            "duplicate-job",
            path,
            format!("job `{}` is already declared by {owner}", job.id),
            "give one of them another name, or remove one of the files; until then this file is not used",
        ));
        return FileOutcome::Broken { blob: blob.clone(), problems };
    }
    FileOutcome::Job {
        blob: blob.clone(),
        submission: JobSubmission { job: Arc::new(job.clone()) },
        problems,
    }
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
        FileOutcome::Job { blob, .. } => !known.broken && known.blob == *blob,
        FileOutcome::Removed | FileOutcome::RemovalHeld | FileOutcome::Forgotten => false,
    }
}

fn remove_missing(
    known: &BTreeMap<String, FileRecord>,
    head: &Head,
    reading: &Reading,
    owners: &BTreeMap<JobId, String>,
    budget: Budget,
    taken: &mut TakeRevision,
) {
    let mut gone: Vec<(&String, &JobId)> = Vec::new();
    for (path, file) in known.iter().filter(|(path, _)| !reading.contains_key(*path)) {
        match &file.job {
            Some(job) if !owners.contains_key(job) => {
                // What is held stays held until it is approved or comes back.
                if !file.removal_held {
                    gone.push((path, job));
                }
            }
            _ => {
                taken.files.insert(path.clone(), FileOutcome::Forgotten);
            }
        }
    }
    if gone.is_empty() {
        return;
    }
    let total = known.values().filter_map(|file| file.job.as_ref()).collect::<BTreeSet<_>>().len();
    let names = gone.iter().map(|(_, job)| format!("`{job}`")).collect::<Vec<_>>().join(", ");
    let approve = "run `herder hold approve` if it is meant";
    let held = if head.ancestry == Ancestry::Rewritten {
        Some(format!(
            "history was rewritten: {} does not descend from the commit before; {names} would stop and {} kept; {approve}",
            head.commit.id.short(),
            if gone.len() == 1 { "is" } else { "are" },
        ))
    } else if head.commit.tree == EMPTY_TREE || (reading.is_empty() && gone.len() > 1) {
        Some(format!("the repository turned empty: {names} would stop and keep running; {approve}"))
    } else if !budget.allows(gone.len(), total) {
        Some(format!(
            "this commit would stop {} of {total} jobs, which is more than the budget allows: {names} keep running; {approve}",
            gone.len()
        ))
    } else {
        None
    };
    for (path, _) in gone {
        let outcome = if held.is_some() { FileOutcome::RemovalHeld } else { FileOutcome::Removed };
        taken.files.insert(path.clone(), outcome);
    }
    taken.notes.extend(held);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str) -> Job {
        Job { id: id.into(), ..Job::default() }
    }

    fn parsed(blob: &str, id: &str) -> ReadFile {
        ReadFile::Parsed { blob: blob.into(), jobs: vec![job(id)], problems: Vec::new() }
    }

    fn broken(blob: &str) -> ReadFile {
        let problem = Diagnostic::file_error("syntax", "x", "bad", "");
        ReadFile::Parsed { blob: blob.into(), jobs: Vec::new(), problems: vec![problem] }
    }

    fn record(files: &[(&str, &str, &str)]) -> RepoRecord {
        let files = files
            .iter()
            .map(|(path, blob, job)| {
                let file = FileRecord {
                    blob: (*blob).into(),
                    job: (!job.is_empty()).then(|| (*job).into()),
                    ..FileRecord::default()
                };
                ((*path).to_owned(), file)
            })
            .collect();
        RepoRecord { head: Some("old".into()), files, ..RepoRecord::default() }
    }

    fn head(ancestry: Ancestry) -> Head {
        Head {
            repo: "r".into(),
            branch: "main".into(),
            commit: CommitInfo {
                id: "new".into(),
                parents: Vec::new(),
                author: "A <a@example.org>".into(),
                subject: "s".into(),
                committed_at: Timestamp::ZERO,
                tree: "t".into(),
            },
            seen_at: Timestamp::ZERO,
            ancestry,
        }
    }

    fn plan(record: &RepoRecord, head: &Head, reading: &[(&str, ReadFile)]) -> TakeRevision {
        let reading =
            reading.iter().map(|(path, file)| ((*path).to_owned(), file.clone())).collect();
        plan_revision(Some(record), head, &reading, Budget::default(), Timestamp::ZERO)
    }

    fn kind(taken: &TakeRevision, path: &str) -> &'static str {
        match taken.files.get(path) {
            None => "nothing",
            Some(FileOutcome::Job { .. }) => "job",
            Some(FileOutcome::Broken { .. }) => "broken",
            Some(FileOutcome::Removed) => "removed",
            Some(FileOutcome::RemovalHeld) => "held",
            Some(FileOutcome::Forgotten) => "forgotten",
        }
    }

    #[test]
    fn a_removed_file_stops_its_job_only_when_history_goes_on() {
        let record = record(&[("a", "1", "a"), ("b", "2", "b"), ("c", "3", "c")]);
        let reading = [("a", ReadFile::Same), ("b", ReadFile::Same)];
        let taken = plan(&record, &head(Ancestry::Descendant), &reading);
        assert_eq!(kind(&taken, "c"), "removed");
        let taken = plan(&record, &head(Ancestry::Rewritten), &reading);
        assert_eq!(kind(&taken, "c"), "held");
        assert_eq!(taken.notes.len(), 1);
    }

    #[test]
    fn the_only_job_can_be_removed_but_an_empty_repository_stops_nothing() {
        let one = record(&[("a", "1", "a")]);
        assert_eq!(kind(&plan(&one, &head(Ancestry::Descendant), &[]), "a"), "removed");
        let mut empty = head(Ancestry::Descendant);
        empty.commit.tree = EMPTY_TREE.into();
        assert_eq!(kind(&plan(&one, &empty, &[]), "a"), "held");
        let two = record(&[("a", "1", "a"), ("b", "1", "b")]);
        assert_eq!(kind(&plan(&two, &head(Ancestry::Descendant), &[]), "a"), "held");
    }

    #[test]
    fn more_removals_than_the_budget_are_held() {
        let record = record(&[("a", "1", "a"), ("b", "2", "b"), ("c", "3", "c"), ("d", "4", "d")]);
        let taken = plan(&record, &head(Ancestry::Descendant), &[("a", ReadFile::Same)]);
        assert_eq!(kind(&taken, "d"), "held");
        let taken = plan(
            &record,
            &head(Ancestry::Descendant),
            &[("a", ReadFile::Same), ("b", ReadFile::Same)],
        );
        assert_eq!(kind(&taken, "d"), "removed");
    }

    #[test]
    fn what_is_held_stays_held_until_it_comes_back() {
        let mut record = record(&[("a", "1", "a"), ("b", "2", "b")]);
        record.files.get_mut("b").expect("b").removal_held = true;
        let taken = plan(&record, &head(Ancestry::Descendant), &[("a", ReadFile::Same)]);
        assert_eq!(kind(&taken, "b"), "nothing");
        let taken = plan(
            &record,
            &head(Ancestry::Descendant),
            &[("a", ReadFile::Same), ("b", parsed("2", "b"))],
        );
        assert_eq!(kind(&taken, "b"), "job");
    }

    #[test]
    fn a_moved_file_is_no_removal() {
        let record = record(&[("a", "1", "a"), ("b", "2", "b")]);
        let taken = plan(
            &record,
            &head(Ancestry::Rewritten),
            &[("c", parsed("1", "a")), ("b", ReadFile::Same)],
        );
        assert_eq!((kind(&taken, "a"), kind(&taken, "c")), ("forgotten", "job"));
    }

    #[test]
    fn two_files_for_one_job_keep_the_first_owner() {
        let record = record(&[("b", "2", "x")]);
        let taken = plan(
            &record,
            &head(Ancestry::Descendant),
            &[("a", parsed("1", "x")), ("b", ReadFile::Same)],
        );
        assert_eq!((kind(&taken, "a"), kind(&taken, "b")), ("broken", "nothing"));
        let fresh = RepoRecord::default();
        let reading = [("a", parsed("1", "x")), ("b", parsed("2", "x"))];
        let taken = plan(&fresh, &head(Ancestry::First), &reading);
        assert_eq!((kind(&taken, "a"), kind(&taken, "b")), ("job", "broken"));
    }

    #[test]
    fn a_broken_file_never_removes_its_job_nor_lends_it_to_another() {
        let record = record(&[("a", "1", "x")]);
        let taken = plan(
            &record,
            &head(Ancestry::Descendant),
            &[("a", broken("9")), ("b", parsed("2", "x"))],
        );
        assert_eq!((kind(&taken, "a"), kind(&taken, "b")), ("broken", "broken"));
    }

    #[test]
    fn a_file_that_stays_broken_is_no_news() {
        let mut record = record(&[("a", "9", "x")]);
        let file = record.files.get_mut("a").expect("a");
        file.broken = true;
        file.problems = vec![Diagnostic::file_error("syntax", "x", "bad", "")];
        assert_eq!(
            kind(&plan(&record, &head(Ancestry::Descendant), &[("a", broken("9"))]), "a"),
            "nothing"
        );
        assert_eq!(
            kind(&plan(&record, &head(Ancestry::Descendant), &[("a", broken("8"))]), "a"),
            "broken"
        );
    }
}
