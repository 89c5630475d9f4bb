//! A look at a repository on this machine. Its reference is read directly; new objects are packed there and indexed
//! here, so that a garbage collection there takes nothing from us.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use git2::{BranchType, ErrorCode, Oid, Repository};
use model::CommitId;
use tokio_util::sync::CancellationToken;

use super::{FOLLOWED, Mirror, Tip, id_of};
use crate::error::{FetchError, ReadError};
use crate::reader::Reader;
use crate::transport::Session;

/// Most branches that an error names.
const MAX_NAMED: usize = 10;

/// Which repository the address led to when it was first seen.
#[derive(Default)]
pub(super) struct Source {
    found: Option<Found>,
}

struct Found {
    /// The work tree's own Git folder: `HEAD` is here.
    git_dir: PathBuf,
    /// The Git folder that all work trees share: branches are here.
    common_dir: PathBuf,
    /// The folder within the repository that the address names.
    prefix: String,
}

impl Source {
    pub(super) fn prefix(&self) -> Option<&str> {
        self.found.as_ref().map(|found| found.prefix.as_str())
    }

    /// Folders to watch, and whether with all beneath them. Folders, because Git replaces files by renaming.
    pub(super) fn watched(&self) -> Vec<(PathBuf, bool)> {
        let Some(found) = &self.found else { return Vec::new() };
        let mut out = vec![(found.git_dir.clone(), false)];
        if found.common_dir != found.git_dir {
            out.push((found.common_dir.clone(), false));
        }
        out.push((found.common_dir.join("refs/heads"), true));
        out.push((found.git_dir.join("logs"), false));
        out
    }
}

impl Mirror {
    pub(super) fn refresh_local(&mut self, stop: &CancellationToken) -> Result<Tip, FetchError> {
        let source = self.open_source()?;
        let (branch, oid) =
            branch_tip(&source, self.config.branch.as_deref(), || self.config.url.redacted())?;
        let fetched = self.known(&branch) != Some(oid);
        if fetched {
            self.copy(&source, oid, stop)?;
        }
        Ok(Tip { oid, branch, fetched })
    }

    /// Asks the repository itself what a revision means, and copies the commit.
    pub(super) fn resolve_local(
        &mut self,
        revision: &str,
        stop: &CancellationToken,
    ) -> Result<CommitId, ReadError> {
        let source = match self.open_source() {
            Ok(source) => source,
            // Gone for now: what it once held can still be named.
            Err(error) => return self.resolve_here(revision).map_err(|_| error.into()),
        };
        let reader = Reader::open(source.path())?;
        let id = match reader.resolve(revision) {
            Err(ReadError::NotFound { .. }) => return self.resolve_here(revision),
            other => other?,
        };
        let oid = Oid::from_str(id.as_str())
            .map_err(|error| ReadError::from_git(&error, revision, "the repository"))?;
        if self.repo.find_commit(oid).is_err() {
            self.copy(&source, oid, stop)?;
        }
        Ok(id_of(oid))
    }

    /// Opens what the address leads to. An address that once led to one repository does not quietly lead to another:
    /// with its `.git` gone, a folder would otherwise be taken for a part of a repository further up.
    fn open_source(&mut self) -> Result<Repository, FetchError> {
        let remote = self.config.url.redacted();
        let not_found = |detail: String| FetchError::RepositoryNotFound {
            remote: self.config.url.redacted(),
            detail,
        };
        let path = self.config.url.local_path().unwrap_or_else(|| Path::new(""));
        let real = fs::canonicalize(path).map_err(|error| not_found(error.to_string()))?;
        let repo = Repository::discover(&real).map_err(|error| match error.code() {
            ErrorCode::NotFound => not_found("the folder is not in a Git repository".into()),
            _ => not_found(error.message().to_owned()),
        })?;
        if repo.is_shallow() {
            let detail = "it is a shallow clone, which cannot show its history; run `git fetch --unshallow` there";
            return Err(FetchError::Other { remote, detail: detail.into() });
        }
        let canonical = |path: &Path| fs::canonicalize(path).map_err(|e| not_found(e.to_string()));
        let git_dir = canonical(repo.path())?;
        match &self.source.found {
            Some(found) if found.git_dir != git_dir => {
                let was = found.git_dir.display();
                return Err(not_found(format!(
                    "the repository {was} is gone; restart the agent if the address now means {}",
                    git_dir.display()
                )));
            }
            Some(_) => {}
            None => {
                let common_dir = canonical(repo.commondir())?;
                let top = repo.workdir().map(canonical).transpose()?;
                let below = top.and_then(|top| real.strip_prefix(top).ok().map(Path::to_owned));
                let prefix = match below.as_deref().map(Path::to_str) {
                    None => String::new(),
                    Some(Some(text)) => text.to_owned(),
                    Some(None) => return Err(not_found("the folder's name is not UTF-8".into())),
                };
                self.source.found = Some(Found { git_dir, common_dir, prefix });
            }
        }
        Ok(repo)
    }

    /// Copies what `oid` needs and the mirror lacks.
    fn copy(
        &self,
        source: &Repository,
        oid: Oid,
        stop: &CancellationToken,
    ) -> Result<(), FetchError> {
        let session = Session::new(self.config.clone(), None, stop.clone());
        let fail = |error: git2::Error| session.explain(&error);
        let mut walk = source.revwalk().map_err(fail)?;
        walk.push(oid).map_err(fail)?;
        for known in self.followed() {
            // A commit that a rewrite has taken from the source cannot be left out of the walk, and need not be.
            if source.find_commit(known).is_ok() {
                walk.hide(known).map_err(fail)?;
            }
        }
        let mut builder = source.packbuilder().map_err(fail)?;
        builder.insert_walk(&mut walk).map_err(fail)?;
        if builder.object_count() > 0 {
            let odb = self.repo.odb().map_err(fail)?;
            let mut writer = odb.packwriter().map_err(fail)?;
            let mut written = 0_u64;
            let mut broken = None;
            let packed = builder.foreach(|bytes| {
                written += bytes.len() as u64;
                let stored = writer.write_all(bytes);
                broken = stored.err();
                broken.is_none() && session.may_go_on(written)
            });
            if let Some(error) = broken {
                session.other(format!("cannot write to the mirror: {error}"));
            }
            packed.map_err(fail)?;
            writer.commit().map_err(fail)?;
        }
        Ok(())
    }

    /// Commits that the mirror holds with everything they need.
    pub(super) fn followed(&self) -> Vec<Oid> {
        match self.repo.references_glob(&format!("{FOLLOWED}*")) {
            Ok(all) => all.filter_map(|reference| reference.ok()?.target()).collect(),
            Err(_) => Vec::new(),
        }
    }
}

/// The branch and its commit. Without a configured one: what `HEAD` names, or `HEAD` itself where it names none.
fn branch_tip(
    source: &Repository,
    configured: Option<&str>,
    remote: impl Fn() -> String,
) -> Result<(String, Oid), FetchError> {
    let corrupt = |error: git2::Error| FetchError::Corrupt {
        remote: remote(),
        detail: error.message().to_owned(),
    };
    let branch = match configured {
        Some(branch) => branch.to_owned(),
        None => {
            let head = source.find_reference("HEAD").map_err(corrupt)?;
            match head.symbolic_target().map_err(corrupt)? {
                Some(target) => target.strip_prefix("refs/heads/").unwrap_or(target).to_owned(),
                None => {
                    let oid = head.peel_to_commit().map_err(corrupt)?.id();
                    return Ok(("HEAD".to_owned(), oid));
                }
            }
        }
    };
    match source.find_reference(&format!("refs/heads/{branch}")) {
        Ok(reference) => Ok((branch, reference.peel_to_commit().map_err(corrupt)?.id())),
        Err(error) if error.code() == ErrorCode::NotFound => {
            let branches = source.branches(Some(BranchType::Local)).map_err(corrupt)?;
            let available: Vec<String> = branches
                .filter_map(|branch| branch.ok()?.0.name().ok().flatten().map(str::to_owned))
                .take(MAX_NAMED)
                .collect();
            if available.is_empty() {
                return Err(FetchError::EmptyRepository { remote: remote() });
            }
            Err(FetchError::BranchNotFound { remote: remote(), branch, available })
        }
        Err(error) => Err(corrupt(error)),
    }
}
