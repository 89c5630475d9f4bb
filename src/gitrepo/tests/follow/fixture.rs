//! Repositories to follow.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use gitrepo::{FetchError, Mirror, Reader, Refreshed, RepoConfig};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A work tree with commits, and a data directory beside it.
pub(crate) struct Fixture {
    pub(crate) dir: TempDir,
}

impl Fixture {
    /// A repository on branch `main` without a commit.
    pub(crate) fn empty() -> Self {
        let dir = tempfile::tempdir().expect("temporary folder");
        let fixture = Self { dir };
        std::fs::create_dir_all(fixture.repo()).expect("folder");
        fixture.git(&["init", "-q", "-b", "main", "."]);
        fixture
    }

    /// A repository on branch `main` with one commit.
    pub(crate) fn new() -> Self {
        let fixture = Self::empty();
        fixture.commit("jobs/web.hcl", "one");
        fixture
    }

    pub(crate) fn repo(&self) -> PathBuf {
        self.dir.path().join("repo")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Runs `git` in the repository, away from the user's configuration; its output.
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git_in(&self.repo(), arguments)
    }

    /// Writes a file and commits it; the commit's ID.
    pub(crate) fn commit(&self, path: &str, text: &str) -> String {
        let full = self.repo().join(path);
        std::fs::create_dir_all(full.parent().expect("a folder")).expect("folder");
        std::fs::write(full, text).expect("written");
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "-m", &format!("{path}: {text}")]);
        self.head()
    }

    pub(crate) fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    pub(crate) fn config(&self) -> RepoConfig {
        self.config_for(self.repo().to_str().expect("UTF-8"))
    }

    pub(crate) fn config_for(&self, url: &str) -> RepoConfig {
        RepoConfig::new("fleet", url).expect("a config")
    }

    pub(crate) fn mirror(&self, config: RepoConfig) -> Mirror {
        Mirror::open(Arc::new(config), &self.data()).expect("opened")
    }
}

pub(crate) fn git_in(dir: &Path, arguments: &[&str]) -> String {
    let output = Command::new("git")
        .current_dir(dir)
        .args(arguments)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_NAME", "Ada")
        .env("GIT_AUTHOR_EMAIL", "ada@example.org")
        .env("GIT_COMMITTER_NAME", "Ada")
        .env("GIT_COMMITTER_EMAIL", "ada@example.org")
        .output()
        .expect("git runs");
    assert!(
        output.status.success(),
        "git {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("UTF-8").trim().to_owned()
}

pub(crate) fn refresh(mirror: &mut Mirror) -> Result<Refreshed, FetchError> {
    mirror.refresh(&CancellationToken::new())
}

/// The paths at the commit that the mirror follows, and the text of the first.
pub(crate) fn files(mirror: &Mirror) -> (Vec<String>, String) {
    let reader = Reader::open(mirror.path()).expect("opened");
    let (head, _) = mirror.head().expect("a head");
    let tree = reader.tree(&head.id, &[]).expect("listed");
    let first = tree.files.first().expect("a file");
    let text = reader.blob(&first.blob, 1 << 20).expect("read");
    let text = String::from_utf8(text).expect("UTF-8");
    (tree.files.into_iter().map(|file| file.path).collect(), text)
}

/// Long enough for a loaded machine; only ever reached by a failure.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
