//! Reads at a commit, over any repository on this machine.

mod listing;

use std::collections::BTreeSet;
use std::path::Path;

use git2::{ErrorCode, ObjectType, Oid, Repository};
use model::{BlobId, CommitId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::ReadError;
use crate::pattern::PathPattern;

pub use listing::{FileKind, Tree, TreeFile};
pub(crate) use listing::{MAX_DEPTH, MAX_FILES, MAX_PATH, MAX_VISITED};

/// Longest subject or author that is kept, in characters.
const MAX_LINE: usize = 512;
/// Longest log that is read, in commits.
const MAX_LOG: usize = 10_000;

/// What a commit says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CommitInfo {
    /// Its ID.
    pub id: CommitId,
    /// The commits it follows; more than one for a merge.
    pub parents: Vec<CommitId>,
    /// Author, as `Name <address>`.
    pub author: String,
    /// First line of the message.
    pub subject: String,
    /// The committer's time.
    pub committed_at: Timestamp,
    /// The tree's ID: two commits with one tree hold the same files.
    pub tree: String,
}

/// Reads objects of one repository by ID. Never writes, checks out, or runs a program.
pub struct Reader {
    repo: Repository,
    place: String,
}

impl Reader {
    /// Opens the repository that holds `path`: a bare repository, a work tree or a folder within one.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        crate::transport::prepare();
        let place = path.display().to_string();
        let repo = Repository::discover(path)
            .map_err(|error| ReadError::from_git(&error, "a Git repository", &place))?;
        Ok(Self { repo, place })
    }

    /// Opens exactly this bare repository, without looking further up.
    pub(crate) fn open_bare(path: &Path, place: String) -> Result<Self, ReadError> {
        crate::transport::prepare();
        let repo = Repository::open_bare(path)
            .map_err(|error| ReadError::from_git(&error, "the mirror", &place))?;
        Ok(Self { repo, place })
    }

    /// What a commit says of itself.
    ///
    /// # Errors
    /// When it is not here or damaged.
    pub fn commit(&self, id: &CommitId) -> Result<CommitInfo, ReadError> {
        let commit = self.find_commit(id)?;
        Ok(commit_info(&commit))
    }

    /// The files at a commit that `patterns` mean (none: all), sorted by path. Whole or an error.
    ///
    /// # Errors
    /// When an object is missing or damaged, or a limit is reached.
    pub fn tree(&self, id: &CommitId, patterns: &[PathPattern]) -> Result<Tree, ReadError> {
        let commit = self.find_commit(id)?;
        listing::list(&self.repo, &commit, patterns, &self.place)
    }

    /// The files that lie in these folders themselves, and not deeper, at a commit. The root is the empty text; a folder
    /// that is not there holds none.
    ///
    /// # Errors
    /// When an object is missing or damaged, or a limit is reached.
    pub fn beside(
        &self,
        id: &CommitId,
        folders: &BTreeSet<String>,
    ) -> Result<Vec<TreeFile>, ReadError> {
        let commit = self.find_commit(id)?;
        listing::beside(&self.repo, &commit, folders, &self.place)
    }

    /// A file's bytes, by the ID from a listing.
    ///
    /// # Errors
    /// When it is not here, not a file, or has more than `limit` bytes.
    pub fn blob(&self, id: &BlobId, limit: u64) -> Result<Vec<u8>, ReadError> {
        let oid = parse_oid(id.as_str(), || format!("blob {id}"), &self.place)?;
        self.read_blob(oid, format!("blob {id}"), limit)
    }

    /// The file at `path`, from the repository's root, at a commit: its ID and bytes. Links are refused.
    ///
    /// # Errors
    /// As [`Reader::blob`]; also when the path is a folder, a link or a submodule.
    pub fn file(
        &self,
        commit: &CommitId,
        path: &str,
        limit: u64,
    ) -> Result<(BlobId, Vec<u8>), ReadError> {
        let what = format!("{path} at {}", commit.short());
        let fail = |error: git2::Error| ReadError::from_git(&error, what.clone(), &self.place);
        if path.is_empty() || path.len() > MAX_PATH || path.contains('\0') {
            let reason = "it is not a path in a repository".to_owned();
            return Err(ReadError::Refused { path: path.escape_default().to_string(), reason });
        }
        let tree = self.find_commit(commit)?.tree().map_err(fail)?;
        let entry = tree.get_path(Path::new(path)).map_err(fail)?;
        if FileKind::of_mode(entry.filemode_raw()) != Some(FileKind::File) {
            let reason = "it is a folder, a link or a submodule".to_owned();
            return Err(ReadError::Refused { path: path.to_owned(), reason });
        }
        let bytes = self.read_blob(entry.id(), what.clone(), limit)?;
        Ok((blob_id(entry.id()), bytes))
    }

    /// Whether `old` is `new` or one of the commits that `new` builds on.
    ///
    /// # Errors
    /// When either is not here: then nothing is known.
    pub fn is_ancestor(&self, old: &CommitId, new: &CommitId) -> Result<bool, ReadError> {
        let (ancestor, commit) = (self.find_commit(old)?.id(), self.find_commit(new)?.id());
        if ancestor == commit {
            return Ok(true);
        }
        let what = || format!("the history from {} to {}", old.short(), new.short());
        self.repo
            .graph_descendant_of(commit, ancestor)
            .map_err(|error| ReadError::from_git(&error, what(), &self.place))
    }

    /// Commits that `to` builds on (itself included) and `from` does not, newest first, at most `limit` and never more
    /// than 10,000.
    ///
    /// # Errors
    /// When one is not here or damaged.
    pub fn log(
        &self,
        from: Option<&CommitId>,
        to: &CommitId,
        limit: usize,
    ) -> Result<Vec<CommitInfo>, ReadError> {
        let fail = |error: git2::Error| {
            ReadError::from_git(&error, format!("the history of {}", to.short()), &self.place)
        };
        let mut walk = self.repo.revwalk().map_err(fail)?;
        walk.set_sorting(git2::Sort::TOPOLOGICAL | git2::Sort::TIME).map_err(fail)?;
        walk.push(self.find_commit(to)?.id()).map_err(fail)?;
        if let Some(from) = from {
            walk.hide(self.find_commit(from)?.id()).map_err(fail)?;
        }
        walk.take(limit.min(MAX_LOG))
            .map(|oid| self.repo.find_commit(oid?))
            .map(|commit| commit.as_ref().map(commit_info).map_err(clone_error))
            .collect::<Result<_, _>>()
            .map_err(fail)
    }

    /// The commit that a revision means: branch, tag, whole or short ID, `HEAD~1` and the like.
    ///
    /// # Errors
    /// When it means no commit, or more than one.
    pub fn resolve(&self, revision: &str) -> Result<CommitId, ReadError> {
        let what = || format!("revision `{}`", revision.escape_debug());
        let refused =
            |reason: &str| Err(ReadError::Refused { path: what(), reason: reason.to_owned() });
        let odd = revision.contains(|c: char| c == ':' || c == '/' && revision.contains('{'));
        if revision.is_empty() || revision.len() > 256 || revision.starts_with('-') || odd {
            return refused("name a branch, a tag or a commit");
        }
        let object = match self.repo.revparse_single(revision) {
            Ok(object) => object,
            Err(error) if error.code() == ErrorCode::Ambiguous => {
                return refused("it means more than one object; write more digits");
            }
            Err(error) => return Err(ReadError::from_git(&error, what(), &self.place)),
        };
        match object.peel_to_commit() {
            Ok(commit) => Ok(commit_id(commit.id())),
            Err(_) => refused("it is not a commit"),
        }
    }

    /// The commit that `HEAD` means and the branch it names (`None` when it names none).
    ///
    /// # Errors
    /// When there is no commit yet.
    pub fn head(&self) -> Result<(CommitId, Option<String>), ReadError> {
        let fail = |error: git2::Error| ReadError::from_git(&error, "HEAD", &self.place);
        let head = self.repo.head().map_err(fail)?;
        let commit = head.peel_to_commit().map_err(fail)?;
        let branch = head.is_branch().then(|| head.shorthand().ok().map(str::to_owned));
        Ok((commit_id(commit.id()), branch.flatten()))
    }

    /// The root of the work tree, if the repository has one.
    pub fn work_tree(&self) -> Option<&Path> {
        self.repo.workdir()
    }

    pub(crate) fn repo(&self) -> &Repository {
        &self.repo
    }

    /// What messages call the repository.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    fn find_commit(&self, id: &CommitId) -> Result<git2::Commit<'_>, ReadError> {
        let what = || format!("commit {id}");
        let oid = parse_oid(id.as_str(), what, &self.place)?;
        self.repo.find_commit(oid).map_err(|error| ReadError::from_git(&error, what(), &self.place))
    }

    fn read_blob(&self, oid: Oid, what: String, limit: u64) -> Result<Vec<u8>, ReadError> {
        let fail = |error: git2::Error| ReadError::from_git(&error, what.clone(), &self.place);
        let odb = self.repo.odb().map_err(fail)?;
        let (size, kind) = odb.read_header(oid).map_err(fail)?;
        if kind != ObjectType::Blob {
            let reason = "it is not a file".to_owned();
            return Err(ReadError::Refused { path: what.clone(), reason });
        }
        if size as u64 > limit {
            return Err(ReadError::TooLarge { what: what.clone(), size: size as u64, limit });
        }
        Ok(odb.read(oid).map_err(fail)?.data().to_vec())
    }
}

fn clone_error(error: &git2::Error) -> git2::Error {
    git2::Error::new(error.code(), error.class(), error.message())
}

/// What a commit object says.
pub(crate) fn commit_info(commit: &git2::Commit<'_>) -> CommitInfo {
    let author = commit.author();
    let (name, mail) = (one_line(author.name_bytes()), one_line(author.email_bytes()));
    CommitInfo {
        id: commit_id(commit.id()),
        parents: commit.parent_ids().map(commit_id).collect(),
        author: format!("{name} <{mail}>"),
        subject: one_line(commit.summary_bytes().unwrap_or_default()),
        committed_at: Timestamp::from_secs(commit.time().seconds()),
        tree: commit.tree_id().to_string(),
    }
}

/// Text from outside as one bounded line: a commit must not be able to move a terminal's cursor.
fn one_line(bytes: &[u8]) -> String {
    let bytes = bytes.get(..MAX_LINE * 4).unwrap_or(bytes);
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(MAX_LINE)
        .collect::<String>()
        .trim()
        .to_owned()
}

pub(crate) fn commit_id(oid: Oid) -> CommitId {
    CommitId::from(oid.to_string())
}

pub(crate) fn blob_id(oid: Oid) -> BlobId {
    BlobId::from(oid.to_string())
}

pub(crate) fn parse_oid(
    text: &str,
    what: impl Fn() -> String,
    place: &str,
) -> Result<Oid, ReadError> {
    let whole = text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let oid = whole.then(|| Oid::from_str(text).ok()).flatten();
    oid.ok_or_else(|| ReadError::NotFound { what: what(), place: place.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_commits_is_one_bounded_line() {
        assert_eq!(one_line(b"a\x1b[31m\tb\n"), "a [31m b");
        assert_eq!(one_line(&[0xff, b'x']), "\u{fffd}x");
        assert_eq!(one_line("é".repeat(5000).as_bytes()).chars().count(), MAX_LINE);
    }

    #[test]
    fn only_whole_ids_are_taken() {
        for text in ["", "abc", "HEAD", &"g".repeat(40), &"a".repeat(41)] {
            assert!(parse_oid(text, || "x".into(), "y").is_err(), "{text}");
        }
        assert!(parse_oid(&"a".repeat(40), || "x".into(), "y").is_ok());
    }
}
