//! Structured logs on standard error.

use std::io::IsTerminal as _;

use anyhow::bail;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Libraries that say at `info` what only their authors want to know.
const QUIET: [&str; 4] = ["openraft", "hickory_server", "hickory_proto", "hyper_util"];

/// Starts logging.
pub(crate) fn start(level: &str, json: bool) -> anyhow::Result<()> {
    let level = match level.to_ascii_lowercase().as_str() {
        "error" | "err" => LevelFilter::ERROR,
        "warn" | "warning" => LevelFilter::WARN,
        "info" => LevelFilter::INFO,
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        other => bail!("`{other}` is not a log level; use error, warn, info, debug or trace"),
    };
    let quiet = if level >= LevelFilter::DEBUG { LevelFilter::INFO } else { LevelFilter::ERROR };
    let filter = QUIET.into_iter().fold(Targets::new().with_default(level), |filter, target| {
        filter.with_target(target, quiet.min(level))
    });
    let registry = tracing_subscriber::registry().with(filter);
    // A second agent in one process (tests) keeps the first one's logging.
    let _ = if json {
        registry
            .with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init()
    } else {
        let color = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        registry
            .with(fmt::layer().with_target(false).with_ansi(color).with_writer(std::io::stderr))
            .try_init()
    };
    Ok(())
}
