//! Objects on their way from one mirror to another: where a host is out of reach, another agent's copy will do.

use git2::Oid;
use model::CommitId;
use thiserror::Error;

use crate::error::ReadError;
use crate::reader::{Reader, commit_id, parse_oid};

/// Where a mirror keeps the branches that it follows. Not `refs/heads/`, so that nothing takes one for a branch to
/// commit to.
pub(crate) const FOLLOWED: &str = "refs/herder/";
/// Most commits that either side names as known.
const MAX_KNOWN: usize = 64;

/// A branch's commit from another mirror, with what it needs.
#[derive(Clone, Debug)]
pub struct Given {
    /// The commit.
    pub commit: CommitId,
    /// The branch that it is on.
    pub branch: String,
    /// A pack of the objects; empty where nothing is lacking.
    pub pack: Vec<u8>,
    /// The commit that counts now. What it builds on already is not taken: it is old.
    pub desired: Option<CommitId>,
}

/// Why what another mirror gives is not taken. The branch is then where it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TakeError {
    /// The remote answers: what it says counts.
    #[error("the remote can be read again")]
    Readable,
    /// Another branch, or none that we could know to be ours.
    #[error("the commit is on branch `{given}`, and `{followed}` is followed")]
    Branch {
        /// The branch that was given.
        given: String,
        /// The one that is followed.
        followed: String,
    },
    /// What counts already builds on it.
    #[error("commit {commit} is older than the one that counts now")]
    Old {
        /// The commit.
        commit: CommitId,
    },
    /// Whether it is old cannot be known.
    #[error("{desired}, which counts now, is not in the mirror, so that nothing can follow it")]
    Unknown {
        /// The commit that counts now.
        desired: CommitId,
    },
    /// The objects are not what they should be, or not all.
    #[error("the objects that were given are of no use: {detail}")]
    Broken {
        /// What is wrong.
        detail: String,
    },
    /// The mirror cannot be used.
    #[error("the mirror cannot take objects: {detail}")]
    Mirror {
        /// Why.
        detail: String,
    },
}

impl Reader {
    /// The commits that this mirror follows, with everything they need.
    ///
    /// # Errors
    /// When the mirror cannot be read.
    pub fn followed(&self) -> Result<Vec<CommitId>, ReadError> {
        let fail = |error: git2::Error| ReadError::from_git(&error, "the branches", self.place());
        let all = self.repo().references_glob(&format!("{FOLLOWED}*")).map_err(fail)?;
        let targets = all.filter_map(|reference| reference.ok()?.target());
        Ok(targets.take(MAX_KNOWN).map(commit_id).collect())
    }

    /// What `wanted` needs and whoever has `known`, with everything that these need, lacks. Empty where that is nothing.
    ///
    /// # Errors
    /// When the commit is not here or damaged, or the pack is larger than `limit` bytes.
    pub fn pack(
        &self,
        wanted: &CommitId,
        known: &[CommitId],
        limit: u64,
    ) -> Result<Vec<u8>, ReadError> {
        let what = || format!("commit {wanted}");
        let fail = |error: git2::Error| ReadError::from_git(&error, what(), self.place());
        let repo = self.repo();
        let mut walk = repo.revwalk().map_err(fail)?;
        walk.push(parse_oid(wanted.as_str(), what, self.place())?).map_err(fail)?;
        for known in known.iter().take(MAX_KNOWN) {
            // What is not here cannot be left out, and need not be.
            let known = Oid::from_str(known.as_str()).ok();
            if let Some(known) = known.filter(|known| repo.find_commit(*known).is_ok()) {
                walk.hide(known).map_err(fail)?;
            }
        }
        let mut builder = repo.packbuilder().map_err(fail)?;
        builder.insert_walk(&mut walk).map_err(fail)?;
        let mut pack = Vec::new();
        if builder.object_count() == 0 {
            return Ok(pack);
        }
        let mut size = 0_u64;
        let packed = builder.foreach(|bytes| {
            size += bytes.len() as u64;
            pack.extend_from_slice(if size <= limit { bytes } else { &[] });
            size <= limit
        });
        if size > limit {
            return Err(ReadError::TooLarge { what: what(), size, limit });
        }
        packed.map_err(fail)?;
        Ok(pack)
    }
}
