//! A bare repository under the data directory that follows one branch of a remote.

mod compact;
mod local;
mod locks;
mod remote;
mod taken;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use git2::{Oid, Repository, RepositoryInitOptions};
use model::CommitId;
use tokio_util::sync::CancellationToken;

use crate::config::RepoConfig;
use crate::error::{FetchError, ReadError};
use crate::pack::FOLLOWED;
use crate::reader::{CommitInfo, Reader, commit_id, commit_info};
use crate::transport;

/// Names the followed branch. Not `HEAD`, which Git wants to be a branch or a commit.
const CURRENT: &str = "HERDER_HEAD";

/// What a look at the remote found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// The branch's commit, which the mirror now holds.
    pub commit: CommitInfo,
    /// The branch; `HEAD` for a work tree that has none checked out.
    pub branch: String,
    /// Whether objects were copied.
    pub fetched: bool,
}

/// A branch's commit, whole in the mirror.
struct Tip {
    oid: Oid,
    branch: String,
    fetched: bool,
}

/// The mirror of one repository. It holds every object that was ever fetched: a commit that was once seen can be read
/// even after a force push.
pub struct Mirror {
    config: Arc<RepoConfig>,
    path: PathBuf,
    repo: Repository,
    agent: Option<ureq::Agent>,
    remote: remote::Seen,
    source: local::Source,
}

impl Mirror {
    /// Where the mirror of a repository is.
    pub fn path_in(data_dir: &Path, config: &RepoConfig) -> PathBuf {
        data_dir.join("git").join(format!("{}.git", config.name))
    }

    /// Opens or creates the mirror. One that cannot be read is set aside and made anew: it is a copy. Nobody else may
    /// write to it: whoever opens it holds the data directory.
    ///
    /// # Errors
    /// When the data directory cannot be written to, or the configuration does not fit.
    pub fn open(config: Arc<RepoConfig>, data_dir: &Path) -> Result<Self, FetchError> {
        transport::prepare();
        let other = |detail: String| FetchError::Other { remote: config.url.redacted(), detail };
        config.check().map_err(|error| other(error.to_string()))?;
        let path = Self::path_in(data_dir, &config);
        locks::release(&path);
        let repo = match Repository::open_bare(&path).and_then(usable) {
            Ok(repo) => repo,
            Err(error) => {
                if fs::symlink_metadata(&path).is_ok() {
                    tracing::warn!(repository = config.name, %error, "the mirror cannot be read and is made anew");
                    set_aside(&path).map_err(|error| {
                        other(format!("cannot set aside {}: {error}", path.display()))
                    })?;
                }
                create(&path).map_err(|error| {
                    let detail = error.message();
                    other(format!("cannot create the mirror {}: {detail}", path.display()))
                })?
            }
        };
        let agent = transport::agent(&config)?;
        Ok(Self {
            config,
            path,
            repo,
            agent,
            remote: remote::Seen::default(),
            source: local::Source::default(),
        })
    }

    /// Where the mirror is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Looks where the branch is and brings what is missing. Nothing in the mirror changes on an error.
    ///
    /// # Errors
    /// What kept us from knowing; see [`FetchError`].
    pub fn refresh(&mut self, stop: &CancellationToken) -> Result<Refreshed, FetchError> {
        let tip = match self.config.url.local_path() {
            Some(_) => self.refresh_local(stop)?,
            None => self.refresh_remote(stop)?,
        };
        let fail = |error: git2::Error| self.damaged(&error);
        let commit = self.repo.find_commit(tip.oid).map_err(fail)?;
        commit.tree().map_err(fail)?;
        let info = commit_info(&commit);
        drop(commit);
        self.follow(&tip)?;
        if tip.fetched {
            self.compact(stop);
        }
        Ok(Refreshed { commit: info, branch: tip.branch, fetched: tip.fetched })
    }

    /// The commit and branch that the mirror last followed, also from before a restart.
    pub fn head(&self) -> Option<(CommitInfo, String)> {
        let head = self.repo.find_reference(CURRENT).ok()?;
        let branch = head.symbolic_target().ok()??.strip_prefix(FOLLOWED)?.to_owned();
        let commit = head.peel_to_commit().ok()?;
        Some((commit_info(&commit), branch))
    }

    /// The folder within the repository that a local address names; empty for the root. `None` until it was seen.
    pub fn prefix(&self) -> Option<&str> {
        match self.config.url.local_path() {
            Some(_) => self.source.prefix(),
            None => Some(""),
        }
    }

    /// The folders of a local repository whose changes mean that the branch may have moved.
    pub(crate) fn watched(&self) -> Vec<(PathBuf, bool)> {
        self.source.watched()
    }

    /// The commit that a revision means, after asking the remote where that is needed.
    ///
    /// # Errors
    /// When it means no commit that we can get.
    pub fn resolve(
        &mut self,
        revision: &str,
        stop: &CancellationToken,
    ) -> Result<CommitId, ReadError> {
        if self.config.url.local_path().is_some() {
            return self.resolve_local(revision, stop);
        }
        match self.resolve_here(revision) {
            Err(ReadError::NotFound { .. }) => {
                self.refresh(stop)?;
                self.resolve_here(revision)
            }
            known => known,
        }
    }

    /// Resolves against what the mirror holds. The followed branch comes before all other names.
    pub(crate) fn resolve_here(&self, revision: &str) -> Result<CommitId, ReadError> {
        let reader = Reader::open_bare(&self.path, self.config.url.redacted())?;
        let end = revision.find(['~', '^', '@']).unwrap_or(revision.len());
        let (name, rest) = revision.split_at(end);
        match self.head() {
            Some((_, branch)) if branch == name || name == "HEAD" => {
                reader.resolve(&format!("{FOLLOWED}{branch}{rest}"))
            }
            _ => reader.resolve(revision),
        }
    }

    /// The commit of `refs/herder/<branch>`, if it was fetched before.
    fn known(&self, branch: &str) -> Option<Oid> {
        self.repo.refname_to_id(&format!("{FOLLOWED}{branch}")).ok()
    }

    /// Points the mirror at the tip, by force: a branch that was rewritten is news, not an error.
    fn follow(&self, tip: &Tip) -> Result<(), FetchError> {
        let name = format!("{FOLLOWED}{}", tip.branch);
        let fail = |error: git2::Error| FetchError::Other {
            remote: self.config.url.redacted(),
            detail: format!("cannot write to the mirror {}: {error}", self.path.display()),
        };
        if self.known(&tip.branch) != Some(tip.oid) {
            // A branch `a` keeps a branch `a/b` from being written, and the other way round.
            let names: Vec<String> = match self.repo.references_glob(&format!("{FOLLOWED}*")) {
                Ok(mut all) => {
                    all.names().filter_map(|name| name.ok().map(str::to_owned)).collect()
                }
                Err(_) => Vec::new(),
            };
            for old in names {
                let beneath =
                    |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.starts_with('/'));
                if beneath(&old, &name) || beneath(&name, &old) {
                    self.repo.find_reference(&old).and_then(|mut r| r.delete()).map_err(fail)?;
                }
            }
            self.repo.reference(&name, tip.oid, true, "").map_err(fail)?;
        }
        let head = self.repo.find_reference(CURRENT).ok();
        let current = head.and_then(|head| head.symbolic_target().ok()?.map(str::to_owned));
        if current.as_deref() != Some(&name) {
            self.repo.reference_symbolic(CURRENT, &name, true, "").map_err(fail)?;
        }
        Ok(())
    }

    fn damaged(&self, error: &git2::Error) -> FetchError {
        FetchError::Corrupt {
            remote: self.config.url.redacted(),
            detail: error.message().to_owned(),
        }
    }
}

/// A mirror whose followed commit cannot be read is of no use.
fn usable(repo: Repository) -> Result<Repository, git2::Error> {
    match repo.find_reference(CURRENT) {
        Ok(head) => {
            head.peel_to_commit()?.tree()?;
        }
        Err(error) if error.code() == git2::ErrorCode::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(repo)
}

fn create(path: &Path) -> Result<Repository, git2::Error> {
    let mut options = RepositoryInitOptions::new();
    options.bare(true).mkpath(true).external_template(false).initial_head("none");
    Repository::init_opts(path, &options)
}

fn set_aside(path: &Path) -> std::io::Result<()> {
    let aside = path.with_extension("broken");
    match fs::remove_dir_all(&aside) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::rename(path, aside)
}

/// The commit's ID, for messages and results.
fn id_of(oid: Oid) -> CommitId {
    commit_id(oid)
}
