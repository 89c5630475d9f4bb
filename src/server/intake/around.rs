//! What lies around a job file at the same commit: vars files, files that it includes and files that it reads.
//!
//! Job files are read by a pure function that asks for what it needs. What is not here yet is noted, fetched from the
//! repository, and the function called again: so nothing blocks on a disk, and nothing is read that nobody asks for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use gitrepo::{FileKind, TreeFile};
use jobfile::{Files, Parsed, Source, Surroundings, VarsFiles};
use model::{BlobId, CommitId, Diagnostic, seeded_uuid};
use state::FileReading;

use crate::source::{RevisionSource, SourceError};

/// The largest file that a job file may include or read.
const FILE_LIMIT: u64 = 1024 * 1024;
/// The largest vars file.
const VARS_LIMIT: u64 = 256 * 1024;
/// Bytes that are kept for the next job file; more are read again.
const KEPT: usize = 32 << 20;
/// How often a job file is read again because it asked for more. Each time it asks for at least one file, and files that
/// include one another in a row are few.
const ROUNDS: usize = 32;

/// Files of somebody's working tree, in place of those of the commit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overlay<'a> {
    /// The files, by path.
    pub(crate) files: &'a BTreeMap<String, Vec<u8>>,
    /// The folder that they are all files of.
    pub(crate) under: &'a str,
    /// What else is not there, see [`crate::PlanSource::Files`].
    pub(crate) gone: &'a BTreeSet<String>,
}

impl Overlay<'_> {
    /// Whether the commit does not count for this path.
    fn replaces(&self, path: &str) -> bool {
        let vars_are_gone = || self.gone.contains(&format!("{}/", folder_of(path)));
        super::is_beneath(path, self.under)
            || self.gone.contains(path)
            || (jobfile::is_vars_file_name(path) && vars_are_gone())
    }
}

/// The files of one commit.
pub(super) struct Around<'a> {
    source: &'a dyn RevisionSource,
    commit: Option<CommitId>,
    overlay: Option<Overlay<'a>>,
    inputs: &'a jobfile::Inputs,
    /// Fingerprint of the inputs.
    base: &'a str,
    /// Whether `files` holds every file there is.
    whole: bool,
    files: BTreeMap<String, TreeFile>,
    /// Folders whose own files are all in `files`.
    known: BTreeSet<String>,
    /// The paths beneath a folder.
    lists: BTreeMap<String, Vec<String>>,
    contents: BTreeMap<String, Result<Option<Vec<u8>>, String>>,
    kept: usize,
    vars: VarsFiles,
    /// The vars files that lie in a folder.
    vars_in: BTreeMap<String, BTreeSet<String>>,
    /// The vars files that apply in a folder.
    applying: BTreeMap<String, Vec<String>>,
}

impl<'a> Around<'a> {
    /// `listed` is what the repository's paths select, if they were listed.
    pub(super) fn new(
        source: &'a dyn RevisionSource,
        commit: Option<CommitId>,
        (inputs, base): (&'a jobfile::Inputs, &'a str),
        listed: &[TreeFile],
    ) -> Self {
        let mut around = Self {
            source,
            commit,
            overlay: None,
            inputs,
            base,
            whole: source.selects_all(),
            files: BTreeMap::new(),
            known: BTreeSet::new(),
            lists: BTreeMap::new(),
            contents: BTreeMap::new(),
            kept: 0,
            vars: VarsFiles::default(),
            vars_in: BTreeMap::new(),
            applying: BTreeMap::new(),
        };
        listed.iter().for_each(|file| around.add(file.clone()));
        around
    }

    /// The same with files of a working tree.
    pub(super) fn with_overlay(mut self, overlay: Overlay<'a>) -> Self {
        self.whole = false;
        for (path, bytes) in overlay.files {
            // Not a name that Git would give: it only has to differ with the content.
            let blob = BlobId::from(format!("working tree {}", seeded_uuid(&[bytes])));
            self.add(TreeFile { path: path.clone(), blob, kind: FileKind::File });
        }
        self.overlay = Some(overlay);
        self
    }

    /// Gets ready for these job files and for files that they were known to read.
    pub(super) async fn prepare(
        &mut self,
        jobs: &[&str],
        reads: &BTreeSet<&str>,
    ) -> Result<(), SourceError> {
        let mut folders: BTreeSet<String> = BTreeSet::new();
        for job in jobs {
            let mut folder = folder_of(job);
            while folders.insert(folder.to_owned()) && !folder.is_empty() {
                folder = folder_of(folder);
            }
        }
        for path in reads {
            match path.strip_suffix('/') {
                Some(folder) => self.list(folder).await?,
                None => {
                    folders.insert(folder_of(path).to_owned());
                }
            }
        }
        self.look_into(folders).await
    }

    async fn look_into(&mut self, folders: BTreeSet<String>) -> Result<(), SourceError> {
        let unknown: BTreeSet<String> =
            folders.into_iter().filter(|folder| !self.known.contains(folder)).collect();
        if self.whole || unknown.is_empty() {
            return Ok(());
        }
        if let Some(commit) = &self.commit {
            for file in self.source.beside(commit, &unknown).await? {
                if !self.replaced(&file.path) && !self.files.contains_key(&file.path) {
                    self.add(file);
                }
            }
        }
        self.known.extend(unknown);
        Ok(())
    }

    fn replaced(&self, path: &str) -> bool {
        self.overlay.is_some_and(|overlay| overlay.replaces(path))
    }

    async fn list(&mut self, folder: &str) -> Result<(), SourceError> {
        if self.lists.contains_key(folder) {
            return Ok(());
        }
        let mut paths: BTreeSet<String> = self
            .files
            .keys()
            .filter(|path| super::is_beneath(path, folder) && *path != folder)
            .cloned()
            .collect();
        if let Some(commit) = self.commit.as_ref().filter(|_| !self.whole) {
            let found = self.source.beneath(commit, folder).await?;
            let found = found.into_iter().map(|file| file.path);
            paths.extend(found.filter(|path| !self.replaced(path)));
        }
        self.lists.insert(folder.to_owned(), paths.into_iter().collect());
        Ok(())
    }

    /// The fingerprint of what a job file is read with: empty for nothing. Everything must be known by now.
    pub(super) fn fingerprint(&mut self, job: &str, reads: &BTreeSet<String>) -> String {
        let vars = self.applying(job);
        if vars.is_empty() && reads.is_empty() {
            return self.base.to_owned();
        }
        let mut parts: Vec<&[u8]> = vec![self.base.as_bytes()];
        for path in vars.iter().chain(reads) {
            parts.push(path.as_bytes());
            match (path.strip_suffix('/'), self.files.get(path)) {
                (Some(folder), _) => {
                    let list = self.lists.get(folder).into_iter().flatten();
                    parts.extend(list.map(String::as_bytes));
                    parts.push(b"/");
                }
                (None, Some(file)) => parts.push(file.blob.as_str().as_bytes()),
                (None, None) => parts.push(b"-"),
            }
        }
        seeded_uuid(&parts).to_string()
    }

    /// The vars files that apply to a job file, in their order.
    fn applying(&mut self, job: &str) -> Vec<String> {
        let folder = folder_of(job);
        if let Some(found) = self.applying.get(folder) {
            return found.clone();
        }
        let mut above = folder;
        let mut candidates: Vec<&str> = Vec::new();
        loop {
            let here = self.vars_in.get(above).into_iter().flatten();
            candidates.extend(here.map(String::as_str));
            if above.is_empty() {
                break;
            }
            above = folder_of(above);
        }
        let environment = self.inputs.environment.as_deref();
        let found = jobfile::applying_vars_files(candidates, job, environment);
        let found: Vec<String> = found.into_iter().map(str::to_owned).collect();
        self.applying.insert(folder.to_owned(), found.clone());
        found
    }

    fn add(&mut self, file: TreeFile) {
        if jobfile::is_vars_file_name(&file.path) {
            let folder = folder_of(&file.path).to_owned();
            self.vars_in.entry(folder).or_default().insert(file.path.clone());
        }
        self.files.insert(file.path.clone(), file);
    }

    /// Reads a job file, with what it asks for.
    pub(super) async fn parse(
        &mut self,
        path: &str,
        bytes: &[u8],
    ) -> Result<(Parsed, FileReading), SourceError> {
        if self.kept > KEPT {
            self.contents.clear();
            self.kept = 0;
        }
        for vars in self.applying(path) {
            self.read_vars(&vars).await?;
        }
        let mut rounds = 0;
        let mut parsed = loop {
            let asked = Asked { around: self, missing: RefCell::default() };
            let around = Surroundings { files: &asked, vars: &self.vars };
            let parsed = jobfile::parse_in(Source { path, bytes }, self.inputs, around);
            let missing = asked.missing.into_inner();
            rounds += 1;
            if missing.is_empty() || rounds == ROUNDS {
                break parsed;
            }
            self.fetch(missing).await?;
        };
        parsed.diagnostics.dedup();
        let reads = std::mem::take(&mut parsed.reads);
        let inputs = self.fingerprint(path, &reads);
        let dependencies = std::mem::take(&mut parsed.dependencies);
        Ok((parsed, FileReading { inputs, reads, dependencies }))
    }

    async fn read_vars(&mut self, path: &str) -> Result<(), SourceError> {
        if self.vars.contains(path) {
            return Ok(());
        }
        match self.content(path, VARS_LIMIT).await? {
            Ok(bytes) => self.vars.insert(path, &bytes.unwrap_or_default()),
            Err(why) => {
                let message = format!("the vars file cannot be read: {why}");
                let problem = Diagnostic::file_error("unreadable-vars-file", path, message, "");
                self.vars.insert_refused(path, problem);
            }
        }
        Ok(())
    }

    async fn fetch(&mut self, missing: BTreeSet<String>) -> Result<(), SourceError> {
        let plain = missing.iter().filter(|path| !path.ends_with('/'));
        self.look_into(plain.map(|path| folder_of(path).to_owned()).collect()).await?;
        for path in missing {
            if let Some(folder) = path.strip_suffix('/') {
                self.list(folder).await?;
                continue;
            }
            let content = self.content(&path, FILE_LIMIT).await?;
            if let Ok(Some(bytes)) = &content {
                self.kept += bytes.len();
            }
            self.contents.insert(path, content);
        }
        Ok(())
    }

    /// A file's content, none where there is no such file, or why it cannot be had.
    async fn content(
        &self,
        path: &str,
        limit: u64,
    ) -> Result<Result<Option<Vec<u8>>, String>, SourceError> {
        if let Some(bytes) = self.overlay.and_then(|overlay| overlay.files.get(path)) {
            return Ok(if bytes.len() as u64 > limit {
                Err(format!("it has {} bytes, {limit} are allowed", bytes.len()))
            } else {
                Ok(Some(bytes.clone()))
            });
        }
        let Some(file) = self.files.get(path) else { return Ok(Ok(None)) };
        match file.kind {
            FileKind::File => {}
            FileKind::Symlink => {
                let why = "it is a symbolic link, and links in a repository are never followed";
                return Ok(Err(why.to_owned()));
            }
            FileKind::Submodule => return Ok(Err("it is another repository".to_owned())),
        }
        match self.source.blob(&file.blob, limit).await {
            Ok(bytes) => Ok(Ok(Some(bytes))),
            Err(SourceError::TooLarge(words)) => Ok(Err(words)),
            Err(error) => Err(error),
        }
    }
}

/// What a job file asks for: what is here, or a note of what is not.
struct Asked<'a> {
    around: &'a Around<'a>,
    missing: RefCell<BTreeSet<String>>,
}

const NOT_YET: &str = "it asks for too many files, one after the other";

impl Files for Asked<'_> {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, String> {
        self.around.contents.get(path).cloned().unwrap_or_else(|| {
            self.missing.borrow_mut().insert(path.to_owned());
            Err(NOT_YET.to_owned())
        })
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, String> {
        let folder = folder.trim_end_matches('/');
        self.around.lists.get(folder).cloned().ok_or_else(|| {
            self.missing.borrow_mut().insert(format!("{folder}/"));
            NOT_YET.to_owned()
        })
    }
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
