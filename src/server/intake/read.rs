//! Reading a head: only what differs from what the log knows is read and parsed.

use std::collections::BTreeSet;

use gitrepo::{CommitInfo, FileKind, TreeFile};
use model::{BlobId, CommitId, Diagnostic, Timestamp};
use state::{FileReading, RepoRecord};

use super::around::{Around, Overlay};
use super::decide::{Ancestry, Head, ReadFile, Reading};
use super::is_beneath;
use crate::source::{RevisionSource, SourceError};

/// The largest job file that is read.
const FILE_LIMIT: u64 = 1024 * 1024;
/// Contents that are known not to be jobs; more than these are read again.
const STRANGERS: usize = 100_000;

/// Reads heads of one repository, and remembers which contents were no jobs.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    strangers: BTreeSet<BlobId>,
    inputs: jobfile::Inputs,
    fingerprint: String,
}

/// Reads a commit whole, as the head that would follow what `record` knows.
pub(crate) async fn read_head(
    source: &dyn RevisionSource,
    reader: &mut Reader,
    record: Option<&RepoRecord>,
    (repo, branch): (&str, &str),
    commit: &CommitId,
    seen_at: Timestamp,
) -> Result<(Head, Reading), SourceError> {
    let info = source.commit(commit).await?;
    let mut ancestry = Ancestry::First;
    // A commit that was taken in only in part must be an ancestor too.
    let before: Vec<CommitId> = match record {
        Some(record) => record.head.iter().chain(&record.partial).cloned().collect(),
        None => Vec::new(),
    };
    for old in &before {
        ancestry = match source.is_ancestor(old, commit).await {
            Ok(true) if ancestry != Ancestry::Rewritten => Ancestry::Descendant,
            // An old head that the mirror does not hold cannot be shown to be an ancestor.
            _ => Ancestry::Rewritten,
        };
    }
    let tree = source.tree(commit).await?;
    let mut reading = reader.read(source, record, commit, &tree).await?;
    let there: BTreeSet<&str> = tree
        .iter()
        .filter(|file| file.kind != FileKind::Submodule)
        .map(|file| file.path.as_str())
        .collect();
    leave_out(record, &mut reading, |path| !source.selects(path) || there.contains(path));
    let head = Head {
        repo: repo.to_owned(),
        branch: branch.to_owned(),
        commit: info,
        seen_at,
        ancestry,
        inputs: reader.fingerprint.clone(),
    };
    Ok((head, reading))
}

/// Reads files of somebody's working tree, as if they were committed on top of the desired head. They are all there are
/// beneath `under`; what lies elsewhere stays as it is, but for vars files and files to include that are given too.
pub(crate) async fn read_files(
    source: &dyn RevisionSource,
    reader: &mut Reader,
    record: Option<&RepoRecord>,
    (repo, branch): (&str, &str),
    overlay: Overlay<'_>,
    now: Timestamp,
) -> Result<(Head, Reading), SourceError> {
    let Overlay { files, under, .. } = overlay;
    let mut reading = Reading::new();
    for (path, file) in record.into_iter().flat_map(|record| &record.files) {
        if !file.removal_held && !is_beneath(path, under) {
            reading.insert(path.clone(), ReadFile::Same);
        }
    }
    let is_job = |path: &str| {
        jobfile::is_job_file_name(path) && source.selects(path) && is_beneath(path, under)
    };
    let jobs: Vec<&str> = files.keys().map(String::as_str).filter(|path| is_job(path)).collect();
    let Reader { strangers, inputs, fingerprint } = reader;
    let commit = record.and_then(|record| record.head.clone());
    let mut around = Around::new(source, commit, (inputs, fingerprint), &[]).with_overlay(overlay);
    around.prepare(&jobs, &BTreeSet::new()).await?;
    for path in jobs {
        let Some(bytes) = files.get(path) else { continue };
        // Not a name that Git would give: it only has to differ from what the log knows.
        let blob = BlobId::from(format!("working tree {path}"));
        let known = record.is_some_and(|record| record.files.contains_key(path));
        if let Some(read) = parse(&mut around, strangers, (path, &blob, bytes), known).await? {
            reading.insert(path.to_owned(), read);
        }
    }
    leave_out(record, &mut reading, |path| !source.selects(path));
    let commit = CommitInfo {
        id: CommitId::from("working tree"),
        parents: Vec::new(),
        author: String::new(),
        subject: "working tree".to_owned(),
        committed_at: now,
        tree: String::new(),
    };
    let ancestry = match record.and_then(|record| record.head.as_ref()) {
        Some(_) => Ancestry::Descendant,
        None => Ancestry::First,
    };
    let head = Head {
        repo: repo.to_owned(),
        branch: branch.to_owned(),
        commit,
        seen_at: now,
        ancestry,
        inputs: reader.fingerprint.clone(),
    };
    Ok((head, reading))
}

/// Notes which known files were not looked at, although they may be there: because the repository's paths were changed,
/// or because what is taken for a job file was.
fn leave_out(
    record: Option<&RepoRecord>,
    reading: &mut Reading,
    may_be_there: impl Fn(&str) -> bool,
) {
    for (path, file) in record.into_iter().flat_map(|record| &record.files) {
        if !file.removal_held && !reading.contains_key(path) && may_be_there(path) {
            reading.insert(path.clone(), ReadFile::Outside);
        }
    }
}

impl Reader {
    pub(crate) fn new(inputs: jobfile::Inputs) -> Self {
        let fingerprint = fingerprint(&inputs);
        Self { strangers: BTreeSet::new(), inputs, fingerprint }
    }

    async fn read(
        &mut self,
        source: &dyn RevisionSource,
        record: Option<&RepoRecord>,
        commit: &CommitId,
        tree: &[TreeFile],
    ) -> Result<Reading, SourceError> {
        let Self { strangers, inputs, fingerprint } = self;
        let mut reading = Reading::new();
        let mut around = Around::new(source, Some(commit.clone()), (inputs, fingerprint), tree);
        let known = |path: &str| record.and_then(|record| record.files.get(path));
        let files: Vec<&TreeFile> =
            tree.iter().filter(|file| jobfile::is_job_file_name(&file.path)).collect();
        let jobs: Vec<&str> = files
            .iter()
            .filter(|file| known(&file.path).is_some() || !strangers.contains(&file.blob))
            .map(|file| file.path.as_str())
            .collect();
        let reads = record.into_iter().flat_map(|record| record.files.values());
        let reads = reads.flat_map(|file| &file.reads).map(String::as_str).collect();
        around.prepare(&jobs, &reads).await?;
        for file in files {
            let known = known(&file.path);
            if known.is_some_and(|known| {
                known.blob == file.blob
                    && !known.broken
                    && !known.removal_held
                    && known.inputs == around.fingerprint(&file.path, &known.reads)
            }) {
                reading.insert(file.path.clone(), ReadFile::Same);
                continue;
            }
            if strangers.contains(&file.blob) && known.is_none() {
                continue;
            }
            match file.kind {
                FileKind::File => {}
                FileKind::Symlink => {
                    reading
                        .insert(file.path.clone(), refused(file, "symlink", "is a symbolic link"));
                    continue;
                }
                FileKind::Submodule => continue,
            }
            let bytes = match source.blob(&file.blob, FILE_LIMIT).await {
                Ok(bytes) => bytes,
                Err(SourceError::TooLarge(words)) => {
                    let what = format!("is too large for a job file: {words}");
                    reading.insert(file.path.clone(), refused(file, "file-too-large", &what));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let content = (file.path.as_str(), &file.blob, bytes.as_slice());
            if let Some(read) = parse(&mut around, strangers, content, known.is_some()).await? {
                reading.insert(file.path.clone(), read);
            }
        }
        Ok(reading)
    }
}

/// `None` for a file that is not about a job and never was.
async fn parse(
    around: &mut Around<'_>,
    strangers: &mut BTreeSet<BlobId>,
    (path, blob, bytes): (&str, &BlobId, &[u8]),
    known: bool,
) -> Result<Option<ReadFile>, SourceError> {
    if !known && !jobfile::holds_job(path, bytes) {
        if strangers.len() >= STRANGERS {
            strangers.clear();
        }
        strangers.insert(blob.clone());
        return Ok(None);
    }
    let (parsed, reading) = around.parse(path, bytes).await?;
    let blob = blob.clone();
    Ok(Some(ReadFile::Parsed { blob, jobs: parsed.jobs, problems: parsed.diagnostics, reading }))
}

/// The same for the same values, and empty for none. It tells nothing about them.
fn fingerprint(inputs: &jobfile::Inputs) -> String {
    if inputs.variables.is_empty() {
        return String::new();
    }
    let values: Vec<(&str, String)> =
        inputs.variables.iter().map(|(name, value)| (name.as_str(), value.to_string())).collect();
    let parts: Vec<&[u8]> =
        values.iter().flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]).collect();
    model::seeded_uuid(&parts).to_string()
}

fn refused(file: &TreeFile, code: &str, what: &str) -> ReadFile {
    let help = match code {
        "symlink" => "put the file itself there; links in a repository are never followed",
        _ => "job files may have up to 1 MiB; move data out of it",
    };
    let message = format!("{} {what}", file.path);
    ReadFile::Parsed {
        blob: file.blob.clone(),
        jobs: Vec::new(),
        problems: vec![Diagnostic::file_error(code, &file.path, message, help)],
        reading: FileReading::default(),
    }
}
