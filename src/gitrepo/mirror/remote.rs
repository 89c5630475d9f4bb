//! A look at a remote over the network: where is the branch, and what do we lack.

use std::collections::BTreeMap;
use std::sync::Arc;

use git2::{AutotagOption, Direction, FetchOptions, Oid, RemoteCallbacks, Repository};
use tokio_util::sync::CancellationToken;

use super::{Mirror, Tip};
use crate::error::FetchError;
use crate::transport::{ADDRESS, Session};

/// Most branches that an error names.
const MAX_NAMED: usize = 10;
/// Most tags that are mirrored.
const MAX_TAGS: usize = 10_000;

/// What the last look saw beside the branch.
#[derive(Default)]
pub(super) struct Seen {
    /// Tags and the commits they mean.
    tags: BTreeMap<String, Oid>,
}

/// A reference as the remote lists it.
struct Listed {
    name: String,
    oid: Oid,
    target: Option<String>,
}

impl Mirror {
    pub(super) fn refresh_remote(&mut self, stop: &CancellationToken) -> Result<Tip, FetchError> {
        let session = Session::new(Arc::clone(&self.config), self.agent.clone(), stop.clone());
        let entered = session.enter();
        let (tip, tags) = self.look(&session)?;
        drop(entered);
        if tags != self.remote.tags {
            self.keep_tags(&tags);
            self.remote.tags = tags;
        }
        Ok(tip)
    }

    /// One connection: list, and download if the branch's commit is not here.
    fn look(&self, session: &Arc<Session>) -> Result<(Tip, BTreeMap<String, Oid>), FetchError> {
        let fail = |error: git2::Error| session.explain(&error);
        let mut remote = self.repo.remote_anonymous(ADDRESS).map_err(fail)?;
        let mut connection =
            remote.connect_auth(Direction::Fetch, Some(callbacks(session)), None).map_err(fail)?;
        let listed: Vec<Listed> = connection
            .list()
            .map_err(fail)?
            .iter()
            .map(|head| Listed {
                name: head.name().to_owned(),
                oid: head.oid(),
                target: head.symref_target().map(str::to_owned),
            })
            .collect();
        let (branch, oid) = wanted(&listed, self.config.branch.as_deref(), session.remote())?;
        let fetched = self.known(&branch) != Some(oid);
        if fetched {
            let mut options = FetchOptions::new();
            options
                .remote_callbacks(callbacks(session))
                .download_tags(AutotagOption::None)
                .update_fetchhead(false);
            let specification = format!("+refs/heads/{branch}:refs/herder/{branch}");
            connection.remote().download(&[&specification], Some(&mut options)).map_err(fail)?;
        }
        let tags = tags(&listed);
        Ok((Tip { oid, branch, fetched }, tags))
    }

    /// Keeps the tags that point at commits we have, so that people can name them. Not getting one right hurts nothing:
    /// it is looked up again with the next change.
    fn keep_tags(&self, tags: &BTreeMap<String, Oid>) {
        let gone = self.remote.tags.keys().filter(|name| !tags.contains_key(*name));
        for name in gone {
            if let Ok(mut reference) = self.repo.find_reference(name) {
                log_failure(name, reference.delete());
            }
        }
        for (name, oid) in tags {
            if is_commit(&self.repo, *oid) {
                log_failure(name, self.repo.reference(name, *oid, true, "").map(drop));
            }
        }
    }
}

fn log_failure(name: &str, result: Result<(), git2::Error>) {
    if let Err(error) = result {
        tracing::debug!(tag = name, %error, "a tag is not mirrored");
    }
}

fn is_commit(repo: &Repository, oid: Oid) -> bool {
    repo.odb()
        .and_then(|odb| odb.read_header(oid))
        .is_ok_and(|(_, kind)| kind == git2::ObjectType::Commit)
}

fn callbacks(session: &Arc<Session>) -> RemoteCallbacks<'static> {
    let mut callbacks = RemoteCallbacks::new();
    let watch = Arc::clone(session);
    callbacks.transfer_progress(move |progress| watch.may_go_on(progress.received_bytes() as u64));
    let watch = Arc::clone(session);
    callbacks.sideband_progress(move |_| watch.next_wait("the host to pack objects").is_ok());
    callbacks
}

/// The branch and its commit, from what the remote lists.
fn wanted(
    listed: &[Listed],
    configured: Option<&str>,
    remote: String,
) -> Result<(String, Oid), FetchError> {
    let heads = || listed.iter().filter_map(|r| Some((r.name.strip_prefix("refs/heads/")?, r.oid)));
    let find = |branch: &str| heads().find(|(name, _)| *name == branch).map(|(_, oid)| oid);
    let absent = |branch: &str, remote: String| {
        let available: Vec<_> = heads().map(|(name, _)| name.to_owned()).take(MAX_NAMED).collect();
        if available.is_empty() {
            return FetchError::EmptyRepository { remote };
        }
        FetchError::BranchNotFound { remote, branch: branch.to_owned(), available }
    };
    if let Some(branch) = configured {
        return match find(branch) {
            Some(oid) => Ok((branch.to_owned(), oid)),
            None => Err(absent(branch, remote)),
        };
    }
    let Some(head) = listed.iter().find(|r| r.name == "HEAD") else {
        return Err(absent("HEAD", remote));
    };
    if let Some(branch) = head.target.as_deref().and_then(|t| t.strip_prefix("refs/heads/")) {
        return match find(branch) {
            Some(oid) => Ok((branch.to_owned(), oid)),
            None => Err(absent(branch, remote)),
        };
    }
    // A host too old to say what HEAD names: the usual names first, then any branch at the same commit.
    let same = |branch: &str| find(branch) == Some(head.oid);
    let usual = ["main", "master"].into_iter().find(|branch| same(branch));
    match usual.or_else(|| heads().find(|(_, oid)| *oid == head.oid).map(|(name, _)| name)) {
        Some(branch) => Ok((branch.to_owned(), head.oid)),
        None => Err(absent("HEAD", remote)),
    }
}

/// Tags, peeled to what they mean.
fn tags(listed: &[Listed]) -> BTreeMap<String, Oid> {
    let mut tags = BTreeMap::new();
    for reference in listed.iter().filter(|r| r.name.starts_with("refs/tags/")).take(MAX_TAGS * 2) {
        // The peeled entry, `name^{}`, follows the tag's own and replaces it.
        let name = reference.name.strip_suffix("^{}").unwrap_or(&reference.name);
        tags.insert(name.to_owned(), reference.oid);
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn oid(digit: char) -> Oid {
        Oid::from_str(&digit.to_string().repeat(40)).expect("an ID")
    }

    fn listed(name: &str, digit: char, target: Option<&str>) -> Listed {
        Listed { name: name.into(), oid: oid(digit), target: target.map(str::to_owned) }
    }

    #[test]
    fn the_branch_is_the_one_that_head_names() {
        let all = [
            listed("HEAD", 'b', Some("refs/heads/trunk")),
            listed("refs/heads/main", 'a', None),
            listed("refs/heads/trunk", 'b', None),
        ];
        assert_eq!(wanted(&all, None, String::new()), Ok(("trunk".into(), oid('b'))));
        assert_eq!(wanted(&all, Some("main"), String::new()), Ok(("main".into(), oid('a'))));
        let error = wanted(&all, Some("x"), String::new()).expect_err("absent");
        assert!(
            matches!(error, FetchError::BranchNotFound { available, .. } if available == ["main", "trunk"])
        );
        let old = [
            listed("HEAD", 'a', None),
            listed("refs/heads/x", 'a', None),
            listed("refs/heads/main", 'a', None),
        ];
        assert_eq!(wanted(&old, None, String::new()), Ok(("main".into(), oid('a'))));
        assert_eq!(wanted(&[], None, String::new()).expect_err("empty").kind(), "empty-repository");
    }

    #[test]
    fn tags_mean_their_commits() {
        let all = [listed("refs/tags/v1", 'a', None), listed("refs/tags/v1^{}", 'b', None)];
        assert_eq!(tags(&all).get("refs/tags/v1"), Some(&oid('b')));
    }
}
