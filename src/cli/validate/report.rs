//! All that was found, each thing once, what matters first.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use jobfile::Parsed;
use model::{Diagnostic, Severity};

/// What was found in all files.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The job files that were read.
    pub(super) files: usize,
    /// The jobs in them.
    pub(super) jobs: usize,
    /// Errors first, then by place. Paths are from the root of the repository.
    pub(super) found: Vec<Found>,
    /// Environments whose vars files were passed over because none was chosen.
    pub(super) environments: BTreeSet<String>,
    current: PathBuf,
    root: PathBuf,
    texts: BTreeMap<PathBuf, String>,
}

/// A finding, and what it spoils.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) diagnostic: Diagnostic,
    /// The job files in which it was met, beside its own.
    pub(super) also_in: BTreeSet<String>,
    /// Where the file is.
    file: PathBuf,
    /// The file, from where the command runs.
    pub(super) shown: String,
}

impl Report {
    pub(super) fn new() -> anyhow::Result<Self> {
        let current = std::env::current_dir().context("the current folder cannot be read")?;
        let current = current.canonicalize().unwrap_or(current);
        Ok(Self { current, ..Self::default() })
    }

    /// What follows is about files of this repository.
    pub(super) fn enter(&mut self, root: &Path) {
        self.root = root.to_owned();
    }

    pub(super) fn add(&mut self, path: &str, bytes: Vec<u8>, parsed: Parsed) {
        self.files += 1;
        self.jobs += parsed.jobs.len();
        let has_findings = !parsed.diagnostics.is_empty();
        for diagnostic in parsed.diagnostics {
            let in_file = (diagnostic.path != path).then(|| path.to_owned());
            self.push(diagnostic, in_file);
        }
        if has_findings && let Ok(text) = String::from_utf8(bytes) {
            self.texts.insert(self.root.join(path), text);
        }
    }

    pub(super) fn find(&mut self, diagnostic: Diagnostic) {
        self.push(diagnostic, None);
    }

    fn push(&mut self, diagnostic: Diagnostic, in_file: Option<String>) {
        let file = self.root.join(&diagnostic.path);
        let shown = self.shown(&file, &diagnostic.path);
        self.found.push(Found { diagnostic, also_in: in_file.into_iter().collect(), file, shown });
    }

    /// A path as somebody here would write it.
    fn shown(&self, file: &Path, path: &str) -> String {
        if !self.root.is_absolute() || path.starts_with('-') || Path::new(path).is_absolute() {
            return path.to_owned();
        }
        if let Ok(below) = file.strip_prefix(&self.current) {
            return below.display().to_string();
        }
        match self.current.strip_prefix(&self.root) {
            Ok(down) => "../".repeat(down.components().count()) + path,
            Err(_) => file.display().to_string(),
        }
    }

    /// Puts what was found into order, and what was found in many files into one place.
    pub(super) fn settle(&mut self) {
        let key = |found: &Found| {
            let of = &found.diagnostic;
            let severity = std::cmp::Reverse(of.severity);
            (severity, found.file.clone(), of.line, of.column, of.code.clone(), of.message.clone())
        };
        let mut found = std::mem::take(&mut self.found);
        found.sort_by_cached_key(key);
        for next in found {
            match self.found.last_mut() {
                Some(last) if last.file == next.file && last.diagnostic == next.diagnostic => {
                    last.also_in.extend(next.also_in);
                }
                _ => self.found.push(next),
            }
        }
    }

    /// Notes which environments could have been chosen.
    pub(super) fn passed_over(&mut self, vars_files: &BTreeSet<String>, chosen: Option<&str>) {
        if chosen.is_none() {
            let of = |path: &String| jobfile::environment_of_vars_file(path).map(str::to_owned);
            self.environments.extend(vars_files.iter().filter_map(of));
        }
    }

    pub(super) fn errors(&self) -> usize {
        self.found.iter().filter(|found| found.diagnostic.is_error()).count()
    }

    pub(super) fn warnings(&self) -> usize {
        self.found.len() - self.errors()
    }

    /// How many files have a finding of this severity, and no worse one.
    pub(super) fn files_with(&self, severity: Severity) -> usize {
        let mut worst: BTreeMap<&Path, Severity> = BTreeMap::new();
        for found in &self.found {
            let entry = worst.entry(&found.file).or_insert(Severity::Warning);
            *entry = (*entry).max(found.diagnostic.severity);
        }
        worst.values().filter(|found| **found == severity).count()
    }

    /// The text of the file that a finding is in.
    pub(super) fn text(&self, found: &Found) -> Option<String> {
        self.texts.get(&found.file).cloned().or_else(|| std::fs::read_to_string(&found.file).ok())
    }

    /// The findings with paths from where the command runs.
    pub(super) fn as_shown(&self) -> Vec<Diagnostic> {
        let shown =
            |found: &Found| Diagnostic { path: found.shown.clone(), ..found.diagnostic.clone() };
        self.found.iter().map(shown).collect()
    }
}
