//! Takes what another mirror gives. Nothing of it is believed: IDs are computed anew from what came, and the branch moves
//! only once everything that the commit needs is here.

use std::collections::HashSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;

use git2::{Indexer, ObjectType, Odb, Oid, Repository};
use tokio_util::sync::CancellationToken;

use super::{Mirror, Refreshed, Tip};
use crate::pack::{Given, TakeError};
use crate::reader::commit_info;

/// Most objects that are looked at.
const MAX_OBJECTS: usize = 1_000_000;

impl Mirror {
    /// Moves the branch to a commit from another mirror.
    ///
    /// # Errors
    /// When it is not to be taken, see [`TakeError`]; the branch stays where it is.
    pub fn take(
        &mut self,
        given: &Given,
        stop: &CancellationToken,
    ) -> Result<Refreshed, TakeError> {
        let branch = self.branch_of(given)?;
        let oid = oid_of(given.commit.as_str())?;
        self.store(given, oid, stop)?;
        if let Some(desired) = &given.desired {
            let head = oid_of(desired.as_str())?;
            if self.repo.find_commit(head).is_err() {
                return Err(TakeError::Unknown { desired: desired.clone() });
            }
            if self.repo.graph_descendant_of(head, oid).map_err(broken)? {
                return Err(TakeError::Old { commit: given.commit.clone() });
            }
        }
        let tip = Tip { oid, branch, fetched: true };
        let commit = commit_info(&self.repo.find_commit(oid).map_err(broken)?);
        self.follow(&tip).map_err(|error| TakeError::Mirror { detail: error.to_string() })?;
        self.compact(stop);
        Ok(Refreshed { commit, branch: tip.branch, fetched: true })
    }

    /// The branch, if it is the one that is followed: which that is without a configured one, only the remote can say.
    fn branch_of(&self, given: &Given) -> Result<String, TakeError> {
        if self.config.url.local_path().is_some() {
            let detail = "a folder on this machine has no other mirror".to_owned();
            return Err(TakeError::Mirror { detail });
        }
        let followed = self.config.branch.clone().or_else(|| self.head().map(|(_, branch)| branch));
        let followed = followed.unwrap_or_else(|| given.branch.clone());
        if followed != given.branch {
            return Err(TakeError::Branch { given: given.branch.clone(), followed });
        }
        let name = format!("{}{followed}", super::FOLLOWED);
        if followed.len() > 255 || !git2::Reference::is_valid_name(&name) {
            let detail = format!("`{}` cannot be a branch name", followed.escape_debug());
            return Err(TakeError::Broken { detail });
        }
        Ok(followed)
    }

    /// Puts the objects aside, looks whether they are all there, and only then among the others.
    fn store(&self, given: &Given, tip: Oid, stop: &CancellationToken) -> Result<(), TakeError> {
        let aside = self.path.join("incoming");
        let stored = self.store_by(&aside, given, tip, stop);
        if let Err(error) = remove(&aside) {
            tracing::debug!(repository = self.config.name, %error, "what came stays aside");
        }
        stored
    }

    fn store_by(
        &self,
        aside: &Path,
        given: &Given,
        tip: Oid,
        stop: &CancellationToken,
    ) -> Result<(), TakeError> {
        let failed = |error: std::io::Error| TakeError::Mirror { detail: error.to_string() };
        let (objects, packs) = (aside.join("objects"), aside.join("objects/pack"));
        remove(aside).and_then(|()| fs::create_dir_all(&packs)).map_err(failed)?;
        let name = match given.pack.as_slice() {
            [] => None,
            pack => Some(index(&self.repo.odb().map_err(broken)?, &packs, pack)?),
        };
        // A second look at the mirror, which has what came beside what was there.
        let both = Repository::open_bare(&self.path).map_err(broken)?;
        let path = objects.to_str().ok_or_else(|| TakeError::Mirror {
            detail: "the data directory's name is not UTF-8".to_owned(),
        })?;
        both.odb().and_then(|odb| odb.add_disk_alternate(path)).map_err(broken)?;
        let known: Vec<Oid> = self.followed();
        whole(&both, tip, &known, stop)?;
        drop(both);
        if let Some(name) = name {
            // The index last: by it a pack is found.
            for ending in ["pack", "idx"] {
                let file = format!("pack-{name}.{ending}");
                let to = self.path.join("objects/pack").join(&file);
                fs::rename(packs.join(&file), to).map_err(failed)?;
            }
            self.repo.odb().and_then(|odb| odb.refresh()).map_err(broken)?;
        }
        Ok(())
    }
}

/// Computes the ID of every object in the pack; the pack's name.
fn index(odb: &Odb<'_>, folder: &Path, pack: &[u8]) -> Result<String, TakeError> {
    let mut indexer = Indexer::new(Some(odb), folder, 0o444, true).map_err(broken)?;
    indexer.write_all(pack).map_err(|error| TakeError::Broken { detail: error.to_string() })?;
    indexer.commit().map_err(broken)
}

/// Whether everything that the commit needs beyond the known ones is here.
fn whole(
    repo: &Repository,
    tip: Oid,
    known: &[Oid],
    stop: &CancellationToken,
) -> Result<(), TakeError> {
    let missing = |what: &str, id: Oid| TakeError::Broken { detail: format!("no {what} {id}") };
    let odb = repo.odb().map_err(broken)?;
    let mut walk = repo.revwalk().map_err(broken)?;
    walk.push(tip).map_err(broken)?;
    for known in known {
        walk.hide(*known).map_err(broken)?;
    }
    let mut seen: HashSet<Oid> = HashSet::new();
    for commit in walk {
        if stop.is_cancelled() {
            return Err(TakeError::Mirror { detail: "the agent is stopping".to_owned() });
        }
        let commit = repo.find_commit(commit.map_err(broken)?).map_err(broken)?;
        let mut trees = vec![commit.tree_id()];
        while let Some(id) = trees.pop() {
            if !seen.insert(id) {
                continue;
            }
            if seen.len() > MAX_OBJECTS {
                let detail = format!("there are more than {MAX_OBJECTS} of them");
                return Err(TakeError::Broken { detail });
            }
            let tree = repo.find_tree(id).map_err(|_| missing("tree", id))?;
            for entry in &tree {
                match entry.kind() {
                    Some(ObjectType::Tree) => trees.push(entry.id()),
                    // Another repository's.
                    Some(ObjectType::Commit) => {}
                    _ if !seen.insert(entry.id()) => {}
                    _ => match odb.read_header(entry.id()) {
                        Ok((_, ObjectType::Blob)) => {}
                        _ => return Err(missing("file", entry.id())),
                    },
                }
            }
        }
    }
    Ok(())
}

fn oid_of(commit: &str) -> Result<Oid, TakeError> {
    let whole = commit.len() == 40;
    whole.then(|| Oid::from_str(commit).ok()).flatten().ok_or_else(|| TakeError::Broken {
        detail: format!("`{}` is no commit's ID", commit.escape_debug()),
    })
}

fn remove(folder: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn broken(error: git2::Error) -> TakeError {
    TakeError::Broken { detail: error.message().to_owned() }
}
