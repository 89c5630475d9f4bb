//! Who answers.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Method, Refused};

/// Answers requests.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Answers one. `peer` is `None` for a connection without a certificate, on which only joining can be allowed; the
    /// handler decides that, and what each role may do.
    ///
    /// The future is dropped when the caller's limit has passed or its connection broke.
    ///
    /// # Errors
    /// What is refused, with a code of [`Code::FIRST_OF_HANDLERS`](crate::Code::FIRST_OF_HANDLERS) or above, or
    /// [`Code::UNKNOWN_METHOD`](crate::Code::UNKNOWN_METHOD).
    async fn handle(
        &self,
        peer: Option<&identity::Peer>,
        method: Method,
        body: Bytes,
    ) -> Result<Bytes, Refused>;
}
