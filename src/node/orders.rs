//! What people and the node's own loops ask of a runner.

use tokio::sync::oneshot;

/// Why an order was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// This node has no such allocation or task.
    #[error("{0}")]
    NotFound(String),
    /// It makes no sense for what is there, such as a signal for a task that does not run.
    #[error("{0}")]
    Refused(String),
    /// It was tried and did not work.
    #[error("{0}")]
    Failed(String),
}

/// Where the answer goes.
pub(crate) type Answer = oneshot::Sender<Result<(), OrderError>>;

/// An order to a runner.
#[derive(Debug)]
pub(crate) enum Order {
    /// Start tasks again that run: this one, or all.
    Restart { task: Option<String>, answer: Answer },
    /// Send a signal to a task that runs, or to all that do.
    Signal { task: Option<String>, signal: String, answer: Answer },
    /// Remove the files of an allocation that is over.
    Collect { answer: Answer },
    /// Write down an event of every task that runs.
    Tell { kind: &'static str, message: String },
}
