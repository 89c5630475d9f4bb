//! What was applied, in order, for whoever wants to follow.

use std::sync::Arc;

use state::Applied;
use tokio::sync::broadcast;

/// How many results a reader may be behind before it has to start over.
pub(crate) const CAPACITY: usize = 4_096;

#[derive(Clone, Debug)]
pub(crate) enum Notice {
    Applied(Arc<Applied>),
    /// The whole state was replaced by a snapshot; what lies between is not known in single steps.
    Replaced,
}

/// Why a subscription has no next result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionError {
    /// Results were missed. What follows is in order again: rebuild from [`crate::Consensus::state`] and go on.
    #[error(
        "the reader was too slow, or the state was replaced by a snapshot; rebuild from the state and go on"
    )]
    Lagged,
    /// The node stopped.
    #[error("raft stopped, there will be no more events")]
    Closed,
}

/// Every result with events since it was made, in the order of the log. Rejected commands have no events and are left
/// out. The state already contains what is received.
#[derive(Debug)]
pub struct Subscription {
    receiver: broadcast::Receiver<Notice>,
}

impl Subscription {
    pub(crate) fn new(receiver: broadcast::Receiver<Notice>) -> Self {
        Self { receiver }
    }

    /// The next result; waits for it. Safe to cancel.
    pub async fn next(&mut self) -> Result<Arc<Applied>, SubscriptionError> {
        match self.receiver.recv().await {
            Ok(Notice::Applied(applied)) => Ok(applied),
            Ok(Notice::Replaced) | Err(broadcast::error::RecvError::Lagged(_)) => {
                Err(SubscriptionError::Lagged)
            }
            Err(broadcast::error::RecvError::Closed) => Err(SubscriptionError::Closed),
        }
    }

    /// The next result if there is one already.
    pub fn try_next(&mut self) -> Result<Option<Arc<Applied>>, SubscriptionError> {
        match self.receiver.try_recv() {
            Ok(Notice::Applied(applied)) => Ok(Some(applied)),
            Ok(Notice::Replaced) | Err(broadcast::error::TryRecvError::Lagged(_)) => {
                Err(SubscriptionError::Lagged)
            }
            Err(broadcast::error::TryRecvError::Empty) => Ok(None),
            Err(broadcast::error::TryRecvError::Closed) => Err(SubscriptionError::Closed),
        }
    }
}
