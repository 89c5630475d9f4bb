//! Files that a job takes from the repository that it came from (law 6): read from the node's own mirror, at the commit
//! of the allocation, and never from a work tree or from a server.

use async_trait::async_trait;
use model::{BlobId, Origin};

/// Reads files of repositories at commits. The agent hands in its mirrors.
#[async_trait]
pub trait RepositoryFiles: Send + Sync {
    /// A file's content, of at most `limit` bytes. `blob` is the content that the job was made with; where the commit of
    /// `origin` has another one at `path`, as after a rewritten history, that content is what counts. Empty where it is
    /// not known.
    ///
    /// # Errors
    /// In words that end a message, when it cannot be read.
    async fn read(
        &self,
        origin: &Origin,
        path: &str,
        blob: &BlobId,
        limit: usize,
    ) -> Result<Vec<u8>, String>;
}
