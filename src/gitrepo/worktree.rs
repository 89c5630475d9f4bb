//! A folder as it lies on disk, for plans of what is not committed yet.

use std::fs;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use git2::{ObjectType, Oid};
use model::{BlobId, CommitId};

use crate::error::ReadError;
use crate::pattern::{PathPattern, any_matches, any_reaches_into};
use crate::reader::{
    FileKind, MAX_DEPTH, MAX_FILES, MAX_PATH, MAX_VISITED, Reader, Tree, TreeFile, blob_id,
};

/// A folder with job files, inside a Git work tree or not. Everything read lies within it.
#[derive(Clone, Debug)]
pub struct WorkTree {
    root: PathBuf,
    /// The commit that is checked out, if the folder is in a repository that has one.
    pub head: Option<CommitId>,
    /// The branch that is checked out.
    pub branch: Option<String>,
    /// The folder's own path within its repository; empty at the root and outside of any.
    pub prefix: String,
}

impl WorkTree {
    /// Opens a folder.
    ///
    /// # Errors
    /// When it is not there or not a folder.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        let root = fs::canonicalize(path).map_err(|error| io_error(path, &error))?;
        if !root.is_dir() {
            let reason = "it is not a folder".to_owned();
            return Err(ReadError::Refused { path: path.display().to_string(), reason });
        }
        let mut tree = Self { root, head: None, branch: None, prefix: String::new() };
        if let Ok(reader) = Reader::open(&tree.root) {
            if let Ok((commit, branch)) = reader.head() {
                (tree.head, tree.branch) = (Some(commit), branch);
            }
            let top = reader.work_tree().and_then(|top| fs::canonicalize(top).ok());
            tree.prefix = top
                .and_then(|top| tree.root.strip_prefix(top).ok()?.to_str().map(str::to_owned))
                .unwrap_or_default();
        }
        Ok(tree)
    }

    /// The folder, as an absolute path without links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The files that `patterns` mean (none: all), by path from the folder, with the blob IDs that Git would give them.
    /// `.git` is left out; links are named and not followed.
    ///
    /// # Errors
    /// When anything cannot be read, or a limit is reached.
    pub fn list(&self, patterns: &[PathPattern]) -> Result<Tree, ReadError> {
        let mut out = Tree { commit: CommitId::default(), files: Vec::new(), skipped: Vec::new() };
        let what = self.root.display().to_string();
        let too_many = |limit, unit| ReadError::TooMany { what: what.clone(), limit, unit };
        let mut visited = 0_usize;
        let mut folders = vec![(String::new(), 0_usize)];
        while let Some((folder, depth)) = folders.pop() {
            let here = self.root.join(&folder);
            for entry in fs::read_dir(&here).map_err(|error| io_error(&here, &error))? {
                let entry = entry.map_err(|error| io_error(&here, &error))?;
                visited += 1;
                if visited > MAX_VISITED {
                    return Err(too_many(MAX_VISITED, "entries"));
                }
                let name = entry.file_name();
                let slash = if folder.is_empty() { "" } else { "/" };
                let Some(name) = name.to_str() else {
                    out.skipped.push(format!("{folder}{slash}{}", name.display()));
                    out.skipped.truncate(100);
                    continue;
                };
                let path = format!("{folder}{slash}{name}");
                if path.len() > MAX_PATH {
                    return Err(too_many(MAX_PATH, "bytes in a path"));
                }
                let kind = entry.file_type().map_err(|error| io_error(&entry.path(), &error))?;
                if kind.is_dir() {
                    if name == ".git" || !any_reaches_into(patterns, &path) {
                        continue;
                    }
                    if depth + 1 > MAX_DEPTH {
                        return Err(too_many(MAX_DEPTH, "folders inside each other"));
                    }
                    folders.push((path, depth + 1));
                } else if (kind.is_file() || kind.is_symlink()) && any_matches(patterns, &path) {
                    if name == ".git" {
                        continue;
                    }
                    if out.files.len() == MAX_FILES {
                        return Err(too_many(MAX_FILES, "files"));
                    }
                    out.files.push(described(&entry.path(), path, kind.is_symlink())?);
                }
            }
        }
        out.files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(out)
    }

    /// A file's ID and bytes; `path` is relative to the folder. A link is followed as far as it stays in the folder.
    ///
    /// # Errors
    /// When it is not there, not a plain file, leaves the folder, or has more than `limit` bytes.
    pub fn read(&self, path: &str, limit: u64) -> Result<(BlobId, Vec<u8>), ReadError> {
        let refused = |reason: &str| ReadError::Refused {
            path: path.escape_debug().to_string(),
            reason: reason.to_owned(),
        };
        let relative = Path::new(path);
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if path.is_empty() || !plain {
            return Err(refused("it does not name a file within the folder"));
        }
        let full = self.root.join(relative);
        let real = fs::canonicalize(&full).map_err(|error| io_error(&full, &error))?;
        if !real.starts_with(&self.root) {
            return Err(refused("it is a link that leaves the folder"));
        }
        let about = fs::metadata(&real).map_err(|error| io_error(&full, &error))?;
        if !about.is_file() {
            return Err(refused("it is not a plain file"));
        }
        let too_large = |size| ReadError::TooLarge { what: path.to_owned(), size, limit };
        if about.len() > limit {
            return Err(too_large(about.len()));
        }
        let file = fs::File::open(&real).map_err(|error| io_error(&full, &error))?;
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1))
            .read_to_end(&mut bytes)
            .map_err(|error| io_error(&full, &error))?;
        if bytes.len() as u64 > limit {
            return Err(too_large(bytes.len() as u64));
        }
        Ok((hash(&bytes, path)?, bytes))
    }
}

fn described(full: &Path, path: String, link: bool) -> Result<TreeFile, ReadError> {
    if link {
        let target = fs::read_link(full).map_err(|error| io_error(full, &error))?;
        let blob = hash(target.as_os_str().as_encoded_bytes(), &path)?;
        return Ok(TreeFile { path, blob, kind: FileKind::Symlink });
    }
    let oid = Oid::hash_file(ObjectType::Blob, full).map_err(|error| {
        let place = full.display().to_string();
        ReadError::Corrupt { what: "the file".into(), place, detail: error.message().to_owned() }
    })?;
    Ok(TreeFile { path, blob: blob_id(oid), kind: FileKind::File })
}

fn hash(bytes: &[u8], path: &str) -> Result<BlobId, ReadError> {
    let oid = Oid::hash_object(ObjectType::Blob, bytes)
        .map_err(|error| ReadError::from_git(&error, path, "the folder"))?;
    Ok(blob_id(oid))
}

fn io_error(path: &Path, error: &std::io::Error) -> ReadError {
    let place = path.display().to_string();
    if error.kind() == std::io::ErrorKind::NotFound {
        return ReadError::NotFound { what: place, place: "the file system".into() };
    }
    ReadError::Corrupt { what: "it".into(), place, detail: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_plain_folder_is_read_within_its_bounds() {
        let dir = tempfile::tempdir().expect("temporary folder");
        let root = dir.path().join("fleet");
        fs::create_dir_all(root.join("jobs/eu")).expect("folders");
        fs::create_dir_all(root.join(".git/x")).expect("folders");
        fs::write(dir.path().join("outside"), "no").expect("written");
        fs::write(root.join("jobs/eu/web.hcl"), "web").expect("written");
        fs::write(root.join("notes"), "n").expect("written");
        symlink("../../outside", root.join("jobs/out")).expect("linked");
        symlink("eu/web.hcl", root.join("jobs/in")).expect("linked");
        let tree = WorkTree::open(&root).expect("opened");
        assert_eq!((tree.prefix.as_str(), &tree.head), ("", &None));
        let patterns = [PathPattern::parse("jobs").expect("a pattern")];
        let listed = tree.list(&patterns).expect("listed");
        let names: Vec<_> = listed.files.iter().map(|f| (f.path.as_str(), f.kind)).collect();
        assert_eq!(
            names,
            [
                ("jobs/eu/web.hcl", FileKind::File),
                ("jobs/in", FileKind::Symlink),
                ("jobs/out", FileKind::Symlink)
            ]
        );
        let (blob, bytes) = tree.read("jobs/eu/web.hcl", 3).expect("read");
        assert_eq!((bytes.as_slice(), &blob), (b"web".as_slice(), &listed.files[0].blob));
        assert_eq!(tree.read("jobs/in", 100).expect("read").1, b"web");
        assert!(matches!(tree.read("jobs/out", 100), Err(ReadError::Refused { .. })));
        assert!(matches!(tree.read("../outside", 100), Err(ReadError::Refused { .. })));
        assert!(matches!(tree.read("jobs", 100), Err(ReadError::Refused { .. })));
        assert!(matches!(tree.read("absent", 100), Err(ReadError::NotFound { .. })));
        assert!(matches!(
            tree.read("jobs/eu/web.hcl", 2),
            Err(ReadError::TooLarge { size: 3, limit: 2, .. })
        ));
    }
}
