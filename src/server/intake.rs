//! A new head becomes a command. Law 3 lives here: what could not be read whole is never a deletion.

mod around;
mod decide;
mod read;
mod split;

pub(crate) use around::Overlay;
pub use decide::Budget;
#[cfg(test)]
pub(crate) use decide::{Ancestry, Head, ReadFile, Reading};
pub(crate) use decide::{DECLARED_ELSEWHERE, Others, plan_revision};
pub(crate) use read::{Reader, read_files, read_head};
pub(crate) use split::split;

/// How a repository's revisions are taken in.
#[derive(Clone, Debug, Default)]
pub struct IntakeOptions {
    /// How many jobs one commit may stop without anybody's approval.
    pub budget: Budget,
    /// Values for the job files' variables.
    pub inputs: jobfile::Inputs,
}

/// Whether a path lies in a folder or is it. The root is the empty text.
fn is_beneath(path: &str, folder: &str) -> bool {
    folder.is_empty()
        || path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
