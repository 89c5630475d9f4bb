//! What can go wrong between us and the agent, in words.

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The address makes no sense.
    #[error(
        "`{address}` is not an agent's address; write it as http://127.0.0.1:4646, or leave it out"
    )]
    Address {
        /// What was given.
        address: String,
    },
    /// Nobody answers there.
    #[error(
        "cannot reach the agent at {address}: {cause}; is it running? `herder agent` starts one, \
         --address or HERDER_ADDR names another"
    )]
    Unreachable {
        /// Where.
        address: String,
        /// What the system said.
        cause: String,
    },
    /// There is no secure conversation with it.
    #[error("cannot speak with the agent at {address}: {cause}")]
    Insecure {
        /// Where.
        address: String,
        /// Why not, and what to do.
        cause: String,
    },
    /// A certificate or key that was given cannot be used.
    #[error("{what} cannot be read: it must be in PEM form")]
    Certificate {
        /// What it is.
        what: String,
    },
    /// The answer did not come in time.
    #[error("the agent at {address} did not answer in time ({cause})")]
    Timeout {
        /// Where.
        address: String,
        /// What was being waited for.
        cause: String,
    },
    /// The agent knows no such thing.
    #[error("{text}")]
    NotFound {
        /// Its words.
        text: String,
    },
    /// The agent refused the request.
    #[error("{text}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Its words.
        text: String,
    },
    /// The agent could not answer.
    #[error("the agent at {address} failed ({status}): {text}")]
    Failed {
        /// Where.
        address: String,
        /// HTTP status.
        status: u16,
        /// Its words.
        text: String,
    },
    /// More than one thing begins with what was typed.
    #[error("`{prefix}` is ambiguous, it may be any of these {what}s: {}", matches.join(", "))]
    Ambiguous {
        /// What kind of thing.
        what: &'static str,
        /// What was typed.
        prefix: String,
        /// What it may be; at most twenty.
        matches: Vec<String>,
    },
    /// The answer is not what this version understands.
    #[error(
        "the answer of {address} to {path} cannot be read: {cause}; is it a Herder agent of this version?"
    )]
    Malformed {
        /// Where.
        address: String,
        /// What was asked for.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
}

impl ClientError {
    /// Whether the thing asked for is not there, in contrast to everything else that can go wrong.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound { .. })
    }

    pub(crate) fn of_status(address: &str, status: u16, text: &str) -> Self {
        let text = match text.trim() {
            "" => format!("HTTP status {status}"),
            words => words.chars().take(2_000).collect(),
        };
        match status {
            404 => Self::NotFound { text },
            400..500 => Self::Refused { status, text },
            _ => Self::Failed { address: address.to_owned(), status, text },
        }
    }

    pub(crate) fn of_transport(address: &str, error: ureq::Error) -> Self {
        let address = address.to_owned();
        if let Some(cause) = crate::tls::words(&error) {
            return Self::Insecure { address, cause };
        }
        match error {
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => {
                Self::Unreachable { address, cause: "no connection within five seconds".to_owned() }
            }
            ureq::Error::Timeout(what) => Self::Timeout { address, cause: what.to_string() },
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Self::Address { address },
            error => Self::Unreachable { address, cause: error.to_string() },
        }
    }
}
