//! A Git repository to commit to.

use std::path::{Path, PathBuf};

use git2::{IndexAddOption, Repository as Git, Signature};

/// A repository with a work tree, on branch `main`.
pub(crate) struct Repository {
    dir: tempfile::TempDir,
    git: Git,
}

impl Repository {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut options = git2::RepositoryInitOptions::new();
        options.initial_head("main");
        let git = Git::init_opts(dir.path(), &options).expect("git init");
        Self { dir, git }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        let path = self.file(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
        std::fs::write(path, text).expect("file written");
        self
    }

    pub(crate) fn remove(&self, name: &str) -> &Self {
        std::fs::remove_file(self.file(name)).expect("file removed");
        self
    }

    /// Commits all there is. Returns the commit's ID.
    pub(crate) fn commit(&self, message: &str) -> String {
        let parent = self.git.head().ok().map(|head| head.peel_to_commit().expect("a commit"));
        self.commit_onto(message, parent.as_ref())
    }

    /// Commits all there is as a new history, as a force push would.
    pub(crate) fn commit_as_new_history(&self, message: &str) -> String {
        let id = self.commit_tree(message, None, None);
        self.git.reference("refs/heads/main", id, true, message).expect("the branch moves");
        id.to_string()
    }

    fn commit_onto(&self, message: &str, parent: Option<&git2::Commit<'_>>) -> String {
        self.commit_tree(message, parent, Some("HEAD")).to_string()
    }

    fn commit_tree(
        &self,
        message: &str,
        parent: Option<&git2::Commit<'_>>,
        update: Option<&str>,
    ) -> git2::Oid {
        let mut index = self.git.index().expect("an index");
        index.add_all(["*"], IndexAddOption::DEFAULT, None).expect("files added");
        index.update_all(["*"], None).expect("files updated");
        index.write().expect("index written");
        let tree = index.write_tree().expect("a tree");
        let tree = self.git.find_tree(tree).expect("the tree");
        let me = Signature::now("Test", "test@example.org").expect("a signature");
        let parents: Vec<_> = parent.into_iter().collect();
        self.git.commit(update, &me, &me, message, &tree, &parents).expect("a commit")
    }
}
