//! A commit that is too large for one command comes in several.

use std::collections::BTreeMap;

use model::Diagnostic;
use state::{FileOutcome, FileReading, TakeRevision};

/// Bytes of files that go into one command, about: a quarter of what the log takes, so that nothing waits long behind it.
const PART: usize = consensus::MAX_COMMAND_BYTES / 4;
/// The largest single job, in the same measure.
const LARGEST: usize = consensus::MAX_COMMAND_BYTES / 2;

/// Splits a revision. All parts but the last only say what is declared; what is gone comes with the last, when all that
/// may have taken its place is there.
pub(crate) fn split(taken: TakeRevision) -> Vec<TakeRevision> {
    split_by(taken, PART, LARGEST)
}

fn split_by(mut taken: TakeRevision, part: usize, largest: usize) -> Vec<TakeRevision> {
    let mut parts = Vec::new();
    let mut files = BTreeMap::new();
    let (mut last, mut filled) = (BTreeMap::new(), 0);
    let mut readings = std::mem::take(&mut taken.readings);
    let of = |files: &BTreeMap<String, FileOutcome>, all: &mut BTreeMap<String, FileReading>| {
        files.keys().filter_map(|path| all.remove_entry(path)).collect::<BTreeMap<_, _>>()
    };
    for (path, outcome) in std::mem::take(&mut taken.files) {
        let (outcome, size) = within(&path, outcome, largest);
        if matches!(
            outcome,
            FileOutcome::Removed | FileOutcome::RemovalHeld | FileOutcome::Forgotten
        ) {
            last.insert(path, outcome);
            continue;
        }
        if filled + size > part && !files.is_empty() {
            let files = std::mem::take(&mut files);
            let readings = of(&files, &mut readings);
            let part = TakeRevision { files, readings, notes: Vec::new(), ..taken.clone() };
            parts.push(TakeRevision { partial: true, ..part });
            filled = 0;
        }
        filled += size;
        files.insert(path, outcome);
    }
    files.append(&mut last);
    let readings = of(&files, &mut readings);
    parts.push(TakeRevision { files, readings, ..taken });
    parts
}

/// The outcome and its size; a job that is too large to be taken in is a file that cannot be used.
fn within(path: &str, outcome: FileOutcome, largest: usize) -> (FileOutcome, usize) {
    // JSON is never much shorter than what the log holds.
    let size = serde_json::to_vec(&outcome).map_or(usize::MAX, |bytes| bytes.len());
    match outcome {
        FileOutcome::Job { blob, .. } | FileOutcome::Jobs { blob, .. } if size > largest => {
            let message =
                format!("what the file declares has {size} bytes once its variables are put in");
            let help = format!("make it smaller than {largest} bytes; move data out of it");
            let problem = Diagnostic::file_error("job-too-large", path, message, help);
            (FileOutcome::Broken { blob, problems: vec![problem] }, 1024)
        }
        outcome => (outcome, size),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::Job;
    use state::JobSubmission;

    use super::*;

    fn file(id: &str, size: usize) -> FileOutcome {
        let job = Job { id: id.into(), name: "x".repeat(size), ..Job::default() };
        FileOutcome::Job {
            blob: id.into(),
            submission: JobSubmission { job: Arc::new(job) },
            problems: Vec::new(),
        }
    }

    fn taken(files: &[(&str, FileOutcome)]) -> TakeRevision {
        TakeRevision {
            commit: "c".into(),
            notes: vec!["note".into()],
            files: files.iter().map(|(path, file)| ((*path).to_owned(), file.clone())).collect(),
            ..TakeRevision::default()
        }
    }

    #[test]
    fn what_fits_is_one_command() {
        let whole = taken(&[("a", file("a", 10)), ("b", FileOutcome::Removed)]);
        assert_eq!(split(whole.clone()), [whole]);
    }

    #[test]
    fn what_does_not_fit_comes_in_parts_and_what_is_gone_comes_last() {
        let whole = taken(&[
            ("a", FileOutcome::Removed),
            ("b", file("b", 1000)),
            ("c", file("c", 1000)),
            ("d", file("d", 9000)),
        ]);
        let (_, one) = within("b", file("b", 1000), usize::MAX);
        let parts = split_by(whole.clone(), 2 * one - 1, 5_000);
        let paths: Vec<Vec<&str>> =
            parts.iter().map(|part| part.files.keys().map(String::as_str).collect()).collect();
        assert_eq!(paths, [vec!["b"], vec!["a", "c", "d"]]);
        assert_eq!(parts.iter().map(|part| part.partial).collect::<Vec<_>>(), [true, false]);
        assert_eq!((parts[0].notes.len(), &parts[1].notes), (0, &whole.notes));
        assert!(matches!(parts[1].files["d"], FileOutcome::Broken { .. }));
    }
}
