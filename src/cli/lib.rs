//! The commands and what they print: data to standard output, words to standard error, `--json` for all of it.
//!
//! A command asks the agent over HTTP, or reads files, and shows the answer. It decides nothing: what would happen is
//! computed by the agent, by the function that makes it happen.

mod alloc;
mod arguments;
mod command;
mod connection;
mod convert;
mod deployment;
mod explain;
mod failure;
mod fmt;
mod hold;
mod init;
mod inputs;
mod inspect;
mod job;
mod job_logs;
mod local_agent;
mod node;
mod operator;
mod output;
mod plan;
mod repository;
mod revision_log;
mod server;
mod service;
mod status;
mod tls;
mod token;
mod validate;
mod watch;

pub use arguments::normalised_arguments;
pub use command::{Command, run};
pub use failure::print_error;
pub use operator::Offline;
