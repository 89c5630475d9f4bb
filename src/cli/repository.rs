//! A repository as it lies on this disk: job files, and what they may read, by their paths from its root. The agent
//! sees the same files the same way, at a commit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail};
use jobfile::{Files, VarsFiles};

/// More than a job file may have, so that the parser is the one to say that it is too large.
pub(crate) const FILE_LIMIT: u64 = 64 << 20;
/// The largest file that a job file may include or read.
const READ_LIMIT: u64 = 1 << 20;
/// Deepest folder.
const MAX_DEPTH: usize = 64;
/// Most entries of folders that are looked at.
const MAX_VISITED: usize = 1_000_000;

/// A repository's working tree; a folder that is in none is one of its own. No link is ever followed.
#[derive(Debug)]
pub(crate) struct Repository {
    root: PathBuf,
}

impl Repository {
    /// The repository that a file or folder lies in, and its path from the root.
    pub(crate) fn around(path: &Path) -> anyhow::Result<(Self, String)> {
        let real =
            path.canonicalize().with_context(|| format!("{} cannot be read", path.display()))?;
        let folder = if real.is_dir() { real.as_path() } else { real.parent().unwrap_or(&real) };
        let root = folder.ancestors().find(|above| above.join(".git").exists()).unwrap_or(folder);
        let within = real.strip_prefix(root).unwrap_or_else(|_| Path::new(""));
        let within = within
            .to_str()
            .with_context(|| format!("the path {} is not UTF-8", path.display()))?
            .to_owned();
        Ok((Self { root: root.to_owned() }, within))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The job files at a path from the root: all beneath a folder that hold a job, or the one file whatever it is.
    pub(crate) fn job_files(&self, at: &str) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
        if !at.is_empty() && !self.root.join(at).is_dir() {
            let bytes = self.bytes(at, FILE_LIMIT)?;
            let bytes = bytes.with_context(|| format!("{at} is not there"))?;
            return Ok(BTreeMap::from([(at.to_owned(), bytes)]));
        }
        let mut files = BTreeMap::new();
        for path in self.beneath(at, jobfile::is_job_file_name)? {
            let Some(bytes) = self.bytes(&path, FILE_LIMIT)? else { continue };
            if jobfile::holds_job(&path, &bytes) {
                files.insert(path, bytes);
            }
        }
        Ok(files)
    }

    /// The vars files beneath a folder and in the folders above it.
    pub(crate) fn vars_files(&self, at: &str) -> anyhow::Result<BTreeSet<String>> {
        let is_folder = at.is_empty() || self.root.join(at).is_dir();
        let mut found = BTreeSet::new();
        let mut folder = at;
        if is_folder {
            found.extend(self.beneath(at, jobfile::is_vars_file_name)?);
        }
        while !folder.is_empty() {
            folder = folder.rsplit_once('/').map_or("", |(above, _)| above);
            let (files, _) = self.entries(folder)?;
            found.extend(files.into_iter().filter(|path| jobfile::is_vars_file_name(path)));
        }
        Ok(found)
    }

    /// Reads vars files.
    pub(crate) fn read_vars(&self, paths: &BTreeSet<String>) -> VarsFiles {
        let mut vars = VarsFiles::default();
        for path in paths {
            match self.read(path) {
                Ok(bytes) => vars.insert(path, &bytes.unwrap_or_default()),
                Err(why) => {
                    let message = format!("the vars file cannot be read: {why}");
                    let code = "unreadable-vars-file";
                    let problem = model::Diagnostic::file_error(code, path, message, "");
                    vars.insert_refused(path, problem);
                }
            }
        }
        vars
    }

    /// The files beneath a folder whose names are wanted, sorted.
    fn beneath(&self, folder: &str, wanted: fn(&str) -> bool) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        let mut visited = 0;
        let mut folders = vec![(folder.to_owned(), 0_usize)];
        while let Some((folder, depth)) = folders.pop() {
            let (files, inner) = self.entries(&folder)?;
            visited += files.len() + inner.len();
            if visited > MAX_VISITED || depth > MAX_DEPTH {
                bail!("there are too many files or folders in {}", self.root.display());
            }
            found.extend(files.into_iter().filter(|path| wanted(path)));
            folders.extend(inner.into_iter().map(|path| (path, depth + 1)));
        }
        found.sort();
        Ok(found)
    }

    /// The files and the folders in a folder. Names that are not UTF-8 are left out, and so is `.git`.
    fn entries(&self, folder: &str) -> anyhow::Result<(Vec<String>, Vec<String>)> {
        let (mut files, mut folders) = (Vec::new(), Vec::new());
        let here = self.root.join(folder);
        let reading = || format!("reading {}", here.display());
        for entry in fs::read_dir(&here).with_context(reading)? {
            let entry = entry.with_context(reading)?;
            let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
            let slash = if folder.is_empty() { "" } else { "/" };
            let path = format!("{folder}{slash}{name}");
            let kind = entry.file_type().with_context(reading)?;
            if kind.is_dir() && name != ".git" {
                folders.push(path);
            } else if kind.is_file() || kind.is_symlink() && jobfile::is_vars_file_name(&path) {
                files.push(path);
            }
        }
        Ok((files, folders))
    }

    /// A file's content; none where there is no such file.
    fn bytes(&self, path: &str, limit: u64) -> anyhow::Result<Option<Vec<u8>>> {
        let relative = Path::new(path);
        if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
            bail!("it leaves the repository");
        }
        let mut full = self.root.clone();
        for part in relative.components() {
            full.push(part);
            match fs::symlink_metadata(&full) {
                Ok(about) if about.is_symlink() => {
                    bail!("it is a symbolic link, and links in a repository are never followed")
                }
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        let file = fs::File::open(&full)?;
        let about = file.metadata()?;
        if about.is_dir() {
            return Ok(None);
        }
        if !about.is_file() {
            bail!("it is not a plain file");
        }
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            bail!("it has more than {limit} bytes");
        }
        Ok(Some(bytes))
    }
}

impl Files for Repository {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        self.bytes(path, READ_LIMIT).map_err(|error| format!("{error:#}"))
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        self.beneath(folder.trim_end_matches('/'), |_| true).map_err(|error| format!("{error:#}"))
    }
}

/// The environment variables that hold values for variables.
pub(crate) fn shell() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| name.starts_with("NOMAD_VAR_") || name.starts_with("HERDER_VAR_"))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_repository_is_read_from_its_root_and_no_link_is_followed() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().join("fleet");
        fs::create_dir_all(root.join("jobs/eu")).expect("folders");
        fs::create_dir_all(root.join(".git")).expect("folders");
        for (path, text) in [
            ("jobs/eu/a.hcl", "job \"a\" {}"),
            ("jobs/b.hcl", "locals {}"),
            ("all.vars.hcl", ""),
            ("jobs/near.vars.hcl", ""),
            ("jobs/eu/x.prod.vars.hcl", ""),
            (".git/c.hcl", "job \"c\" {}"),
        ] {
            fs::write(root.join(path), text).expect("written");
        }
        symlink("eu", root.join("jobs/linked")).expect("linked");
        symlink("/etc/hostname", root.join("jobs/name")).expect("linked");
        let (repository, within) = Repository::around(&root.join("jobs")).expect("is there");
        assert_eq!(within, "jobs");
        let paths = |files: BTreeMap<String, Vec<u8>>| files.into_keys().collect::<Vec<_>>();
        assert_eq!(paths(repository.job_files("jobs").expect("read")), ["jobs/eu/a.hcl"]);
        assert_eq!(paths(repository.job_files("jobs/b.hcl").expect("read")), ["jobs/b.hcl"]);
        let vars = repository.vars_files("jobs/eu").expect("listed");
        let all = ["all.vars.hcl", "jobs/eu/x.prod.vars.hcl", "jobs/near.vars.hcl"];
        assert_eq!(vars.iter().collect::<Vec<_>>(), all);
        assert_eq!(repository.vars_files("jobs/b.hcl").expect("listed").len(), 2);
        assert_eq!(repository.read("jobs/b.hcl"), Ok(Some(b"locals {}".to_vec())));
        assert_eq!(repository.read("jobs/x"), Ok(None));
        assert_eq!(repository.read("jobs"), Ok(None));
        for path in ["jobs/name", "jobs/linked/a.hcl", "../x", "/etc/hostname"] {
            assert!(repository.read(path).is_err(), "{path}");
        }
        assert_eq!(
            repository.list("jobs").expect("listed"),
            ["jobs/b.hcl", "jobs/eu/a.hcl", "jobs/eu/x.prod.vars.hcl", "jobs/near.vars.hcl"]
        );
    }
}
