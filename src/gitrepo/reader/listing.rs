//! All files at a commit, or an error.

use std::collections::BTreeSet;
use std::path::Path;

use git2::{ErrorCode, ObjectType, Oid, Repository};
use model::{BlobId, CommitId};
use serde::{Deserialize, Serialize};

use super::{blob_id, commit_id};
use crate::error::ReadError;
use crate::pattern::{PathPattern, any_matches, any_reaches_into};

/// Deepest folder.
pub(crate) const MAX_DEPTH: usize = 64;
/// Most files in one listing.
pub(crate) const MAX_FILES: usize = 100_000;
/// Most entries that are looked at for one listing.
pub(crate) const MAX_VISITED: usize = 1_000_000;
/// Longest path in bytes.
pub(crate) const MAX_PATH: usize = 4096;
/// Most skipped paths that are named.
pub(crate) const MAX_SKIPPED: usize = 100;

/// What a name in a tree stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A plain file.
    File,
    /// A symbolic link; its blob is the target's path. Never followed.
    Symlink,
    /// A commit of another repository; there is no blob to read.
    Submodule,
}

impl FileKind {
    /// From a tree entry's mode; `None` for a folder and for modes nobody knows.
    pub(crate) fn of_mode(mode: i32) -> Option<Self> {
        match mode & 0o170_000 {
            0o100_000 => Some(Self::File),
            0o120_000 => Some(Self::Symlink),
            0o160_000 => Some(Self::Submodule),
            _ => None,
        }
    }
}

/// A file in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct TreeFile {
    /// From the root, with `/` between names.
    pub path: String,
    /// What identifies its content. Equal IDs are equal bytes.
    pub blob: BlobId,
    /// What it is.
    pub kind: FileKind,
}

/// The files at a commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tree {
    /// The commit; empty for a working tree.
    pub commit: CommitId,
    /// The files, by path.
    pub files: Vec<TreeFile>,
    /// Paths that were left out because they are not UTF-8, made readable. At most one hundred are named.
    pub skipped: Vec<String>,
}

/// Walks the tree of `commit` into the folders that can hold a match.
pub(super) fn list(
    repo: &Repository,
    commit: &git2::Commit<'_>,
    patterns: &[PathPattern],
    place: &str,
) -> Result<Tree, ReadError> {
    let mut out = Tree { commit: commit_id(commit.id()), files: Vec::new(), skipped: Vec::new() };
    let short = out.commit.short().to_owned();
    let too_many =
        |limit, unit| ReadError::TooMany { what: format!("commit {short}"), limit, unit };
    let mut visited = 0_usize;
    let mut folders: Vec<(String, Oid, usize)> = vec![(String::new(), commit.tree_id(), 0)];
    while let Some((folder, oid, depth)) = folders.pop() {
        let tree = repo.find_tree(oid).map_err(|error| missing(&error, &folder, &short, place))?;
        for entry in &tree {
            visited += 1;
            if visited > MAX_VISITED {
                return Err(too_many(MAX_VISITED, "entries"));
            }
            let Some(path) = joined(&folder, entry.name_bytes(), &mut out.skipped) else {
                continue;
            };
            if path.len() > MAX_PATH {
                return Err(too_many(MAX_PATH, "bytes in a path"));
            }
            match FileKind::of_mode(entry.filemode_raw()) {
                Some(kind) if any_matches(patterns, &path) => {
                    if out.files.len() == MAX_FILES {
                        return Err(too_many(MAX_FILES, "files"));
                    }
                    out.files.push(TreeFile { path, blob: blob_id(entry.id()), kind });
                }
                Some(_) => {}
                None if any_reaches_into(patterns, &path) => {
                    if depth + 1 > MAX_DEPTH {
                        return Err(too_many(MAX_DEPTH, "folders inside each other"));
                    }
                    folders.push((path, entry.id(), depth + 1));
                }
                None => {}
            }
        }
    }
    out.files.sort_by(|a, b| a.path.cmp(&b.path));
    if !out.skipped.is_empty() {
        tracing::warn!(repository = place, commit = short, paths = ?out.skipped, "paths that are not UTF-8 are left out");
    }
    Ok(out)
}

/// The files that lie in these folders themselves. A folder that is not there holds none.
pub(super) fn beside(
    repo: &Repository,
    commit: &git2::Commit<'_>,
    folders: &BTreeSet<String>,
    place: &str,
) -> Result<Vec<TreeFile>, ReadError> {
    let short = commit_id(commit.id()).short().to_owned();
    let root = commit.tree().map_err(|error| missing(&error, "", &short, place))?;
    let (mut files, mut skipped) = (Vec::new(), Vec::new());
    for folder in folders {
        let found;
        let tree = if folder.is_empty() {
            &root
        } else {
            let entry = match root.get_path(Path::new(folder)) {
                Ok(entry) => entry,
                Err(error) if error.code() == ErrorCode::NotFound => continue,
                Err(error) => return Err(missing(&error, folder, &short, place)),
            };
            if entry.kind() != Some(ObjectType::Tree) {
                continue;
            }
            found = repo
                .find_tree(entry.id())
                .map_err(|error| missing(&error, folder, &short, place))?;
            &found
        };
        for entry in tree {
            let Some(kind) = FileKind::of_mode(entry.filemode_raw()) else { continue };
            let Some(path) = joined(folder, entry.name_bytes(), &mut skipped) else { continue };
            if files.len() == MAX_FILES {
                let what = format!("commit {short}");
                return Err(ReadError::TooMany { what, limit: MAX_FILES, unit: "files" });
            }
            files.push(TreeFile { path, blob: blob_id(entry.id()), kind });
        }
    }
    Ok(files)
}

/// A tree that a commit names and that is not there is damage, not an absent file.
fn missing(error: &git2::Error, folder: &str, short: &str, place: &str) -> ReadError {
    ReadError::Corrupt {
        what: format!("folder /{folder} of commit {short}"),
        place: place.to_owned(),
        detail: error.message().to_owned(),
    }
}

fn joined(folder: &str, name: &[u8], skipped: &mut Vec<String>) -> Option<String> {
    let slash = if folder.is_empty() { "" } else { "/" };
    match std::str::from_utf8(name) {
        Ok(name) => Some(format!("{folder}{slash}{name}")),
        Err(_) => {
            if skipped.len() < MAX_SKIPPED {
                skipped.push(format!("{folder}{slash}{}", name.escape_ascii()));
            }
            None
        }
    }
}
