//! How the API gets at a task's output. The agent provides it, for the allocations of its own node.

use axum::body::Bytes;
use futures_util::stream::BoxStream;
use model::AllocId;

/// One of a task's outputs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogOutput {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
}

/// What an offset counts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogOrigin {
    /// The oldest byte that is kept.
    #[default]
    Start,
    /// The newest, backwards.
    End,
}

/// What is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRequest {
    /// The allocation. It is on this node.
    pub alloc: AllocId,
    /// The task. It is one of the allocation's.
    pub task: String,
    /// Which output.
    pub output: LogOutput,
    /// What `offset` counts from.
    pub origin: LogOrigin,
    /// Where to begin, in bytes.
    pub offset: u64,
    /// Begin so many lines before the end instead.
    pub lines: Option<u32>,
    /// Whether to go on when the end is reached, until the task is over.
    pub follow: bool,
}

/// A piece of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPiece {
    /// The name of the file it is in.
    pub file: String,
    /// Where it begins in that file.
    pub offset: u64,
    /// The bytes.
    pub data: Bytes,
    /// What is missing before them because it was rotated away, in words.
    pub missing: Option<String>,
}

/// A log as it is read. Dropping it ends the reading.
pub type LogPieces = BoxStream<'static, std::io::Result<LogPiece>>;

/// Why a log cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// There is none, for example because the allocation was cleaned up or did not start.
    #[error("{0}")]
    NotFound(String),
    /// The disk refused.
    #[error("{0}")]
    Unreadable(String),
}

/// Reads the output of tasks on this node.
#[async_trait::async_trait]
pub trait TaskLogs: Send + Sync + 'static {
    /// Opens a log.
    ///
    /// # Errors
    /// When there is none or it cannot be read.
    async fn read(&self, request: LogRequest) -> Result<LogPieces, LogError>;
}
