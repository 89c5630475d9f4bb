//! A Git repository as Herder sees it: a mirror that follows one branch, and reads at a commit.
//!
//! ```text
//! remote ──poll, file events──▶ Mirror (bare, under the data directory) ──▶ Observation
//!                                  │
//!                                  └──▶ Reader: commit, tree, blob, ancestry, by object ID only
//! ```
//!
//! What holds here: objects are read by ID from a bare repository, so a listing can only be that of the commit it was
//! asked for; a read is whole or an error, never a shorter list; no failure means "there are no files"; every wait,
//! queue and body has a limit; a secret appears in no message. What never belongs here: what a file means, what follows
//! from a change, pushing, checking out.

mod config;
mod error;
mod mirror;
mod pack;
mod pattern;
mod poller;
mod reader;
mod secret;
mod transport;
mod url;
mod worktree;

pub use config::{ConfigError, Limits, RepoConfig};
pub use error::{FetchError, ReadError};
pub use mirror::{Mirror, Refreshed};
pub use pack::{Given, TakeError};
pub use pattern::{PathPattern, PatternError};
pub use poller::{
    Alone, Failure, Head, History, Observation, PollStatus, Poller, RepoHandle, Turns, next_poll,
};
pub use reader::{CommitInfo, FileKind, Reader, Tree, TreeFile};
pub use secret::{Credentials, Secret, SecretError, SecretSource};
pub use url::{RemoteUrl, UrlError};
pub use worktree::WorkTree;
