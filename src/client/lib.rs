//! The typed client of the orchestration API, for the CLI, nodes and tests. Blocking: each call waits for its answer.
//!
//! What never belongs here: printing, decisions, and any knowledge of how the server makes its answers.

mod error;
mod local;
mod logs;
mod operator;
mod prefix;
mod reads;
#[cfg(test)]
mod stub;
mod tls;
mod transport;
mod writes;

pub use error::ClientError;
pub use logs::{LogQuery, LogSource};
pub use prefix::without_runs;
pub use reads::LogOrigin;
pub use tls::Tls;
pub use transport::{Answer, Client, Listing};
