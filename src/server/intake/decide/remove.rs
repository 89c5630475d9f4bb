//! What is gone, and whether its job may stop (law 3).

use std::collections::{BTreeMap, BTreeSet};

use model::{Diagnostic, JobId};
use state::{FileOutcome, FileRecord, TakeRevision, renamed_path};

use super::{Ancestry, Budget, Head, ReadFile, Reading};

/// Git's name of the tree that holds nothing.
pub(super) const EMPTY_TREE: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";
/// Names in a note; more are counted.
const NAMED: usize = 20;

/// A job that nothing declares any more, and the path that its record has.
type Gone = (String, JobId);

/// Says of each job that is declared no more whether it stops or is held.
pub(super) fn missing(
    known: &BTreeMap<String, FileRecord>,
    head: &Head,
    reading: &Reading,
    owners: &BTreeMap<JobId, String>,
    budget: Budget,
    taken: &mut TakeRevision,
) {
    let (mut gone, mut outside): (Vec<Gone>, Vec<Gone>) = (Vec::new(), Vec::new());
    for (path, file) in known {
        let unread = match reading.get(path) {
            None => false,
            Some(ReadFile::Outside) => true,
            Some(ReadFile::Parsed { .. } | ReadFile::Same) => continue,
        };
        let lost: Vec<&JobId> = file.jobs.iter().filter(|job| !owners.contains_key(*job)).collect();
        if lost.is_empty() {
            taken.files.insert(path.clone(), FileOutcome::Forgotten);
        } else if file.removal_held {
            // What is held stays held until it is approved or comes back.
        } else {
            let list = if unread { &mut outside } else { &mut gone };
            if let (&[job], 1) = (lost.as_slice(), file.jobs.len()) {
                list.push((path.clone(), job.clone()));
                continue;
            }
            // Each of several jobs goes its own way.
            taken.files.insert(path.clone(), FileOutcome::Forgotten);
            list.extend(lost.into_iter().map(|job| (renamed_path(path, job), job.clone())));
        }
    }
    renamed(known, owners, taken, &mut gone);
    if !gone.is_empty() {
        let why = hold(known, head, reading, budget, taken, &gone);
        for (path, _) in gone {
            let held = why.is_some();
            taken
                .files
                .insert(path, if held { FileOutcome::RemovalHeld } else { FileOutcome::Removed });
        }
        taken.notes.extend(why);
    }
    if !outside.is_empty() {
        taken.notes.push(format!(
            "the paths that are followed leave out files of before: {} {} running; {APPROVE}",
            names(&outside),
            keep(&outside),
        ));
        let held = outside.into_iter().map(|(path, _)| (path, FileOutcome::RemovalHeld));
        taken.files.extend(held);
    }
}

const APPROVE: &str = "run `herder hold approve` if it is meant";

/// Jobs whose file is there and declares them no more.
fn renamed(
    known: &BTreeMap<String, FileRecord>,
    owners: &BTreeMap<JobId, String>,
    taken: &mut TakeRevision,
    gone: &mut Vec<Gone>,
) {
    let mut held = Vec::new();
    for (path, outcome) in &taken.files {
        let now = outcome.submissions();
        let Some(file) = known.get(path).filter(|_| !now.is_empty()) else { continue };
        for job in &file.jobs {
            let stays = now.iter().any(|submission| submission.job.id == *job);
            if stays || owners.contains_key(job) {
                continue;
            }
            let path = renamed_path(path, job);
            if file.removal_held {
                held.push((path, FileOutcome::RemovalHeld));
            } else {
                gone.push((path, job.clone()));
            }
        }
    }
    taken.files.extend(held);
}

/// Why nothing of it may stop without approval, in words.
fn hold(
    known: &BTreeMap<String, FileRecord>,
    head: &Head,
    reading: &Reading,
    budget: Budget,
    taken: &TakeRevision,
    gone: &[Gone],
) -> Option<String> {
    let total = known.values().flat_map(|file| &file.jobs).collect::<BTreeSet<_>>().len();
    let (names, keep) = (names(gone), keep(gone));
    if head.ancestry != Ancestry::Descendant {
        return Some(format!(
            "history was rewritten: {} does not descend from the commit before; {names} would stop and {} kept; {APPROVE}",
            head.commit.id.short(),
            if gone.len() == 1 { "is" } else { "are" },
        ));
    }
    if head.commit.tree == EMPTY_TREE || (reading.is_empty() && gone.len() > 1) {
        return Some(format!(
            "the repository turned empty: {names} would stop and {keep} running; {APPROVE}"
        ));
    }
    // A file that was moved and broken in one go looks like one that is gone and another that cannot be read.
    if let Some(path) = newcomer(known, reading, taken) {
        return Some(format!(
            "{path} is new and cannot be read, so nobody can say what it declares: {names} would stop and {keep} running; {APPROVE}"
        ));
    }
    (!budget.allows(gone.len(), total)).then(|| {
        format!(
            "this commit would stop {} of {total} jobs, which is more than the budget allows: {names} {keep} running; {APPROVE}",
            gone.len()
        )
    })
}

/// A file that was not there before and cannot be read.
fn newcomer<'a>(
    known: &BTreeMap<String, FileRecord>,
    reading: &Reading,
    taken: &'a TakeRevision,
) -> Option<&'a String> {
    taken.files.keys().find(|path| {
        !known.contains_key(*path)
            && matches!(
                reading.get(*path),
                Some(ReadFile::Parsed { problems, .. }) if problems.iter().any(Diagnostic::is_error)
            )
    })
}

fn names(gone: &[Gone]) -> String {
    let named: Vec<String> = gone.iter().take(NAMED).map(|(_, job)| format!("`{job}`")).collect();
    let more = gone.len() - named.len();
    match more {
        0 => named.join(", "),
        _ => format!("{} and {more} more", named.join(", ")),
    }
}

const fn keep(gone: &[Gone]) -> &'static str {
    if gone.len() == 1 { "keeps" } else { "keep" }
}
