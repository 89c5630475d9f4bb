//! What a node asks of the servers: its work, and an ear for what became of it.

use std::sync::Arc;

use async_trait::async_trait;
use model::{AllocReport, Allocation, JobVersion, NodeId};

/// An allocation for this node, with the version of the job that it is to run.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The allocation as the servers know it.
    pub alloc: Arc<Allocation>,
    /// The version that `alloc.job_version` names.
    pub version: Arc<JobVersion>,
}

/// The servers could not be reached or refused. The node goes on with what it has and asks again.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the servers did not answer: {0}")]
pub struct UpstreamError(pub String);

/// The servers, in process or far away.
#[async_trait]
pub trait Upstream: Send + Sync {
    /// Everything this node is to run, as one whole list, once the list's index is newer than `after`; blocks until
    /// then. With `after` 0 it answers at once. A list that could not be read whole is an error, never a shorter list.
    async fn assignments(
        &self,
        node: NodeId,
        after: u64,
    ) -> Result<(u64, Vec<Assignment>), UpstreamError>;

    /// Takes in what became of allocations. When it returns `Ok`, the reports are safe with the servers.
    async fn report(&self, node: NodeId, reports: Vec<AllocReport>) -> Result<(), UpstreamError>;
}
