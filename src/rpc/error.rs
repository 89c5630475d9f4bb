//! Why a call failed, and whether it may have had an effect.

use std::io;
use std::time::Duration;

use crate::Refused;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No connection could be made. Nothing was asked.
    #[error("cannot reach {address}: {detail}")]
    Unreachable {
        /// Where to.
        address: String,
        /// Why.
        detail: String,
    },
    /// The other side answered, with a no. [`Code::NOT_ADMITTED`](crate::Code::NOT_ADMITTED) says that this node was
    /// removed or its certificate has expired.
    #[error("{address} refuses: {refused}")]
    Refused {
        /// Who.
        address: String,
        /// The no.
        refused: Refused,
    },
    /// The connection broke.
    #[error("the connection to {address} broke: {detail}")]
    Broken {
        /// Where to.
        address: String,
        /// Why.
        detail: String,
        /// Whether the request was on its way by then.
        sent: bool,
    },
    /// No answer within the caller's limit.
    #[error("no answer from {address} within {limit:?}")]
    Timeout {
        /// Who.
        address: String,
        /// The caller's limit.
        limit: Duration,
        /// Whether the request was on its way by then.
        sent: bool,
    },
    /// The body does not fit into a frame. Nothing was asked.
    #[error("the request of {size} bytes is larger than the {limit} that {address} takes")]
    TooLarge {
        /// Where to.
        address: String,
        /// The body's size.
        size: usize,
        /// What is taken.
        limit: usize,
    },
}

impl CallError {
    /// Whether the request may have been carried out: if not, it is safe to ask again, here or elsewhere.
    pub fn may_have_been_carried_out(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TooLarge { .. } => false,
            Self::Refused { refused, .. } => refused.code.may_have_been_carried_out(),
            Self::Broken { sent, .. } | Self::Timeout { sent, .. } => *sent,
        }
    }
}

/// What the network or TLS says, in words.
pub(crate) fn io_words(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<tokio_rustls::rustls::Error>());
    match (tls, error.kind()) {
        (Some(tls), _) => identity::explain(tls),
        (None, io::ErrorKind::UnexpectedEof) => "it closed the connection".to_owned(),
        (None, _) => error.to_string(),
    }
}
