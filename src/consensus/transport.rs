//! The way to the other members, as far as this room knows it: bytes in, bytes out.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

/// Carries requests between members. Whoever implements it brings the sockets, the keys and the framing, and hands what
/// arrives to [`crate::Consensus::answer`].
#[async_trait]
pub trait Transport: Send + Sync + 'static {
    /// Sends a request and waits for its answer, `limit` at most. `bulk` marks what may be large and slow (snapshots), so
    /// that it does not hold up heartbeats. Requests and answers stay below [`MAX_MESSAGE_BYTES`].
    async fn send(
        &self,
        address: &str,
        bulk: bool,
        request: Bytes,
        limit: Duration,
    ) -> Result<Bytes, TransportError>;
}

/// The largest request or answer: one command of the largest size with everything around it.
pub const MAX_MESSAGE_BYTES: usize = crate::MAX_COMMAND_BYTES + (1 << 20);

/// Why there is no answer. What matters is whether the request may have been acted on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The request never left: the other side cannot have seen it.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// The request left, but no answer came in time or the connection broke: it may have been acted on.
    #[error("gave no answer: {0}")]
    NoAnswer(String),
    /// The other side said that it does not act on it.
    #[error("refused: {0}")]
    Refused(String),
}
